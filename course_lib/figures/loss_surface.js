// Drop a ball on a loss surface with two parameters, and follow an optimiser downhill.

const core = {
  /** Losses of two parameters, with their gradients; each touches 0 at its lowest points. */
  surfaces: {
    "long valley": {
      low: [-4, -2],
      high: [4, 2],
      start: [-3.4, 1.2],
      lowest: [[0, 0]],
      loss: ([x, y]) => (x * x + 25 * y * y) / 2,
      gradient: ([x, y]) => [x, 25 * y],
    },
    "curved valley": {
      low: [-2, -1],
      high: [2, 3],
      start: [-1.5, 2.5],
      lowest: [[1, 1]],
      loss: ([x, y]) => (1 - x) ** 2 + 10 * (y - x * x) ** 2,
      gradient: ([x, y]) => [-2 * (1 - x) - 40 * x * (y - x * x), 20 * (y - x * x)],
    },
    saddle: {
      low: [-2, -2],
      high: [2, 2],
      start: [-1.7, 0],
      lowest: [[0, -1], [0, 1]],
      loss: ([x, y]) => x * x / 2 + (y * y - 1) ** 2 / 4,
      gradient: ([x, y]) => [x, y * (y * y - 1)],
    },
    "many minima": {
      low: [-4, -4],
      high: [4, 4],
      start: [3.4, 2.8],
      lowest: [[0, 0]],
      loss: ([x, y]) => (x * x + y * y) / 4 + 0.3 * (2 - Math.cos(3 * x) - Math.cos(3 * y)),
      gradient: ([x, y]) => [x / 2 + 0.9 * Math.sin(3 * x), y / 2 + 0.9 * Math.sin(3 * y)],
    },
  },

  /** The mean cross-entropy of a classifier with a weight and a bias: is the target 1 or 0? */
  classifier({ feature, target, low, high, start, lowest }) {
    const score = ([w, b], x) => w * x + b;
    const mean = (term) => feature.reduce((sum, x, i) => sum + term(x, target[i]), 0) / feature.length;
    return {
      low,
      high,
      start,
      lowest,
      // log(1 + exp(s)) − t·s, without an overflow
      loss: (point) =>
        mean((x, t) => {
          const s = score(point, x);
          return Math.max(s, 0) + Math.log1p(Math.exp(-Math.abs(s))) - t * s;
        }),
      gradient: (point) => {
        const error = (x, t) => 1 / (1 + Math.exp(-score(point, x))) - t;
        return [mean((x, t) => error(x, t) * x), mean(error)];
      },
    };
  },

  /**
   * One step of each optimiser for one parameter: `memory` is what it keeps between steps (an
   * object that starts empty), g the gradient; returns the parameter's new value.
   */
  optimizers: {
    SGD: (p, g, memory, { rate, decay }) => p - rate * (g + decay * p),
    momentum(p, g, memory, { rate, momentum, decay }) {
      g += decay * p;
      memory.b = "b" in memory ? momentum * memory.b + g : g;
      return p - rate * memory.b;
    },
    Nesterov(p, g, memory, { rate, momentum, decay }) {
      g += decay * p;
      memory.b = "b" in memory ? momentum * memory.b + g : g;
      return p - rate * (g + momentum * memory.b);
    },
    RMSprop(p, g, memory, { rate, decay }) {
      g += decay * p;
      memory.v = 0.99 * (memory.v ?? 0) + 0.01 * g * g;
      return p - (rate * g) / (Math.sqrt(memory.v) + 1e-8);
    },
    Adam: (p, g, memory, settings) =>
      core.adaptive(p, g + settings.decay * p, memory, settings),
    AdamW: (p, g, memory, settings) =>
      core.adaptive(p * (1 - settings.rate * settings.decay), g, memory, settings),
  },

  /** Adam's step, in which `momentum` is its first decay rate; the second is 0.999. */
  adaptive(p, g, memory, { rate, momentum }) {
    memory.t = (memory.t ?? 0) + 1;
    memory.m = momentum * (memory.m ?? 0) + (1 - momentum) * g;
    memory.v = 0.999 * (memory.v ?? 0) + 0.001 * g * g;
    const m = memory.m / (1 - momentum ** memory.t);
    const v = memory.v / (1 - 0.999 ** memory.t);
    return p - (rate * m) / (Math.sqrt(v) + 1e-8);
  },

  /** Where the ball is before the first step and after each; it ends early where it diverges. */
  path(surface, name, settings, start, steps) {
    const memories = [{}, {}];
    const points = [start];
    const losses = [surface.loss(start)];
    const limit = 1e6 * (1 + losses[0]);
    for (let at = 0; at < steps && losses[at] < limit; at++) {
      const slope = surface.gradient(points[at]);
      const next = points[at].map((p, i) =>
        core.optimizers[name](p, slope[i], memories[i], settings),
      );
      points.push(next);
      losses.push(surface.loss(next));
    }
    // NaN is not smaller than the limit either.
    return { points, losses, diverged: !(losses.at(-1) < limit) };
  },
};

