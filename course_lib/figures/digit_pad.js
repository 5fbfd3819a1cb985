// Draw a digit on 32 × 32 pixels: it becomes a scan of 8 × 8 numbers, and a network reads it.
// The network's layers, `network`, are in layers.js, which stands before this script.

const SIDE = 32; // pixels of the bitmap
const BLOCK = 4; // pixels a side of what a number of the scan counts
const CELLS = SIDE / BLOCK;
const WIDEST = 28; // pixels that a digit keeps of the bitmap's width
const PEN = 2; // the pen's radius

const core = {
  ...network,

  /** What a network answers: scores, and what its first layer of weights made of the input. */
  forward(layers, values, side = CELLS) {
    const input = { channels: 1, height: side, width: side, values: Float64Array.from(values) };
    const { state, maps } = network.run(layers, input);
    return { scores: [...state.values], maps };
  },

  /** Count the ink in each block of 4 × 4 pixels: 64 numbers from 0 to 1, in sixteenths. */
  scan(bitmap) {
    const counts = new Float64Array(CELLS * CELLS);
    bitmap.forEach((ink, at) => {
      const [y, x] = [Math.floor(at / SIDE), at % SIDE];
      counts[Math.floor(y / BLOCK) * CELLS + Math.floor(x / BLOCK)] += ink / BLOCK ** 2;
    });
    return [...counts];
  },

  /** A bitmap with these counts, 64 of them: in each block the pixels with most ink around. */
  unscan(counts) {
    const bitmap = new Array(SIDE * SIDE).fill(0);
    const shade = (y, x) => {
      // the counts, interpolated between the centres of their blocks
      let sum = 0;
      const [v, u] = [(y + 0.5) / BLOCK - 0.5, (x + 0.5) / BLOCK - 0.5];
      for (const i of [Math.floor(v), Math.floor(v) + 1]) {
        for (const j of [Math.floor(u), Math.floor(u) + 1]) {
          const inside = i >= 0 && j >= 0 && i < CELLS && j < CELLS;
          const weight = (1 - Math.abs(v - i)) * (1 - Math.abs(u - j));
          sum += inside ? weight * counts[i * CELLS + j] : 0;
        }
      }
      return sum;
    };
    for (let cell = 0; cell < CELLS * CELLS; cell++) {
      const [top, left] = [BLOCK * Math.floor(cell / CELLS), BLOCK * (cell % CELLS)];
      const places = [];
      for (let y = top; y < top + BLOCK; y++)
        for (let x = left; x < left + BLOCK; x++) places.push([shade(y, x), y * SIDE + x]);
      places.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
      for (const [, at] of places.slice(0, counts[cell])) bitmap[at] = 1;
    }
    return bitmap;
  },

  /** Ink, or no ink, within `radius` of the way from one point to another, in pixels. */
  stroke(bitmap, [x0, y0], [x1, y1], radius, ink = 1) {
    const [dx, dy] = [x1 - x0, y1 - y0];
    return bitmap.map((old, at) => {
      const [x, y] = [(at % SIDE) + 0.5 - x0, Math.floor(at / SIDE) + 0.5 - y0];
      const along = dx || dy ? clamp((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1) : 0;
      return (x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius ** 2 ? ink : old;
    });
  },

  /** Every round adds the four neighbours of the ink; a round below zero those of the paper. */
  grow(bitmap, rounds) {
    const spread = rounds > 0 ? 1 : 0;
    let now = bitmap;
    for (let round = 0; round < Math.abs(rounds); round++) {
      const before = now;
      now = before.map((old, at) => {
        const [y, x] = [Math.floor(at / SIDE), at % SIDE];
        const near =
          (y > 0 && before[at - SIDE] === spread) ||
          (y < SIDE - 1 && before[at + SIDE] === spread) ||
          (x > 0 && before[at - 1] === spread) ||
          (x < SIDE - 1 && before[at + 1] === spread);
        return near ? spread : old;
      });
    }
    return now;
  },

  /** Scale the ink to the bitmap's whole height and put it in the middle, as the scans are. */
  fit(bitmap) {
    const rows = [];
    const columns = [];
    bitmap.forEach((ink, at) => {
      if (!ink) return;
      rows.push(Math.floor(at / SIDE));
      columns.push(at % SIDE);
    });
    if (rows.length === 0) return bitmap;
    const [top, left] = [Math.min(...rows), Math.min(...columns)];
    const height = Math.max(...rows) - top + 1;
    const tall = Math.max(...columns) - left + 1;
    const width = clamp(Math.round((tall * SIDE) / height), 1, WIDEST);
    const start = Math.floor((SIDE - width) / 2);
    return bitmap.map((_, at) => {
      const [y, x] = [Math.floor(at / SIDE), (at % SIDE) - start];
      if (x < 0 || x >= width) return 0;
      const row = top + Math.floor(((y + 0.5) * height) / SIDE);
      return bitmap[row * SIDE + left + Math.floor(((x + 0.5) * tall) / width)];
    });
  },

  /** Move the ink; what leaves the bitmap is gone. */
  move(bitmap, right, down) {
    return bitmap.map((_, at) => {
      const [y, x] = [Math.floor(at / SIDE) - down, (at % SIDE) - right];
      return y >= 0 && x >= 0 && y < SIDE && x < SIDE ? bitmap[y * SIDE + x] : 0;
    });
  },

  /** The bitmap that is scanned. */
  prepare(bitmap, { fit, thicker, right, down }) {
    return core.move(core.grow(fit ? core.fit(bitmap) : bitmap, thicker), right, down);
  },
};

const OWN = "own"; // the drawing comes from no example
const GAP = 3; // between the pictures of the first layer

function build(kit, data) {
  const networks = data.networks.map(({ name, layers }) => ({ name, layers: core.unpack(layers) }));
  const blank = new Array(SIDE * SIDE).fill(0);
  const state = {
    example: "0",
    network: 0,
    fit: false,
    erase: false,
    thicker: 0,
    right: 0,
    down: 0,
    pen: [16, 4],
    inking: false,
    drawing: core.unscan(data.examples[0].counts),
  };
  let last = null; // where the pointer was
  let seen = {};

  const pixels = (n) => `${decimal(n, 0)} px`;
  const network = kit.choice(
    "Network",
    networks.map(({ name }, at) => [String(at), name]),
    (value) => change({ network: Number(value) }),
  );
  const example = kit.choice("Digit", examples(), choose);
  const fit = kit.checkbox("Scale to full height and centre, as the scans were", (on) =>
    change({ fit: on }),
  );
  const erase = kit.checkbox("Erase instead of draw", (on) => change({ erase: on }));
  const thicker = kit.slider(
    "Thicker",
    { min: -2, max: 3, say: pixels },
    (value) => change({ thicker: value }),
  );
  const right = kit.slider("Move right", { min: -8, max: 8, say: pixels }, (value) =>
    change({ right: value }),
  );
  const down = kit.slider("Move down", { min: -8, max: 8, say: pixels }, (value) =>
    change({ down: value }),
  );
  const clear = kit.button("Clear and draw", clearAll, { class: "primary" });

  const pad = kit.canvas(1, drawPad, { touch, key });
  pad.node.style.touchAction = "none"; // here a finger draws in every direction
  pad.node.addEventListener("pointerdown", () => (last = null), { capture: true });
  const bitmap = kit.canvas(1, (context, width) => drawBitmap(context, width, seen.bitmap));
  const scan = kit.canvas(1, drawScan);
  const bars = kit.canvas(1.6, drawBars);
  const first = networks[0].layers.find((layer) => layer.kind === "conv").out;
  const columns = Math.min(first, 8);
  const maps = kit.canvas(columns / Math.ceil(first / columns), drawMaps);
  const words = () => element("p", { class: "caption" });
  const [padWords, bitmapWords, scanWords] = [words(), words(), words()];
  const [inkWords, mapsWords] = [words(), words()];

  const pair = element(
    "div",
    { class: "stage", style: "grid-template-columns: repeat(2, minmax(0, 1fr))" },
    element("div", { class: "panel" }, bitmapWords, bitmap.node),
    element("div", { class: "panel" }, scanWords, scan.node),
  );
  kit.body.append(
    element("div", { class: "controls" }, example.node, network.node, clear),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, padWords, pad.node, erase.node),
      element("div", { class: "panel" }, pair, bars.node),
    ),
    element(
      "div",
      { class: "controls" },
      fit.node,
      thicker.node,
      right.node,
      down.node,
    ),
    inkWords,
    element("div", { class: "panel" }, mapsWords, maps.node),
  );

  function examples() {
    const known = data.examples.map(({ label }, at) => [String(at), `scan of a ${label}`]);
    return [...known, [OWN, "your own"]];
  }

  function choose(value) {
    if (value === OWN) return clearAll();
    // A scan has been scaled and centred before it was counted.
    const drawing = core.unscan(data.examples[Number(value)].counts);
    change({ example: value, drawing, fit: false });
  }

  function clearAll() {
    change({ example: OWN, drawing: blank, fit: true, inking: false });
  }

  function draw(from, to) {
    const drawing = core.stroke(state.drawing, from, to, PEN, state.erase ? 0 : 1);
    change({ drawing, pen: to, example: OWN });
  }

  function touch(x, y) {
    const here = [clamp(x, 0, 1) * SIDE, clamp(y, 0, 1) * SIDE];
    draw(last ?? here, here);
    last = here;
  }

  function key(name) {
    const [x, y] = state.pen.map(Math.floor);
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (name in steps) {
      const to = [x + steps[name][0], y + steps[name][1]].map((at) => clamp(at, 0, SIDE));
      if (state.inking) draw([x, y], to);
      else change({ pen: to });
    } else if (name === " ") {
      state.inking = !state.inking;
      if (state.inking) draw([x, y], [x, y]);
      else change({});
    } else if (name === "Delete" || name === "Backspace") clearAll();
    else return false;
    return true;
  }

  function change(settings) {
    Object.assign(state, settings);
    const made = core.prepare(state.drawing, state);
    const values = core.scan(made);
    const answer = core.forward(networks[state.network].layers, values);
    const shares = core.softmax(answer.scores);
    seen = { bitmap: made, scan: values, shares, maps: answer.maps };
    show();
  }

  // ---- Pictures

  /** Fill a square of the canvas with grey values, sharp-edged. */
  function drawGrey(context, side, count, value, left = 0, top = 0) {
    const small = element("canvas", { width: count, height: count });
    const image = new ImageData(count, count);
    for (let at = 0; at < count * count; at++)
      image.data.set([...new Array(3).fill(255 * value(at)), 255], 4 * at);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, top, side, side);
  }

  function drawBitmap(context, width, dots) {
    drawGrey(context, width, SIDE, (at) => dots[at]);
    context.strokeStyle = "#808080";
    context.lineWidth = 0.5;
    context.beginPath();
    for (let cell = 1; cell < CELLS; cell++) {
      const at = (cell / CELLS) * width;
      context.moveTo(at, 0);
      context.lineTo(at, width);
      context.moveTo(0, at);
      context.lineTo(width, at);
    }
    context.stroke();
  }

  function drawPad(context, width) {
    drawGrey(context, width, SIDE, (at) => state.drawing[at]);
    const [x, y] = state.pen.map((at) => (at / SIDE) * width);
    context.strokeStyle = kit.colour("mark");
    context.fillStyle = kit.colour("mark");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, (PEN / SIDE) * width, 0, 2 * Math.PI);
    context.stroke();
    if (state.inking) context.fill();
  }

  function drawScan(context, width) {
    drawGrey(context, width, CELLS, (at) => seen.scan[at]);
  }

  function drawBars(context, width, height) {
    const row = height / seen.shares.length;
    const best = seen.shares.indexOf(Math.max(...seen.shares));
    const [from, to] = [20, width - 66];
    context.font = `${Math.min(14, row * 0.8)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    seen.shares.forEach((share, digit) => {
      const y = digit * row;
      context.fillStyle = kit.colour("soft");
      context.fillRect(from, y + 2, to - from, row - 4);
      context.fillStyle = kit.colour(digit === best ? "mark" : "accent");
      context.fillRect(from, y + 2, (to - from) * share, row - 4);
      context.fillStyle = kit.colour("ink");
      context.textAlign = "left";
      context.fillText(String(digit), 4, y + row / 2);
      context.textAlign = "right";
      context.fillText(percent(share), width - 2, y + row / 2);
    });
  }

  function drawMaps(context, width) {
    const { channels, height: side, values } = seen.maps;
    const paint = kit.diverging(Math.max(...values.map(Math.abs)));
    const tile = width / columns;
    for (let c = 0; c < channels; c++) {
      const [left, top] = [(c % columns) * tile, Math.floor(c / columns) * tile];
      const cell = (tile - GAP) / side;
      for (let at = 0; at < side * side; at++) {
        context.fillStyle = `rgb(${paint(values[c * side * side + at])})`;
        const [y, x] = [Math.floor(at / side), at % side];
        context.fillRect(left + x * cell, top + y * cell, cell + 0.5, cell + 0.5);
      }
    }
  }

  // ---- What is shown

  function percent(share) {
    return `${decimal(100 * share, 1)} %`;
  }

  function show() {
    const order = seen.shares.map((share, digit) => [share, digit]).sort((a, b) => b[0] - a[0]);
    const [[share, digit], [second, other]] = order;
    const ink = seen.bitmap.reduce((sum, value) => sum + value, 0);
    const [low, high] = data.ink;
    const [x, y] = state.pen.map(Math.floor);
    const pen = `pen ${state.inking ? "down" : "up"} at column ${x}, row ${y}`;
    const says = `${digit}, with ${percent(share)}; then ${other}, with ${percent(second)}`;
    const source =
      state.example === OWN
        ? "your drawing"
        : `a scan of a ${data.examples[Number(state.example)].label}`;
    network.input.value = String(state.network);
    example.input.value = state.example;
    fit.input.checked = state.fit;
    erase.input.checked = state.erase;
    thicker.set(state.thicker);
    right.set(state.right);
    down.set(state.down);
    padWords.replaceChildren(element("strong", {}, "Draw here"), ", 32 × 32 pixels");
    bitmapWords.replaceChildren(element("strong", {}, "Bitmap"), " 32 × 32");
    scanWords.replaceChildren(element("strong", {}, "Scan"), " 8 × 8 counts");
    inkWords.replaceChildren(
      element("strong", {}, `${ink} pixels of ink`),
      `; nine scans of ten have ${low} to ${high}`,
    );
    mapsWords.replaceChildren(
      element("strong", {}, `The ${first} maps of the first layer`),
      ": orange where a kernel answers, blue where it answers below 0",
    );
    pad.describe(`The pad of 32 by 32 pixels, with ${source} on it; ${pen}.`);
    bitmap.describe(
      `What is scanned: ${state.fit ? "scaled and centred" : "as drawn"}, thicker by ` +
        `${state.thicker}, moved right by ${state.right} and down by ${state.down}; ` +
        `${ink} pixels of ink.`,
    );
    scan.describe(`The scan: 8 by 8 numbers, the ink in each block of 4 by 4 pixels; ${ink} in all.`);
    bars.describe(`Probabilities by ${networks[state.network].name}: ${says}.`);
    maps.describe(
      `What the ${first} kernels of the first layer answer, ${seen.maps.height} by ` +
        `${seen.maps.width} numbers each, for ${source}.`,
    );
    for (const picture of [pad, bitmap, scan, bars, maps]) picture.paint();
    kit.publish({
      example: state.example,
      network: state.network,
      fit: state.fit,
      erase: state.erase,
      thicker: state.thicker,
      right: state.right,
      down: state.down,
      x,
      y,
      pen: state.inking ? "down" : "up",
      ink,
      answer: digit,
      probability: share.toFixed(6),
    });
    kit.announce(`The network says ${says}. Pen ${state.inking ? "down" : "up"} at ${x}, ${y}.`);
  }

  change({});
}
