// Step a kernel over a photograph: the window, the products, their sum, the growing output.

const core = {
  /** ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1 */
  outputSize(size, kernel, stride, padding, dilation) {
    return Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  },

  /** The kernel turned by half a turn: what true convolution lays on the image. */
  flip(kernel) {
    return { ...kernel, numerators: [...kernel.numerators].reverse() };
  },

  /** The k² places of the image under the kernel, row by row; a place outside holds 0. */
  windowAt(image, size, row, column, { stride, padding, dilation }) {
    const taps = [];
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const y = row * stride - padding + i * dilation;
        const x = column * stride - padding + j * dilation;
        const inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
        taps.push({ y, x, inside, value: inside ? image.values[y * image.width + x] : 0 });
      }
    }
    return taps;
  },

  /** One output value: the sum of the products, before and after the division. */
  respond(taps, kernel) {
    const products = taps.map((tap, i) => tap.value * kernel.numerators[i]);
    const sum = products.reduce((total, product) => total + product, 0);
    return { products, sum, result: sum / kernel.divisor };
  },

  /** The whole output, by cross-correlation, as in PyTorch. */
  conv2d(image, kernel, settings) {
    const { stride, padding, dilation } = settings;
    const extent = (n) => core.outputSize(n, kernel.size, stride, padding, dilation);
    const [height, width] = [extent(image.height), extent(image.width)];
    const values = new Float64Array(height * width);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const taps = core.windowAt(image, kernel.size, row, column, settings);
        values[row * width + column] = core.respond(taps, kernel).result;
      }
    }
    return { height, width, values };
  },

  /** Another size of the same kernel: cut around the centre, or set into zeros. */
  resize(kernel, size) {
    const shift = (kernel.size - size) / 2;
    const numerators = Array.from({ length: size * size }, (_, at) => {
      const [i, j] = [Math.floor(at / size) + shift, (at % size) + shift];
      const inside = i >= 0 && i < kernel.size && j >= 0 && j < kernel.size;
      return inside ? kernel.numerators[i * kernel.size + j] : 0;
    });
    return { ...kernel, size, numerators };
  },

  /** A number in words that `number` reads again: four decimals at most, a true minus sign. */
  written(value) {
    return String(Number(value.toFixed(4))).replaceAll("-", "−");
  },

  /** The number that was typed, to four decimals, with either minus sign; NaN if it is none. */
  number(text) {
    const plain = text.trim().replaceAll("−", "-");
    return plain === "" ? NaN : Number(Number(plain).toFixed(4));
  },
};

const OWN = "your own";
const MARGIN = 2; // cells around the picture: room for the most padding

