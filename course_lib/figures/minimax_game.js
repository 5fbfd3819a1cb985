// The minimax game in one dimension: a discriminator and a generator that take turns, by hand.

const STEP = 0.05; // between the points of the grid
const REACH = 12; // the grid's end, far beyond both densities
const SHOWN = 6; // the end of what is drawn
const GRID = Array.from({ length: 2 * Math.round(REACH / STEP) + 1 }, (_, i) => i * STEP - REACH);
const CENTRES = [-4, -3, -2, -1, 0, 1, 2, 3, 4]; // of the bumps
const LAMBDA = 1000; // how much a slope above 1 costs a critic
const PACE = 0.2; // a step of the generator
const WIDTHS = [0.2, 2]; // of the generator
const MIDDLES = [-4, 4];

const core = {
  /** log(1 + exp(x)), also for a large x. */
  softplus(x) {
    return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  },

  sigmoid(x) {
    return Math.exp(-core.softplus(-x));
  },

  /** A mixture of normal densities, as rows of weight, mean and standard deviation. */
  density(mixture, points = GRID) {
    return points.map((x) =>
      mixture.reduce(
        (sum, [weight, mean, std]) =>
          sum +
          (weight * Math.exp(-(((x - mean) / std) ** 2) / 2)) / (std * Math.sqrt(2 * Math.PI)),
        0,
      ),
    );
  },

  /** The integral of values on the grid: they vanish at its ends, so a sum is enough. */
  integral(values) {
    return STEP * values.reduce((a, b) => a + b, 0);
  },

  /** Where both densities are 0 in floating point, nobody can tell: one half. */
  optimum(p, q) {
    return p.map((value, i) => (value + q[i] > 0 ? value / (value + q[i]) : 0.5));
  },

  /** Jensen and Shannon's divergence, in nats. */
  jensenShannon(p, q) {
    const half = (a, b) => (a > 0 ? a * Math.log((2 * a) / (a + b)) : 0);
    return core.integral(p.map((value, i) => (half(value, q[i]) + half(q[i], value)) / 2));
  },

  /** How far mass must be carried: the area between the two distribution functions. */
  wasserstein(p, q) {
    return core.integral(core.ahead(p, q).map(Math.abs));
  },

  /** By how much the generator's distribution function lies above that of the data. */
  ahead(p, q) {
    let sum = 0;
    return p.map((value, i) => (sum += STEP * (q[i] - value)));
  },

  /** What a discriminator adds up, each with its slope: 1, x, x² and, if wanted, nine bumps. */
  features(bumps, points = GRID) {
    const all = [
      [() => 1, () => 0],
      [(x) => x / 2, () => 1 / 2],
      [(x) => x ** 2 / 8, (x) => x / 4],
    ];
    for (const centre of bumps ? CENTRES : []) {
      const bump = (x) => Math.exp(-((x - centre) ** 2) / (2 * 0.7 ** 2));
      all.push([bump, (x) => (-(x - centre) / 0.7 ** 2) * bump(x)]);
    }
    return all.map(([value, slope]) => ({ value: points.map(value), slope: points.map(slope) }));
  },

  /** The weighted sum of the features, or of their slopes. */
  combine(features, weights, what) {
    return GRID.map((_, i) => features.reduce((sum, f, k) => sum + weights[k] * f[what][i], 0));
  },

  /** What the discriminator wants to be large: V, or a critic's difference less its penalty. */
  value(game, weights) {
    const { p, q, features, loss } = game;
    const score = core.combine(features, weights, "value");
    if (loss === "wasserstein") {
      const slope = core.combine(features, weights, "slope");
      const steep = slope.map((s, i) => (core.inside(i) ? Math.max(Math.abs(s) - 1, 0) ** 2 : 0));
      const gained = core.integral(score.map((s, i) => s * (p[i] - q[i])));
      const penalty = (LAMBDA * core.integral(steep)) / (2 * SHOWN);
      return { gained, value: gained - penalty };
    }
    const gained = -core.integral(
      score.map((s, i) => p[i] * core.softplus(-s) + q[i] * core.softplus(s)),
    );
    return { gained, value: gained };
  },

  inside(i) {
    return Math.abs(GRID[i]) <= SHOWN + STEP / 2;
  },

  /** The gradient of that value with the weights, and minus its second derivatives. */
  derivatives(game, weights) {
    const { p, q, features, loss } = game;
    const critic = loss === "wasserstein";
    const score = core.combine(features, weights, "value");
    const slope = core.combine(features, weights, "slope");
    const cost = (2 * LAMBDA) / (2 * SHOWN);
    const [push, bend, steep] = [[], [], []]; // at each point: by value, its change, by slope
    score.forEach((s, i) => {
      const d = core.sigmoid(s);
      push.push(critic ? p[i] - q[i] : p[i] * core.sigmoid(-s) - q[i] * d);
      bend.push(critic ? 0 : (p[i] + q[i]) * d * core.sigmoid(-s));
      const over = critic && core.inside(i) ? Math.max(Math.abs(slope[i]) - 1, 0) : 0;
      steep.push(over && cost * over * Math.sign(slope[i]));
    });
    const sum = (value) => core.integral(GRID.map((_, i) => value(i)));
    const gradient = features.map((f) =>
      sum((i) => push[i] * f.value[i] - steep[i] * f.slope[i]),
    );
    const curvature = features.map((f) =>
      features.map((g) =>
        sum(
          (i) =>
            bend[i] * f.value[i] * g.value[i] +
            (steep[i] === 0 ? 0 : cost * f.slope[i] * g.slope[i]),
        ),
      ),
    );
    return { gradient, curvature };
  },

  /** Solve a symmetric positive definite system, by elimination. */
  solve(matrix, right) {
    const rows = matrix.map((row, i) => [...row, right[i]]);
    rows.forEach((row, i) => {
      for (let j = i + 1; j < rows.length; j++) {
        const share = rows[j][i] / row[i];
        for (let k = i; k < row.length; k++) rows[j][k] -= share * row[k];
      }
    });
    const x = new Array(rows.length).fill(0);
    for (let i = rows.length - 1; i >= 0; i--) {
      const known = x.reduce((sum, value, k) => (k > i ? sum + rows[i][k] * value : sum), 0);
      x[i] = (rows[i].at(-1) - known) / rows[i][i];
    }
    return x;
  },

  /**
   * A step of the discriminator: follow the gradient for a time. The step is linearly implicit,
   * which for a short time is gradient ascent, and which no steepness throws off.
   */
  stepD(game, weights, time = 1) {
    const { gradient, curvature } = core.derivatives(game, weights);
    const matrix = curvature.map((row, i) => row.map((v, j) => v + (i === j ? 1 / time : 0)));
    return core.solve(matrix, gradient).map((change, k) => weights[k] + change);
  },

  /** The best discriminator that these features allow: long steps, shortened where V falls. */
  bestD(game, weights) {
    let now = weights;
    for (let round = 0; round < 60; round++) {
      let time = 1e5;
      let next = core.stepD(game, now, time);
      while (core.value(game, next).value < core.value(game, now).value && time > 1e-3)
        next = core.stepD(game, now, (time /= 10));
      if (core.value(game, next).value <= core.value(game, now).value + 1e-12) break;
      now = next;
    }
    return now;
  },

  /** How the generator's loss changes with its mean and its width: x = mean + width · z. */
  gradientG(game, weights, mean, width) {
    const { q, features, loss } = game;
    const score = core.combine(features, weights, "value");
    const slope = core.combine(features, weights, "slope");
    const rate = { saturating: (s) => core.sigmoid(s), nonsaturating: (s) => core.sigmoid(-s) };
    const push = slope.map((s, i) => -q[i] * s * (rate[loss]?.(score[i]) ?? 1));
    return [
      core.integral(push),
      core.integral(push.map((value, i) => (value * (GRID[i] - mean)) / width)),
    ];
  },

  /** A step of the generator, within what the sliders can show. */
  stepG(game, weights, mean, width) {
    const [byMean, byWidth] = core.gradientG(game, weights, mean, width);
    return [
      clamp(mean - PACE * byMean, ...MIDDLES),
      clamp(width - PACE * byWidth, ...WIDTHS),
    ];
  },

  /** The critic that sees the whole distance: slope 1 up or down, wherever mass must move. */
  bestCritic(p, q) {
    let sum = 0;
    return core.ahead(p, q).map((value) => {
      const direction = Math.abs(value) > 1e-9 ? Math.sign(value) : 0;
      return (sum += STEP * direction);
    });
  },
};

