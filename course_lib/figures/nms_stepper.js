// Step through non-maximum suppression over a photograph: each box is kept or suppressed, by whom.

const core = {
  iou(a, b) {
    const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
    const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    const inter = width * height;
    const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const union = area(a) + area(b) - inter;
    return union > 0 ? inter / union : 0;
  },

  /**
   * One decision for each box whose score is high enough; the boxes come best first.
   * `by` is the kept box that suppresses it (-1 if none does), the one that overlaps it most, and
   * `overlap` their IoU; of a box that is kept, the largest IoU with a box kept before.
   */
  decide(boxes, scores, least, threshold) {
    const decisions = [];
    const kept = [];
    boxes.forEach((box, at) => {
      if (scores[at] < least) return;
      let [nearest, overlap] = [-1, 0];
      for (const other of kept) {
        const iou = core.iou(boxes[other], box);
        if (iou > overlap) [nearest, overlap] = [other, iou];
      }
      const by = overlap > threshold ? nearest : -1;
      if (by < 0) kept.push(at);
      decisions.push({ box: at, by, overlap });
    });
    return decisions;
  },

  /** How many objects the boxes have found, best first, each at most once, at IoU 0.5. */
  found(boxes, targets) {
    const free = new Set(targets.keys());
    let count = 0;
    for (const box of boxes) {
      let [best, overlap] = [-1, 0.5];
      for (const at of free) {
        const iou = core.iou(box, targets[at]);
        if (iou >= overlap) [best, overlap] = [at, iou];
      }
      if (best >= 0) {
        free.delete(best);
        count += 1;
      }
    }
    return count;
  },
};

const GAP = 2; // screen pixels between bars
const FOOT = 4;

