// Move a layer along the roofline of a machine: does it wait for the processor or for the memory?

const core = {
  /**
   * Multiply-adds of a layer and the bytes that it has to move, each number once; as many channels
   * come out as go in, and the picture keeps its size.
   */
  cost(layer, { batch, channels, kernel, side, bytes }) {
    const numbers = batch * channels * (layer === "linear" ? 1 : side * side);
    const { work, weights } = {
      linear: { work: numbers * channels, weights: channels * channels },
      convolution: {
        work: numbers * channels * kernel * kernel,
        weights: channels * channels * kernel * kernel,
      },
      depthwise: { work: numbers * kernel * kernel, weights: channels * kernel * kernel },
      "element-wise": { work: numbers, weights: 0 },
    }[layer];
    return { work, moved: bytes * (2 * numbers + weights) };
  },

  intensity: ({ work, moved }) => work / moved,

  /** Multiply-adds a second that a machine reaches at most, at an intensity. */
  attainable: (intensity, { memory, processor }) => Math.min(processor, intensity * memory),

  /** What the processor alone and the memory alone would take, in seconds. */
  seconds: ({ work, moved }, { memory, processor }) => ({
    processor: work / processor,
    memory: moved / memory,
  }),
};

// A machine's rate for 16 bits is that of products of matrices; other layers keep that for 32.
const PRODUCTS = ["convolution", "linear"];
const LAYERS = ["convolution", "depthwise", "linear", "element-wise"];
const KERNELS = [1, 3, 5, 7];
const TYPES = [
  ["float32", "32 bits"],
  ["half", "16 bits"],
];
const BYTES = { float32: 4, half: 2 };
const MOST = { batch: 10, channels: 12, side: 8 }; // powers of two
const LEAST_INTENSITY = -1.3; // the left edge, as a power of ten
const MOST_INTENSITY = 3.7;
const DECADES = 4; // of multiply-adds a second that are drawn

