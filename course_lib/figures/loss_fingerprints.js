// A softmax regression that trains in the page, soundly or with a mistake; its loss is compared.

const core = {
  /** Scans and labels as a run needs them: rows of pixels in [0, 1] and a 1 for the bias. */
  unpack({ pixels, labels }) {
    const raw = atob(pixels);
    const size = raw.length / labels.length;
    const rows = labels.map((_, n) =>
      Float64Array.from({ length: size }, (_, at) => raw.charCodeAt(n * size + at) / 255),
    );
    return { rows, labels };
  },

  /** Scores of one row: weights[d * C + c], the bias last. */
  scores(row, weights, C) {
    const scores = weights.slice(row.length * C);
    for (let d = 0; d < row.length; d++) {
      for (let c = 0; c < C; c++) scores[c] += row[d] * weights[d * C + c];
    }
    return scores;
  },

  softmax(scores) {
    const top = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - top));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  },

  /** Cross-entropy of scores. */
  loss(scores, truth) {
    const top = Math.max(...scores);
    return Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0)) + top - scores[truth];
  },

  /** The slope of the loss with each score; `twice`: of the loss of the scores' softmax. */
  slopes(scores, truth, twice) {
    const p = core.softmax(scores);
    const outer = (twice ? core.softmax(p) : p).map((q, c) => q - (c === truth ? 1 : 0));
    if (!twice) return outer;
    const mean = outer.reduce((sum, slope, c) => sum + slope * p[c], 0);
    return outer.map((slope, c) => p[c] * (slope - mean));
  },

  /** The mean loss over all rows. */
  mean(rows, labels, weights, C, twice) {
    const total = rows.reduce((sum, row, n) => {
      const scores = core.scores(row, weights, C);
      return sum + core.loss(twice ? core.softmax(scores) : scores, labels[n]);
    }, 0);
    return total / rows.length;
  },

  /** The share of rows whose highest score is the true one. */
  accuracy(rows, labels, weights, C) {
    const right = rows.filter((row, n) => {
      const scores = core.scores(row, weights, C);
      return scores.indexOf(Math.max(...scores)) === labels[n];
    });
    return right.length / rows.length;
  },

  /** A whole run: the training loss before each step and at the end, and what is right then. */
  run({ train, validation, shuffled, batch, classes }, mistake, lr, steps) {
    const scale = { bytes: 255, twice: 1 / 255 }[mistake] ?? 1;
    const scaled = ({ rows }) => rows.map((row) => row.map((x) => x * scale));
    const [rows, held] = [scaled(train), scaled(validation)];
    const labels = mistake === "shuffled" ? shuffled : train.labels;
    const C = mistake === "twenty" ? 2 * classes : classes;
    const twice = mistake === "softmax";
    const size = (rows[0].length + 1) * C;
    const weights = Float64Array.from({ length: size }, (_, k) =>
      mistake === "start" ? 3 * Math.sin(13 * k) : 0,
    );
    const gradient = new Float64Array(size);
    const losses = [];
    for (let step = 0; step < steps; step++) {
      losses.push(core.mean(rows, labels, weights, C, twice));
      if (mistake !== "uncleared") gradient.fill(0);
      for (let k = 0; k < batch; k++) {
        const n = (step * batch + k) % rows.length;
        const slopes = core.slopes(core.scores(rows[n], weights, C), labels[n], twice);
        for (let c = 0; c < C; c++) {
          const share = slopes[c] / batch;
          for (let d = 0; d < rows[n].length; d++) gradient[d * C + c] += share * rows[n][d];
          gradient[size - C + c] += share;
        }
      }
      if (mistake === "cleared") gradient.fill(0);
      const way = mistake === "uphill" ? -lr : lr;
      for (let k = 0; k < size; k++) weights[k] -= way * gradient[k];
    }
    losses.push(core.mean(rows, labels, weights, C, twice));
    return {
      losses,
      train: core.accuracy(rows, labels, weights, C),
      validation: core.accuracy(held, validation.labels, weights, C),
    };
  },
};

const MISTAKES = {
  none: "no mistake",
  softmax: "a softmax too many",
  uncleared: "gradients never cleared",
  cleared: "gradients cleared too early",
  uphill: "gradient added, not subtracted",
  start: "weights that start too large",
  bytes: "pixels from 0 to 255",
  twice: "pixels divided by 255 twice",
  shuffled: "labels of other scans",
  twenty: "20 scores for 10 classes",
};
const SIZES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const STEPS = 120;
const TOP = 5; // of the picture; a higher loss runs along its upper edge

