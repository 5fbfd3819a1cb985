// Three scores and a temperature: probabilities in a triangle, the loss, and where it pushes.

const core = {
  /** Probabilities of scores divided by the temperature. */
  softmax(scores, temperature) {
    const top = Math.max(...scores);
    const powers = scores.map((score) => Math.exp((score - top) / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  },

  /** Minus the logarithm of the true class's probability, from the scores. */
  loss(scores, truth, temperature) {
    const top = Math.max(...scores);
    const total = scores.reduce((sum, score) => sum + Math.exp((score - top) / temperature), 0);
    return Math.log(total) + (top - scores[truth]) / temperature;
  },

  /** Its slope with respect to each score: (p − y) / T. */
  gradient(scores, truth, temperature) {
    return core
      .softmax(scores, temperature)
      .map((p, c) => (p - (c === truth ? 1 : 0)) / temperature);
  },

  /** The scores after one step of gradient descent with learning rate 1. */
  step(scores, truth, temperature) {
    const slopes = core.gradient(scores, truth, temperature);
    return scores.map((score, c) => score - slopes[c]);
  },

  /** Where a distribution lies in a triangle of side 1: [to the right, up from the base]. */
  place([, right, top]) {
    return [right + top / 2, (top * Math.sqrt(3)) / 2];
  },

  /** The distribution at a place; outside the triangle, that of a point on its border. */
  distribution([x, y]) {
    const top = y / (Math.sqrt(3) / 2);
    const shares = [1 - x - top / 2, x - top / 2, top].map((share) => Math.max(share, 0));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return shares.map((share) => share / total);
  },

  /** Scores with mean 0 that give a distribution, as far as scores up to `limit` can. */
  scores(distribution, temperature, limit) {
    const logs = distribution.map((p) => temperature * Math.log(Math.max(p, 1e-3)));
    const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
    return logs.map((log) => clamp(log - mean, -limit, limit));
  },
};

const LIMIT = 10; // of a score
const TENTH = 10; // sliders count tenths
const [COLDEST, DOUBLINGS] = [0.25, 4]; // temperatures from 1/4 to 4
const FINE = 8; // slider steps for each doubling
const BEGIN = [2, 1, 0];
const TRUTH = 1; // the true class at the beginning
const LEVELS = [0.9, 0.5, 0.1]; // probabilities of the true class at which a line is drawn
const MARGIN = 24; // around the triangle: room for the names
const STRIDE = 0.02; // of a key press, in sides of the triangle

/** A probability in three digits, however small, so that its logarithm can be checked. */
function precise(p) {
  if (p >= 0.1) return decimal(p, 3);
  return (p < 1e-3 ? p.toExponential(2) : p.toPrecision(3)).replace("-", "−");
}

function build(kit, { names }) {
  const state = { scores: [...BEGIN], notch: 2 * FINE, truth: TRUTH, trail: [] };
  const temperature = () => COLDEST * 2 ** (state.notch / FINE);
  const now = () => core.softmax(state.scores, temperature());

  const sliders = names.map((name, c) =>
    kit.slider(
      `Score of ${name}`,
      { min: -LIMIT * TENTH, max: LIMIT * TENTH, say: (tenths) => decimal(tenths / TENTH, 1) },
      (tenths) => move(state.scores.map((score, k) => (k === c ? tenths / TENTH : score))),
    ),
  );
  const heat = kit.slider(
    "Temperature",
    { min: 0, max: DOUBLINGS * FINE, say: (notch) => decimal(COLDEST * 2 ** (notch / FINE), 2) },
    (notch) => {
      state.notch = notch;
      move(state.scores);
    },
  );
  const truth = kit.choice(
    "True class",
    names.map((name, c) => [String(c), name]),
    (value) => {
      state.truth = Number(value);
      move(state.scores);
    },
  );
  const step = kit.button("Take a step downhill", takeStep, { class: "primary" });
  const add = kit.button("Add 1 to all scores", () => {
    if (Math.max(...state.scores) + 1 <= LIMIT) move(state.scores.map((score) => score + 1));
  });
  const reset = kit.button("Start again", () => {
    state.notch = 2 * FINE;
    state.truth = TRUTH;
    move([...BEGIN]);
  });
  const triangle = kit.canvas(1.08, drawTriangle, { touch, key });
  const rows = element("tbody");
  const lossLine = element("p", { class: "loss" });
  const legend = element(
    "p",
    { class: "caption" },
    element("span", { class: "key push" }),
    " y − p, the push on the scores (times 1 / T) ",
    element("span", { class: "key way" }),
    " where the probabilities go in one step with learning rate 1. Thin lines: equal loss.",
  );

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, ...sliders.map((s) => s.node), heat.node, truth.node),
    element("div", { class: "buttons" }, step, add, reset),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, triangle.node),
      element(
        "div",
        { class: "panel" },
        element(
          "table",
          {},
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              ...["class", "score z", "probability p", "slope (p − y) / T"].map((head) =>
                element("th", { scope: "col" }, head),
              ),
            ),
          ),
          rows,
        ),
        lossLine,
        legend,
      ),
    ),
  );

  function move(scores) {
    state.scores = scores;
    state.trail = [];
    show();
  }

  function takeStep() {
    state.trail = [...state.trail, now()].slice(-200);
    const scores = core.step(state.scores, state.truth, temperature());
    state.scores = scores.map((score) => clamp(score, -LIMIT, LIMIT));
    show();
  }

  function aim(place) {
    move(core.scores(core.distribution(place), temperature(), LIMIT));
  }

  function touch(x, y) {
    const { clientWidth, clientHeight } = triangle.node;
    const { side, left, base } = frame(clientWidth, clientHeight);
    aim([(x * clientWidth - left) / side, (base - y * clientHeight) / side]);
  }

  function key(name) {
    const moves = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (!(name in moves)) return false;
    const [x, y] = core.place(now());
    aim([x + STRIDE * moves[name][0], y + STRIDE * moves[name][1]]);
    return true;
  }

  // ---- Pictures

  function frame(width, height) {
    const side = Math.min(width - 2 * MARGIN, ((height - 2 * MARGIN) * 2) / Math.sqrt(3));
    const tall = (side * Math.sqrt(3)) / 2;
    return { side, left: (width - side) / 2, base: (height + tall) / 2 };
  }

  function drawTriangle(context, width, height) {
    const { side, left, base } = frame(width, height);
    const at = (distribution) => {
      const [x, y] = core.place(distribution);
      return [left + x * side, base - y * side];
    };
    const corners = [0, 1, 2].map((c) => at([0, 1, 2].map((k) => (k === c ? 1 : 0))));
    const path = (points) => {
      context.beginPath();
      points.forEach(([x, y]) => context.lineTo(x, y));
    };

    path(corners);
    context.closePath();
    context.fillStyle = kit.colour("soft");
    context.fill();
    context.strokeStyle = kit.colour("edge");
    context.lineWidth = 1.5;
    context.stroke();

    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    const [one, other] = [0, 1, 2].filter((c) => c !== state.truth);
    for (const level of LEVELS) {
      const ends = [one, other].map((full) => {
        const mixed = [0, 0, 0];
        mixed[state.truth] = level;
        mixed[full] = 1 - level;
        return at(mixed);
      });
      path(ends);
      context.strokeStyle = kit.colour("edge");
      context.lineWidth = 1;
      context.stroke();
      if (level === LEVELS[0]) continue; // too close to its corner for words
      const corner = corners[state.truth];
      const [x, y] = [0, 1].map((axis) => {
        const middle = (ends[0][axis] + ends[1][axis]) / 2;
        return middle + 0.06 * (corner[axis] - middle); // off the border
      });
      const words = `loss ${decimal(-Math.log(level), 2)}`;
      const half = context.measureText(words).width / 2 + 3;
      context.fillStyle = kit.colour("soft");
      context.fillRect(x - half, y - 9, 2 * half, 18);
      context.fillStyle = kit.colour("quiet");
      context.fillText(words, x, y + 4);
    }

    names.forEach((name, c) => {
      const [x, y] = corners[c];
      context.fillStyle = kit.colour(c === state.truth ? "accent" : "ink");
      context.font = `${c === state.truth ? "bold " : ""}14px system-ui, sans-serif`;
      const half = context.measureText(name).width / 2;
      context.fillText(name, clamp(x, half + 2, width - half - 2), c === 2 ? y - 8 : y + 18);
    });

    const p = now();
    const next = core.softmax(
      core.step(state.scores, state.truth, temperature()),
      temperature(),
    );
    for (const visited of state.trail) dot(context, at(visited), 3, "mark");
    arrow(context, at(p), corners[state.truth], "accent", [5, 4]);
    arrow(context, at(p), at(next), "mark", []);
    dot(context, at(p), 7, "paper");
    dot(context, at(p), 5.5, "ink");
  }

  function dot(context, [x, y], radius, colour) {
    context.fillStyle = kit.colour(colour);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }

  function arrow(context, from, to, colour, dashes) {
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const length = Math.hypot(dx, dy);
    if (length < 1) return;
    const head = Math.min(10, length);
    const turn = Math.atan2(dy, dx);
    const back = (angle) => [
      to[0] - head * Math.cos(turn + angle),
      to[1] - head * Math.sin(turn + angle),
    ];
    context.strokeStyle = context.fillStyle = kit.colour(colour);
    context.lineWidth = 2.5;
    context.setLineDash(dashes);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] - 0.7 * head * Math.cos(turn), to[1] - 0.7 * head * Math.sin(turn));
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(...to);
    context.lineTo(...back(0.45));
    context.lineTo(...back(-0.45));
    context.fill();
  }

  // ---- What is shown

  function showRows(p, slopes) {
    const bar = (kind, left, width) =>
      element("div", { class: `bar ${kind}`, style: `left: ${left}%; width: ${width}%` });
    const cell = (text, ...bars) =>
      element("td", {}, element("span", {}, text), element("div", { class: "track" }, ...bars));
    rows.replaceChildren(
      ...names.map((name, c) => {
        const half = 50 * Math.abs(slopes[c]) * temperature(); // the most that can be is 1 / T
        return element(
          "tr",
          { class: c === state.truth && "true" },
          element("th", { scope: "row" }, name, c === state.truth ? " (true)" : ""),
          element("td", {}, decimal(state.scores[c], 1)),
          cell(decimal(p[c], 3), bar("share", 0, 100 * p[c])),
          cell(
            decimal(slopes[c], 3),
            bar(slopes[c] < 0 ? "negative" : "positive", slopes[c] < 0 ? 50 - half : 50, half),
          ),
        );
      }),
    );
  }

  function show() {
    const p = now();
    const [T, y] = [temperature(), state.truth];
    const loss = core.loss(state.scores, y, T);
    const slopes = core.gradient(state.scores, y, T);
    sliders.forEach((slider, c) => slider.set(Math.round(state.scores[c] * TENTH)));
    heat.set(state.notch);
    truth.input.value = String(y);
    kit.enable(add, Math.max(...state.scores) + 1 <= LIMIT);
    showRows(p, slopes);
    lossLine.replaceChildren(
      "loss = −log ",
      precise(p[y]),
      " = ",
      element("strong", {}, decimal(loss, 3)),
      state.trail.length ? `, after ${state.trail.length} ${state.trail.length === 1 ? "step" : "steps"}` : "",
    );
    const shares = names.map((name, c) => `${name} ${decimal(p[c], 3)}`).join(", ");
    const said = `Probabilities: ${shares}. The truth is ${names[y]}: loss ${decimal(loss, 3)}.`;
    triangle.describe(
      `A triangle with the corners ${names.join(", ")} and a point in it. ${said} ` +
        "One arrow leads from the point to the true corner, another to where a step takes it.",
    );
    triangle.paint();
    kit.publish({
      scores: state.scores.map((score) => score.toFixed(4)).join(","),
      temperature: T.toFixed(4),
      truth: y,
      probabilities: p.map((share) => share.toFixed(6)).join(","),
      loss: loss.toFixed(6),
      steps: state.trail.length,
    });
    kit.announce(said);
  }

  show();
}

const STYLE = `
  .controls { grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); }
  .stage { align-items: center; }
  table { width: 100%; border-collapse: collapse; font-size: 14px; }
  th, td { padding: 4px 8px 4px 0; text-align: left; font-weight: 400; vertical-align: top; }
  thead th { color: var(--quiet); font-size: 13px; vertical-align: bottom; }
  tbody tr { border-top: 1px solid var(--line); }
  tr.true th { color: var(--accent); font-weight: 650; }
  tbody th { overflow-wrap: anywhere; }
  .track { position: relative; height: 8px; min-width: 40px; background: var(--soft); }
  .bar { position: absolute; top: 0; height: 8px; }
  .bar.share { background: var(--edge); }
  .bar.negative { background: var(--negative); }
  .bar.positive { background: var(--positive); }
  .loss { font-size: 16px; }
  .key { display: inline-block; width: 24px; height: 0; vertical-align: middle; }
  .key.push { border-top: 3px dashed var(--accent); }
  .key.way { border-top: 3px solid var(--mark); }
`;
