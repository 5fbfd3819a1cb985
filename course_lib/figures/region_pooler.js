// A box over a feature map, cut out twice: snapped to cells, and by points between them.

const core = {
  /** The cells that RoI pooling takes instead of the box: first and last, both included. */
  snap(box, scale) {
    const [x1, y1, x2, y2] = box.map((value) => Math.floor(value * scale + 0.5));
    return [x1, y1, Math.max(x2, x1), Math.max(y2, y1)];
  },

  /** The bins of RoI pooling along one axis: from which cell to before which, cut to the map. */
  edges(first, last, bins, size) {
    const step = (last - first + 1) / bins;
    return Array.from({ length: bins }, (_, n) => [
      clamp(first + Math.floor(n * step), 0, size),
      clamp(first + Math.ceil((n + 1) * step), 0, size),
    ]);
  },

  /** RoI pooling: the largest value of each bin, row by row; 0 in an empty one. */
  pool(map, box, bins, scale) {
    const [x1, y1, x2, y2] = core.snap(box, scale);
    const rows = core.edges(y1, y2, bins, map.length);
    const columns = core.edges(x1, x2, bins, map[0].length);
    return rows.map(([top, bottom]) =>
      columns.map(([left, right]) => {
        let most = -Infinity;
        for (let y = top; y < bottom; y++)
          for (let x = left; x < right; x++) most = Math.max(most, map[y][x]);
        return most === -Infinity ? 0 : most;
      }),
    );
  },

  /** Where RoI alignment looks: for each bin a list of [x, y], in cells, their middles whole. */
  points(box, bins, scale, each, aligned) {
    const shift = aligned ? 0.5 : 0;
    const [x1, y1, x2, y2] = box.map((value) => value * scale - shift);
    const side = (from, to) => (aligned ? to - from : Math.max(to - from, 1)) / bins;
    const [across, down] = [side(x1, x2), side(y1, y2)];
    const spread = Array.from({ length: each }, (_, n) => (n + 0.5) / each);
    return Array.from({ length: bins }, (_, row) =>
      Array.from({ length: bins }, (_, column) =>
        spread.flatMap((v) =>
          spread.map((u) => [x1 + (column + u) * across, y1 + (row + v) * down]),
        ),
      ),
    );
  },

  /** The map between its cells: a mixture of the four nearest; 0 far outside. */
  sample(map, x, y) {
    const [height, width] = [map.length, map[0].length];
    if (y < -1 || y > height || x < -1 || x > width) return 0;
    const [cx, cy] = [clamp(x, 0, width - 1), clamp(y, 0, height - 1)];
    const [left, top] = [Math.floor(cx), Math.floor(cy)];
    const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
    const [u, v] = [cx - left, cy - top];
    const upper = (1 - u) * map[top][left] + u * map[top][right];
    const lower = (1 - u) * map[bottom][left] + u * map[bottom][right];
    return (1 - v) * upper + v * lower;
  },

  /** RoI alignment: the mean over the points of each bin, row by row. */
  align(map, box, bins, scale, each, aligned) {
    return core
      .points(box, bins, scale, each, aligned)
      .map((row) =>
        row.map(
          (points) =>
            points.reduce((sum, [x, y]) => sum + core.sample(map, x, y), 0) / points.length,
        ),
      );
  },

  /** The upper left number of both, with the box at every place from left to right. */
  sweep(map, box, bins, scale, each, aligned, width) {
    const span = box[2] - box[0];
    return Array.from({ length: width - span + 1 }, (_, x) => {
      const moved = [x, box[1], x + span, box[3]];
      return {
        pool: core.pool(map, moved, bins, scale)[0][0],
        align: core.align(map, moved, bins, scale, each, aligned)[0][0],
      };
    });
  },

  /** By how many pixels the side that was moved most has moved. */
  shift(box, scale) {
    const [x1, y1, x2, y2] = core.snap(box, scale);
    const snapped = [x1, y1, x2 + 1, y2 + 1];
    return Math.max(...box.map((value, side) => Math.abs(value - snapped[side] / scale)));
  },

  /** Move a box, and keep it in the picture. */
  move([x1, y1, x2, y2], dx, dy, { width, height }) {
    const right = clamp(dx, -x1, width - x2);
    const down = clamp(dy, -y1, height - y2);
    return [x1 + right, y1 + down, x2 + right, y2 + down];
  },

  /** Move one corner (0 left or top, 2 right or bottom); no side gets below `least`. */
  stretch(box, [across, down], dx, dy, { width, height }, least) {
    const moved = [...box];
    const limits = (low, high, at, size) => (at === 0 ? [0, high - least] : [low + least, size]);
    moved[across] = clamp(box[across] + dx, ...limits(box[0], box[2], across, width));
    moved[down + 1] = clamp(box[down + 1] + dy, ...limits(box[1], box[3], down, height));
    return moved;
  },
};