function build(kit, data) {
  const known = { ...data, train: core.unpack(data.train), validation: core.unpack(data.validation) };
  const state = { mistake: "softmax", size: SIZES.indexOf(1), cursor: 40, patient: null, tries: 0, judged: false };
  const runs = new Map();
  const lr = () => SIZES[state.size];
  const solved = () => state.patient === null || (state.judged && state.mistake === state.patient);

  /** What the patient, or the sound run, is compared with: a choice only once it is a diagnosis. */
  const shown = () => (state.patient !== null && !state.judged ? "none" : state.mistake);

  /** A run is computed when it is asked for, and kept. */
  function run(mistake) {
    const key = `${mistake} ${state.size}`;
    if (!runs.has(key)) runs.set(key, core.run(known, mistake, lr(), STEPS));
    return runs.get(key);
  }

  const choice = kit.choice("Mistake", Object.entries(MISTAKES), (value) => {
    state.mistake = value;
    state.judged = false;
    show();
  });
  const size = kit.slider("Step size", { min: 0, max: SIZES.length - 1, say: (at) => String(SIZES[at]) }, (at) => {
    state.size = at;
    state.judged = false;
    show();
  });
  const ask = kit.button("A patient I do not know", newPatient, { class: "primary" });
  const judge = kit.button("That is my diagnosis", () => {
    if (state.patient === null || state.judged) return;
    state.judged = true;
    state.tries += 1;
    show();
  });
  const sound = kit.button("Back to the sound run", () => {
    state.patient = null;
    show();
  });
  const chart = kit.canvas(1.9, draw, { touch, key });
  const caption = element("p", { class: "caption" });
  const head = element("tr");
  const rows = element("tbody");
  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, choice.node, size.node),
    element("div", { class: "buttons" }, ask, judge, sound),
    caption,
    element("div", { class: "panel" }, chart.node),
    element("table", {}, element("thead", {}, head), rows),
  );

  function newPatient() {
    const others = Object.keys(MISTAKES).filter((name) => name !== (state.patient ?? state.mistake));
    state.patient = others[Math.floor(Math.random() * others.length)];
    Object.assign(state, { tries: 0, judged: false, size: SIZES.indexOf(1) });
    show();
  }

  // ---- The picture

  const frame = (width, height) => ({ left: 34, right: width - 10, top: 10, bottom: height - 24 });

  function touch(x) {
    const { left, right } = frame(chart.node.clientWidth, 0);
    const share = (x * chart.node.clientWidth - left) / (right - left);
    state.cursor = clamp(Math.round(share * STEPS), 0, STEPS);
    show();
  }

  function key(name) {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[name];
    if (by === undefined) return false;
    state.cursor = clamp(state.cursor + by, 0, STEPS);
    show();
    return true;
  }

  function draw(context, width, height) {
    const { left, right, top, bottom } = frame(width, height);
    const x = (step) => left + (step / STEPS) * (right - left);
    const y = (loss) => bottom - (Math.min(loss, TOP) / TOP) * (bottom - top);
    const line = (points, colour, dash, thick) => {
      context.strokeStyle = kit.colour(colour);
      context.lineWidth = thick;
      context.setLineDash(dash);
      context.beginPath();
      points.forEach(([across, up]) => context.lineTo(across, up));
      context.stroke();
      context.setLineDash([]);
    };
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = kit.colour("quiet");
    context.textAlign = "right";
    for (let loss = 0; loss <= TOP; loss++) {
      line([[left, y(loss)], [right, y(loss)]], "line", [], 1);
      context.fillText(String(loss), left - 6, y(loss) + 4);
    }
    context.fillText(`step ${STEPS}`, right, height - 7);
    context.textAlign = "left";
    context.fillText("0", left, height - 7);
    const marks = [
      [Math.log(data.classes), `log ${data.classes}`],
      [Math.log(1 + (data.classes - 1) / Math.E), "floor of softmax twice"],
    ];
    context.textAlign = "right";
    for (const [loss, words] of marks) {
      line([[left, y(loss)], [right, y(loss)]], "edge", [2, 4], 1.5);
    }
    const curve = (name) => run(name).losses.map((loss, step) => [x(step), y(loss)]);
    line([[x(state.cursor), top], [x(state.cursor), bottom]], "edge", [], 1);
    if (state.patient !== null) line(curve("none"), "quiet", [], 1.5);
    line(curve(state.patient ?? "none"), "accent", [], 3);
    if (state.patient === null || state.judged) line(curve(state.mistake), "mark", [7, 4], 2.5);
    for (const [at, [loss, words]] of marks.entries()) {
      const text = `${words} = ${decimal(loss, 2)}`;
      const wide = context.measureText(text).width;
      const foot = at === 0 ? y(loss) - 5 : y(loss) + 14; // outside of the two lines
      context.fillStyle = kit.colour("paper");
      context.fillRect(right - 4 - wide, foot - 11, wide + 4, 14);
      context.fillStyle = kit.colour("quiet");
      context.fillText(text, right - 2, foot);
    }
  }

  // ---- What is shown

  const number = (loss) => (loss < 100 ? decimal(loss, 3) : grouped(Math.round(loss)));
  const share = (part) => `${decimal(100 * part, 0)} %`;

  function verdict(patient, chosen) {
    if (state.patient === null || !state.judged) return "";
    if (solved()) {
      return `The curves agree: the patient has ${MISTAKES[state.patient]}. Tries: ${state.tries}.`;
    }
    const [first, other] = [patient.losses[0], chosen.losses[0]];
    if (Math.abs(first - other) > 1e-9) {
      return `No: the patient's first loss is ${number(first)}, and this mistake would give ${number(other)}.`;
    }
    const [last, late] = [patient.losses.at(-1), chosen.losses.at(-1)];
    return `No: the patient's last loss is ${number(last)}, and this mistake would give ${number(late)}.`;
  }

  function show() {
    const named = state.patient === null ? "the sound run" : "the patient";
    const [patient, chosen] = [run(state.patient ?? "none"), run(shown())];
    const hidden = state.patient !== null && !state.judged;
    const other = hidden ? "the sound run" : "your choice";
    choice.input.value = state.mistake;
    const asked = state.patient === null ? "Mistake" : "Your diagnosis";
    choice.node.querySelector(".label").textContent = asked;
    choice.input.setAttribute("aria-label", asked);
    size.set(state.size);
    kit.enable(judge, hidden);
    kit.enable(sound, state.patient !== null);
    caption.replaceChildren(
      "Training loss, step by step: ",
      element("strong", {}, named),
      state.patient === null ? " (line) and " : " (thick line), the sound run (thin line) and ",
      element("strong", {}, hidden ? "your diagnosis" : MISTAKES[state.mistake]),
      ` (dashes${hidden ? ", once you have made it" : ""}). What lies above ${TOP} runs along the edge.`,
    );
    head.replaceChildren(
      element("td"),
      ...[named, other].map((text) => element("th", { scope: "col" }, text)),
    );
    const cells = [
      ["first loss", ...[patient, chosen].map(({ losses }) => number(losses[0]))],
      ["lowest loss", ...[patient, chosen].map(({ losses }) => number(Math.min(...losses)))],
      ["highest loss", ...[patient, chosen].map(({ losses }) => number(Math.max(...losses)))],
      [`loss at step ${state.cursor}`, ...[patient, chosen].map(({ losses }) => number(losses[state.cursor]))],
      ["right at the end, training", share(patient.train), share(chosen.train)],
      ["right at the end, validation", share(patient.validation), share(chosen.validation)],
    ];
    rows.replaceChildren(
      ...cells.map(([what, ...values]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, what),
          ...values.map((value) => element("td", {}, value)),
        ),
      ),
    );
    const here = `step ${state.cursor}: ${named} ${number(patient.losses[state.cursor])}, ${other} ${number(chosen.losses[state.cursor])}`;
    const said = verdict(patient, chosen);
    chart.describe(
      `Two curves of the training loss over ${STEPS} steps of size ${lr()}: ${named}, from ` +
        `${number(patient.losses[0])} to ${number(patient.losses.at(-1))}, and ${hidden ? other : MISTAKES[state.mistake]}, ` +
        `from ${number(chosen.losses[0])} to ${number(chosen.losses.at(-1))}. At ${here}.`,
    );
    chart.paint();
    kit.publish({
      mistake: state.mistake,
      lr: lr(),
      cursor: state.cursor,
      patient: state.patient === null ? "nobody" : solved() ? state.patient : "hidden",
      tries: state.patient === null ? 0 : state.tries,
      reference: patient.losses[state.cursor].toFixed(6),
      loss: chosen.losses[state.cursor].toFixed(6),
      train: chosen.train.toFixed(4),
      validation: chosen.validation.toFixed(4),
    });
    kit.announce(said || `At ${here}.`);
  }

  show();
}

const STYLE = `
  .controls { grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
  table { width: 100%; color: inherit; border-collapse: collapse; font-size: 14px; }
  th, td { padding: 4px 8px 4px 0; text-align: left; font-weight: 400; overflow-wrap: anywhere; }
  thead th { color: var(--quiet); font-size: 13px; }
  tbody tr { border-top: 1px solid var(--line); }
`;
