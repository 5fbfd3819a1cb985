// Stack layers and see what one output unit sees of the input.

const core = {
  /** How many units a row of `size` inputs gives after each layer, without padding. */
  unitCounts(size, layers) {
    const counts = [size];
    for (const { kernel, stride, dilation } of layers) {
      const last = counts[counts.length - 1];
      counts.push(Math.max(0, Math.floor((last - dilation * (kernel - 1) - 1) / stride) + 1));
    }
    return counts;
  },

  /**
   * For the input and after each layer: the field's size r and the jump j between neighbours, in
   * pixels. Without padding, unit u sees pixels from u·j on.
   */
  growth(layers) {
    const levels = [{ size: 1, jump: 1 }];
    for (const { kernel, stride, dilation } of layers) {
      const { size, jump } = levels[levels.length - 1];
      levels.push({ size: size + (kernel - 1) * dilation * jump, jump: jump * stride });
    }
    return levels;
  },

  /** The middle of what a unit sees, in pixels counted from 0. */
  middle({ size, jump }, unit) {
    return unit * jump + (size - 1) / 2;
  },

  /** The units of every level, input first, that the given output unit depends on. */
  reach(layers, unit) {
    const levels = [[unit]];
    for (const { kernel, stride, dilation } of [...layers].reverse()) {
      const below = new Set();
      for (const above of levels[0]) {
        for (let i = 0; i < kernel; i++) below.add(above * stride + i * dilation);
      }
      levels.unshift([...below].sort((a, b) => a - b));
    }
    return levels;
  },

  /** Weights between one input and one output channel of every convolution; pooling has none. */
  weights(layers) {
    return layers
      .filter((layer) => layer.kind === "conv")
      .reduce((sum, { kernel }) => sum + kernel ** 2, 0);
  },
};

const conv = (kernel, stride = 1, dilation = 1) => ({ kind: "conv", kernel, stride, dilation });
const pool = (kernel, stride) => ({ kind: "pool", kernel, stride, dilation: 1 });
const PRESETS = {
  "three 3 × 3": [conv(3), conv(3), conv(3)],
  "one 7 × 7": [conv(7)],
  "dilated 1, 2, 4": [conv(3, 1, 1), conv(3, 1, 2), conv(3, 1, 4)],
  "dilated 2, 2, 2 (holes)": [conv(3, 1, 2), conv(3, 1, 2), conv(3, 1, 2)],
  LeNet: [conv(5), pool(2, 2), conv(5), pool(2, 2)],
  "ResNet stem": [conv(7, 2), pool(3, 2)],
};
const OWN = "your own";
const LIMITS = { kernel: [1, 11], stride: [1, 4], dilation: [1, 4] };
const MOST_LAYERS = 5;
const FULL = "Five layers at most.";
const MARGIN = 54; // left of the diagram: room for the names of its rows

