// A picture moves under the windows of a pooling: does the output glide along, or jump?

const core = {
  /** The largest number, or the mean, of every k × k window, at every place. */
  windows(image, kind, k) {
    const [height, width] = [image.height - k + 1, image.width - k + 1];
    const values = new Float64Array(height * width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let result = kind === "maximum" ? -Infinity : 0;
        for (let i = 0; i < k; i++) {
          for (let j = 0; j < k; j++) {
            const pixel = image.values[(y + i) * image.width + x + j];
            result = kind === "maximum" ? Math.max(result, pixel) : result + pixel / k ** 2;
          }
        }
        values[y * width + x] = result;
      }
    }
    return { height, width, values };
  },

  /** Binomial weights: a row of Pascal's triangle that sums to 1. */
  binomial(taps) {
    let row = [1];
    while (row.length < taps) {
      row = [...row, 0].map((value, i) => (value + (row[i - 1] ?? 0)) / 2);
    }
    return row;
  },

  /** Smooth along both axes; the picture is mirrored at its borders. */
  blur(image, taps) {
    const weights = core.binomial(taps);
    const { height, width } = image;
    const before = Math.floor((taps - 1) / 2);
    const mirrored = (at, length) =>
      at < 0 ? -at : at >= length ? 2 * (length - 1) - at : at;
    const pass = (values, place) => {
      const out = new Float64Array(height * width);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          for (let i = 0; i < taps; i++) {
            out[y * width + x] += weights[i] * values[place(y, x, i - before)];
          }
        }
      }
      return out;
    };
    const across = pass(image.values, (y, x, i) => y * width + mirrored(x + i, width));
    const values = pass(across, (y, x, i) => mirrored(y + i, height) * width + x);
    return { height, width, values };
  },

  /** The operation at every place of the whole picture: what a stride then picks from. */
  dense(image, { kind, kernel, taps }) {
    return core.blur(core.windows(image, kind, kernel), taps);
  },

  /** What a stride keeps: `columns` outputs a row, the first at column `from`. */
  sample(dense, stride, from, columns) {
    const height = Math.ceil(dense.height / stride);
    const values = new Float64Array(height * columns);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < columns; x++) {
        values[y * columns + x] = dense.values[y * stride * dense.width + x * stride + from];
      }
    }
    return { height, width: columns, values };
  },

  /**
   * For every move t to the right: how far the output is from the unmoved one, glided along by
   * t / stride pixels; the root of the mean square, over the unmoved output's standard deviation.
   * At first the view begins at column `moves`; the unmoved output goes on to the left of it.
   */
  jumps(image, settings, moves) {
    const { kernel, taps, stride } = settings;
    const dense = core.dense(image, settings);
    const first = moves % stride;
    const all = Math.floor((dense.width - 1 - first) / stride) + 1;
    const still = core.sample(dense, stride, first, all);
    const mean = still.values.reduce((sum, value) => sum + value, 0) / still.values.length;
    const spread = Math.sqrt(
      still.values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / still.values.length,
    );
    const margin = Math.ceil(taps / 2 / stride) + 1; // outputs that the mirror reaches, and one
    const columns = core.columns(image.width - moves, kernel, stride);
    return Array.from({ length: moves + 1 }, (_, t) => {
      const place = moves - t - first; // in pixels, from the first of the unmoved outputs
      const whole = Math.floor(place / stride);
      const part = place / stride - whole;
      const moved = core.sample(dense, stride, moves - t, columns);
      let [sum, count] = [0, 0];
      for (let y = 0; y < still.height; y++) {
        for (let x = margin; x < columns - margin; x++) {
          const at = y * all + x + whole;
          const next = part > 0 ? still.values[at + 1] : 0;
          const glided = (1 - part) * still.values[at] + part * next;
          sum += (moved.values[y * columns + x] - glided) ** 2;
          count += 1;
        }
      }
      return spread > 0 ? Math.sqrt(sum / count) / spread : 0;
    });
  },

  /** How many windows stand side by side in a view of that width. */
  columns(width, kernel, stride) {
    return Math.floor((width - kernel) / stride) + 1;
  },
};

const KINDS = { maximum: "maximum", average: "average" };
const STRIDES = [1, 4];
const KERNELS = [1, 4];
const TAPS = [1, 7];
const MARGIN = 40; // left of the curve: room for its labels
const FOOT = 20; // under it: room for the numbers of the moves
const PACE = 450; // milliseconds from one move to the next