function build(kit, data) {
  const image = decodeImage(data.image);
  const exact = Number.isInteger(Math.log10(data.image.levels)); // pixels are whole hundredths
  const columns = image.width + 2 * MARGIN;
  const rows = image.height + 2 * MARGIN;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const state = {
    name: "",
    kernel: null,
    flipped: false,
    stride: 1,
    padding: 1,
    dilation: 1,
    at: 0,
    done: 0,
  };
  let output = null; // the whole result, of which the first state.done values are shown
  let centre = []; // of the window, in pixels: where it stays when a setting changes
  let timer = null;

  const sizes = [...new Set(data.kernels.map((kernel) => kernel.size))].sort();
  const applied = () => (state.flipped ? core.flip(state.kernel) : state.kernel);
  const total = () => output.height * output.width;
  const place = () => [Math.floor(state.at / output.width), state.at % output.width];
  const index = (row, column) =>
    clamp(row, 0, output.height - 1) * output.width + clamp(column, 0, output.width - 1);
  // Of the first window, in pixels.
  const middle = () => (state.dilation * (state.kernel.size - 1)) / 2 - state.padding;
  const windowNear = (pixel) => Math.round((pixel - middle()) / state.stride);

  // ---- Controls

  const kernels = kit.choice("Kernel", [], (name) => {
    const chosen = data.kernels.find((k) => k.name === name && k.size === state.kernel.size);
    changeKernel(name, chosen ?? state.kernel);
  });
  const size = kit.choice(
    "Size",
    sizes.map((k) => [k, `${k} × ${k}`]),
    (value) => {
      const wanted = Number(value);
      const named = data.kernels.filter((k) => k.size === wanted);
      const same = named.find((k) => k.name === state.name);
      if (state.name === OWN) changeKernel(OWN, core.resize(state.kernel, wanted));
      else changeKernel((same ?? named[0]).name, same ?? named[0]);
    },
  );
  const setting = (key, min, max) =>
    kit.slider(key[0].toUpperCase() + key.slice(1), { min, max }, (value) => {
      state[key] = value;
      recompute();
    });
  const sliders = {
    stride: setting("stride", 1, 3),
    padding: setting("padding", 0, 2),
    dilation: setting("dilation", 1, 3),
  };
  const flip = kit.checkbox("flip the kernel (true convolution)", (checked) => {
    state.flipped = checked;
    recompute();
  });

  const reset = kit.button("Rewind", () => {
    pause();
    go(0, 1);
  });
  const back = kit.button("Back", () => {
    pause();
    stepBack();
  });
  const step = kit.button(
    "Step",
    () => {
      pause();
      stepOn();
    },
    { class: "primary" },
  );
  const play = kit.button("Play", () => (timer === null ? run() : pause()));
  const finish = kit.button("Run to the end", () => {
    pause();
    go(total() - 1, total());
  });

  // ---- Pictures

  const photo = kit.canvas(columns / rows, drawPhoto, {
    key,
    touch: (x, y) =>
      jump(windowNear(y * rows - MARGIN - 0.5), windowNear(x * columns - MARGIN - 0.5)),
  });
  const result = kit.canvas(columns / rows, drawResult, {
    key,
    touch(x, y) {
      const { top, left } = corner();
      jump(Math.floor(y * rows - top), Math.floor(x * columns - left));
    },
  });
  const photoCaption = element("p", { class: "caption" });
  const resultCaption = element("p", { class: "caption" });
  const ramp = element("div", { class: "ramp" });
  const ends = element("div", { class: "ends" });
  const sizeLine = element("p", { class: "caption" });
  const codeLine = element("code");

  // ---- Arithmetic

  const windowTable = element("tbody");
  const kernelTable = element("tbody");
  const productTable = element("tbody");
  const kernelTitle = element("span");
  const divisor = numberBox({ id: "divisor" });
  const sumLine = element("p", { class: "sum" });
  const quotient = element("span");
  const block = (caption, cells) => element("table", {}, element("caption", {}, caption), cells);
  const joined = (sign, table) =>
    element(
      "div",
      { class: "joined" },
      element("span", { class: "sign", "aria-hidden": "true" }, sign),
      table,
    );

  kit.body.append(
    element("style", {}, STYLE),
    element(
      "div",
      { class: "controls" },
      kernels.node,
      sizes.length > 1 ? size.node : "",
      ...Object.values(sliders).map((s) => s.node),
      flip.node,
    ),
    element("div", { class: "buttons" }, step, back, play, finish, reset),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, photoCaption, photo.node),
      element("div", { class: "panel" }, resultCaption, result.node, ramp, ends),
    ),
    element(
      "div",
      { class: "arithmetic" },
      block("window", windowTable),
      joined("×", block(kernelTitle, kernelTable)),
      joined("=", block("products", productTable)),
    ),
    element(
      "div",
      {},
      sumLine,
      element("p", {}, element("label", { for: "divisor" }, "divide by"), divisor, quotient),
    ),
    element("div", {}, sizeLine, codeLine),
  );

  // ---- What can happen

  function changeKernel(name, kernel) {
    state.name = name;
    state.kernel = kernel;
    recompute();
  }

  /** A box for a number of either sign: `type="number"` would show a hyphen for a minus. */
  function numberBox(attributes) {
    const nudge = (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      event.target.value = core.written(core.number(event.target.value) + by);
      edit();
    };
    return element("input", {
      type: "text",
      class: "number",
      autocomplete: "off",
      onchange: edit,
      onkeydown: nudge,
      ...attributes,
    });
  }

  /** Take the numbers as they stand in the boxes, or put the last good ones back and say why. */
  function edit() {
    const boxes = [...kernelTable.querySelectorAll("input")];
    const numerators = boxes.map((box) => core.number(box.value));
    const by = core.number(divisor.value);
    if (by !== 0 && [...numerators, by].every(Number.isFinite)) {
      const edited = { ...state.kernel, numerators, divisor: by };
      changeKernel(OWN, state.flipped ? core.flip(edited) : edited);
    } else {
      showKernel(applied());
      kit.announce(by === 0 ? "The divisor must not be 0." : "Every box must hold a number.");
    }
  }

  function recompute() {
    const complete = state.done === total();
    output = core.conv2d(image, applied(), state);
    const at = index(...centre.map(windowNear));
    go(at, complete ? total() : at + 1);
  }

  function go(at, done, aloud = true) {
    state.at = at;
    state.done = done;
    centre = place().map((at) => at * state.stride + middle());
    show(aloud);
  }

  function jump(row, column) {
    pause();
    const at = index(row, column);
    go(at, Math.max(state.done, at + 1));
  }

  function stepOn(aloud = true) {
    if (state.at + 1 < total()) go(state.at + 1, Math.max(state.done, state.at + 2), aloud);
  }

  function stepBack() {
    if (state.at > 0) go(state.at - 1, state.done === state.at + 1 ? state.at : state.done);
  }

  function run() {
    if (state.at + 1 === total()) go(0, 1, false);
    timer = setInterval(
      () => {
        if (!kit.host.isConnected) return pause();
        stepOn(false);
        if (state.at + 1 === total()) pause();
      },
      calm.matches ? 700 : 90,
    );
    play.textContent = "Pause";
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    show(true);
  }

  function key(name) {
    const [row, column] = place();
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [0, 0],
      End: [output.height - 1, output.width - 1],
    };
    if (!(name in moves)) return false;
    jump(...moves[name]);
    return true;
  }

  // ---- What is shown

  function digits() {
    return exact && [...state.kernel.numerators, state.kernel.divisor].every(Number.isInteger)
      ? 2
      : 3;
  }

  /** A result in words: a division leaves more digits than the sum had. */
  function said(result) {
    return decimal(result, state.kernel.divisor === 1 ? digits() : 3);
  }

  /** Grey from 0 to what a white picture gives; signed colours where that is near 0 or below. */
  function scale() {
    const { numerators, divisor: by } = state.kernel;
    const white = numerators.reduce((sum, n) => sum + n / by, 0);
    const weight = numerators.reduce((sum, n) => sum + Math.abs(n / by), 0);
    const limit = output.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (white < weight / 10) return { signed: true, limit, paint: kit.diverging(limit) };
    const [black, paper] = [
      [0, 0, 0],
      [255, 255, 255],
    ];
    const [below, above] = [rgb(kit.colour("negative")), rgb(kit.colour("positive"))];
    const paint = (value) => {
      if (value < -1e-9) return blend(black, below, Math.min(0.35 + -value / white, 1));
      if (value > white + 1e-9)
        return blend(paper, above, Math.min(0.35 + (value - white) / white, 1));
      return blend(black, paper, clamp(value / white, 0, 1));
    };
    return { signed: false, limit: white, paint };
  }

  /** Where the output lies on its canvas, in cells: in the middle. */
  function corner() {
    return {
      top: Math.floor((rows - output.height) / 2),
      left: Math.floor((columns - output.width) / 2),
    };
  }

  function drawPhoto(context, width) {
    const cell = width / columns;
    const pad = (MARGIN - state.padding) * cell;
    context.fillStyle = "#000000";
    context.fillRect(pad, pad, width - 2 * pad, rows * cell - 2 * pad);
    hatch(context, pad, pad, width - 2 * pad, rows * cell - 2 * pad, cell);
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < image.width; x++) {
        fillCell(
          context,
          cell,
          y + MARGIN,
          x + MARGIN,
          blend([0, 0, 0], [255, 255, 255], image.values[y * image.width + x]),
        );
      }
    }
    const taps = core.windowAt(image, state.kernel.size, ...place(), state);
    const first = taps[0];
    const span = state.dilation * (state.kernel.size - 1) + 1;
    if (state.dilation > 1) {
      for (const tap of taps) outline(context, cell, tap.y + MARGIN, tap.x + MARGIN, 1, 1.5);
    }
    outline(context, cell, first.y + MARGIN, first.x + MARGIN, span, 2.5);
  }

  function drawResult(context, width) {
    const cell = width / columns;
    const { top, left } = corner();
    context.strokeStyle = kit.colour("edge");
    context.setLineDash([3, 3]);
    context.strokeRect(
      left * cell + 0.5,
      top * cell + 0.5,
      output.width * cell - 1,
      output.height * cell - 1,
    );
    context.setLineDash([]);
    const { paint } = scale();
    for (let at = 0; at < total(); at++) {
      const [y, x] = [top + Math.floor(at / output.width), left + (at % output.width)];
      if (at < state.done) fillCell(context, cell, y, x, paint(output.values[at]));
      else dot(context, cell, y, x);
    }
    const [row, column] = place();
    outline(context, cell, top + row, left + column, 1, 2.5);
  }

  function fillCell(context, cell, row, column, colour) {
    // Whole pixels, so that no seams show between cells.
    const [x, y] = [Math.round(column * cell), Math.round(row * cell)];
    context.fillStyle = `rgb(${colour})`;
    context.fillRect(x, y, Math.round((column + 1) * cell) - x, Math.round((row + 1) * cell) - y);
  }

  function dot(context, cell, row, column) {
    context.fillStyle = kit.colour("edge");
    context.fillRect((column + 0.5) * cell - 0.75, (row + 0.5) * cell - 0.75, 1.5, 1.5);
  }

  function outline(context, cell, row, column, span, weight) {
    for (const [colour, line] of [
      [kit.colour("paper"), weight + 2.5],
      [kit.colour("mark"), weight],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(column * cell, row * cell, span * cell, span * cell);
    }
  }

  function hatch(context, x, y, width, height, cell) {
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.beginPath();
    for (let at = 0; at < width + height; at += cell) {
      context.moveTo(x + at, y);
      context.lineTo(x + at - height, y + height);
    }
    context.strokeStyle = "#8a8a8a";
    context.lineWidth = 1;
    context.stroke();
    context.restore();
  }

  function fillTable(table, values, paint, text) {
    const k = state.kernel.size;
    table.replaceChildren(
      ...Array.from({ length: k }, (_, i) =>
        element(
          "tr",
          {},
          ...values.slice(i * k, (i + 1) * k).map((value, j) => {
            const colour = paint(value, i * k + j);
            return element(
              "td",
              { style: `background: rgb(${colour}); color: ${inkOn(colour)}` },
              text(value),
            );
          }),
        ),
      ),
    );
  }

  function showKernel(kernel) {
    const k = kernel.size;
    if (kernelTable.rows.length !== k) {
      const cell = (i, j) =>
        numberBox({ "aria-label": `weight, row ${i + 1}, column ${j + 1}` });
      kernelTable.replaceChildren(
        ...Array.from({ length: k }, (_, i) =>
          element("tr", {}, ...Array.from({ length: k }, (_, j) => element("td", {}, cell(i, j)))),
        ),
      );
    }
    kernelTable.querySelectorAll("input").forEach((input, at) => {
      input.value = core.written(kernel.numerators[at]);
    });
    divisor.value = core.written(kernel.divisor);
    kernelTitle.textContent = state.flipped ? "kernel, flipped" : "kernel";
  }

  function showSum({ products, sum, result }) {
    const places = digits();
    const signed = products.map((product) =>
      decimal(product, places).replace(/^−?/, (minus) => (minus ? "− " : "+ ")),
    );
    const line = signed.join(" ").replace(/^\+ /, "").replace(/^− /, "−");
    const total = decimal(sum, places);
    const by = state.kernel.divisor;
    sumLine.textContent = `${line} = ${total}`;
    quotient.textContent = by === 1 ? "" : `${total} ÷ ${core.written(by)} = ${said(result)}`;
  }

  function showScale({ signed, limit, paint }) {
    const stops = signed
      ? [-limit, 0, limit]
      : [-limit / 2, -limit / 1000, 0, limit, limit * 1.001, limit * 1.5];
    const [low, high] = [stops[0], stops[stops.length - 1]];
    const at = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
    const colours = stops.map((value) => `rgb(${paint(value)}) ${at(value)}`);
    ramp.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
    const labels = signed ? [-limit, 0, limit] : [-limit / 2, 0, limit, limit * 1.5];
    ends.replaceChildren(...labels.map((value) => element("span", {}, decimal(value, 2))));
  }

  function show(aloud) {
    const kernel = applied();
    const [row, column] = place();
    const taps = core.windowAt(image, kernel.size, row, column, state);
    const response = core.respond(taps, kernel);
    const places = digits();

    const names = data.kernels.filter((k) => k.size === kernel.size).map((k) => k.name);
    kernels.setOptions([...names, OWN].map((name) => [name, name]));
    kernels.input.value = state.name;
    size.input.value = kernel.size;
    for (const [name, slider] of Object.entries(sliders)) slider.set(state[name]);
    flip.input.checked = state.flipped;
    kit.enable(back, state.at > 0);
    kit.enable(step, state.at + 1 < total());
    kit.enable(finish, state.done < total() || state.at + 1 < total());

    const [ph, pw] = [image.height + 2 * state.padding, image.width + 2 * state.padding];
    const padded = state.padding ? `, with its zeros ${ph} × ${pw}` : "";
    photoCaption.replaceChildren(
      element("strong", {}, "Input"),
      ` ${image.height} × ${image.width}${padded}`,
    );
    resultCaption.replaceChildren(
      element("strong", {}, "Output"),
      ` ${output.height} × ${output.width}, value ${state.done} of ${total()}`,
    );
    photo.describe(
      `Photograph of ${image.height} by ${image.width} pixels; ` +
        `the window's first pixel is at row ${taps[0].y}, column ${taps[0].x}.`,
    );
    result.describe(
      `Output of ${output.height} by ${output.width} values; ` +
        `row ${row}, column ${column} is ${said(response.result)}.`,
    );
    photo.paint();
    result.paint();
    showScale(scale());

    const most = Math.max(...response.products.map(Math.abs));
    fillTable(
      windowTable,
      taps.map((tap) => tap.value),
      (v) => blend([0, 0, 0], [255, 255, 255], v),
      (v) => decimal(v, 2),
    );
    fillTable(productTable, response.products, kit.diverging(most), (v) => decimal(v, places));
    showKernel(kernel);
    showSum(response);

    const { stride, padding, dilation } = state;
    const formula = (label, n) =>
      `${label} = ⌊(${n} + 2·${padding} − ${dilation}·(${kernel.size} − 1) − 1)` +
      ` / ${stride}⌋ + 1` +
      ` = ${core.outputSize(n, kernel.size, stride, padding, dilation)}`;
    const square = image.height === image.width;
    sizeLine.textContent = square
      ? formula("output size", image.height)
      : `${formula("height", image.height)};  ${formula("width", image.width)}`;
    const weight = state.flipped ? "weight.flip(-2, -1)" : "weight";
    const share = kernel.divisor === 1 ? weight : `${weight} / ${kernel.divisor}`;
    const settings = `stride=${stride}, padding=${padding}, dilation=${dilation}`;
    codeLine.textContent = `F.conv2d(image, ${share}, ${settings})`;

    kit.publish({
      kernel: state.name.replaceAll(" ", "_"),
      size: kernel.size,
      flipped: state.flipped,
      stride,
      padding,
      dilation,
      output: `${output.height}x${output.width}`,
      row,
      column,
      done: state.done,
      value: response.result.toFixed(4),
      playing: timer !== null,
    });
    if (aloud) kit.announce(`Output row ${row}, column ${column}: ${said(response.result)}`);
  }

  kit.host.addEventListener("schemechange", () => show(false));
  state.name = data.start;
  state.kernel = data.kernels.find((kernel) => kernel.name === data.start);
  output = core.conv2d(image, state.kernel, state);
  const first = Math.floor(output.height * 0.6) * output.width + Math.floor(output.width / 2);
  go(first, first + 1);
}

