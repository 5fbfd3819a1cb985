// Two photographs mixed by an alpha: their stored numbers, and the light that those stand for.

const core = {
  /** From a stored sRGB value to light, both in [0, 1]. */
  toLight(value) {
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  },

  /** From light to the stored sRGB value. */
  toStored(light) {
    return light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055;
  },

  /** α of the first value and 1 − α of the second: of the numbers, or of the light. */
  mix(first, second, alpha, space) {
    if (space === "numbers") return alpha * first + (1 - alpha) * second;
    const light = alpha * core.toLight(first) + (1 - alpha) * core.toLight(second);
    return core.toStored(light);
  },

  /** α at a column: the same everywhere, or from 0 at the left edge to 1 at the right. */
  alphaAt(alpha, column, width, kind) {
    return kind === "even" ? alpha : clamp(alpha - 0.5 + column / (width - 1), 0, 1);
  },

  /** Mix one channel of two pictures. */
  blend(first, second, alpha, kind, space) {
    const { height, width } = first;
    const values = first.values.map((value, at) =>
      core.mix(value, second.values[at], core.alphaAt(alpha, at % width, width, kind), space),
    );
    return { height, width, values };
  },

  /** Row and column of the pixel at which the two kinds of mixture differ most, half and half. */
  liveliest(first, second) {
    const { width } = first[0];
    let [best, place] = [-1, 0];
    for (let at = 0; at < first[0].values.length; at++) {
      const apart = first.reduce((sum, channel, c) => {
        const pair = [channel.values[at], second[c].values[at]];
        return sum + core.mix(...pair, 0.5, "light") - core.mix(...pair, 0.5, "numbers");
      }, 0);
      if (apart > best) [best, place] = [apart, at];
    }
    return [Math.floor(place / width), place % width];
  },
};

const SPACES = { numbers: "Numbers mixed", light: "Light mixed" };
const KINDS = [
  ["even", "one number"],
  ["ramp", "a ramp, 0 to 1"],
];

