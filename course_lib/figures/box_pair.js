// Two boxes over a photograph: what they share, what they cover, and what that makes.

const core = {
  area([x1, y1, x2, y2]) {
    return (x2 - x1) * (y2 - y1);
  },

  /** Everything that the figure says about two boxes. */
  measure(a, b) {
    const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
    const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    const intersection = width * height;
    const union = core.area(a) + core.area(b) - intersection;
    const hull = core.hull(a, b);
    const enclosing = core.area(hull);
    const iou = union > 0 ? intersection / union : 0;
    const giou = iou - (enclosing > 0 ? (enclosing - union) / enclosing : 0);
    return { width, height, intersection, union, enclosing, iou, giou };
  },

  /** The smallest box around both. */
  hull(a, b) {
    return [
      Math.min(a[0], b[0]),
      Math.min(a[1], b[1]),
      Math.max(a[2], b[2]),
      Math.max(a[3], b[3]),
    ];
  },

  /** Move a box, and keep it in the picture. */
  move([x1, y1, x2, y2], dx, dy, { width, height }) {
    const right = clamp(dx, -x1, width - x2);
    const down = clamp(dy, -y1, height - y2);
    return [x1 + right, y1 + down, x2 + right, y2 + down];
  },

  /** Move one corner of a box (0 left or top, 2 right or bottom); no side gets below `least`. */
  stretch(box, [across, down], dx, dy, { width, height }, least) {
    const moved = [...box];
    const limits = (low, high, at, size) =>
      at === 0 ? [0, high - least] : [low + least, size];
    moved[across] = clamp(box[across] + dx, ...limits(box[0], box[2], across, width));
    moved[down + 1] = clamp(box[down + 1] + dy, ...limits(box[1], box[3], down, height));
    return moved;
  },

  /** IoU and GIoU with the guess at every place from the left border to the right one. */
  sweep(target, guess, { width }) {
    const span = guess[2] - guess[0];
    return Array.from({ length: width - span + 1 }, (_, x) => {
      const { iou, giou } = core.measure(target, [x, guess[1], x + span, guess[3]]);
      return { x, iou, giou };
    });
  },
};

const LEAST = 4; // pixels of a side
const GRIP = 9; // screen pixels around a corner that take it
const MARGIN = 34; // left of the curves: room for their numbers
const FOOT = 20; // under them: room for the numbers of the places

