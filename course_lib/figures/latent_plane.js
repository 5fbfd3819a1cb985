// Two directions of a generator's latent space: every place of the plane is a picture.
// The network's layers, `network`, are in layers.js, which stands before this script.

const SPAN = 3; // how far the plane reaches to each side, in standard deviations of the noise
const ACROSS = 7; // pictures a side on the map
const FINE = 10; // steps of a slider in a standard deviation
const GAP = 0.06; // between pictures of the map, as a share of one

const core = {
  ...network,

  /** Unpack what the first layer makes of each start, condition and direction: rows of numbers. */
  rows(packed, length) {
    const numbers = network.halves(packed);
    return Array.from({ length: numbers.length / length }, (_, n) =>
      numbers.subarray(n * length, (n + 1) * length),
    );
  },

  /** The first layer is linear: what it makes of a sum is the sum of what it makes of the parts. */
  first(parts, { start, condition, along }) {
    return Float64Array.from(parts.starts[start], (value, i) =>
      parts.directions.reduce(
        (sum, direction, n) => sum + along[n] * direction[i],
        value + parts.conditions[condition][i],
      ),
    );
  },

  /** The picture at a place of the plane: { height, width, values } with values in [0, 1]. */
  picture(parts, layers, maps, place) {
    const input = { channels: maps, height: 4, width: 4, values: core.first(parts, place) };
    return network.run(layers, input).state;
  },

  /** How much ink a picture has, and how far it leans: pixels to the right for a pixel up. */
  measure({ height, width, values }) {
    const total = values.reduce((a, b) => a + b, 0);
    const mean = (f) => {
      let sum = 0;
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) sum += (values[y * width + x] / (total || 1)) * f(x, -y);
      return sum;
    };
    const [right, up] = [mean((x) => x), mean((_, y) => y)];
    const along = mean((x, y) => (x - right) * (y - up));
    const high = mean((_, y) => (y - up) ** 2);
    return { ink: total / (height * width), slant: high > 0 ? along / high : 0 };
  },
};

function build(kit, data) {
  const length = 16 * data.maps;
  const parts = Object.fromEntries(
    ["starts", "conditions", "directions"].map((name) => [name, core.rows(data[name], length)]),
  );
  const layers = network.unpack(data.layers, network.halves);
  const state = { start: 0, condition: 0, along: [0, 0] };
  let sheet = []; // the pictures of the map, row by row
  let drawn = ""; // for which start and condition
  let seen = {};

  const signed = (value) => `${value > 0 ? "+" : ""}${decimal(value / FINE, 1)}`;
  const condition = kit.choice(
    data.asks,
    data.names.map((name, at) => [String(at), name]),
    (value) => change({ condition: Number(value) }),
  );
  const start = kit.choice(
    "Noise",
    parts.starts.map((_, at) => [String(at), `draw ${at + 1}`]),
    (value) => change({ start: Number(value) }),
  );
  const sliders = data.axes.map((name, n) =>
    kit.slider(name, { min: -SPAN * FINE, max: SPAN * FINE, say: signed }, (value) =>
      change({ along: state.along.map((old, m) => (m === n ? value / FINE : old)) }),
    ),
  );
  const back = kit.button("Back to the middle", () => change({ along: [0, 0] }));
  const map = kit.canvas(1, drawMap, { touch, key });
  const large = kit.canvas(1, drawLarge);
  const words = () => element("p", { class: "caption" });
  const [mapWords, largeWords, measureWords] = [words(), words(), words()];
  const choices = parts.conditions.length > 1 ? [condition.node] : [];
  kit.body.append(
    element("div", { class: "controls" }, ...choices, start.node),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, mapWords, map.node),
      element("div", { class: "panel" }, largeWords, large.node, measureWords),
    ),
    element("div", { class: "controls" }, ...sliders.map(({ node }) => node), back),
  );

  function key(name) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!(name in by)) return false;
    go(state.along.map((value, n) => value + 0.5 * by[name][n]));
    return true;
  }

  /** To a place of the map: the middle of its first picture is −3, that of its last is 3. */
  function touch(x, y) {
    const place = (share) => ((share * ACROSS - 0.5) / (ACROSS - 1) - 0.5) * 2 * SPAN;
    go([place(x), -place(y)]);
  }

  function go(along) {
    change({ along: along.map((value) => clamp(Math.round(value * FINE) / FINE, -SPAN, SPAN)) });
  }

  function at(along) {
    return core.picture(parts, layers, data.maps, { ...state, along });
  }

  function change(settings) {
    Object.assign(state, settings);
    const wanted = `${state.start} ${state.condition}`;
    if (drawn !== wanted) {
      drawn = wanted;
      const steps = Array.from({ length: ACROSS }, (_, n) => (n / (ACROSS - 1) - 0.5) * 2 * SPAN);
      sheet = steps.flatMap((down) => steps.map((right) => at([right, -down])));
    }
    const picture = at(state.along);
    seen = { picture, ...core.measure(picture) };
    show();
  }

  // ---- Pictures

  function drawGrey(context, { height, width, values }, left, top, side) {
    const small = element("canvas", { width, height });
    const image = new ImageData(width, height);
    values.forEach((value, n) =>
      image.data.set([...new Array(3).fill(255 * value), 255], 4 * n),
    );
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, top, side, side);
  }

  function drawMap(context, width) {
    const cell = width / ACROSS;
    const side = cell * (1 - GAP);
    sheet.forEach((picture, n) =>
      drawGrey(
        context,
        picture,
        (n % ACROSS) * cell + (cell - side) / 2,
        Math.floor(n / ACROSS) * cell + (cell - side) / 2,
        side,
      ),
    );
    const spot = (value) => ((value / (2 * SPAN) + 0.5) * (ACROSS - 1) + 0.5) * cell;
    context.strokeStyle = kit.colour("mark");
    context.lineWidth = 3;
    context.strokeRect(
      spot(state.along[0]) - cell / 2 + 1.5,
      spot(-state.along[1]) - cell / 2 + 1.5,
      cell - 3,
      cell - 3,
    );
  }

  function drawLarge(context, width) {
    drawGrey(context, seen.picture, 0, 0, width);
  }

  // ---- What is said

  function show() {
    const place = data.axes
      .map((name, n) => `${name} ${signed(FINE * state.along[n])}`)
      .join(", ");
    const name = data.names[state.condition];
    const measured = `ink ${decimal(seen.ink, 3)}, slant ${decimal(seen.slant, 2)}`;
    condition.input.value = String(state.condition);
    start.input.value = String(state.start);
    sliders.forEach((slider, n) => slider.set(Math.round(FINE * state.along[n])));
    mapWords.replaceChildren(
      element("strong", {}, "The plane"),
      `: ${data.axes[0]} to the right, ${data.axes[1]} upwards`,
    );
    largeWords.replaceChildren(element("strong", {}, "Here"), `: ${place}`);
    measureWords.replaceChildren(element("strong", {}, "Measured"), `: ${measured}`);
    map.describe(
      `${ACROSS} by ${ACROSS} generated pictures, ${name}, from noise ${state.start + 1}; ` +
        `chosen: ${place}.`,
    );
    large.describe(`The generated picture at ${place}, ${name}: ${measured}.`);
    map.paint();
    large.paint();
    kit.publish({
      start: state.start,
      condition: state.condition,
      right: state.along[0].toFixed(1),
      up: state.along[1].toFixed(1),
      ink: seen.ink.toFixed(6),
      slant: seen.slant.toFixed(6),
    });
    kit.announce(`${name}, ${place}: ${measured}.`);
  }

  change({});
}
