// Step through a sum around a ring of processes: every one ends with the sum, none sends much.

const core = {
  /** How many steps bring the sum of `processes` processes to all of them. */
  count: (processes) => 2 * (processes - 1),

  /** Which part a process sends in a step, counted from 0; in the second half it is a whole sum. */
  sent: (process, step, processes) => (((process - step) % processes) + processes) % processes,

  /**
   * What each process holds after so many steps: for each part its number, and how many processes'
   * numbers are in it.
   */
  state(values, steps) {
    const processes = values.length;
    let held = values.map((row) => row.map((value) => ({ value, from: 1 })));
    for (let step = 0; step < steps; step++) {
      const next = held.map((row) => [...row]);
      for (let process = 0; process < processes; process++) {
        const part = core.sent(process, step, processes);
        const to = (process + 1) % processes;
        const coming = held[process][part];
        const own = held[to][part];
        next[to][part] =
          step < processes - 1
            ? { value: own.value + coming.value, from: own.from + coming.from }
            : coming;
      }
      held = next;
    }
    return held;
  },

  /** How many whole gradients a process has sent at the end, and as many received. */
  ringLoad: (processes) => (2 * (processes - 1)) / processes,

  /** The same for process 0 if it collects everything, adds it up and sends it back. */
  centreLoad: (processes) => processes - 1,
};

function build(kit, data) {
  const most = data.values.length;
  const state = { processes: Math.min(4, most), step: 0 };

  const processes = kit.slider("Processes", { min: 2, max: most }, (value) => {
    state.processes = value;
    state.step = Math.min(state.step, core.count(value));
    show();
  });
  const step = kit.slider("Steps done", { min: 0, max: core.count(most) }, (value) => {
    state.step = value;
    show();
  });
  const next = kit.button("Next step", () => walk(1), { class: "primary" });
  const back = kit.button("Back", () => walk(-1));
  const again = kit.button("Start again", () => walk(-state.step));
  const board = kit.canvas(1.7, draw, { key });
  const caption = element("p", { class: "caption" });
  const load = element("p", { class: "caption" });

  kit.body.append(
    element("div", { class: "controls" }, processes.node, step.node),
    element("div", { class: "buttons" }, next, back, again),
    element("div", { class: "panel" }, caption, board.node),
    load,
  );

  // ---- What can happen

  function walk(by) {
    state.step = clamp(state.step + by, 0, core.count(state.processes));
    show();
  }

  function key(name) {
    if (name === "ArrowRight") walk(1);
    else if (name === "ArrowLeft") walk(-1);
    else if (name === "ArrowUp" || name === "ArrowDown") {
      state.processes = clamp(state.processes + (name === "ArrowUp" ? 1 : -1), 2, most);
      state.step = Math.min(state.step, core.count(state.processes));
      show();
    } else return false;
    return true;
  }

  // ---- What is shown

  const values = () => data.values.slice(0, state.processes).map((row) => row.slice(0, state.processes));
  const held = () => core.state(values(), state.step);
  const done = () => state.step === core.count(state.processes);
  const adding = () => state.step < state.processes - 1;

  function draw(context, width, height) {
    const count = state.processes;
    const [left, top, gap] = [58, 30, 24];
    const cellWidth = (width - left - 16) / count - gap;
    const cellHeight = (height - top - 10) / count - 8;
    const x = (process) => left + process * (cellWidth + gap);
    const y = (part) => top + part * (cellHeight + 8);
    const middle = (part) => y(part) + cellHeight / 2;
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    const [paper, full] = [rgb(kit.colour("zero")), rgb(kit.colour("accent"))];
    held().forEach((row, process) => {
      context.fillStyle = kit.colour("quiet");
      context.textAlign = "center";
      context.fillText(cellWidth > 60 ? `process ${process}` : String(process), x(process) + cellWidth / 2, 14);
      row.forEach(({ value, from }, part) => {
        const colour = blend(paper, full, (from - 1) / (count - 1));
        context.fillStyle = `rgb(${colour})`;
        context.fillRect(x(process), y(part), cellWidth, cellHeight);
        const moving = !done() && core.sent(process, state.step, count) === part;
        context.strokeStyle = kit.colour(moving ? "mark" : "line");
        context.lineWidth = moving ? 3 : 1;
        context.strokeRect(x(process), y(part), cellWidth, cellHeight);
        context.fillStyle = inkOn(colour);
        context.fillText(decimal(value, 0), x(process) + cellWidth / 2, middle(part));
        if (moving) arrow(context, x(process) + cellWidth + 3, middle(part), gap - 6);
      });
    });
    context.fillStyle = kit.colour("quiet");
    context.textAlign = "right";
    for (let part = 0; part < count; part++) context.fillText(`part ${part}`, left - 10, middle(part));
  }

  function arrow(context, x, y, length) {
    context.strokeStyle = context.fillStyle = kit.colour("mark");
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + length - 5, y);
    context.stroke();
    context.beginPath();
    context.moveTo(x + length, y);
    context.lineTo(x + length - 7, y - 5);
    context.lineTo(x + length - 7, y + 5);
    context.fill();
  }

  function show() {
    const count = state.processes;
    const all = core.count(count);
    processes.set(count);
    step.set(state.step, all);
    kit.enable(next, !done());
    kit.enable(back, state.step > 0);
    kit.enable(again, state.step > 0);
    const now = held();
    const whole = now.flat().filter(({ from }) => from === count).length;
    const said = done()
      ? `After ${all} steps each of the ${count} processes holds all ${count} sums.`
      : adding()
        ? `Step ${state.step + 1} of ${all}: each process sends its framed part on, and its right neighbour adds it.`
        : `Step ${state.step + 1} of ${all}: each process sends a finished sum on, and its right neighbour keeps it.`;
    caption.replaceChildren(
      element("strong", {}, "Parts of the gradient"),
      ", a process in each column; the darker, the more processes are in the sum; " +
        "the last process sends to the first",
    );
    const through = (load) => Number((2 * load).toFixed(2));
    const half = Number(core.ringLoad(count).toFixed(2));
    const centre = core.centreLoad(count);
    load.textContent =
      `Through each process pass ${through(core.ringLoad(count))} gradients: ${half} out, ${half} in. ` +
      `If process 0 collected and answered all, ${through(centre)} would pass through it: ` +
      `${centre} in, ${centre} out.`;
    board.describe(
      `${count} processes with ${count} parts each. ${said} ${whole} of ${count * count} parts are whole sums.`,
    );
    board.paint();
    kit.publish({
      processes: count,
      step: state.step,
      phase: done() ? "done" : adding() ? "adding" : "gathering",
      whole,
      values: now.map((row) => row.map(({ value }) => value).join(",")).join(";"),
    });
    kit.announce(`${said} Whole sums: ${whole} of ${count * count}.`);
  }

  show();
}