function build(kit, data) {
  const image = data.image
    ? decodeImage(data.image)
    : { height: data.size, width: data.size, values: null };
  const state = { preset: "three 3 × 3", layers: [], row: 0, column: 0 };
  let counts = { height: [], width: [] };

  const presets = kit.choice(
    "Start from",
    [...Object.keys(PRESETS), OWN].map((name) => [name, name]),
    (name) => {
      if (name in PRESETS) load(name);
      else change(state.layers);
    },
  );
  const add = kit.button("Add a layer", () => {
    if (state.layers.length < MOST_LAYERS) change([...state.layers, conv(3)]);
  });
  const limit = element("span", { class: "quiet", role: "status" });
  const table = element("tbody");
  const unit = kit.slider("Output unit (column)", { min: 0, max: 1 }, (column) => {
    state.column = column;
    show();
  });
  const caption = element("p", { class: "caption" });
  const picture = kit.canvas(image.width / image.height, drawPicture, { touch, key });
  const cone = kit.canvas(2.4, drawCone, {
    key,
    touch(x) {
      const width = cone.node.clientWidth;
      touch((x * width - MARGIN) / (width - MARGIN), null);
    },
  });
  const bars = element("div", { class: "bars" });
  const heads = [
    ["layer", ""],
    ["kind", ""],
    ["kernel", "k"],
    ["stride", "s"],
    ["dilation", "d"],
    ["", "r"],
    ["jump", "j"],
  ];
  const head = ([word, symbol]) =>
    element(
      "th",
      { scope: "col" },
      element("span", { class: symbol && "word" }, word),
      word && symbol ? " " : "",
      element("i", {}, symbol),
    );

  kit.body.append(
    element("style", {}, STYLE),
    element(
      "div",
      { class: "top" },
      element(
        "div",
        { class: "panel" },
        element("div", { class: "pick" }, presets.node, add, limit),
        element(
          "table",
          {},
          element("thead", {}, element("tr", {}, ...heads.map(head), element("td"))),
          table,
        ),
        element(
          "p",
          { class: "quiet" },
          element("i", {}, "r"),
          ": pixels from the first to the last that a unit can see. ",
          element("i", {}, "j"),
          ": pixels between what it sees and what its neighbour sees. No layer uses padding.",
        ),
        bars,
      ),
      element("div", { class: "panel" }, caption, picture.node),
    ),
    element("div", { class: "panel cone" }, unit.node, cone.node),
  );

  function load(name) {
    change(PRESETS[name], name);
  }

  /** Take new layers; the output unit stays at the same share of the row. */
  function change(layers, preset = OWN) {
    const last = (list) => list[list.length - 1] ?? 0;
    const share = (at, list) => (last(list) > 1 ? at / (last(list) - 1) : 0.5);
    const [down, across] = [share(state.row, counts.height), share(state.column, counts.width)];
    state.preset = preset;
    state.layers = layers;
    counts = {
      height: core.unitCounts(image.height, layers),
      width: core.unitCounts(image.width, layers),
    };
    state.row = Math.round(down * Math.max(last(counts.height) - 1, 0));
    state.column = Math.round(across * Math.max(last(counts.width) - 1, 0));
    listLayers();
    show();
  }

  function place(row, column) {
    state.row = clamp(row, 0, Math.max(counts.height.at(-1) - 1, 0));
    state.column = clamp(column, 0, Math.max(counts.width.at(-1) - 1, 0));
    show();
  }

  function touch(x, y) {
    const level = core.growth(state.layers).at(-1);
    const nearest = (share, pixels) =>
      Math.round((share * pixels - 0.5 - core.middle(level, 0)) / level.jump);
    place(y === null ? state.row : nearest(y, image.height), nearest(x, image.width));
  }

  function key(name) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(name in moves)) return false;
    place(state.row + moves[name][0], state.column + moves[name][1]);
    return true;
  }

  const fits = () => counts.height.at(-1) > 0 && counts.width.at(-1) > 0;

  // ---- The table of layers

  function listLayers() {
    const levels = core.growth(state.layers);
    const numbers = ({ size, jump }) =>
      [size, jump].map((value) => element("td", { class: "pixels" }, String(value)));
    const input = element(
      "tr",
      {},
      element("th", { scope: "row" }, "input"),
      element("td", { colspan: 4 }),
      ...numbers(levels[0]),
      element("td"),
    );
    const focused = kit.host.shadowRoot.activeElement?.getAttribute("aria-label");
    table.replaceChildren(
      input,
      ...state.layers.map((layer, at) => layerRow(layer, at, numbers(levels[at + 1]))),
    );
    // The rows are new: give the focus back to the control that had it.
    if (focused && !kit.host.shadowRoot.activeElement) {
      const again = [...table.querySelectorAll("input, select, button")].find(
        (node) => node.getAttribute("aria-label") === focused,
      );
      (again ?? add).focus();
    }
  }

  function layerRow(layer, at, numbers) {
    const label = (what) => `layer ${at + 1}: ${what}`;
    const replace = (changed) =>
      change(state.layers.map((other, i) => (i === at ? { ...layer, ...changed } : other)));
    const field = (name) => {
      const [min, max] = LIMITS[name];
      const onchange = () => input.reportValidity() && replace({ [name]: Number(input.value) });
      const input = element("input", {
        type: "number",
        class: "number",
        min,
        max,
        required: true,
        value: layer[name],
        "aria-label": label(name),
        onchange,
      });
      return element("td", {}, input);
    };
    const kind = element(
      "select",
      { "aria-label": label("kind"), onchange: () => replace({ kind: kind.value }) },
      ...["conv", "pool"].map((value) =>
        element("option", { value, selected: value === layer.kind }, value),
      ),
    );
    const remove = kit.button(
      "×",
      () => {
        if (state.layers.length > 1) change(state.layers.filter((_, i) => i !== at));
      },
      { "aria-label": label("remove"), class: "remove" },
    );
    kit.enable(remove, state.layers.length > 1);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, String(at + 1)),
      element("td", {}, kind),
      field("kernel"),
      field("stride"),
      field("dilation"),
      ...numbers,
      element("td", {}, remove),
    );
  }

  // ---- Pictures

  const grey = (y, x) => {
    if (image.values === null) return (y + x) % 2 ? [128, 134, 142] : [156, 162, 170];
    return blend([0, 0, 0], [255, 255, 255], image.values[y * image.width + x]);
  };

  function drawPicture(context, width) {
    const cell = width / image.width;
    const edge = (at) => Math.round(at * cell);
    const [rows, columns] = fits()
      ? [core.reach(state.layers, state.row)[0], core.reach(state.layers, state.column)[0]].map(
          (list) => new Set(list),
        )
      : [new Set(), new Set()];
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < image.width; x++) {
        const seen = rows.has(y) && columns.has(x);
        const colour = grey(y, x);
        context.fillStyle = `rgb(${seen ? colour : blend(colour, rgb(kit.colour("paper")), 0.6)})`;
        context.fillRect(edge(x), edge(y), edge(x + 1) - edge(x), edge(y + 1) - edge(y));
      }
    }
    if (!fits()) return;
    const { size, jump } = core.growth(state.layers).at(-1);
    for (const [colour, line] of [
      ["paper", 5],
      ["mark", 2.5],
    ]) {
      context.strokeStyle = kit.colour(colour);
      context.lineWidth = line;
      context.strokeRect(
        state.column * jump * cell,
        state.row * jump * cell,
        size * cell,
        size * cell,
      );
    }
  }

  function drawCone(context, width, height) {
    const levels = core.growth(state.layers);
    const spacing = (width - MARGIN) / image.width;
    const [top, bottom] = [16, height - 34];
    const x = (level, at) => MARGIN + (core.middle(levels[level], at) + 0.5) * spacing;
    const y = (level) => bottom - ((bottom - top) * level) / state.layers.length;
    const reach = fits() ? core.reach(state.layers, state.column) : levels.map(() => []);

    const middle = fits()
      ? clamp(Math.round(core.middle(levels.at(-1), state.row)), 0, image.height - 1)
      : 0;
    const seen = new Set(reach[0]);
    for (let at = 0; at < image.width; at++) {
      context.fillStyle = `rgb(${grey(middle, at)})`;
      context.fillRect(Math.round(MARGIN + at * spacing), bottom, Math.ceil(spacing), 14);
      if (!seen.has(at)) continue;
      context.fillStyle = kit.colour("mark");
      context.fillRect(MARGIN + at * spacing, bottom + 14, Math.max(spacing - 0.5, 0.5), 4);
    }

    context.strokeStyle = kit.colour("accent");
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.beginPath();
    for (let level = state.layers.length; level > 0; level--) {
      const { kernel, stride, dilation } = state.layers[level - 1];
      for (const at of reach[level]) {
        for (let i = 0; i < kernel; i++) {
          context.moveTo(x(level, at), y(level));
          context.lineTo(x(level - 1, at * stride + i * dilation), y(level - 1));
        }
      }
    }
    context.stroke();
    context.globalAlpha = 1;

    for (let level = 1; level < levels.length; level++) {
      const size = clamp(spacing * 0.36, 1.2, 4.5);
      const active = new Set(reach[level]);
      for (let at = 0; at < counts.width[level]; at++) {
        const chosen = level === state.layers.length && active.has(at);
        context.fillStyle = kit.colour(chosen ? "mark" : active.has(at) ? "accent" : "edge");
        context.globalAlpha = active.has(at) ? 1 : 0.45;
        context.beginPath();
        context.arc(x(level, at), y(level), chosen ? size + 2 : size, 0, 2 * Math.PI);
        context.fill();
      }
      context.globalAlpha = 1;
    }

    const upright = "13px system-ui, sans-serif";
    context.font = upright;
    context.fillStyle = kit.colour("ink");
    const between = state.layers.slice(1).map((_, at) => `layer ${at + 1}`);
    ["pixels", ...between, "output"].forEach((name, level) => {
      context.fillText(name, 0, y(level) + (level ? 5 : 12));
    });

    if (!fits()) return;
    const text = ` = ${levels.at(-1).size}`;
    const [symbol, rest] = ["r", text].map((part) => context.measureText(part).width);
    const left = x(levels.length - 1, state.column) - (symbol + rest) / 2;
    const from = clamp(left, MARGIN, width - symbol - rest - 2);
    context.fillText(text, from + symbol, height - 2);
    context.font = `italic ${upright}`;
    context.fillText("r", from, height - 2);
  }

  // ---- What is shown

  function showBars(stack, single, size) {
    const most = Math.max(stack, single);
    const bar = (label, value, accent) =>
      element(
        "div",
        {},
        element("p", { class: "caption" }, label, element("strong", {}, grouped(value))),
        element("div", {
          class: accent ? "bar accent" : "bar",
          style: `width: ${Math.max((100 * value) / most, 0.5)}%`,
        }),
      );
    bars.replaceChildren(
      element("p", { class: "caption" }, "Weights (one channel in, one out)"),
      bar("this stack: ", stack, true),
      bar(`one ${size} × ${size} kernel: `, single, false),
    );
  }

  function show() {
    const { size, jump } = core.growth(state.layers).at(-1);
    const [height, width] = [counts.height.at(-1), counts.width.at(-1)];
    presets.input.value = state.preset;
    kit.enable(add, state.layers.length < MOST_LAYERS);
    limit.textContent = state.layers.length < MOST_LAYERS ? "" : FULL;
    unit.set(state.column, Math.max(width - 1, 0));
    showBars(core.weights(state.layers), size ** 2, size);
    caption.replaceChildren(
      element("strong", {}, "Input"),
      ` ${image.height} × ${image.width}, output ${height} × ${width}`,
    );
    const span = (at) => `${at * jump} to ${at * jump + size - 1}`;
    const along = core.reach(state.layers, 0)[0].length;
    const some = along < size ? `${along} × ${along} of the ` : "";
    const sees = fits()
      ? `Output unit (${state.row}, ${state.column}) sees ${some}${size} × ${size} pixels: ` +
        `rows ${span(state.row)}, columns ${span(state.column)}.`
      : `The field of ${grouped(size)} pixels is larger than the picture: ` +
        "no unit sees a whole one. Take a layer away.";
    picture.describe(sees);
    cone.describe(
      `The units of each layer in one row, and those that lead to the output unit. ${sees}`,
    );
    picture.paint();
    cone.paint();
    kit.publish({
      preset: state.preset.replaceAll(" ", "_"),
      layers: state.layers.map((l) => `${l.kind}:${l.kernel},${l.stride},${l.dilation}`).join("+"),
      field: size,
      jump,
      output: `${height}x${width}`,
      row: state.row,
      column: state.column,
    });
    kit.announce(sees);
  }

  load(state.preset);
}