const LEAST = 4; // pixels of a side
const GRIP = 11; // screen pixels around a corner that take it
const MARGIN = 40; // left of the curves: room for their numbers
const FOOT = 20;

function build(kit, data) {
  const image = decodeImage(data.image);
  const map = data.features;
  const [rows, columns] = [map.length, map[0].length];
  const scale = columns / image.width;
  const [low, high] = [Math.min(...map.flat()), Math.max(...map.flat())];
  const state = { box: [...data.box], bins: 2, each: 2, aligned: true, photo: false, mover: "box" };
  let grip = null;

  const bins = kit.choice(
    "Bins",
    [2, 3, 4].map((n) => [String(n), `${n} × ${n}`]),
    (value) => {
      state.bins = Number(value);
      show();
    },
  );
  const mover = kit.choice(
    "Arrow keys move",
    [
      ["box", "the box"],
      ["corner", "its lower right corner"],
    ],
    (value) => {
      state.mover = value;
      show();
    },
  );
  const each = kit.slider(
    "Points per side of a bin",
    { min: 1, max: 4 },
    (value) => {
      state.each = value;
      show();
    },
  );
  const aligned = kit.checkbox("Aligned: take off half a cell first", (on) => {
    state.aligned = on;
    show();
  });
  const photo = kit.checkbox("Show the picture instead of its features", (on) => {
    state.photo = on;
    show();
  });
  const reset = kit.button("Start again", () => {
    Object.assign(state, { box: [...data.box], bins: 2, each: 2, aligned: true });
    show();
  });
  const canvases = ["pool", "align"].map((method) => {
    const canvas = kit.canvas(image.width / image.height, (...place) => drawMap(method, ...place), {
      touch: (x, y) => touch(canvas, x, y),
      key,
    });
    canvas.node.addEventListener("pointerdown", () => (grip = null), { capture: true });
    return canvas;
  });
  const curve = kit.canvas(3.4, drawCurve, {
    key,
    touch(x) {
      const wide = curve.node.clientWidth;
      const last = image.width - (state.box[2] - state.box[0]);
      const at = clamp(Math.round(((x * wide - MARGIN) / (wide - MARGIN - 8)) * last), 0, last);
      change(core.move(state.box, at - state.box[0], 0, image));
    },
  });
  const tables = [element("table", {}), element("table", {})];
  const captions = [element("p", { class: "caption" }), element("p", { class: "caption" })];
  const curveCaption = element("p", { class: "caption" });

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "controls" }, bins.node, each.node, mover.node),
    element("div", { class: "controls" }, aligned.node, photo.node),
    element(
      "div",
      { class: "stage" },
      ...canvases.map((canvas, n) =>
        element("div", { class: "panel" }, captions[n], canvas.node, tables[n]),
      ),
    ),
    element("div", { class: "panel" }, curveCaption, curve.node),
    element("div", { class: "buttons" }, reset),
  );

  // ---- What can happen

  function change(box) {
    state.box = box;
    show();
  }

  function key(name) {
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (!(name in moves)) return false;
    if (state.mover === "box") change(core.move(state.box, ...moves[name], image));
    else change(core.stretch(state.box, [2, 2], ...moves[name], image, LEAST));
    return true;
  }

  function take(canvas, x, y) {
    const near = (GRIP / canvas.node.clientWidth) * image.width;
    for (const across of [0, 2]) {
      for (const down of [0, 2]) {
        const far = Math.max(Math.abs(x - state.box[across]), Math.abs(y - state.box[down + 1]));
        if (far <= near) return { corner: [across, down], x, y, box: state.box };
      }
    }
    return { x, y, box: state.box };
  }

  function touch(canvas, shareX, shareY) {
    const [x, y] = [shareX * image.width, shareY * image.height];
    grip ??= take(canvas, x, y);
    const by = [Math.round(x - grip.x), Math.round(y - grip.y)];
    change(
      grip.corner
        ? core.stretch(grip.box, grip.corner, ...by, image, LEAST)
        : core.move(grip.box, ...by, image),
    );
  }

  // ---- Pictures

  function ground(context, shownWidth, shownHeight) {
    const [wide, tall] = state.photo ? [image.width, image.height] : [columns, rows];
    const levels = state.photo
      ? [...image.values]
      : map.flat().map((value) => (high > low ? (value - low) / (high - low) : 0.5));
    const small = element("canvas", { width: wide, height: tall });
    const pixels = new ImageData(wide, tall);
    levels.forEach((level, at) => pixels.data.set([255 * level, 255 * level, 255 * level, 255], 4 * at));
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = state.photo;
    context.drawImage(small, 0, 0, shownWidth, shownHeight);
    context.strokeStyle = "rgb(128 128 128 / 55%)";
    context.lineWidth = 1;
    context.beginPath();
    for (let n = 1; n < columns; n++) {
      context.moveTo((n * shownWidth) / columns, 0);
      context.lineTo((n * shownWidth) / columns, shownHeight);
    }
    for (let n = 1; n < rows; n++) {
      context.moveTo(0, (n * shownHeight) / rows);
      context.lineTo(shownWidth, (n * shownHeight) / rows);
    }
    context.stroke();
  }

  function drawMap(method, context, shownWidth, shownHeight) {
    ground(context, shownWidth, shownHeight);
    const cell = shownWidth / columns;
    const outline = ([a, b, c, d], colour, dash, line) => {
      for (const [paint, weight] of [
        [kit.colour("paper"), line + 2.5],
        [colour, line],
      ]) {
        context.setLineDash(dash);
        context.strokeStyle = paint;
        context.lineWidth = weight;
        context.strokeRect(a * cell, b * cell, (c - a) * cell, (d - b) * cell);
      }
      context.setLineDash([]);
    };
    const box = state.box.map((value) => value * scale);
    const [accent, mark] = ["accent", "mark"].map((name) => kit.colour(name));
    if (method === "pool") {
      const [x1, y1, x2, y2] = core.snap(state.box, scale);
      for (const [top, bottom] of core.edges(y1, y2, state.bins, rows))
        for (const [left, right] of core.edges(x1, x2, state.bins, columns))
          outline([left, top, right, bottom], mark, [], 2);
    } else {
      const step = [(box[2] - box[0]) / state.bins, (box[3] - box[1]) / state.bins];
      const back = state.aligned ? 0 : 0.5; // without alignment, a point lies half a cell off
      for (let n = 0; n < state.bins ** 2; n++) {
        const [u, v] = [n % state.bins, Math.floor(n / state.bins)];
        const [x, y] = [box[0] + u * step[0] + back, box[1] + v * step[1] + back];
        outline([x, y, x + step[0], y + step[1]], mark, [], 2);
      }
      const points = core.points(state.box, state.bins, scale, state.each, state.aligned);
      for (const [x, y] of points.flat(2)) {
        const [px, py] = [(x + 0.5) * cell, (y + 0.5) * cell];
        context.fillStyle = kit.colour("paper");
        context.fillRect(px - 4, py - 4, 8, 8);
        context.fillStyle = mark;
        context.fillRect(px - 2.5, py - 2.5, 5, 5);
      }
    }
    outline(box, accent, [8, 5], 2.5);
    context.fillStyle = accent;
    for (const x of [box[0], box[2]])
      for (const y of [box[1], box[3]]) context.fillRect(x * cell - 3.5, y * cell - 3.5, 7, 7);
  }

  function curves() {
    return core.sweep(map, state.box, state.bins, scale, state.each, state.aligned, image.width);
  }

  function drawCurve(context, shownWidth, shownHeight) {
    const points = curves();
    const last = Math.max(points.length - 1, 1);
    const bottom = shownHeight - FOOT;
    const spread = high - low || 1;
    const x = (at) => MARGIN + (at / last) * (shownWidth - MARGIN - 8);
    const y = (value) => bottom - 6 - ((value - low) / spread) * (bottom - 14);
    context.font = "12px system-ui, sans-serif";
    for (const value of [low, high]) {
      context.strokeStyle = kit.colour("line");
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(MARGIN, y(value));
      context.lineTo(shownWidth - 8, y(value));
      context.stroke();
      context.fillStyle = kit.colour("ink");
      context.textAlign = "right";
      context.fillText(decimal(value, 2), MARGIN - 6, y(value) + 4);
    }
    for (const [name, colour, dash] of [
      ["pool", "mark", [7, 4]],
      ["align", "accent", []],
    ]) {
      context.strokeStyle = context.fillStyle = kit.colour(colour);
      context.lineWidth = 2.2;
      context.setLineDash(dash);
      context.beginPath();
      points.forEach((point, at) => {
        // Pooling stays, then jumps: half way to the next pixel, where no value was computed.
        if (name === "pool" && at > 0) {
          context.lineTo(x(at - 0.5), y(points[at - 1].pool));
          context.lineTo(x(at - 0.5), y(point.pool));
        }
        context.lineTo(x(at), y(point[name]));
      });
      context.stroke();
      context.setLineDash([]);
      context.beginPath();
      context.arc(x(state.box[0]), y(points[state.box[0]][name]), 5, 0, 2 * Math.PI);
      context.fill();
    }
    context.fillStyle = kit.colour("ink");
    context.textAlign = "left";
    context.fillText("0", MARGIN, shownHeight - 4);
    context.textAlign = "right";
    context.fillText(String(last), shownWidth - 8, shownHeight - 4);
    context.textAlign = "center";
    context.fillText("left side of the box, in pixels", x(last / 2), shownHeight - 4);
  }

  // ---- What is shown

  function show() {
    const results = [
      core.pool(map, state.box, state.bins, scale),
      core.align(map, state.box, state.bins, scale, state.each, state.aligned),
    ];
    bins.input.value = String(state.bins);
    mover.input.value = state.mover;
    each.set(state.each);
    aligned.input.checked = state.aligned;
    photo.input.checked = state.photo;
    results.forEach((result, n) =>
      tables[n].replaceChildren(
        element(
          "tbody",
          {},
          ...result.map((row) =>
            element("tr", {}, ...row.map((value) => element("td", {}, decimal(value, 2)))),
          ),
        ),
      ),
    );
    const corners = `(${state.box.slice(0, 2)}) to (${state.box.slice(2)})`;
    const shift = core.shift(state.box, scale);
    captions[0].replaceChildren(
      element("strong", {}, "RoI pooling"),
      ": whole cells, and the largest value of each bin",
    );
    captions[1].replaceChildren(
      element("strong", {}, "RoI alignment"),
      ": points between the cells, and their mean in each bin",
    );
    curveCaption.replaceChildren(
      "The upper left number if the box slides across: ",
      element("strong", { class: "pool" }, "pooling"),
      " (dashed) and ",
      element("strong", { class: "align" }, "alignment"),
      " (solid)",
    );
    const first = results.map((result) => decimal(result[0][0], 2));
    const said =
      `Box ${corners}: rounding moves a side by up to ${decimal(shift, 0)} pixels. ` +
      `Upper left number: pooling ${first[0]}, alignment ${first[1]}.`;
    canvases[0].describe(
      `A feature map of ${rows} by ${columns} cells, a dashed box from ${corners} in pixels, and ` +
        `${state.bins ** 2} bins of whole cells that RoI pooling takes instead. ${said}`,
    );
    canvases[1].describe(
      `The same map and box ${corners}, with ${state.bins ** 2} bins that fill the box` +
        `${state.aligned ? "" : ", half a cell too far to the lower right"}, and ` +
        `${state.each ** 2} points in each. ${said}`,
    );
    curve.describe(
      `The upper left number over the left side of the box, now ${state.box[0]}: the curve of ` +
        `pooling has steps, now at ${first[0]}; that of alignment none, now at ${first[1]}.`,
    );
    for (const canvas of [...canvases, curve]) canvas.paint();
    kit.publish({
      box: state.box.join(","),
      bins: state.bins,
      each: state.each,
      aligned: state.aligned,
      photo: state.photo,
      mover: state.mover,
      pool: results[0].flat().map((value) => value.toFixed(4)).join(","),
      align: results[1].flat().map((value) => value.toFixed(4)).join(","),
    });
    kit.announce(said);
  }

  show();
}

const STYLE = `
  .stage table { border-collapse: collapse; font-size: 14px; width: 100%; }
  .stage td { border: 1px solid var(--line); padding: 2px 6px; text-align: right; }
  .pool { border-bottom: 3px dashed var(--mark); }
  .align { border-bottom: 3px solid var(--accent); }
`;
