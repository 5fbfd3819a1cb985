// Which edges of a photograph survive when it is looked at through wider and wider filters.

const core = {
  /** Taps of a sampled Gaussian, cut at 3σ, that sum to 1. */
  gaussian(sigma) {
    const radius = Math.max(1, Math.ceil(3 * sigma));
    const taps = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
      Math.exp(-0.5 * ((i - radius) / sigma) ** 2),
    );
    const sum = taps.reduce((total, tap) => total + tap, 0);
    return taps.map((tap) => tap / sum);
  },

  /** Taps of its derivative, times σ: a ramp that climbs by 1 a pixel answers σ. */
  derivative(sigma) {
    const smooth = core.gaussian(sigma);
    const radius = (smooth.length - 1) / 2;
    const taps = smooth.map((tap, i) => tap * (i - radius));
    const slope = taps.reduce((total, tap, i) => total + tap * (i - radius), 0);
    return taps.map((tap) => (sigma * tap) / slope);
  },

  /** Filter across, then down, at every stride-th pixel; the border's pixels repeat outwards. */
  separable(image, across, down, stride) {
    const { height, width, values } = image;
    const [outHeight, outWidth] = [Math.ceil(height / stride), Math.ceil(width / stride)];
    const between = new Float64Array(height * outWidth);
    const out = new Float64Array(outHeight * outWidth);
    let radius = (across.length - 1) / 2;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < outWidth; x++) {
        let sum = 0;
        for (let i = 0; i < across.length; i++) {
          sum += across[i] * values[y * width + clamp(x * stride + i - radius, 0, width - 1)];
        }
        between[y * outWidth + x] = sum;
      }
    }
    radius = (down.length - 1) / 2;
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++) {
        let sum = 0;
        for (let i = 0; i < down.length; i++) {
          sum += down[i] * between[clamp(y * stride + i - radius, 0, height - 1) * outWidth + x];
        }
        out[y * outWidth + x] = sum;
      }
    }
    return { height: outHeight, width: outWidth, values: out };
  },

  /** Multiplications of one filter with `taps` × `taps` weights: at once, and as two passes. */
  multiplications(height, width, taps, stride) {
    const [outHeight, outWidth] = [Math.ceil(height / stride), Math.ceil(width / stride)];
    return {
      full: outHeight * outWidth * taps ** 2,
      separable: taps * outWidth * (height + outHeight),
    };
  },

  /** Pixels whose gradient is at least `threshold` and no smaller than before and behind it. */
  edges(across, down, threshold) {
    const { height, width } = across;
    const strength = across.values.map((value, at) => Math.hypot(value, down.values[at]));
    const at = (y, x) =>
      y < 0 || y >= height || x < 0 || x >= width ? 0 : strength[y * width + x];
    return Uint8Array.from(strength, (own, place) => {
      if (own < threshold) return 0;
      const [y, x] = [Math.floor(place / width), place % width];
      // The nearest of the eight neighbours along the gradient.
      const turn = Math.round(Math.atan2(down.values[place], across.values[place]) / (Math.PI / 4));
      const [dx, dy] = [
        Math.round(Math.cos((turn * Math.PI) / 4)),
        Math.round(Math.sin((turn * Math.PI) / 4)),
      ];
      return own > at(y - dy, x - dx) && own >= at(y + dy, x + dx) ? 1 : 0;
    });
  },

  /** The edges along one row, as [x, signed strength] pairs. */
  rowEdges(image, row, sigma, threshold) {
    const smooth = core.gaussian(sigma);
    const radius = (smooth.length - 1) / 2;
    const { height, width, values } = image;
    const line = Float64Array.from({ length: width }, (_, x) =>
      smooth.reduce(
        (sum, tap, i) => sum + tap * values[clamp(row + i - radius, 0, height - 1) * width + x],
        0,
      ),
    );
    const slope = core.separable(
      { height: 1, width, values: line },
      core.derivative(sigma),
      [1],
      1,
    ).values;
    const size = (x) => Math.abs(slope[x] ?? 0);
    const found = [];
    for (let x = 0; x < width; x++) {
      if (size(x) >= threshold && size(x) > size(x - 1) && size(x) >= size(x + 1))
        found.push([x, slope[x]]);
    }
    return found;
  },
};

const STEPS = 48; // of the σ slider, from LEAST to MOST in equal ratios
const [LEAST, MOST] = [0.5, 8];
const STRIDES = [1, 2, 4, 8];
const THRESHOLD = 0.04; // of the range black to white, after the factor σ
const PLOT = 0.92; // of the diagram's height; the rest shows the row itself
const MARGIN = 44; // left of the diagram: room for its labels
const VIEWS = {
  smooth: "smoothed",
  across: "change across",
  down: "change down",
  strength: "edge strength",
};

