// Anchors over a picture: which of them match an object, which are near misses, which background.

const core = {
  iou(a, b) {
    const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
    const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    const inter = width * height;
    const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const union = area(a) + area(b) - inter;
    return union > 0 ? inter / union : 0;
  },

  /** Anchors at the middle of every cell: row by row, and of each shape (height / width) one. */
  anchors(rows, columns, stride, side, ratios) {
    const made = [];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const [x, y] = [(column + 0.5) * stride, (row + 0.5) * stride];
        for (const ratio of ratios) {
          const [w, h] = [side / Math.sqrt(ratio), side * Math.sqrt(ratio)];
          made.push([x - w / 2, y - h / 2, x + w / 2, y + h / 2]);
        }
      }
    }
    return made;
  },

  /** For each anchor the object that it matches, -1 for background, -2 for neither. */
  match(anchors, boxes, high, low, claim) {
    const overlap = anchors.map((anchor) => boxes.map((box) => core.iou(anchor, box)));
    const nearest = overlap.map((row) => row.indexOf(Math.max(...row)));
    const matches = nearest.map((box, at) => {
      const most = overlap[at][box];
      return most >= high ? box : most < low ? -1 : -2;
    });
    if (claim) {
      for (let box = 0; box < boxes.length; box++) {
        const best = Math.max(...overlap.map((row) => row[box]));
        if (best === 0) continue; // what no anchor touches claims none
        overlap.forEach((row, at) => {
          if (row[box] === best) matches[at] = nearest[at];
        });
      }
    }
    return { matches, most: overlap.map((row, at) => row[nearest[at]]) };
  },

  /** The objects that no anchor matches. */
  missed(matches, count) {
    return Array.from({ length: count }, (_, box) => box).filter((box) => !matches.includes(box));
  },
};

const SHAPES = { "1 : 1": [1], "1 : 2": [0.5], "2 : 1": [2], "all three": [0.5, 1, 2] };
const NAMES = { "1 : 1": "square", "1 : 2": "wide", "2 : 1": "tall", "all three": "all three" };
const STRIDES = [4, 8, 16, 32];
const BEGIN = { stride: 8, side: 24, shape: "all three", high: 70, low: 30, claim: false };
const COLOURS = { positive: "accent", ignored: "edge", negative: "mark" };