const STYLE = `
  .arithmetic { display: flex; flex-wrap: wrap; gap: 8px 12px; }
  .joined { display: flex; align-items: center; gap: 12px; }
  .sign { font-size: 20px; color: var(--quiet); }
  table { border-collapse: collapse; }
  tbody { border: 1px solid var(--edge); }
  caption { padding-bottom: 3px; color: var(--quiet); font-size: 14px; text-align: left; }
  td { min-width: 42px; height: 31px; padding: 0 3px; font-size: 13px; text-align: center; }
  td:has(input) { padding: 0; border: 1px solid var(--line); }
  td .number { width: 42px; border: 0; border-radius: 0; font-size: 13px; }
  td .number:focus-visible { outline-offset: -3px; }
  #divisor { width: 60px; margin: 0 14px 0 6px; }
  /* On a phone the buttons, both pictures and the sum must fit on one screen. */
  @container (max-width: 460px) {
    .body { gap: 10px; }
    .stage { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
    .stage .caption { min-height: 2.6em; line-height: 1.3; }
    .buttons { gap: 5px; }
    .buttons button { padding: 3px 6px; }
    .arithmetic, .joined { gap: 4px; }
    .sign { font-size: 16px; }
    td { min-width: 30px; height: 25px; padding: 0 1px; font-size: 12px; }
    td .number { width: 30px; min-height: 24px; font-size: 12px; }
    .sum { font-size: 14px; }
  }
`;