const MOST = 300; // steps
const RATES = 56; // places of the slider, sixteen to a factor of ten
const MOMENTA = [0, 0.5, 0.8, 0.9, 0.95, 0.99];
const DECAYS = [0, 0.01, 0.03, 0.1, 0.3, 1];
const USES_MOMENTUM = ["momentum", "Nesterov", "Adam", "AdamW"];
const GRID = 96; // a surface is evaluated at so many places each way, and interpolated
const BANDS = 14;
const NOTHING = "nothing";

function build(kit, data) {
  const surfaces = { ...core.surfaces };
  for (const [name, classifier] of Object.entries(data.classifiers))
    surfaces[name] = core.classifier(classifier);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const state = {
    surface: "long valley",
    optimizer: "SGD",
    other: NOTHING,
    rate: 29,
    momentum: 3,
    decay: 0,
    start: surfaces["long valley"].start,
    steps: 40,
  };
  let path = null;
  let otherPath = null;
  let timer = null;
  const grids = new Map();

  const rateAt = (place) => 10 ** (place / 16 - 3);
  const surface = () => surfaces[state.surface];
  const settings = () => ({
    rate: rateAt(state.rate),
    momentum: MOMENTA[state.momentum],
    decay: DECAYS[state.decay],
  });
  const digits = (value) => Number(value.toPrecision(3)).toString();
  const pairs = (names) => names.map((name) => [name, name]);
  const change = (key) => (value) => {
    state[key] = value;
    recompute();
  };

  const where = kit.choice("Surface", pairs(Object.keys(surfaces)), (name) => {
    pause();
    state.surface = name;
    state.start = surface().start;
    recompute();
  });
  const optimizer = kit.choice("Optimiser", pairs(Object.keys(core.optimizers)), change("optimizer"));
  const other = kit.choice(
    "Beside it",
    pairs([NOTHING, ...Object.keys(core.optimizers)]),
    change("other"),
  );
  const rate = kit.slider(
    "Step size",
    { min: 0, max: RATES, say: (at) => digits(rateAt(at)) },
    change("rate"),
  );
  const momentum = kit.slider(
    "Momentum or β₁",
    {
      min: 0,
      max: MOMENTA.length - 1,
      say: (at) => {
        const used = [state.optimizer, state.other].some((name) => USES_MOMENTUM.includes(name));
        return used ? String(MOMENTA[at]) : "not used";
      },
    },
    change("momentum"),
  );
  const decay = kit.slider(
    "Weight decay",
    { min: 0, max: DECAYS.length - 1, say: (at) => String(DECAYS[at]) },
    change("decay"),
  );

  const step = kit.button("Step", () => {
    pause();
    walk(state.steps + 1);
  }, { class: "primary" });
  const back = kit.button("Back", () => {
    pause();
    walk(state.steps - 1);
  });
  const play = kit.button("Play", () => (timer === null ? run() : pause()));
  const more = kit.button("100 steps", () => {
    pause();
    walk(state.steps + 100);
  });
  const reset = kit.button("Back to the start", () => {
    pause();
    walk(0);
  });

  const map = kit.canvas(4 / 3, drawMap, {
    key,
    touch(x, y) {
      const { low, high } = surface();
      drop([low[0] + x * (high[0] - low[0]), high[1] - y * (high[1] - low[1])]);
      pause();
      state.steps = 0;
      run();
    },
  });
  const chart = kit.canvas(4 / 3, drawChart);
  const mapCaption = element("p", { class: "caption" });
  const chartCaption = element("p", { class: "caption" });
  const arithmetic = element("p", { class: "caption" });

  kit.body.append(
    element("style", {}, STYLE),
    element(
      "div",
      { class: "controls" },
      where.node,
      optimizer.node,
      other.node,
      rate.node,
      momentum.node,
      decay.node,
    ),
    element("div", { class: "buttons" }, step, back, play, more, reset),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, mapCaption, map.node),
      element("div", { class: "panel" }, chartCaption, chart.node),
    ),
    arithmetic,
  );

  // ---- What can happen

  function drop(point) {
    const { low, high } = surface();
    state.start = point.map((value, i) => clamp(value, low[i], high[i]));
  }

  function walk(steps) {
    state.steps = clamp(steps, 0, MOST);
    recompute();
  }

  function key(name) {
    if (name === "Enter" || name === " ") {
      pause();
      state.steps = 0;
      run();
      return true;
    }
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[name];
    if (move === undefined) return false;
    pause();
    const { low, high } = surface();
    // Aim at a grid of 40 steps, so that a key that was pressed back comes back exactly.
    drop(
      state.start.map((value, i) => {
        const cell = (high[i] - low[i]) / 40;
        return move[i] === 0 ? value : low[i] + (Math.round((value - low[i]) / cell) + move[i]) * cell;
      }),
    );
    recompute();
    return true;
  }

  /** Step by step; all at once for a reader who wants no motion. */
  function run() {
    const from = state.steps >= MOST ? 0 : state.steps;
    if (calm.matches) return walk(from + 100);
    state.steps = from;
    timer = setInterval(() => {
      if (!kit.host.isConnected) return pause();
      state.steps += 1;
      if (state.steps >= MOST || ended()) return pause();
      recompute(false);
    }, 60);
    play.textContent = "Pause";
    kit.announce("The ball is on its way; Pause says where it is.");
    state.steps += 1;
    recompute(false);
  }

  const ended = () => path.diverged && (otherPath === null || otherPath.diverged);

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    recompute();
  }

  function recompute(aloud = true) {
    const along = (name) => core.path(surface(), name, settings(), state.start, state.steps);
    path = along(state.optimizer);
    otherPath = state.other === NOTHING ? null : along(state.other);
    show(aloud);
  }

  // ---- Pictures

  /** The surface on a grid, as shares (0 to 1) of a logarithmic scale. */
  function grid() {
    if (grids.has(state.surface)) return grids.get(state.surface);
    const { low, high, loss } = surface();
    const at = (i, axis) => low[axis] + (i / (GRID - 1)) * (high[axis] - low[axis]);
    const values = Float64Array.from({ length: GRID * GRID }, (_, n) =>
      loss([at(n % GRID, 0), at(GRID - 1 - Math.floor(n / GRID), 1)]),
    );
    const least = values.reduce((a, b) => Math.min(a, b));
    const most = values.reduce((a, b) => Math.max(a, b));
    const soft = (most - least) / 300;
    const shares = values.map((v) => Math.log1p((v - least) / soft) / Math.log1p((most - least) / soft));
    grids.set(state.surface, shares);
    return shares;
  }

  /** The share at a place of the map, between the grid's four nearest. */
  function shareAt(shares, x, y) {
    const [gx, gy] = [x * (GRID - 1), y * (GRID - 1)];
    const [i, j] = [Math.min(Math.floor(gx), GRID - 2), Math.min(Math.floor(gy), GRID - 2)];
    const [u, v] = [gx - i, gy - j];
    const at = (row, column) => shares[row * GRID + column];
    return (
      (1 - v) * ((1 - u) * at(j, i) + u * at(j, i + 1)) +
      v * ((1 - u) * at(j + 1, i) + u * at(j + 1, i + 1))
    );
  }

  function drawMap(context, width, height) {
    drawSurface(context, width, height);
    const { low, high } = surface();
    const place = ([x, y]) => [
      ((x - low[0]) / (high[0] - low[0])) * width,
      ((high[1] - y) / (high[1] - low[1])) * height,
    ];
    context.fillStyle = kit.colour("ink");
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const point of surface().lowest) context.fillText("×", ...place(point));
    if (otherPath) drawPath(context, otherPath.points.map(place), kit.colour("ink"), [5, 4]);
    drawPath(context, path.points.map(place), kit.colour("mark"), []);
    circle(context, place(state.start), 6, kit.colour("paper"), kit.colour("ink"));
    if (otherPath) circle(context, place(otherPath.points.at(-1)), 6, kit.colour("ink"), kit.colour("paper"));
    circle(context, place(path.points.at(-1)), 7, kit.colour("mark"), kit.colour("paper"));
  }

  function drawSurface(context, width, height) {
    const shares = grid();
    const [columns, rows] = [Math.round(width), Math.round(height)];
    const band = new Int8Array(columns * rows);
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        band[y * columns + x] = Math.floor(
          BANDS * shareAt(shares, x / (columns - 1), y / (rows - 1)),
        );
      }
    }
    const [paper, accent] = [rgb(kit.colour("paper")), rgb(kit.colour("accent"))];
    const colours = Array.from({ length: BANDS + 1 }, (_, n) =>
      blend(paper, accent, 0.06 + (0.5 * n) / BANDS),
    );
    const line = blend(paper, accent, 0.75);
    const image = new ImageData(columns, rows);
    for (let at = 0; at < band.length; at++) {
      const edge =
        (at % columns > 0 && band[at] !== band[at - 1]) || (at >= columns && band[at] !== band[at - columns]);
      image.data.set([...(edge ? line : colours[band[at]]), 255], 4 * at);
    }
    const small = element("canvas", { width: columns, height: rows });
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0, 0, width, height);
  }

  function drawPath(context, places, colour, dash) {
    // What is far outside would only cost time, and overflow.
    const near = places.map((place) => place.map((value) => clamp(value, -1e4, 1e4)));
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.beginPath();
    near.forEach((place, n) => (n ? context.lineTo(...place) : context.moveTo(...place)));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = colour;
    for (const [x, y] of near.slice(0, 100)) {
      context.beginPath();
      context.arc(x, y, 2.4, 0, 2 * Math.PI);
      context.fill();
    }
  }

  function circle(context, [x, y], radius, fill, stroke) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.strokeStyle = stroke;
    context.lineWidth = 2;
    context.fill();
    context.stroke();
  }

  function drawChart(context, width, height) {
    const [left, bottom, top] = [46, height - 22, 8];
    const shown = [path, otherPath].filter(Boolean);
    const all = shown.flatMap(({ losses }) => losses.filter((v) => Number.isFinite(v)));
    const highest = Math.ceil(Math.log10(Math.min(Math.max(...all), 1e6)) + 0.05);
    const lowest = Math.max(
      Math.floor(Math.log10(Math.max(Math.min(...all), 1e-9))),
      highest - 9,
    );
    const x = (at) => left + (at / Math.max(state.steps, 1)) * (width - left - 10);
    const y = (value) => {
      const share = (Math.log10(Math.max(value, 1e-99)) - lowest) / (highest - lowest);
      return bottom - clamp(share, -0.02, 1.02) * (bottom - top);
    };
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    const every = Math.ceil((highest - lowest) / 5);
    for (let power = lowest; power <= highest; power += every) {
      const value = 10 ** power;
      context.strokeStyle = kit.colour("line");
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(width, y(value));
      context.stroke();
      context.fillStyle = kit.colour("quiet");
      context.textAlign = "right";
      const text = Math.abs(power) <= 3 ? grouped(Number(value.toPrecision(1))) : `10${raised(power)}`;
      context.fillText(text, left - 6, y(value));
    }
    context.fillStyle = kit.colour("quiet");
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText("0", left, height - 5);
    context.textAlign = "right";
    context.fillText(`step ${state.steps}`, width - 10, height - 5);
    const styles = [
      [kit.colour("mark"), []],
      [kit.colour("ink"), [5, 4]],
    ];
    shown.forEach(({ losses }, n) => {
      context.strokeStyle = styles[n][0];
      context.setLineDash(styles[n][1]);
      context.lineWidth = 2;
      context.beginPath();
      losses.forEach((value, at) => {
        const here = Number.isFinite(value) ? y(value) : top;
        if (at === 0) context.moveTo(x(0), here);
        else context.lineTo(x(at), here);
      });
      context.stroke();
      context.setLineDash([]);
      const last = losses.length - 1;
      circle(context, [x(last), Number.isFinite(losses[last]) ? y(losses[last]) : top], 4, styles[n][0], kit.colour("paper"));
    });
  }

  function raised(power) {
    return String(power).replaceAll("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
  }

  // ---- What is shown

  function number(value) {
    if (!Number.isFinite(value)) return "not a number";
    const size = Math.abs(value);
    if (size !== 0 && (size < 5e-4 || size >= 1e5)) {
      const [digits_, power] = value.toExponential(1).split("e");
      return `${digits_.replace("-", "−")} · 10${raised(Number(power))}`;
    }
    return decimal(value, size < 1 ? 4 : size < 100 ? 3 : 0);
  }

  function outcome(name, { points, losses, diverged }) {
    const steps = losses.length - 1;
    if (diverged)
      return `${name} diverged: after ${steps} steps the loss is ${number(losses.at(-1))}. The step is too large.`;
    const { low, high } = surface();
    const outside = points.at(-1).some((value, i) => value < low[i] || value > high[i]);
    return (
      `${name}, step ${steps}: loss ${number(losses.at(-1))}` +
      (outside ? ", and the ball has left the map." : ".")
    );
  }

  function show(aloud) {
    where.input.value = state.surface;
    optimizer.input.value = state.optimizer;
    other.input.value = state.other;
    rate.set(state.rate);
    momentum.set(state.momentum);
    decay.set(state.decay);
    kit.enable(step, state.steps < MOST);
    kit.enable(more, state.steps < MOST);
    kit.enable(back, state.steps > 0);
    kit.enable(reset, state.steps > 0);

    const point = path.points.at(-1);
    const loss = path.losses.at(-1);
    const slope = surface().gradient(point);
    const words = outcome(state.optimizer, path);
    const others = otherPath ? ` ${outcome(state.other, otherPath)}` : "";
    const axes = data.classifiers[state.surface] ? ["weight", "bias"] : ["x", "y"];
    mapCaption.replaceChildren(
      element("strong", {}, "The surface"),
      ` from above: deep blue is high, × is lowest; ${axes[0]} to the right, ${axes[1]} upwards`,
    );
    chartCaption.replaceChildren(
      element("strong", {}, "Loss"),
      ` after each step, at most ${MOST}, on a logarithmic scale`,
      otherPath ? `; ${state.other} dashed` : "",
    );
    arithmetic.textContent =
      `Here (${axes.join(", ")}) = (${point.map(number).join(", ")}), ` +
      `and the gradient is (${slope.map(number).join(", ")}).`;
    map.describe(
      `Map of the loss “${state.surface}” with the path from ` +
        `(${state.start.map((v) => decimal(v, 2)).join(", ")}). ${words}${others}`,
    );
    chart.describe(`The loss over ${state.steps} steps. ${words}${others}`);
    map.paint();
    chart.paint();
    const written = (value) => (Number.isFinite(value) ? value.toPrecision(9) : "none");
    kit.publish({
      surface: state.surface.replaceAll(" ", "_"),
      optimizer: state.optimizer,
      other: state.other,
      rate: rateAt(state.rate).toPrecision(12),
      momentum: MOMENTA[state.momentum],
      decay: DECAYS[state.decay],
      startx: state.start[0].toPrecision(12),
      starty: state.start[1].toPrecision(12),
      steps: state.steps,
      x: written(point[0]),
      y: written(point[1]),
      loss: written(loss),
      diverged: path.diverged,
      playing: timer !== null,
    });
    if (aloud) kit.announce(`From (${state.start.map((v) => decimal(v, 2)).join(", ")}): ${words}${others}`);
  }

  recompute();
}

const STYLE = `
  .controls { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  @container (max-width: 460px) {
    .body { gap: 10px; }
    .controls { grid-template-columns: repeat(2, minmax(0, 1fr)); }
    .buttons { gap: 5px; }
    .buttons button { padding: 3px 7px; }
  }
`;