const LONGEST = 400; // steps that the history shows
const TURNS = 4; // in a frame of a run, if there is time for them
const FRAME = 60; // milliseconds that a frame may compute

function build(kit, data) {
  const names = Object.keys(data.sets);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const plain = core.features(false);
  const rich = core.features(true);
  const LOSSES = [
    ["saturating", "saturating"],
    ["nonsaturating", "non-saturating"],
    ["wasserstein", "Wasserstein"],
  ];
  const state = { set: 0, loss: "saturating", bumps: false, turns: 5 };
  const start = { mean: data.start[0], width: data.start[1] };
  let weights = [];
  let history = []; // of pairs: reached by D, and the most that any D could reach
  let turn = { d: 0, g: 0 };
  let timer = null;
  let seen = {};

  const two = (value) => decimal(value / 100, 2);
  const wide = (value) =>
    two(value) + (WIDTHS.includes(value / 100) ? " (the end of the slider)" : "");
  const set = kit.choice(
    "Data",
    names.map((name, at) => [String(at), name]),
    (value) => reset({ set: Number(value) }),
  );
  const loss = kit.choice("Loss", LOSSES, (value) => reset({ loss: value }, true));
  const eye = kit.choice(
    "Discriminator",
    [
      ["plain", "a parabola"],
      ["rich", "with nine bumps"],
    ],
    (value) => reset({ bumps: value === "rich" }, true),
  );
  const mean = kit.slider("Generator's mean", { min: -400, max: 400, say: two }, (value) =>
    move({ mean: value / 100 }),
  );
  const width = kit.slider("Generator's width", { min: 20, max: 200, say: wide }, (value) =>
    move({ width: value / 100 }),
  );
  const turns = kit.slider(
    "Steps of D in its turn",
    { min: 1, max: 40, say: String },
    (value) => {
      state.turns = value;
      show();
    },
  );
  const stepD = kit.button("Step D", () => act(playD), { class: "primary" });
  const stepG = kit.button("Step G", () => act(playG), { class: "primary" });
  const best = kit.button("Best D", () => act(playBest));
  const run = kit.button("Run", () => (timer === null ? begin() : pause()));
  const again = kit.button("Reset", () => reset({}));

  const field = kit.canvas(2.6, drawDensities, {
    touch: (x) => move({ mean: (2 * x - 1) * SHOWN }),
    key,
  });
  const judge = kit.canvas(2.6, drawJudge);
  const chart = kit.canvas(2.6, drawHistory);
  const words = () => element("p", { class: "caption" });
  const [fieldWords, judgeWords, chartWords, pushWords] = [words(), words(), words(), words()];
  kit.body.append(
    element("div", { class: "controls" }, set.node, loss.node, eye.node),
    element("div", { class: "buttons" }, stepD, stepG, best, run, again),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, fieldWords, field.node, judgeWords, judge.node),
      element(
        "div",
        { class: "panel" },
        chartWords,
        chart.node,
        pushWords,
        mean.node,
        width.node,
        turns.node,
      ),
    ),
  );

  // ---- The game

  function game() {
    return {
      p: core.density(data.sets[names[state.set]]),
      q: core.density([[1, state.mean, state.width]]),
      features: state.bumps ? rich : plain,
      loss: state.loss,
    };
  }

  function reset(settings, keep = false) {
    pause();
    Object.assign(state, settings);
    if (!keep) Object.assign(state, start);
    weights = new Array((state.bumps ? rich : plain).length).fill(0);
    history = [];
    turn = { d: 0, g: 0 };
    look();
  }

  function move(settings) {
    pause();
    Object.assign(state, settings);
    state.mean = clamp(state.mean, ...MIDDLES);
    state.width = clamp(state.width, ...WIDTHS);
    look();
  }

  function key(name) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!(name in by)) return false;
    const [across, wider] = by[name];
    move({ mean: state.mean + 0.1 * across, width: state.width + 0.1 * wider });
    return true;
  }

  function act(play) {
    pause();
    play();
    look();
  }

  function playD() {
    for (let n = 0; n < state.turns; n++) weights = core.stepD(game(), weights);
    turn.d += state.turns;
  }

  function playBest() {
    weights = core.bestD(game(), weights);
    turn.d += 1;
  }

  function playG() {
    [state.mean, state.width] = core.stepG(game(), weights, state.mean, state.width);
    turn.g += 1;
  }

  function begin() {
    run.textContent = "Pause";
    kit.announce("The game is running; Pause says the numbers.");
    timer = setInterval(
      () => {
        if (!kit.host.isConnected) return pause();
        const until = performance.now() + FRAME;
        for (let n = 0; n < TURNS && (n === 0 || performance.now() < until); n++) {
          playD();
          playG();
          measure();
        }
        show(false);
      },
      calm.matches ? 1000 : 150,
    );
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    run.textContent = "Run";
    look();
  }

  /** Compute what is shown, and remember it for the history. */
  function measure() {
    const now = game();
    const critic = state.loss === "wasserstein";
    const [byMean, byWidth] = core.gradientG(now, weights, state.mean, state.width);
    const divergence = core.jensenShannon(now.p, now.q);
    seen = {
      ...now,
      score: core.combine(now.features, weights, "value"),
      reached: core.value(now, weights).gained,
      most: critic ? core.wasserstein(now.p, now.q) : 2 * divergence - Math.log(4),
      divergence,
      push: Math.hypot(byMean, byWidth),
    };
    const last = history.at(-1);
    if (last === undefined || last[0] !== seen.reached || last[1] !== seen.most)
      history = [...history, [seen.reached, seen.most]].slice(-LONGEST);
  }

  function look() {
    measure();
    show();
  }

  // ---- Pictures

  function line(context, values, x, y, name, dash = []) {
    context.strokeStyle = kit.colour(name);
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.beginPath();
    values.forEach((value, i) => core.inside(i) && context.lineTo(x(GRID[i]), y(value)));
    context.stroke();
    context.setLineDash([]);
  }

  function axis(context, width, height, low, high) {
    const [left, right, top, bottom] = [36, width - 8, 8, height - 22];
    const y = (value) => bottom - ((value - low) / (high - low || 1)) * (bottom - top);
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = kit.colour("quiet");
    context.strokeStyle = kit.colour("line");
    context.lineWidth = 1;
    context.textAlign = "right";
    for (const value of [low, (low + high) / 2, high]) {
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(right, y(value));
      context.stroke();
      context.fillText(decimal(value, 1), left - 5, y(value) + 4);
    }
    return { y, left, right, bottom };
  }

  function places(context, { left, right, bottom }) {
    const x = (at) => left + ((at + SHOWN) / (2 * SHOWN)) * (right - left);
    context.textAlign = "center";
    for (const at of [-4, -2, 0, 2, 4]) context.fillText(decimal(at, 0), x(at), bottom + 16);
    return x;
  }

  function drawDensities(context, width, height) {
    const top = Math.ceil(2.2 * Math.max(...seen.p, ...seen.q)) / 2;
    const frame = axis(context, width, height, 0, top);
    const x = places(context, frame);
    line(context, seen.p, x, frame.y, "accent");
    line(context, seen.q, x, frame.y, "mark", [6, 4]);
  }

  function drawJudge(context, width, height) {
    const critic = state.loss === "wasserstein";
    const middle = (values) => {
      const mean = core.integral(values.map((v, i) => (v * (seen.p[i] + seen.q[i])) / 2));
      return values.map((v) => v - mean);
    };
    const own = critic ? middle(seen.score) : seen.score.map(core.sigmoid);
    const ideal = critic ? middle(core.bestCritic(seen.p, seen.q)) : core.optimum(seen.p, seen.q);
    const [low, high] = critic ? [-5, 5] : [0, 1];
    const frame = axis(context, width, height, low, high);
    const x = places(context, frame);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, frame.bottom + 1);
    context.clip();
    line(context, ideal, x, frame.y, "quiet", [2, 4]);
    line(context, own, x, frame.y, "ink");
    context.restore();
  }

  function drawHistory(context, width, height) {
    const low = state.loss === "wasserstein" ? 0 : -2;
    const high = state.loss === "wasserstein" ? 8 : 0;
    const frame = axis(context, width, height, low, high);
    const x = (at) =>
      frame.left + (at / Math.max(history.length - 1, 20)) * (frame.right - frame.left);
    context.textAlign = "left";
    context.fillText(`turn after turn: ${turn.g} of G`, frame.left, frame.bottom + 16);
    [
      [1, "quiet", [2, 4]],
      [0, "ink", []],
    ].forEach(([which, colour, dash]) => {
      context.strokeStyle = kit.colour(colour);
      context.fillStyle = kit.colour(colour);
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath();
      const y = (pair) => frame.y(clamp(pair[which], low, high));
      history.forEach((pair, at) => context.lineTo(x(at), y(pair)));
      context.stroke();
      context.setLineDash([]);
      context.beginPath();
      context.arc(x(history.length - 1), y(history.at(-1)), 4, 0, 2 * Math.PI);
      context.fill();
    });
  }

  // ---- What is said

  function tiny(value) {
    if (value >= 0.001 || value === 0) return decimal(value, 3);
    return value < 1e-6 ? "less than a millionth" : decimal(value, 6);
  }

  function show(aloud = true) {
    const critic = state.loss === "wasserstein";
    const player = `normal, mean ${decimal(state.mean, 2)}, width ${decimal(state.width, 2)}`;
    const reached = decimal(seen.reached, 3);
    const most = decimal(seen.most, 3);
    const result = critic
      ? `The critic sees ${reached}; the Wasserstein distance is ${most}`
      : `V is ${reached}; the best D would reach ${most}`;
    set.input.value = String(state.set);
    loss.input.value = state.loss;
    eye.input.value = state.bumps ? "rich" : "plain";
    mean.set(Math.round(100 * state.mean));
    width.set(Math.round(100 * state.width));
    turns.set(state.turns);
    const strong = (text) => element("strong", {}, text);
    fieldWords.replaceChildren(strong("Densities"), ": data (line), generator (dashed)");
    judgeWords.replaceChildren(
      strong(critic ? "Critic" : "Discriminator"),
      `: ${critic ? "f(x)" : "D(x)"} (line), the best one (dotted)`,
    );
    chartWords.replaceChildren(
      strong(critic ? "Seen difference" : "V"),
      `: ${reached} (line); ${critic ? "Wasserstein distance" : "2 JS − log 4"}: ${most} (dotted)`,
    );
    pushWords.replaceChildren(strong("Push on the generator"), `: ${tiny(seen.push)}`);
    const what = names[state.set];
    field.describe(`Densities over x from −6 to 6: data, ${what}; the generator, ${player}.`);
    judge.describe(
      `${critic ? "The critic's value" : "The discriminator's probability of real"} over x from ` +
        `−6 to 6, beside that of the best one. ${result}.`,
    );
    chart.describe(`${result}, after ${turn.d} steps of D and ${turn.g} of G.`);
    for (const picture of [field, judge, chart]) picture.paint();
    kit.publish({
      set: state.set,
      loss: state.loss,
      bumps: state.bumps,
      turns: state.turns,
      mean: state.mean.toFixed(6),
      width: state.width.toFixed(6),
      d: turn.d,
      g: turn.g,
      reached: seen.reached.toFixed(6),
      most: seen.most.toFixed(6),
      push: seen.push.toExponential(6),
      running: timer !== null,
    });
    if (aloud) kit.announce(`${result}. Generator: ${player}; push ${tiny(seen.push)}.`);
  }

  reset({});
}