function build(kit, data) {
  const image = decodeImage(data.image);
  const sigmaAt = (step) => LEAST * (MOST / LEAST) ** (step / STEPS);
  const state = { step: 16, stride: 0, view: "across", row: busiestRow() };
  let shown = null; // the filter's output
  let edges = null; // { height, width, marks }
  let print = null; // for every σ, the edges along the row

  const sigma = kit.slider(
    "Scale σ",
    { min: 0, max: STEPS, say: (step) => `${decimal(sigmaAt(step), 2)} px` },
    (step) => {
      state.step = step;
      recompute();
    },
  );
  const stride = kit.slider(
    "Stride",
    { min: 0, max: STRIDES.length - 1, say: (at) => String(STRIDES[at]) },
    (at) => {
      state.stride = at;
      recompute();
    },
  );
  const view = kit.choice("Show", Object.entries(VIEWS), (value) => {
    state.view = value;
    recompute();
  });
  const row = kit.slider("Row", { min: 0, max: image.height - 1 }, setRow);

  const photo = kit.canvas(image.width / image.height, drawPhoto, {
    touch: (x, y) => setRow(Math.floor(y * image.height)),
    key,
  });
  const response = kit.canvas(image.width / image.height, drawResponse);
  const fingerprint = kit.canvas(3, drawFingerprint, {
    key,
    touch(x, y) {
      state.step = clamp(Math.round((1 - y / PLOT) * STEPS), 0, STEPS);
      recompute();
    },
  });
  const photoCaption = element("p", { class: "caption" });
  const responseCaption = element("p", { class: "caption" });
  const printCaption = element("p", { class: "caption" });
  const cost = element("p", { class: "caption" });

  kit.body.append(
    element("div", { class: "controls" }, sigma.node, stride.node, view.node, row.node),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, photoCaption, photo.node),
      element("div", { class: "panel" }, responseCaption, response.node),
    ),
    element(
      "p",
      { class: "caption" },
      "An edge is an output whose strength, σ times the change of grey per pixel (0 is black, " +
        `1 is white), is at least ${THRESHOLD} and a maximum across the edge.`,
    ),
    element("div", { class: "panel" }, printCaption, fingerprint.node),
    cost,
  );

  /** The row with the most edges at σ = 1: the one with the most to lose. */
  function busiestRow() {
    const counts = Array.from(
      { length: image.height },
      (_, at) => core.rowEdges(image, at, 1, THRESHOLD).length,
    );
    return counts.indexOf(Math.max(...counts));
  }

  function setRow(value) {
    state.row = clamp(value, 0, image.height - 1);
    recompute();
  }

  function key(name) {
    if (name === "ArrowUp" || name === "ArrowDown")
      setRow(state.row + (name === "ArrowUp" ? -1 : 1));
    else if (name === "ArrowLeft" || name === "ArrowRight") {
      state.step = clamp(state.step + (name === "ArrowLeft" ? -1 : 1), 0, STEPS);
      recompute();
    } else return false;
    return true;
  }

  function recompute() {
    const scale = sigmaAt(state.step);
    const every = STRIDES[state.stride];
    const [smooth, slope] = [core.gaussian(scale), core.derivative(scale)];
    const across = core.separable(image, slope, smooth, every);
    const down = core.separable(image, smooth, slope, every);
    const strength = {
      ...across,
      values: across.values.map((value, at) => Math.hypot(value, down.values[at])),
    };
    shown = { across, down, strength }[state.view] ?? core.separable(image, smooth, smooth, every);
    edges = {
      height: across.height,
      width: across.width,
      marks: core.edges(across, down, THRESHOLD),
    };
    if (print?.row !== state.row) {
      const levels = Array.from({ length: STEPS + 1 }, (_, step) =>
        core.rowEdges(image, state.row, sigmaAt(step), THRESHOLD),
      );
      print = { row: state.row, levels };
    }
    show(scale, every, smooth.length);
  }

  // ---- Pictures

  const grey = (value) => blend([0, 0, 0], [255, 255, 255], clamp(value, 0, 1));

  /** Fill a grid of values, each over `stride` × `stride` pixels of the picture. */
  function drawGrid(context, width, grid, paint) {
    const cell = (width / image.width) * STRIDES[state.stride];
    const edge = (at) => Math.round(at * cell);
    for (let y = 0; y < grid.height; y++) {
      for (let x = 0; x < grid.width; x++) {
        const colour = paint(y * grid.width + x);
        if (colour === null) continue;
        context.fillStyle = colour;
        context.fillRect(edge(x), edge(y), edge(x + 1) - edge(x), edge(y + 1) - edge(y));
      }
    }
  }

  function drawPhoto(context, width, height) {
    const small = element("canvas", { width: image.width, height: image.height });
    const pixels = new ImageData(image.width, image.height);
    image.values.forEach((value, at) =>
      pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at),
    );
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
    drawGrid(context, width, edges, (at) => (edges.marks[at] ? "#e69f00" : null));
    const cell = height / image.height;
    for (const [colour, line] of [
      ["#000000", 3.5],
      ["#ffffff", 1.5],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      context.moveTo(0, (state.row + 0.5) * cell);
      context.lineTo(width, (state.row + 0.5) * cell);
      context.stroke();
    }
  }

  function drawResponse(context, width) {
    const signed = state.view === "across" || state.view === "down";
    const most = shown.values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
    const colour = kit.diverging(most);
    const paint = signed
      ? colour
      : state.view === "smooth"
        ? grey
        : (value) => grey(value / (most || 1));
    drawGrid(context, width, shown, (at) => `rgb(${paint(shown.values[at])})`);
  }

  function drawFingerprint(context, width, height) {
    const cell = (width - MARGIN) / image.width;
    const bottom = PLOT * height;
    const tall = bottom / (STEPS + 1);
    context.fillStyle = kit.colour("soft");
    context.fillRect(MARGIN, 0, width - MARGIN, bottom);
    for (let x = 0; x < image.width; x++) {
      context.fillStyle = `rgb(${grey(image.values[state.row * image.width + x])})`;
      context.fillRect(Math.round(MARGIN + x * cell), bottom, Math.ceil(cell), height - bottom);
    }
    print.levels.forEach((found, step) => {
      const [top, under] = [
        Math.floor((STEPS - step) * tall),
        Math.floor((STEPS - step + 1) * tall),
      ];
      for (const [x, strength] of found) {
        context.fillStyle = kit.colour(strength < 0 ? "negative" : "positive");
        context.fillRect(MARGIN + x * cell, top, Math.max(cell, 2), under - top);
      }
    });
    context.strokeStyle = kit.colour("ink");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(MARGIN, (STEPS - state.step + 0.5) * tall);
    context.lineTo(width, (STEPS - state.step + 0.5) * tall);
    context.stroke();
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = kit.colour("ink");
    for (const mark of [1, 2, 4]) {
      const y = (1 - Math.log(mark / LEAST) / Math.log(MOST / LEAST)) * (bottom - tall) + tall / 2;
      context.fillText(`σ = ${mark}`, 0, y + 4);
    }
  }

  // ---- What is shown

  function show(scale, every, taps) {
    const { full, separable } = core.multiplications(image.height, image.width, taps, every);
    const count = edges.marks.reduce((sum, mark) => sum + mark, 0);
    const along = print.levels[state.step].length;
    const width = decimal(scale, 2);
    const share = `${grouped(count)} of ${grouped(edges.marks.length)}`;
    sigma.set(state.step);
    stride.set(state.stride);
    row.set(state.row);
    view.input.value = state.view;
    photoCaption.replaceChildren(
      element("strong", {}, share),
      " outputs are edges",
    );
    responseCaption.replaceChildren(
      element("strong", {}, "Filter’s output"),
      ` ${shown.height} × ${shown.width}, ${VIEWS[state.view]}`,
    );
    printCaption.replaceChildren(
      element("strong", {}, `Edges along row ${state.row}, at every scale`),
      ": stride 1, by the change across alone; fine at the bottom, coarse at the top; " +
        "brighter to the right in orange, darker in blue",
    );
    cost.replaceChildren(
      `One filter has ${taps} × ${taps} weights. ` +
        `In one pass: ${grouped(full)} multiplications; in two passes: `,
      element("strong", {}, grouped(separable)),
      `, ${decimal((100 * separable) / full, 0)}\u00a0% of that.`,
    );
    photo.describe(
      `Photograph with the edges at σ = ${width} and stride ${every} marked, ${share} outputs, ` +
        `and a line along row ${state.row}.`,
    );
    response.describe(
      `The filter's output, ${VIEWS[state.view]}, at σ = ${width} and stride ${every}.`,
    );
    fingerprint.describe(
      `Where row ${state.row} has edges at stride 1, for every scale; ${along} at σ = ${width}.`,
    );
    for (const picture of [photo, response, fingerprint]) picture.paint();
    kit.publish({
      sigma: width,
      stride: every,
      view: state.view,
      row: state.row,
      taps,
      edges: count,
      along,
      full,
      separable,
    });
    kit.announce(
      `At σ = ${width} and stride ${every}, ${share} outputs are edges. ` +
        `Row ${state.row} has ${along} at stride 1, by the change across alone.`,
    );
  }

  recompute();
}