function build(kit, data) {
  const image = decodeImage(data.image);
  const [width, height] = [image.width, image.height];
  const state = { ...BEGIN, at: [0, 0] };
  const cells = () => [Math.floor(height / state.stride), Math.floor(width / state.stride)];

  const slider = (label, name, range) =>
    kit.slider(label, range, (value) => {
      state[name] = value;
      if (name === "high") state.low = Math.min(state.low, value);
      if (name === "low") state.high = Math.max(state.high, value);
      show();
    });
  const percent = (value) => decimal(value / 100, 2);
  const side = slider("Side of an anchor, in pixels", "side", { min: 6, max: 96 });
  const highest = slider("Positive from IoU", "high", { min: 0, max: 100, say: percent });
  const lowest = slider("Negative below IoU", "low", { min: 0, max: 100, say: percent });
  const shape = kit.choice(
    "Shapes",
    Object.keys(SHAPES).map((name) => [name, NAMES[name]]),
    (value) => {
      state.shape = value;
      show();
    },
  );
  const stride = kit.choice(
    "Every so many pixels",
    STRIDES.map((n) => [String(n), String(n)]),
    (value) => {
      const share = state.at.map((n, axis) => (n + 0.5) / cells()[axis]);
      state.stride = Number(value);
      state.at = share.map((part, axis) => Math.floor(part * cells()[axis]));
      show();
    },
  );
  const claim = kit.checkbox("Each object also claims the anchor that overlaps it most", (on) => {
    state.claim = on;
    show();
  });
  const reset = kit.button("Start again", () => {
    Object.assign(state, BEGIN);
    state.at = middle();
    show();
  });
  const places = kit.canvas(width / height, drawPlaces, { touch, key });
  const here = kit.canvas(width / height, drawHere, { touch, key });
  const placesCaption = element("p", { class: "caption" });
  const hereCaption = element("p", { class: "caption" });
  const rows = element("tbody");
  const counts = element("p", { class: "counts" });

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, side.node, shape.node, stride.node),
    element("div", { class: "controls" }, highest.node, lowest.node, claim.node),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, placesCaption, places.node, counts),
      element(
        "div",
        { class: "panel" },
        hereCaption,
        here.node,
        element(
          "table",
          {},
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              ...["anchor here", "largest IoU", "it is"].map((head) =>
                element("th", { scope: "col" }, head),
              ),
            ),
          ),
          rows,
        ),
      ),
    ),
    element("div", { class: "buttons" }, reset),
  );

  function middle() {
    const [x1, y1, x2, y2] = data.boxes[0];
    const [down, across] = cells();
    return [
      clamp(Math.floor((y1 + y2) / 2 / state.stride), 0, down - 1),
      clamp(Math.floor((x1 + x2) / 2 / state.stride), 0, across - 1),
    ];
  }

  function touch(x, y) {
    const [down, across] = cells();
    state.at = [
      clamp(Math.floor((y * height) / state.stride), 0, down - 1),
      clamp(Math.floor((x * width) / state.stride), 0, across - 1),
    ];
    show();
  }

  function key(name) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(name in moves)) return false;
    state.at = state.at.map((n, axis) => clamp(n + moves[name][axis], 0, cells()[axis] - 1));
    show();
    return true;
  }

  // ---- What follows from the state

  function results() {
    const [down, across] = cells();
    const ratios = SHAPES[state.shape];
    const anchors = core.anchors(down, across, state.stride, state.side, ratios);
    const { matches, most } = core.match(
      anchors,
      data.boxes,
      state.high / 100,
      state.low / 100,
      state.claim,
    );
    const first = (state.at[0] * across + state.at[1]) * ratios.length;
    return { anchors, matches, most, each: ratios.length, first, across };
  }

  const kind = (match) => (match >= 0 ? "positive" : match === -2 ? "ignored" : "negative");

  // ---- Pictures

  function ground(context, shownWidth, shownHeight) {
    const small = element("canvas", { width, height });
    const pixels = new ImageData(width, height);
    image.values.forEach((value, at) =>
      pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at),
    );
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, shownWidth, shownHeight);
  }

  function outline(context, [x1, y1, x2, y2], cell, colour, dash, line) {
    for (const [paint, weight] of [
      ["paper", line + 2.5],
      [colour, line],
    ]) {
      context.setLineDash(dash);
      context.strokeStyle = kit.colour(paint);
      context.lineWidth = weight;
      context.strokeRect(x1 * cell, y1 * cell, (x2 - x1) * cell, (y2 - y1) * cell);
    }
    context.setLineDash([]);
  }

  function objects(context, cell, found) {
    const missed = core.missed(found.matches, data.boxes.length);
    data.boxes.forEach((box, n) =>
      outline(context, box, cell, "ink", missed.includes(n) ? [3, 5] : [], 2),
    );
  }

  /** The objects' numbers, above the box or inside it, over all that was drawn before. */
  function tags(context, cell, found) {
    const missed = core.missed(found.matches, data.boxes.length);
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "left";
    context.lineWidth = 1;
    context.strokeStyle = kit.colour("ink");
    data.boxes.forEach((box, n) => {
      const without = missed.includes(n);
      const label = without ? `${n + 1}: none` : String(n + 1);
      const wide = context.measureText(label).width + 8;
      const left = clamp(box[0] * cell, 1, width * cell - wide - 1);
      const top = Math.max(1, box[1] * cell - 19);
      context.fillStyle = kit.colour(without ? "paper" : "ink");
      context.fillRect(left, top, wide, 17);
      context.strokeRect(left, top, wide, 17);
      context.fillStyle = kit.colour(without ? "ink" : "paper");
      context.fillText(label, left + 4, top + 13);
    });
  }

  function drawPlaces(context, shownWidth, shownHeight) {
    const found = results();
    const cell = shownWidth / width;
    ground(context, shownWidth, shownHeight);
    objects(context, cell, found);
    const radius = clamp((state.stride * cell) / 5, 1.5, 7);
    for (let at = 0; at < found.matches.length; at += found.each) {
      const kinds = found.matches.slice(at, at + found.each).map(kind);
      const best = ["positive", "ignored", "negative"].find((name) => kinds.includes(name));
      const place = at / found.each;
      const x = ((place % found.across) + 0.5) * state.stride * cell;
      const y = (Math.floor(place / found.across) + 0.5) * state.stride * cell;
      context.fillStyle = kit.colour(COLOURS[best]);
      context.strokeStyle = kit.colour("paper");
      context.lineWidth = 1;
      context.beginPath();
      if (best === "positive") context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
      else context.arc(x, y, best === "ignored" ? radius : 0.6 * radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    const [row, column] = state.at;
    const box = [column, row, column + 1, row + 1].map((n) => n * state.stride);
    outline(context, box, cell, "accent", [], 2.5);
    tags(context, cell, found);
  }

  function drawHere(context, shownWidth, shownHeight) {
    const found = results();
    const cell = shownWidth / width;
    ground(context, shownWidth, shownHeight);
    objects(context, cell, found);
    for (let at = found.first; at < found.first + found.each; at++) {
      const name = kind(found.matches[at]);
      const dash = { positive: [], ignored: [8, 4], negative: [2, 4] }[name];
      outline(context, found.anchors[at], cell, COLOURS[name], dash, 2.5);
    }
    tags(context, cell, found);
  }

  // ---- What is shown

  function show() {
    const found = results();
    side.set(state.side);
    highest.set(state.high);
    lowest.set(state.low);
    shape.input.value = state.shape;
    stride.input.value = String(state.stride);
    claim.input.checked = state.claim;
    const tally = { positive: 0, ignored: 0, negative: 0 };
    for (const match of found.matches) tally[kind(match)] += 1;
    const missed = core.missed(found.matches, data.boxes.length);
    const own = found.matches.slice(found.first, found.first + found.each);
    rows.replaceChildren(
      ...own.map((match, n) => {
        const [x1, y1, x2, y2] = found.anchors[found.first + n];
        const what =
          match >= 0 ? `positive, for object ${match + 1}` : match === -2 ? "ignored" : "negative";
        return element(
          "tr",
          {},
          element("th", { scope: "row" }, `${decimal(x2 - x1, 0)} × ${decimal(y2 - y1, 0)}`),
          element("td", {}, decimal(found.most[found.first + n], 2)),
          element("td", {}, what),
        );
      }),
    );
    placesCaption.replaceChildren(
      element("strong", {}, "Every place"),
      ": squares match an object, large dots are ignored, small ones background; " +
        "a dashed object has no anchor",
    );
    hereCaption.replaceChildren(
      element("strong", {}, "The anchors of one place"),
      ": solid positive, dashed ignored, dotted negative",
    );
    const total = found.matches.length;
    const words =
      `${grouped(total)} anchors: ${tally.positive} positive, ${tally.ignored} ignored, ` +
      `${grouped(tally.negative)} negative.`;
    const left =
      missed.length === 0
        ? "Every object has an anchor."
        : `Without any anchor: ${missed.length} of ${data.boxes.length} objects` +
          ` (${missed.map((box) => box + 1).join(", ")}).`;
    counts.textContent = `${words} ${left}`;
    const [row, column] = state.at;
    const best = Math.max(...found.most.slice(found.first, found.first + found.each));
    const place = `At row ${row}, column ${column} the largest IoU is ${decimal(best, 2)}.`;
    places.describe(
      `A photograph with ${data.boxes.length} objects and a mark at every place of the anchors. ` +
        `${words} ${left} Chosen: row ${row}, column ${column}.`,
    );
    here.describe(
      `The same photograph with the ${found.each} anchors of one place. ${place} ` +
        `They are ${own.map(kind).join(", ")}.`,
    );
    places.paint();
    here.paint();
    kit.publish({
      at: state.at.join(","),
      stride: state.stride,
      side: state.side,
      shape: NAMES[state.shape].replaceAll(" ", "_"),
      high: state.high,
      low: state.low,
      claim: state.claim,
      positive: tally.positive,
      ignored: tally.ignored,
      negative: tally.negative,
      missed: missed.length,
      iou: best.toFixed(4),
    });
    kit.announce(`${place} ${left}`);
  }

  state.at = middle();
  show();
}

const STYLE = `
  table { width: 100%; border-collapse: collapse; font-size: 14px; color: inherit; }
  th, td { padding: 2px 6px 2px 0; text-align: left; font-weight: 400; }
  thead th { color: var(--quiet); font-size: 13px; }
  tbody tr { border-top: 1px solid var(--line); }
  .counts { font-size: 14px; }
  .panel { align-content: start; }
`;