function build(kit, data) {
  const image = decodeImage(data.image);
  const { height, width } = image;
  const [x1, y1, x2, y2] = data.box;
  const side = [x2 - x1, y2 - y1];
  const near = (dx, dy) =>
    core.move(data.box, Math.round(dx * side[0]), Math.round(dy * side[1]), image);
  const PLACES = {
    "a good guess": () => near(0.15, 0.1),
    "half beside it": () => near(0.5, 0),
    "too small": () => {
      const cut = side.map((s) => Math.max(Math.floor(s / 4), 1));
      return [x1 + cut[0], y1 + cut[1], x2 - cut[0], y2 - cut[1]];
    },
    "all of the picture": () => [0, 0, width, height],
    "far away": () => (x1 > width - x2 ? near(-9, 0) : near(9, 0)),
  };
  const OWN = "your own";
  const MOVERS = { guess: "the guess", corner: "its lower right corner", target: "the object" };
  const state = { place: "a good guess", mover: "guess", target: [...data.box], guess: [] };
  let grip = null; // what a pointer has taken, and where it was

  const places = kit.choice(
    "Guess",
    [...Object.keys(PLACES), OWN].map((name) => [name, name]),
    (name) => {
      state.place = name;
      if (name in PLACES) {
        state.target = [...data.box];
        state.guess = PLACES[name]();
      }
      show();
    },
  );
  const mover = kit.choice("Arrow keys move", Object.entries(MOVERS), (value) => {
    state.mover = value;
    show();
  });
  const picture = kit.canvas(width / height, drawPicture, { touch, key });
  picture.node.addEventListener("pointerdown", () => (grip = null), { capture: true });
  const curve = kit.canvas(2.6, drawCurve, {
    key,
    touch(x) {
      const share = (x * curve.node.clientWidth - MARGIN) / (curve.node.clientWidth - MARGIN - 8);
      const last = width - (state.guess[2] - state.guess[0]);
      const at = clamp(Math.round(share * last), 0, last);
      own(core.move(state.guess, at - state.guess[0], 0, image));
    },
  });
  const pictureCaption = element("p", { class: "caption" });
  const curveCaption = element("p", { class: "caption" });
  const sums = element("tbody");
  const iouLine = element("p", { class: "line" });
  const giouLine = element("p", { class: "line" });

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, places.node, mover.node),
    element(
      "div",
      { class: "pair" },
      element("div", { class: "panel" }, pictureCaption, picture.node),
      element(
        "div",
        { class: "panel" },
        element("table", {}, sums),
        iouLine,
        giouLine,
        curveCaption,
        curve.node,
      ),
    ),
  );

  function own(guess, target = state.target) {
    state.place = OWN;
    state.guess = guess;
    state.target = target;
    show();
  }

  // ---- What can happen

  function key(name) {
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (!(name in moves)) return false;
    const by = moves[name];
    if (state.mover === "corner") own(core.stretch(state.guess, [2, 2], ...by, image, LEAST));
    else if (state.mover === "target") own(state.guess, core.move(state.target, ...by, image));
    else own(core.move(state.guess, ...by, image));
    return true;
  }

  /** The corner of a box that lies near a place, else the box around it, the guess first. */
  function take(x, y) {
    const near = (GRIP / picture.node.clientWidth) * width;
    for (const which of ["guess", "target"]) {
      const box = state[which];
      for (const across of [0, 2]) {
        for (const down of [0, 2]) {
          const far = Math.max(Math.abs(x - box[across]), Math.abs(y - box[down + 1]));
          if (far <= near) return { which, corner: [across, down], x, y, box };
        }
      }
    }
    const around = (box) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
    const which = ["guess", "target"].find((name) => around(state[name]));
    return which ? { which, x, y, box: state[which] } : { which: null };
  }

  function touch(shareX, shareY) {
    const [x, y] = [shareX * width, shareY * height];
    grip ??= take(x, y);
    if (grip.which === null) {
      // Next to both: the guess jumps there, and can be dragged on.
      const [gx, gy] = [0, 1].map((i) => (state.guess[i] + state.guess[i + 2]) / 2);
      own(core.move(state.guess, Math.round(x - gx), Math.round(y - gy), image));
      grip = { which: "guess", x, y, box: state.guess };
      return;
    }
    const by = [Math.round(x - grip.x), Math.round(y - grip.y)];
    const moved = grip.corner
      ? core.stretch(grip.box, grip.corner, ...by, image, LEAST)
      : core.move(grip.box, ...by, image);
    if (grip.which === "guess") own(moved);
    else own(state.guess, moved);
  }

  // ---- Pictures

  function drawPicture(context, shownWidth, shownHeight) {
    const cell = shownWidth / width;
    const small = element("canvas", { width, height });
    const pixels = new ImageData(width, height);
    image.values.forEach((value, at) => {
      const grey = 255 * value;
      pixels.data.set([grey, grey, grey, 255], 4 * at);
    });
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, shownWidth, shownHeight);

    const [accent, mark] = ["accent", "mark"].map((name) => kit.colour(name));
    const place = ([a, b, c, d]) => [a * cell, b * cell, (c - a) * cell, (d - b) * cell];
    const { width: w, height: h } = core.measure(state.target, state.guess);
    if (w > 0 && h > 0) {
      const left = Math.max(state.target[0], state.guess[0]) * cell;
      const top = Math.max(state.target[1], state.guess[1]) * cell;
      hatch(context, left, top, w * cell, h * cell);
    }
    const outline = (box, colour, dash, line) => {
      for (const [paint, weight] of [
        [kit.colour("paper"), line + 2.5],
        [colour, line],
      ]) {
        context.setLineDash(dash);
        context.strokeStyle = paint;
        context.lineWidth = weight;
        context.strokeRect(...place(box));
      }
      context.setLineDash([]);
    };
    outline(core.hull(state.target, state.guess), kit.colour("edge"), [2, 4], 1.5);
    outline(state.target, accent, [], 2.5);
    outline(state.guess, mark, [9, 4], 2.5);
    for (const [box, colour] of [
      [state.target, accent],
      [state.guess, mark],
    ]) {
      for (const x of [box[0], box[2]]) {
        for (const y of [box[1], box[3]]) {
          context.fillStyle = colour;
          context.fillRect(x * cell - 3.5, y * cell - 3.5, 7, 7);
        }
      }
    }
  }

  function hatch(context, x, y, w, h) {
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.fillStyle = "rgb(255 255 255 / 30%)";
    context.fillRect(x, y, w, h);
    context.beginPath();
    for (let at = 0; at < w + h; at += 8) {
      context.moveTo(x + at, y);
      context.lineTo(x + at - h, y + h);
    }
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1.5;
    context.stroke();
    context.restore();
  }

  function drawCurve(context, shownWidth, shownHeight) {
    const points = core.sweep(state.target, state.guess, image);
    const last = Math.max(points.length - 1, 1);
    const bottom = shownHeight - FOOT;
    const x = (at) => MARGIN + (at / last) * (shownWidth - MARGIN - 8);
    const y = (value) => 6 + ((1 - value) / 2) * (bottom - 12);
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    for (const value of [1, 0, -1]) {
      context.strokeStyle = kit.colour(value === 0 ? "edge" : "line");
      context.beginPath();
      context.moveTo(MARGIN, y(value));
      context.lineTo(shownWidth - 8, y(value));
      context.stroke();
      context.fillStyle = kit.colour("ink");
      context.textAlign = "right";
      context.fillText(decimal(value, 0), MARGIN - 6, y(value) + 4);
    }
    const draw = (name, colour, dash) => {
      context.strokeStyle = kit.colour(colour);
      context.lineWidth = 2.2;
      context.setLineDash(dash);
      context.beginPath();
      points.forEach((point) => context.lineTo(x(point.x), y(point[name])));
      context.stroke();
      context.setLineDash([]);
    };
    draw("giou", "mark", [7, 4]);
    draw("iou", "accent", []);
    const here = core.measure(state.target, state.guess);
    for (const [name, colour] of [
      ["giou", "mark"],
      ["iou", "accent"],
    ]) {
      context.fillStyle = kit.colour(colour);
      context.beginPath();
      context.arc(x(state.guess[0]), y(here[name]), 5, 0, 2 * Math.PI);
      context.fill();
    }
    context.fillStyle = kit.colour("ink");
    context.textAlign = "left";
    context.fillText("0", MARGIN, shownHeight - 4);
    context.textAlign = "right";
    context.fillText(String(last), shownWidth - 8, shownHeight - 4);
    context.textAlign = "center";
    context.fillText("left side of the guess", x(last / 2), shownHeight - 4);
  }

  // ---- What is shown

  function show() {
    const { intersection, union, enclosing, iou, giou, width: w, height: h } = core.measure(
      state.target,
      state.guess,
    );
    places.input.value = state.place;
    mover.input.value = state.mover;
    const size = ([a, b, c, d]) => `${c - a} × ${d - b}`;
    const rows = [
      ["object", size(state.target), core.area(state.target)],
      ["guess", size(state.guess), core.area(state.guess)],
      ["intersection", `${w} × ${h}`, intersection],
      ["union", "", union],
      ["enclosing box", size(core.hull(state.target, state.guess)), enclosing],
    ];
    sums.replaceChildren(
      ...rows.map(([name, product, value]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, name),
          element("td", {}, product),
          element("td", { class: "number-cell" }, grouped(value)),
        ),
      ),
    );
    const empty = enclosing - union;
    iouLine.replaceChildren(
      element("strong", { class: "iou" }, "IoU"),
      ` = ${grouped(intersection)} / ${grouped(union)} = ${decimal(iou, 2)}`,
    );
    giouLine.replaceChildren(
      element("strong", { class: "giou" }, "GIoU"),
      ` = ${decimal(iou, 2)} − ${grouped(empty)} / ${grouped(enclosing)} = ${decimal(giou, 2)}`,
    );
    pictureCaption.replaceChildren(
      element("strong", {}, "Solid"),
      " the object, ",
      element("strong", {}, "dashed"),
      " the guess, dotted the enclosing box",
    );
    curveCaption.replaceChildren(
      element("strong", {}, "IoU"),
      " (solid) and ",
      element("strong", {}, "GIoU"),
      " (dashed), if the guess slides across",
    );
    const said =
      `Intersection ${grouped(intersection)}, union ${grouped(union)}: ` +
      `IoU ${decimal(iou, 2)}, GIoU ${decimal(giou, 2)}.`;
    picture.describe(
      `A photograph with two boxes. The object's reaches from (${state.target.slice(0, 2)}) to ` +
        `(${state.target.slice(2)}), the guess from (${state.guess.slice(0, 2)}) to ` +
        `(${state.guess.slice(2)}). ${said}`,
    );
    curve.describe(
      `IoU and GIoU over the place of the guess; its left side is at ${state.guess[0]}, ` +
        `where IoU is ${decimal(iou, 2)} and GIoU ${decimal(giou, 2)}.`,
    );
    picture.paint();
    curve.paint();
    kit.publish({
      place: state.place.replaceAll(" ", "_"),
      mover: state.mover,
      target: state.target.join(","),
      guess: state.guess.join(","),
      iou: iou.toFixed(4),
      giou: giou.toFixed(4),
    });
    kit.announce(said);
  }

  state.guess = PLACES[state.place]();
  show();
}

const STYLE = `
  .pair { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 14px 22px; }
  table { width: 100%; border-collapse: collapse; font-size: 14px; color: inherit; }
  th, td { padding: 2px 4px 2px 0; text-align: left; font-weight: 400; white-space: nowrap; }
  tr + tr { border-top: 1px solid var(--line); }
  td { color: var(--quiet); }
  .number-cell { padding-right: 0; color: var(--ink); text-align: right; }
  .line { font-size: 14px; }
  .iou { border-bottom: 3px solid var(--accent); }
  .giou { border-bottom: 3px dashed var(--mark); }
  @container (max-width: 620px) {
    .pair { grid-template-columns: minmax(0, 1fr); }
  }
`;