function build(kit, data) {
  const machines = Object.keys(data.machines);
  const state = {
    machine: machines[0],
    layer: "linear",
    type: "float32",
    kernel: 3,
    batch: 0,
    channels: 8,
    side: 5,
  };

  const change = (key, turn = (value) => value) => (value) => {
    state[key] = turn(value);
    show();
  };
  const usesKernel = () => ["convolution", "depthwise"].includes(state.layer);
  const usesSide = () => state.layer !== "linear";
  const machine = kit.choice("Machine", machines.map((name) => [name, name]), change("machine"));
  const layer = kit.choice("Layer", LAYERS.map((name) => [name, name]), change("layer"));
  const type = kit.choice("Numbers of", TYPES, change("type"));
  const kernel = kit.choice(
    "Kernel",
    KERNELS.map((k) => [String(k), `${k} × ${k}`]),
    change("kernel", Number),
  );
  const power = (used) => (at) => (used() ? grouped(2 ** at) : "not used");
  const always = () => true;
  const batch = kit.slider("Batch", { min: 0, max: MOST.batch, say: power(always) }, change("batch"));
  const channels = kit.slider(
    "Channels",
    { min: 0, max: MOST.channels, say: power(always) },
    change("channels"),
  );
  const side = kit.slider("Side in pixels", { min: 0, max: MOST.side, say: power(usesSide) }, change("side"));
  const chart = kit.canvas(1.75, draw, { key });
  const captions = ["processor", "memory"].map(() => element("p", { class: "caption" }));
  const bars = ["processor", "memory"].map((name) => element("div", { class: `fill ${name}` }));
  const verdict = element("p", { class: "verdict" });

  kit.body.append(
    element("style", {}, STYLE),
    element(
      "div",
      { class: "controls" },
      ...[machine, layer, type, kernel, batch, channels, side].map(({ node }) => node),
    ),
    element(
      "div",
      { class: "panel" },
      element(
        "p",
        { class: "caption" },
        element("strong", {}, "Multiply-adds a second"),
        ", at most, over multiply-adds a byte; small dots: the same layer with other batches; " +
          "in 16 bits only linear and convolution have a rate of their own",
      ),
      chart.node,
    ),
    verdict,
    element(
      "div",
      { class: "panel" },
      ...captions.flatMap((caption, n) => [
        caption,
        element("div", { class: "track" }, bars[n]),
      ]),
    ),
  );

  // ---- What can happen

  function key(name) {
    const move = {
      ArrowLeft: ["batch", -1],
      ArrowRight: ["batch", 1],
      ArrowUp: ["channels", 1],
      ArrowDown: ["channels", -1],
    }[name];
    if (!move) return false;
    const [what, by] = move;
    state[what] = clamp(state[what] + by, 0, MOST[what]);
    show();
    return true;
  }

  // ---- What is shown

  const rates = () => {
    const { memory, float32, half } = data.machines[state.machine];
    const own = state.type === "half" && PRODUCTS.includes(state.layer);
    return { memory, processor: own ? half : float32 };
  };
  const costAt = (batchPower) =>
    core.cost(state.layer, {
      batch: 2 ** batchPower,
      channels: 2 ** state.channels,
      kernel: state.kernel,
      side: 2 ** state.side,
      bytes: BYTES[state.type],
    });

  /** A number with three digits and a short word for its size. */
  function short(value, unit) {
    const steps = [
      [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""],
      [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"],
    ];
    const [size, letter] = steps.find(([least]) => value >= 0.9995 * least) ?? steps.at(-1);
    return `${Number((value / size).toPrecision(3))} ${letter}${unit}`;
  }
  const plain = (value) => grouped(Number(value.toPrecision(3)));

  function draw(context, width, height) {
    const { memory, processor } = rates();
    const [left, right, top, bottom] = [58, width - 12, 12, height - 26];
    const highest = Math.log10(processor) + 0.35;
    const x = (intensity) =>
      left +
      ((Math.log10(intensity) - LEAST_INTENSITY) / (MOST_INTENSITY - LEAST_INTENSITY)) *
        (right - left);
    const y = (rate) => top + ((highest - Math.log10(rate)) / DECADES) * (bottom - top);
    const line = (colour, thick, dash, ...points) => {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.setLineDash(dash);
      context.beginPath();
      points.forEach(([px, py], n) => (n ? context.lineTo(px, py) : context.moveTo(px, py)));
      context.stroke();
      context.setLineDash([]);
    };
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillStyle = kit.colour("quiet");
    for (let at = Math.ceil(highest - DECADES); at <= highest; at++) {
      line(kit.colour("line"), 1, [], [left, y(10 ** at)], [right, y(10 ** at)]);
      context.textAlign = "right";
      context.fillText(short(10 ** at, ""), left - 6, y(10 ** at));
    }
    context.textAlign = "center";
    for (let at = Math.ceil(LEAST_INTENSITY); at <= MOST_INTENSITY; at++) {
      line(kit.colour("line"), 1, [], [x(10 ** at), top], [x(10 ** at), bottom]);
      context.fillText(at < 0 ? "0.1" : grouped(10 ** at), x(10 ** at), height - 10);
    }

    const ridge = processor / memory;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    const [start, end] = [10 ** LEAST_INTENSITY, 10 ** MOST_INTENSITY];
    line(kit.colour("accent"), 3, [], [x(start), y(start * memory)], [x(ridge), y(processor)], [x(end), y(processor)]);
    line(kit.colour("accent"), 1, [5, 4], [x(ridge), y(processor)], [x(ridge), bottom]);
    const dot = (batchPower, radius) => {
      const intensity = core.intensity(costAt(batchPower));
      context.beginPath();
      context.arc(x(intensity), y(core.attainable(intensity, { memory, processor })), radius, 0, 2 * Math.PI);
      context.fill();
    };
    context.fillStyle = kit.colour("edge");
    for (let other = 0; other <= MOST.batch; other++) dot(other, 3);
    const here = core.intensity(costAt(state.batch));
    line(kit.colour("mark"), 1.5, [2, 3], [x(here), y(core.attainable(here, { memory, processor }))], [x(here), bottom]);
    context.fillStyle = kit.colour("mark");
    dot(state.batch, 7);
    context.restore();
    context.fillStyle = kit.colour("ink");
    context.textAlign = x(ridge) > (left + right) / 2 ? "right" : "left";
    const off = context.textAlign === "right" ? -6 : 6;
    context.fillText(`ridge: ${plain(ridge)}`, x(ridge) + off, bottom - 12);
  }

  function show() {
    machine.input.value = state.machine;
    layer.input.value = state.layer;
    type.input.value = state.type;
    kernel.input.value = String(state.kernel);
    batch.set(state.batch);
    channels.set(state.channels);
    side.set(state.side);
    kernel.input.disabled = !usesKernel();
    side.input.disabled = !usesSide();

    const cost = costAt(state.batch);
    const here = rates();
    const intensity = core.intensity(cost);
    const seconds = core.seconds(cost, here);
    const least = Math.max(seconds.processor, seconds.memory);
    const bound = seconds.processor >= seconds.memory ? "processor" : "memory";
    const share = core.attainable(intensity, here) / here.processor;
    const percent = share > 0.995 ? "100" : Number((100 * share).toPrecision(2));
    const said =
      `${plain(intensity)} multiply-adds a byte, the ridge is at ` +
      `${plain(here.processor / here.memory)}: ` +
      (bound === "memory"
        ? `it waits for the memory, and uses at most ${percent} % of the processor.`
        : "it computes; the memory keeps up.");
    verdict.replaceChildren(element("strong", {}, bound === "memory" ? "Memory" : "Processor"), ` — ${said}`);
    const words = {
      processor: `Processor alone: ${short(cost.work, "")} multiply-adds, ${short(seconds.processor, "s")}`,
      memory: `Memory alone: ${short(cost.moved, "B")}, ${short(seconds.memory, "s")}`,
    };
    ["processor", "memory"].forEach((name, n) => {
      captions[n].textContent = words[name];
      bars[n].style.width = `${(100 * seconds[name]) / least}%`;
    });
    const what =
      `${state.layer}, batch ${grouped(2 ** state.batch)}, ${grouped(2 ** state.channels)} channels`;
    chart.describe(
      `Roofline of ${state.machine}, ${state.type === "half" ? 16 : 32} bits, with a point for ` +
        `${what}. ${said}`,
    );
    chart.paint();
    kit.publish({
      machine: machines.indexOf(state.machine),
      layer: state.layer,
      type: state.type,
      kernel: state.kernel,
      batch: 2 ** state.batch,
      channels: 2 ** state.channels,
      side: 2 ** state.side,
      intensity: intensity.toPrecision(12),
      rate: core.attainable(intensity, here).toPrecision(12),
      seconds: least.toPrecision(12),
      bound,
    });
    kit.announce(`${what}: at least ${short(least, "s")}, bound by the ${bound}.`);
  }

  show();
}

const STYLE = `
  .controls { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .track { height: 14px; background: var(--soft); border-radius: 3px; }
  .fill { height: 14px; min-width: 2px; border-radius: 3px; }
  .fill.processor { background: var(--accent); }
  .fill.memory { background: var(--mark); }
  .verdict { min-height: 2.9em; }
  @container (max-width: 560px) {
    .controls { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  }
`;
