// How few pixels and bits still show what a photograph shows, and what a pixel is the mean of.

const core = {
  /** From a stored sRGB value to light, both in [0, 1]. */
  toLight(value) {
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  },

  /** From light to the stored sRGB value. */
  toStored(light) {
    return light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055;
  },

  /** The nearest of the values that so many bits can name. */
  quantize(value, bits) {
    const steps = 2 ** bits - 1;
    return Math.round(value * steps) / steps;
  },

  /** The mean of some stored values: of the numbers as they are, or of the light they stand for. */
  mean(values, kind) {
    const light = kind === "light";
    const sum = values.reduce((total, v) => total + (light ? core.toLight(v) : v), 0);
    return light ? core.toStored(sum / values.length) : sum / values.length;
  },

  /** The values of one block of a channel, when `across` blocks share its width. */
  block(channel, across, row, column) {
    const size = channel.width / across;
    return Array.from({ length: size * size }, (_, at) => {
      const [y, x] = [row * size + Math.floor(at / size), column * size + (at % size)];
      return channel.values[y * channel.width + x];
    });
  },

  /** What is kept of a channel: `across` × `across` means, rounded to so many bits. */
  reduce(channel, across, bits, kind) {
    const values = Array.from({ length: across * across }, (_, at) => {
      const place = [Math.floor(at / across), at % across];
      return core.quantize(core.mean(core.block(channel, across, ...place), kind), bits);
    });
    return { height: across, width: across, values };
  },

  /** Row and column of the block whose two means differ most. */
  liveliest(channels, across) {
    const apart = ([row, column]) =>
      channels.reduce((sum, channel) => {
        const values = core.block(channel, across, row, column);
        return sum + Math.abs(core.mean(values, "light") - core.mean(values, "numbers"));
      }, 0);
    const places = Array.from({ length: across * across }, (_, at) => [
      Math.floor(at / across),
      at % across,
    ]);
    const gains = places.map(apart);
    return places[gains.indexOf(Math.max(...gains))];
  },

  /** Peak signal-to-noise ratio in decibels, each kept pixel spread over its block again. */
  psnr(channels, kept) {
    let sum = 0;
    let count = 0;
    channels.forEach((channel, c) => {
      const size = channel.width / kept[c].width;
      channel.values.forEach((value, at) => {
        const [y, x] = [Math.floor(at / channel.width), at % channel.width];
        const place = Math.floor(y / size) * kept[c].width + Math.floor(x / size);
        sum += (value - kept[c].values[place]) ** 2;
        count += 1;
      });
    });
    return 10 * Math.log10(count / sum);
  },

  /** The whole numbers that divide `n`, from 1 to n. */
  divisors(n) {
    return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
  },
};

const KINDS = [
  ["light", "light"],
  ["numbers", "numbers"],
];