const STYLE = `
  .top { display: grid; grid-template-columns: minmax(0, 1.4fr) minmax(0, 1fr); gap: 14px 24px; }
  .pick { display: flex; flex-wrap: wrap; align-items: end; gap: 8px; }
  .pick .control { flex: 1 1 140px; }
  table { width: 100%; border-collapse: collapse; font-size: 14px; }
  th, td { padding: 2px; text-align: left; font-weight: 400; }
  thead th { color: var(--quiet); font-size: 13px; }
  tbody tr { border-top: 1px solid var(--line); height: 36px; }
  td.pixels, thead th:nth-child(n + 6) { text-align: right; padding-right: 6px; }
  td .number { width: 40px; }
  td select { min-width: 66px; padding: 2px 0; }
  button.remove { width: 28px; padding: 0; border: 0; color: var(--quiet); }
  .cone canvas { min-height: 220px; }
  .bars { display: grid; gap: 6px; }
  .bar { height: 8px; border-radius: 2px; background: var(--edge); }
  .bar.accent { background: var(--accent); }
  @container (max-width: 680px) {
    .top { grid-template-columns: minmax(0, 1fr); }
  }
  @container (max-width: 400px) {
    table { font-size: 13px; }
    thead th { font-size: 12px; text-align: center; }
    .word { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    th, td { padding: 1px; }
    td.pixels { padding: 0 2px 0 4px; }
    td .number { width: 31px; }
    td select { min-width: 56px; padding: 0; font-size: 13px; }
  }
`;