function build(kit, data) {
  const image = decodeImage(data.image);
  const view = { height: image.height, width: image.width - data.moves };
  const state = { kind: "maximum", kernel: 2, taps: 1, stride: 2, move: 0 };
  const plain = { kind: "maximum", kernel: 1, taps: 1 }; // single pixels, to compare with
  const worst = Math.max(...core.jumps(image, { ...plain, stride: STRIDES[1] }, data.moves));
  const top = Math.max(0.1, Math.ceil(worst * 10) / 10); // one scale for all settings
  let dense = null;
  let jumps = [];
  let plainJumps = [];
  let timer = null;

  const kind = kit.choice("Keep", Object.entries(KINDS), (value) => change({ kind: value }));
  const kernel = kit.slider(
    "Window",
    { min: KERNELS[0], max: KERNELS[1], say: (k) => `${k} × ${k}` },
    (value) => change({ kernel: value }),
  );
  const taps = kit.slider(
    "Blur after it",
    { min: TAPS[0], max: TAPS[1], say: (n) => (n === 1 ? "none" : `${n} taps`) },
    (value) => change({ taps: value }),
  );
  const stride = kit.slider("Stride", { min: STRIDES[0], max: STRIDES[1] }, (value) =>
    change({ stride: value }),
  );
  const move = kit.slider("Move", { min: 0, max: data.moves, say: (t) => `${t} px` }, (value) =>
    moveTo(value),
  );
  const play = kit.button("Play", () => (timer === null ? start() : stop()), { class: "primary" });

  const seen = kit.canvas(view.width / view.height, drawSeen, { key, touch: drag });
  const made = kit.canvas(view.width / view.height, drawMade, { key, touch: drag });
  let grip = null; // where a drag began, and at which move
  for (const { node } of [seen, made])
    node.addEventListener("pointerdown", () => (grip = null), { capture: true });
  const curve = kit.canvas(2.8, drawCurve, {
    key,
    touch(x) {
      const width = curve.node.clientWidth;
      moveTo(((x * width - MARGIN) / (width - MARGIN - 8)) * data.moves);
    },
  });
  const seenCaption = element("p", { class: "caption" });
  const madeCaption = element("p", { class: "caption" });
  const curveCaption = element("p", { class: "caption" });

  kit.body.append(
    element("div", { class: "controls" }, kind.node, kernel.node, taps.node, stride.node),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, seenCaption, seen.node),
      element("div", { class: "panel" }, madeCaption, made.node),
    ),
    element("div", { class: "controls" }, move.node, element("div", { class: "buttons" }, play)),
    element("div", { class: "panel" }, curveCaption, curve.node),
  );

  function start() {
    if (state.move === data.moves) state.move = 0;
    timer = setInterval(() => {
      if (!kit.host.isConnected || state.move === data.moves) stop();
      else {
        state.move += 1;
        show();
      }
    }, PACE);
    show();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    show();
  }

  function moveTo(value) {
    state.move = clamp(Math.round(value), 0, data.moves);
    if (timer === null) show();
    else stop();
  }

  /** The picture follows the pointer, from wherever it was taken. */
  function drag(x) {
    grip ??= { x, move: state.move };
    moveTo(grip.move + (x - grip.x) * view.width);
  }

  function key(name) {
    if (name === "ArrowLeft" || name === "ArrowRight")
      moveTo(state.move + (name === "ArrowLeft" ? -1 : 1));
    else if (name === "ArrowUp" || name === "ArrowDown")
      change({
        stride: clamp(state.stride + (name === "ArrowUp" ? 1 : -1), STRIDES[0], STRIDES[1]),
      });
    else return false;
    return true;
  }

  function change(settings) {
    Object.assign(state, settings);
    dense = core.dense(image, state);
    jumps = core.jumps(image, state, data.moves);
    plainJumps = core.jumps(image, { ...plain, stride: state.stride }, data.moves);
    show();
  }

  const output = () =>
    core.sample(
      dense,
      state.stride,
      data.moves - state.move,
      core.columns(view.width, state.kernel, state.stride),
    );

  // ---- Pictures

  /** Fill the canvas with `height` × `width` grey values, sharp-edged. */
  function drawGrey(context, shownWidth, shownHeight, { height, width }, value) {
    const small = element("canvas", { width, height });
    const pixels = new ImageData(width, height);
    for (let at = 0; at < height * width; at++) {
      const grey = 255 * clamp(value(Math.floor(at / width), at % width), 0, 1);
      pixels.data.set([grey, grey, grey, 255], 4 * at);
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, shownWidth, shownHeight);
  }

  function drawSeen(context, width, height) {
    drawGrey(
      context,
      width,
      height,
      view,
      (y, x) => image.values[y * image.width + x + data.moves - state.move],
    );
  }

  function drawMade(context, width, height) {
    const out = output();
    drawGrey(context, width, height, out, (y, x) => out.values[y * out.width + x]);
  }

  function drawCurve(context, width, height) {
    const bottom = height - FOOT;
    const across = (t) => MARGIN + (t / data.moves) * (width - MARGIN - 8);
    const down = (jump) => bottom - (jump / top) * (bottom - 8);
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = kit.colour("quiet");
    context.strokeStyle = kit.colour("line");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      context.beginPath();
      context.moveTo(MARGIN, down(share * top));
      context.lineTo(width, down(share * top));
      context.stroke();
      context.textAlign = "right";
      context.fillText(
        `${decimal(100 * share * top, 0)} %`,
        MARGIN - 6,
        clamp(down(share * top), 8, bottom),
      );
    }
    context.textAlign = "center";
    for (let t = 0; t <= data.moves; t += 4) context.fillText(String(t), across(t), height - 8);

    const trace = (values, colour, dashes, line) => {
      context.strokeStyle = kit.colour(colour);
      context.lineWidth = line;
      context.setLineDash(dashes);
      context.beginPath();
      values.forEach((jump, t) => context.lineTo(across(t), down(jump)));
      context.stroke();
      context.setLineDash([]);
    };
    trace(plainJumps, "edge", [5, 4], 1.5);
    trace(jumps, "accent", [], 2);
    jumps.forEach((jump, t) => {
      context.fillStyle = kit.colour(t === state.move ? "mark" : "accent");
      context.beginPath();
      context.arc(across(t), down(jump), t === state.move ? 6 : 3, 0, 2 * Math.PI);
      context.fill();
    });
  }

  // ---- What is shown

  function show() {
    const out = output();
    const jump = `${decimal(100 * jumps[state.move], 1)} %`;
    const blur = state.taps === 1 ? "" : `, blur of ${state.taps} taps`;
    const what = `${KINDS[state.kind]} of ${state.kernel} × ${state.kernel}${blur}`;
    kind.input.value = state.kind;
    kernel.set(state.kernel);
    taps.set(state.taps);
    stride.set(state.stride);
    move.set(state.move);
    play.textContent = timer === null ? "Play" : "Pause";
    seenCaption.replaceChildren(
      element("strong", {}, "Picture"),
      ` ${view.height} × ${view.width}, moved right by ${state.move} px`,
    );
    madeCaption.replaceChildren(
      element("strong", {}, "Output"),
      ` ${out.height} × ${out.width}, stride ${state.stride}`,
    );
    curveCaption.replaceChildren(
      element("strong", {}, `Jump at ${state.move} px: ${jump}`),
      " of the output’s contrast (dashed: single pixels, stride " +
        `${state.stride}); 0 if the output glides`,
    );
    seen.describe(
      `The photograph, ${view.height} × ${view.width} pixels, moved right by ${state.move}.`,
    );
    made.describe(
      `The output, ${what}, stride ${state.stride}: ${out.height} × ${out.width} numbers, ` +
        `for a move of ${state.move} pixels.`,
    );
    const zeros = jumps.flatMap((value, t) => (value < 1e-9 ? [t] : []));
    const zero =
      zeros.length === jumps.length ? "every move" : `moves of ${zeros.join(", ")} pixels`;
    curve.describe(
      `Jump over the move: 0 at ${zero}; at most ` +
        `${decimal(100 * Math.max(...jumps), 1)} %; at ${state.move} pixels ${jump}.`,
    );
    for (const picture of [seen, made, curve]) picture.paint();
    kit.publish({
      ...state,
      jump: decimal(100 * jumps[state.move], 1),
      most: decimal(100 * Math.max(...jumps), 1),
      height: out.height,
      width: out.width,
      playing: timer === null ? "no" : "yes",
    });
    kit.announce(
      `Moved right by ${state.move}: the output is ${jump} of its contrast away from gliding.`,
    );
  }

  change({});
}