function build(kit, data) {
  const [first, second] = data.photos.map(({ channels }) => channels.map(decodeImage));
  const [name1, name2] = data.photos.map(({ name }) => name);
  const { height, width } = first[0];
  const [row, column] = core.liveliest(first, second);
  const state = { percent: 50, kind: "even", row, column };

  const alpha = kit.slider(
    "Alpha",
    { min: 0, max: 100, say: (percent) => decimal(percent / 100, 2) },
    (percent) => {
      state.percent = percent;
      show();
    },
  );
  const kind = kit.choice("Alpha is", KINDS, (value) => {
    state.kind = value;
    if (value === "ramp") state.percent = 50; // its middle in the middle
    show();
  });
  const panels = Object.fromEntries(
    Object.keys(SPACES).map((space) => [
      space,
      {
        caption: element("p", { class: "caption" }),
        canvas: kit.canvas(width / height, (context, w, h) => drawPicture(space, context, w, h), {
          touch: (x, y) => choose(Math.floor(y * height), Math.floor(x * width)),
          key,
        }),
      },
    ]),
  );
  const strips = kit.canvas(5, drawStrips);
  const said = element("p", { class: "caption" });
  kit.body.append(
    element("div", { class: "controls" }, alpha.node, kind.node),
    element(
      "div",
      { class: "stage" },
      ...Object.values(panels).map(({ caption, canvas }) =>
        element("div", { class: "panel" }, caption, canvas.node),
      ),
    ),
    element("div", { class: "panel" }, said, strips.node),
  );

  function choose(y, x) {
    state.row = clamp(y, 0, height - 1);
    state.column = clamp(x, 0, width - 1);
    show();
  }

  function key(name) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(name in moves)) return false;
    choose(state.row + moves[name][0], state.column + moves[name][1]);
    return true;
  }

  /** The three stored values of a photograph at the chosen pixel. */
  function at(photo) {
    return photo.map((channel) => channel.values[state.row * width + state.column]);
  }

  /** What the chosen pixel becomes. */
  function mixed(share, space) {
    const [a, b] = [at(first), at(second)];
    return a.map((value, c) => core.mix(value, b[c], share, space));
  }

  const bytes = (values) => values.map((value) => Math.round(255 * clamp(value, 0, 1)));

  // ---- Pictures

  function drawPicture(space, context, canvasWidth, canvasHeight) {
    const channels = first.map((channel, c) =>
      core.blend(channel, second[c], state.percent / 100, state.kind, space),
    );
    const small = element("canvas", { width, height });
    const pixels = new ImageData(width, height);
    for (let place = 0; place < width * height; place++) {
      const colour = bytes(channels.map((channel) => channel.values[place]));
      pixels.data.set([...colour, 255], 4 * place);
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvasWidth, canvasHeight);
    const cell = canvasWidth / width;
    for (const [ink, line] of [
      ["#000000", 4],
      ["#ffffff", 2],
    ]) {
      context.strokeStyle = ink;
      context.lineWidth = line;
      context.strokeRect((state.column - 0.5) * cell, (state.row - 0.5) * cell, 2 * cell, 2 * cell);
    }
  }

  /** The chosen pixel at every alpha: one strip for each way of mixing. */
  function drawStrips(context, canvasWidth, canvasHeight) {
    const label = 18;
    const tall = canvasHeight / 2 - label;
    context.font = "13px system-ui, sans-serif";
    Object.entries(SPACES).forEach(([space, words], n) => {
      const top = n * (canvasHeight / 2);
      context.fillStyle = kit.colour("ink");
      context.fillText(`${words}, alpha from 0 to 1`, 0, top + 13);
      const steps = 100;
      for (let step = 0; step <= steps; step++) {
        const [left, right] = [step, step + 1].map((s) =>
          Math.round((s * canvasWidth) / (steps + 1)),
        );
        context.fillStyle = `rgb(${bytes(mixed(step / steps, space))})`;
        context.fillRect(left, top + label, right - left, tall);
      }
      const x = ((100 * share() + 0.5) * canvasWidth) / (steps + 1);
      for (const [ink, line] of [
        ["#000000", 5],
        ["#ffffff", 2],
      ]) {
        context.strokeStyle = ink;
        context.lineWidth = line;
        context.beginPath();
        context.moveTo(x, top + label);
        context.lineTo(x, top + label + tall);
        context.stroke();
      }
    });
  }

  /** Alpha at the chosen pixel. */
  function share() {
    return core.alphaAt(state.percent / 100, state.column, width, state.kind);
  }

  // ---- What is shown

  function show() {
    alpha.set(state.percent);
    kind.input.value = state.kind;
    const own = decimal(share(), 2);
    const values = {
      first: bytes(at(first)),
      second: bytes(at(second)),
      numbers: bytes(mixed(share(), "numbers")),
      light: bytes(mixed(share(), "light")),
    };
    for (const [space, { caption, canvas }] of Object.entries(panels)) {
      caption.replaceChildren(
        element("strong", {}, SPACES[space]),
        ` here ${values[space].join(", ")}`,
      );
      canvas.describe(
        `${name1} and ${name2}, ${SPACES[space].toLowerCase()} with alpha ` +
          `${decimal(state.percent / 100, 2)}, ${KINDS.find(([k]) => k === state.kind)[1]}. ` +
          `The chosen pixel, row ${state.row} and column ${state.column}, is ` +
          `${values[space].join(", ")}.`,
      );
      canvas.paint();
    }
    said.replaceChildren(
      element("strong", {}, "The chosen pixel"),
      ` red, green, blue in ${name1}: ${values.first.join(", ")}; ` +
        `in ${name2}: ${values.second.join(", ")}`,
    );
    strips.describe(
      `The chosen pixel from ${name2} at alpha 0 to ${name1} at alpha 1, ` +
        `mixed as numbers and as light; marked at ${own}.`,
    );
    strips.paint();
    kit.publish({
      alpha: decimal(state.percent / 100, 2),
      kind: state.kind,
      row: state.row,
      column: state.column,
      share: decimal(share(), 4),
      first: values.first.join(","),
      second: values.second.join(","),
      numbers: values.numbers.join(","),
      light: values.light.join(","),
    });
    const gain = values.light.map((value, c) => value - values.numbers[c]);
    kit.announce(
      `Alpha ${own} at row ${state.row}, column ${state.column}: mixed as numbers ` +
        `${values.numbers.join(", ")}, as light ${values.light.join(", ")}; ` +
        `light is brighter by ${gain.join(", ")}.`,
    );
  }

  show();
}