function build(kit, data) {
  const photos = data.photos.map(({ name, channels }) => ({
    name,
    channels: channels.map(decodeImage),
  }));
  const side = photos[0].channels[0].width;
  const counts = core.divisors(side);
  const state = { photo: 0, step: 4, bits: 8, kind: "light", shown: false, row: 2, column: 3 };
  let kept = null; // three channels of across × across values

  const across = () => counts[state.step];
  const channels = () => photos[state.photo].channels;

  const photo = kit.choice(
    "Photograph",
    photos.map(({ name }, at) => [at, name]),
    (value) => {
      state.photo = Number(value);
      choose(...core.liveliest(channels(), across()));
    },
  );
  const pixels = kit.slider(
    "Pixels across",
    { min: 0, max: counts.length - 1, say: (at) => String(counts[at]) },
    (at) => {
      // The chosen pixel stays where it is in the photograph.
      const [y, x] = [state.row, state.column].map((place) => (place + 0.5) / across());
      state.step = at;
      state.row = Math.floor(y * across());
      state.column = Math.floor(x * across());
      recompute();
    },
  );
  const bits = kit.slider("Bits a channel", { min: 1, max: 8 }, (value) => {
    state.bits = value;
    recompute();
  });
  const kind = kit.choice("Average the", KINDS, (value) => {
    state.kind = value;
    recompute();
  });
  const whole = kit.checkbox("show the photograph itself", (checked) => {
    state.shown = checked;
    recompute();
  });

  const picture = kit.canvas(1, drawPicture, {
    key,
    touch: (x, y) => choose(Math.floor(y * across()), Math.floor(x * across())),
  });
  const near = kit.canvas(1, drawNear);
  const pictureCaption = element("p", { class: "caption" });
  const nearCaption = element("p", { class: "caption" });
  const means = element("p", { class: "caption" });

  kit.body.append(
    element(
      "div",
      { class: "controls" },
      photos.length > 1 ? photo.node : "",
      pixels.node,
      bits.node,
      kind.node,
      whole.node,
    ),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, pictureCaption, picture.node),
      element("div", { class: "panel" }, nearCaption, near.node, means),
    ),
  );

  function choose(row, column) {
    state.row = clamp(row, 0, across() - 1);
    state.column = clamp(column, 0, across() - 1);
    recompute();
  }

  function key(name) {
    const { row, column } = state;
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
    };
    if (!(name in moves)) return false;
    choose(...moves[name]);
    return true;
  }

  function recompute() {
    kept = channels().map((channel) =>
      core.reduce(channel, across(), state.bits, state.kind),
    );
    show();
  }

  /** The mean of the chosen block in each channel, before it is rounded. */
  function meanOf(which) {
    return channels().map((channel) =>
      core.mean(core.block(channel, across(), state.row, state.column), which),
    );
  }

  // ---- Pictures

  const colour = (values) => `rgb(${values.map((v) => Math.round(255 * clamp(v, 0, 1)))})`;

  /** Paint a square part of a picture over a square of the canvas. */
  function paint(context, source, [row, column, count], [left, top, length]) {
    const edge = (at) => Math.round((at * length) / count);
    for (let y = 0; y < count; y++) {
      for (let x = 0; x < count; x++) {
        const at = (row + y) * source[0].width + column + x;
        context.fillStyle = colour(source.map((channel) => channel.values[at]));
        context.fillRect(
          left + edge(x),
          top + edge(y),
          edge(x + 1) - edge(x),
          edge(y + 1) - edge(y),
        );
      }
    }
  }

  function drawPicture(context, width) {
    const source = state.shown ? channels() : kept;
    paint(context, source, [0, 0, source[0].width], [0, 0, width]);
    const cell = width / across();
    for (const [ink, line] of [
      ["#000000", 4],
      ["#ffffff", 2],
    ]) {
      context.strokeStyle = ink;
      context.lineWidth = line;
      context.strokeRect(state.column * cell, state.row * cell, cell, cell);
    }
  }

  function drawNear(context, width) {
    const size = side / across();
    const half = width / 2;
    const gap = 6;
    context.fillStyle = kit.colour("soft");
    context.fillRect(0, 0, width, width);
    const length = half - gap;
    paint(
      context,
      channels(),
      [state.row * size, state.column * size, size],
      [Math.round(gap / 2 + half / 2), gap / 2, Math.floor(length)],
    );
    for (const [at, which] of ["numbers", "light"].entries()) {
      context.fillStyle = colour(meanOf(which));
      context.fillRect(gap / 2 + at * half, half + gap / 2, length, length - 22);
      context.fillStyle = kit.colour("ink");
      context.font = "13px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText(`mean of ${which}`, gap / 2 + at * half + length / 2, width - 8);
    }
  }

  // ---- What is shown

  function show() {
    const n = across();
    const size = side / n;
    const spent = n * n * 3 * state.bits;
    const full = side * side * 24;
    const percent = (100 * spent) / full;
    const digits = percent < 0.1 ? 2 : percent < 10 ? 1 : 0;
    const ratio = core.psnr(channels(), kept);
    const said = Number.isFinite(ratio) ? `${decimal(ratio, 1)} dB` : "no error";
    const bytes = (which) => meanOf(which).map((v) => Math.round(255 * v));
    const [numbers, light] = [bytes("numbers"), bytes("light")];
    const name = photos[state.photo].name;
    photo.input.value = state.photo;
    pixels.set(state.step);
    bits.set(state.bits);
    kind.input.value = state.kind;
    whole.input.checked = state.shown;
    pictureCaption.replaceChildren(
      element("strong", {}, state.shown ? "The photograph" : "What is kept"),
      state.shown
        ? ` ${side} × ${side} pixels, 24 bits each`
        : ` ${n} × ${n} pixels, ${3 * state.bits} bits each`,
    );
    nearCaption.replaceChildren(
      element("strong", {}, "One pixel from near"),
      ` its block of ${size} × ${size} in the photograph, and two means`,
    );
    const mark = (values, which) =>
      state.kind === which ? element("strong", {}, values.join(", ")) : values.join(", ");
    means.replaceChildren(
      "Red, green, blue. Mean of numbers: ",
      mark(numbers, "numbers"),
      ". Mean of light: ",
      mark(light, "light"),
      ".",
    );
    picture.describe(
      `${state.shown ? "The photograph" : `${name} as ${n} by ${n} squares of colour`}, ` +
        `with the pixel in row ${state.row}, column ${state.column} outlined.`,
    );
    near.describe(
      `A block of ${size} by ${size} pixels, and two squares: the mean of its numbers, ` +
        `${numbers.join(", ")}, and of its light, ${light.join(", ")}.`,
    );
    for (const canvas of [picture, near]) canvas.paint();
    kit.publish({
      photo: state.photo,
      across: n,
      bits: state.bits,
      average: state.kind,
      shown: state.shown,
      row: state.row,
      column: state.column,
      spent,
      psnr: decimal(ratio, 2),
      numbers: numbers.join(","),
      light: light.join(","),
    });
    kit.announce(
      `${grouped(spent)} bits, ${decimal(percent, digits)}\u00a0% ` +
        `of the photograph’s ${grouped(full)}. Against it: ${said}. The outlined pixel, in row ` +
        `${state.row} and column ${state.column}, stands for ${size} × ${size}.`,
    );
  }

  recompute();
}