function build(kit, data) {
  const image = decodeImage(data.image);
  const { boxes, scores, targets } = data;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const state = { least: 0, threshold: 30, done: 0 };
  let decisions = [];
  let timer = null;

  const least = kit.slider(
    "Lowest score",
    { min: 0, max: 100, say: (n) => (n / 100).toFixed(2) },
    (value) => change({ least: value }),
  );
  const threshold = kit.slider(
    "IoU threshold",
    { min: 0, max: 100, say: (n) => (n / 100).toFixed(2) },
    (value) => change({ threshold: value }),
  );
  const step = kit.button("Step", () => go(state.done + 1), { class: "primary" });
  const back = kit.button("Back", () => go(state.done - 1));
  const play = kit.button("Play", () => (timer === null ? start() : go(state.done)));
  const finish = kit.button("To the end", () => go(decisions.length));
  const reset = kit.button("Reset", () => go(0));
  const picture = kit.canvas(image.width / image.height, drawPicture, { touch: pick, key });
  const bars = kit.canvas(3, drawBars, {
    key,
    touch: (x) => {
      const at = Math.floor(x * boxes.length);
      const place = decisions.findIndex((decision) => decision.box >= at);
      go(place < 0 ? decisions.length : place + 1);
    },
  });
  const pictureCaption = element("p", { class: "caption" });
  const barsCaption = element("p", { class: "caption" });
  const tally = element("p");

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, least.node, threshold.node),
    element("div", { class: "buttons" }, step, back, play, finish, reset),
    element(
      "div",
      { class: "side" },
      element("div", { class: "panel" }, pictureCaption, picture.node),
      element("div", { class: "panel" }, barsCaption, bars.node, tally),
    ),
  );

  // ---- What can happen

  /** New thresholds: the same decisions are made again, and as many of them are shown. */
  function change(settings) {
    const complete = state.done === decisions.length && decisions.length > 0;
    Object.assign(state, settings);
    decisions = core.decide(boxes, scores, state.least / 100, state.threshold / 100);
    go(complete ? decisions.length : state.done);
  }

  function go(done) {
    clearInterval(timer);
    timer = null;
    place(done);
  }

  function place(done) {
    state.done = clamp(done, 0, decisions.length);
    show();
  }

  function start() {
    if (state.done === decisions.length) state.done = 0;
    timer = setInterval(
      () => {
        if (!kit.host.isConnected || state.done >= decisions.length) go(state.done);
        else place(state.done + 1);
      },
      calm.matches ? 1500 : 450,
    );
    place(state.done + 1);
  }

  /** Go to the decision about the box whose border is nearest to a place. */
  function pick(shareX, shareY) {
    const [x, y] = [shareX * image.width, shareY * image.height];
    let [nearest, distance] = [-1, Infinity];
    decisions.forEach(({ box }, at) => {
      const [x1, y1, x2, y2] = boxes[box];
      const outside = Math.hypot(Math.max(x1 - x, 0, x - x2), Math.max(y1 - y, 0, y - y2));
      const inside = Math.min(x - x1, x2 - x, y - y1, y2 - y);
      const far = outside > 0 ? outside : inside;
      if (far < distance) [nearest, distance] = [at, far];
    });
    if (nearest >= 0) go(nearest + 1);
  }

  function key(name) {
    const to = {
      ArrowRight: state.done + 1,
      ArrowDown: state.done + 1,
      ArrowLeft: state.done - 1,
      ArrowUp: state.done - 1,
      Home: 0,
      End: decisions.length,
    };
    if (!(name in to)) return false;
    go(to[name]);
    return true;
  }

  // ---- Pictures

  const current = () => (state.done > 0 ? decisions[state.done - 1] : null);
  const made = () => decisions.slice(0, state.done);
  const kept = () => made().filter((decision) => decision.by < 0);

  function drawPicture(context, width, height) {
    const cell = width / image.width;
    const small = element("canvas", { width: image.width, height: image.height });
    const pixels = new ImageData(image.width, image.height);
    image.values.forEach((value, at) => {
      pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at);
    });
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, width, height);

    const outline = (at, colour, line, dash = []) => {
      const [x1, y1, x2, y2] = boxes[at].map((n) => n * cell);
      for (const [paint, weight] of [
        ["rgb(0 0 0 / 55%)", line + 2],
        [colour, line],
      ]) {
        context.setLineDash(dash);
        context.strokeStyle = paint;
        context.lineWidth = weight;
        context.strokeRect(x1, y1, x2 - x1, y2 - y1);
      }
      context.setLineDash([]);
    };
    const now = current();
    decisions.slice(state.done).forEach(({ box }) => outline(box, "#c8ced6", 1));
    kept().forEach(({ box }) => box !== now.box && outline(box, KEPT, 2.5));
    if (now) {
      if (now.by >= 0) outline(now.by, KEPT, 4.5);
      outline(now.box, NOW, 3.5, now.by >= 0 ? [7, 4] : []);
    }
  }

  function drawBars(context, width, height) {
    const across = width / boxes.length;
    const bottom = height - FOOT;
    const tallest = Math.max(...scores, 0.001);
    const decided = new Map(made().map((decision) => [decision.box, decision]));
    const now = current();
    boxes.forEach((_, at) => {
      const tall = Math.max(2, (scores[at] / tallest) * (bottom - 10));
      const decision = decided.get(at);
      const [x, wide] = [at * across + GAP / 2, Math.max(across - GAP, 1)];
      if (decision && decision.by < 0) {
        context.fillStyle = kit.colour("accent");
        context.fillRect(x, bottom - tall, wide, tall);
      } else if (scores[at] >= state.least / 100) {
        // Suppressed boxes are crossed out, those that wait are empty.
        context.strokeStyle = kit.colour("edge");
        context.lineWidth = 1;
        context.strokeRect(x + 0.5, bottom - tall + 0.5, wide - 1, tall - 1);
        if (decision) {
          context.beginPath();
          context.moveTo(x, bottom);
          context.lineTo(x + wide, bottom - tall);
          context.stroke();
        }
      } else {
        context.fillStyle = kit.colour("line");
        context.fillRect(x, bottom - 2, wide, 2);
      }
      if (now && now.box === at) {
        context.fillStyle = kit.colour("mark");
        context.fillRect(x - 1, bottom + 1, wide + 2, FOOT - 1);
        context.beginPath();
        context.arc(x + wide / 2, bottom - tall - 5, 3.5, 0, 2 * Math.PI);
        context.fill();
      }
    });
  }

  // ---- What is shown

  /** The last decision in words; boxes are numbered from 1, best first. */
  function said() {
    const now = current();
    if (!now) return `${decisions.length} boxes wait; the best has the first turn.`;
    const name = `Box ${now.box + 1} (score ${scores[now.box].toFixed(2)})`;
    const overlap = now.overlap.toFixed(2);
    if (now.by >= 0)
      return `${name} is suppressed by box ${now.by + 1}: they overlap with IoU ${overlap}.`;
    if (now.overlap > 0)
      return `${name} is kept: no kept box overlaps it with more than IoU ${overlap}.`;
    return `${name} is kept: it overlaps no kept box.`;
  }

  function show() {
    const count = kept().length;
    const out = state.done - count;
    least.set(state.least);
    threshold.set(state.threshold);
    kit.enable(step, state.done < decisions.length);
    kit.enable(finish, state.done < decisions.length);
    kit.enable(back, state.done > 0);
    kit.enable(reset, state.done > 0);
    play.textContent = timer === null ? "Play" : "Pause";
    pictureCaption.replaceChildren(
      element("strong", {}, `${decisions.length}`),
      ` of ${boxes.length} boxes have the score; `,
      element("strong", {}, `${count}`),
      ` kept, ${out} suppressed`,
    );
    barsCaption.replaceChildren(
      element("strong", {}, "Scores"),
      ", best first: full is kept, crossed out suppressed, empty waits",
    );
    const hits = core.found(
      kept().map(({ box }) => boxes[box]),
      targets,
    );
    const wrong = count - hits;
    tally.textContent = targets.length
      ? `${hits} of ${targets.length} objects found, ${wrong} ${wrong === 1 ? "box" : "boxes"} ` +
        "too many."
      : "";
    const words = said();
    picture.describe(
      `A photograph with ${decisions.length} boxes, ${count} kept and ${out} suppressed. ${words}`,
    );
    bars.describe(
      `The scores of ${boxes.length} boxes, best first; ${state.done} are decided. ${words}`,
    );
    picture.paint();
    bars.paint();
    kit.publish({
      least: state.least,
      threshold: state.threshold,
      boxes: decisions.length,
      done: state.done,
      kept: kept()
        .map(({ box }) => box)
        .join(","),
      found: hits,
      playing: timer !== null,
    });
    kit.announce(words);
  }

  change({});
}

const KEPT = "#56b4e9"; // on a photograph, in light and dark alike
const NOW = "#f0a040";

const STYLE = `
  .side { display: grid; grid-template-columns: minmax(0, 1.6fr) minmax(0, 1fr); gap: 14px 22px; }
  .side canvas { min-height: 60px; }
  .side .panel { grid-template-rows: auto auto 1fr; }
  @container (max-width: 640px) {
    .side { grid-template-columns: minmax(0, 1fr); }
    .buttons { gap: 5px; }
    .buttons button { padding: 3px 7px; }
  }
`;
