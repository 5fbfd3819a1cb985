// A few labelled pictures, and the nearest class mean: with pixels and with a network's features.

const core = {
  /** Little-endian float32 numbers in base64, as rows of `width`. */
  rows(packed, width) {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 / width }, (_, n) =>
      Array.from({ length: width }, (_, f) => view.getFloat32(4 * (n * width + f), true)),
    );
  },

  /** The mean of the chosen rows of each class; null for a class without any. */
  means(rows, labels, chosen, classes) {
    return Array.from({ length: classes }, (_, c) => {
      const own = chosen.filter((n) => labels[n] === c);
      if (own.length === 0) return null;
      return rows[0].map((_, f) => own.reduce((sum, n) => sum + rows[n][f], 0) / own.length);
    });
  },

  /** The class whose mean is nearest to a row, the first of equals; −1 if there is no mean. */
  nearest(row, means) {
    let [best, least] = [-1, Infinity];
    means.forEach((mean, c) => {
      if (mean === null) return;
      const squared = row.reduce((sum, value, f) => sum + (value - mean[f]) ** 2, 0);
      if (squared < least) [best, least] = [c, squared];
    });
    return best;
  },

  /** An answer for each row. */
  answers(rows, labels, chosen, classes) {
    const means = core.means(rows, labels, chosen, classes);
    return rows.map((row) => core.nearest(row, means));
  },

  /** How many of some rows have no label, and how many of those got the right answer. */
  right(answers, labels, chosen, some) {
    const asked = some.filter((n) => !chosen.includes(n));
    return { asked: asked.length, right: asked.filter((n) => answers[n] === labels[n]).length };
  },

  /** Which pictures are brighter in the middle than at the edge, and which are not. */
  tones(pictures) {
    const found = { bright: [], dark: [] };
    pictures.forEach(({ height, width, values }, n) => {
      const [middle, edge] = [[], []];
      const inside = (at, size) => at >= Math.floor(size / 4) && at < size - Math.floor(size / 4);
      const outside = (at, size) => at === 0 || at === size - 1;
      values.forEach((value, at) => {
        const [row, column] = [Math.floor(at / width), at % width];
        if (inside(row, height) && inside(column, width)) middle.push(value);
        else if (outside(row, height) || outside(column, width)) edge.push(value);
      });
      const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
      found[mean(middle) > mean(edge) ? "bright" : "dark"].push(n);
    });
    return found;
  },

  /** The place nearest to a point, or −1 if none is within reach. */
  closest(places, point, reach) {
    const far = places.map(([x, y]) => Math.hypot(x - point[0], y - point[1]));
    const least = Math.min(...far);
    return least <= reach ? far.indexOf(least) : -1;
  },

  /** One more row of each class that still has unlabelled ones, by chance from a seed. */
  oneMore(labels, chosen, classes, seed) {
    let state = seed >>> 0;
    const next = (below) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // a linear congruential generator
      return Math.floor((state / 2 ** 32) * below);
    };
    const added = [];
    for (let c = 0; c < classes; c++) {
      const free = labels.map((_, n) => n).filter((n) => labels[n] === c && !chosen.includes(n));
      if (free.length > 1) added.push(free[next(free.length)]); // leave one to be asked about
    }
    return added;
  },
};

const COLUMNS = { wide: 12, narrow: 6 };
const GAP = 3; // pixels between two pictures
const MARGIN = 16; // around the dots
const REACH = 22; // pixels between a dot and a finger that means it
const KINDS = ["pixels", "features"];
const TITLES = { pixels: "By the pixels", features: "By the network's features" };

function build(kit, { names, labels, pictures, width, features, places, begin }) {
  const decoded = pictures.map(decodeImage);
  const count = labels.length;
  const rows = {
    pixels: decoded.map(({ values }) => Array.from(values)),
    features: core.rows(features, width),
  };
  const tones = core.tones(decoded);
  const all = labels.map((_, n) => n);
  // `at` is the picture that the keys and the button are about, `over` the one below the mouse.
  const state = { at: 0, over: -1, chosen: [...begin], draws: 0 };
  const shown = {};
  const thumbnails = decoded.map(thumbnail);

  const ratio = (columns) => columns / Math.ceil(count / columns);
  const gallery = kit.canvas(1, drawGallery, { key });
  gallery.node.classList.add("touchable", "gallery");
  gallery.node.style.aspectRatio = ""; // the style sheet chooses, by the width that there is
  for (const [name, columns] of Object.entries(COLUMNS))
    gallery.node.style.setProperty(`--${name}`, String(ratio(columns)));
  follow(gallery.node, fromGallery, toggle);
  const label = kit.button("", () => toggle(state.at), { class: "primary" });
  const more = kit.button("One more of each, by chance", () => {
    const added = core.oneMore(labels, state.chosen, names.length, 7919 * (state.draws + 1));
    if (added.length === 0) return;
    state.chosen.push(...added);
    state.draws += 1;
    show();
  });
  const fresh = kit.button("One of each, by chance", () => {
    state.chosen = core.oneMore(labels, [], names.length, 7919 * (state.draws + 1));
    state.draws += 1;
    show();
  });
  const reset = kit.button("Start again", () => {
    Object.assign(state, { at: 0, over: -1, chosen: [...begin], draws: 0 });
    show();
  });
  const panels = Object.fromEntries(KINDS.map((kind) => [kind, panel(kind)]));

  kit.body.append(
    element("style", {}, STYLE),
    element("div", { class: "panel" }, gallery.node),
    element("div", { class: "buttons" }, label, more, fresh, reset),
    element("div", { class: "stage" }, ...KINDS.map((kind) => panels[kind].node)),
    element(
      "p",
      { class: "caption" },
      "Ringed: labelled. ",
      element("strong", {}, "Crossed out: "),
      "named wrongly. The numbers below the titles count the pictures without a label; bright " +
        "ones are brighter in the middle than at the edge. " +
        "The maps show the two directions in which the pictures differ most (their principal " +
        "components); the distances are those of all. Point at a picture to find it in both maps; " +
        "tap a map to choose a picture.",
    ),
  );

  function panel(kind) {
    const score = element("p", { class: "score" });
    const parts = element("p", { class: "parts" });
    const map = kit.canvas(1.15, (context, w, h) => drawMap(context, w, h, kind));
    const node = element(
      "div",
      { class: "panel" },
      element("p", { class: "heading" }, TITLES[kind]),
      score,
      parts,
      map.node,
    );
    map.node.classList.add("touchable");
    follow(map.node, fromMap(kind), (at) => {
      state.at = at;
      show();
    });
    return { node, score, parts, map };
  }

  /** Mark the picture below the mouse, and act on the one that is tapped. */
  function follow(node, find, act) {
    const under = (event) => {
      const box = node.getBoundingClientRect();
      return find(event.clientX - box.left, event.clientY - box.top, box.width, box.height);
    };
    node.addEventListener("click", (event) => {
      const at = under(event);
      if (at >= 0) act(at);
    });
    node.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") hover(under(event));
    });
    node.addEventListener("pointerleave", () => hover(-1));
  }

  function hover(at) {
    if (at === state.over) return;
    state.over = at;
    gallery.paint();
    for (const kind of KINDS) panels[kind].map.paint();
    publish();
  }

  function toggle(at) {
    state.at = at;
    state.chosen = state.chosen.includes(at)
      ? state.chosen.filter((n) => n !== at)
      : [...state.chosen, at];
    show();
  }

  function key(name) {
    const columns = columnsNow();
    const moves = { ArrowUp: -columns, ArrowDown: columns, ArrowLeft: -1, ArrowRight: 1 };
    if (name in moves) {
      const at = state.at + moves[name];
      if (at >= 0 && at < count) state.at = at;
      else if (name === "ArrowDown") state.at = count - 1;
      show();
    } else if (name === "Enter" || name === " ") {
      toggle(state.at);
    } else {
      return false;
    }
    return true;
  }

  // ---- Where things are

  function columnsNow() {
    const shape = gallery.node.clientWidth / gallery.node.clientHeight;
    const { wide, narrow } = COLUMNS;
    return shape ** 2 >= ratio(wide) * ratio(narrow) ? wide : narrow;
  }

  function fromGallery(x, y, w, h) {
    const columns = columnsNow();
    const column = clamp(Math.floor((x / w) * columns), 0, columns - 1);
    const at = Math.floor((y / h) * Math.ceil(count / columns)) * columns + column;
    return at >= 0 && at < count ? at : -1;
  }

  /** Where a place, from 0 to 1, lies on a map. */
  function onMap([x, y], w, h) {
    const side = Math.min(w, h) - 2 * MARGIN;
    return [(w - side) / 2 + x * side, (h + side) / 2 - y * side];
  }

  function fromMap(kind) {
    return (x, y, w, h) => {
      const dots = places[kind].map((place) => onMap(place, w, h));
      return core.closest(dots, [x, y], REACH);
    };
  }

  // ---- Pictures

  function thumbnail({ height, width: across, values }) {
    const canvas = element("canvas", { width: across, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(across, height);
    values.forEach((value, n) => {
      image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * n);
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }

  function drawGallery(context, w, h) {
    const columns = columnsNow();
    const side = Math.min(w / columns, h / Math.ceil(count / columns));
    context.imageSmoothingEnabled = false;
    context.lineJoin = "round";
    for (let n = 0; n < count; n++) {
      const [x, y] = [(n % columns) * side + GAP, Math.floor(n / columns) * side + GAP];
      const inner = side - 2 * GAP;
      context.drawImage(thumbnails[n], x, y, inner, inner);
      if (state.chosen.includes(n)) {
        context.strokeStyle = kit.colour("accent");
        context.lineWidth = 4;
        context.strokeRect(x - 1, y - 1, inner + 2, inner + 2);
      }
      if (isMarked(n)) drawMark(context, x - 2.25, y - 2.25, inner + 4.5, n);
    }
  }

  function drawMap(context, w, h, kind) {
    const answers = core.answers(rows[kind], labels, state.chosen, names.length);
    context.fillStyle = kit.colour("soft");
    context.fillRect(0, 0, w, h);
    context.textAlign = "center";
    context.textBaseline = "middle";
    places[kind].forEach((place, n) => {
      const [x, y] = onMap(place, w, h);
      const chosen = state.chosen.includes(n);
      const wrong = !chosen && answers[n] !== labels[n];
      context.font = `${chosen ? "bold 15px" : "13px"} system-ui, sans-serif`;
      context.fillStyle = kit.colour(chosen ? "accent" : wrong ? "mark" : "ink");
      const name = names[labels[n]].slice(0, 3);
      context.fillText(name, x, y);
      context.lineWidth = chosen ? 2.5 : 1.25;
      context.strokeStyle = kit.colour(chosen ? "accent" : "mark");
      context.beginPath();
      if (chosen) {
        context.arc(x, y, 11, 0, 2 * Math.PI);
      } else if (wrong && state.chosen.length > 0) {
        context.moveTo(x - 7, y + 7);
        context.lineTo(x + 7, y - 7);
      }
      context.stroke();
      if (isMarked(n)) drawMark(context, x - 14, y - 14, 28, n);
    });
  }

  function isMarked(n) {
    return n === state.at || n === state.over;
  }

  /** A frame: dashed for the chosen picture, whole for the one below the mouse. */
  function drawMark(context, x, y, side, n) {
    context.strokeStyle = kit.colour("ink");
    context.lineWidth = n === state.over ? 2.5 : 1.5;
    context.setLineDash(n === state.over ? [] : [3, 2]);
    context.strokeRect(x, y, side, side);
    context.setLineDash([]);
  }

  // ---- What is shown

  function show() {
    const asked = count - state.chosen.length;
    const has = state.chosen.includes(state.at);
    const right = {};
    for (const kind of KINDS) {
      const answers = core.answers(rows[kind], labels, state.chosen, names.length);
      const score = (some) => core.right(answers, labels, state.chosen, some);
      right[kind] = score(all).right;
      const parts = Object.entries(tones).map(([tone, some]) => {
        const part = score(some);
        return `${tone} ones ${part.right} of ${part.asked}`;
      });
      const share = asked ? ` (${Math.round((100 * right[kind]) / asked)} %)` : "";
      panels[kind].score.replaceChildren(
        element("strong", {}, String(right[kind])),
        ` of ${asked} right${share}`,
      );
      panels[kind].parts.textContent = parts.join(", ");
      panels[kind].map.describe(
        `A map of ${count} pictures ${TITLES[kind].toLowerCase()}, in two directions. ` +
          `${right[kind]} of ${asked} pictures without a label are named rightly; ` +
          `${parts.join(", ")}. ` +
          `Picture ${state.at + 1} is marked.`,
      );
      panels[kind].map.paint();
    }
    label.textContent = has ? "Take this label away" : "Label this picture";
    const free = core.oneMore(labels, state.chosen, names.length, 0).length;
    kit.enable(more, free > 0);
    const counts = names.map(
      (name, c) => `${state.chosen.filter((n) => labels[n] === c).length} of class ${name}`,
    );
    const where = `Picture ${state.at + 1} of ${count}, a ${names[labels[state.at]]}, `;
    gallery.describe(
      `${count} small pictures, ${state.chosen.length} of them labelled: ${counts.join(", ")}. ` +
        `${where}${has ? "labelled" : "not labelled"}.`,
    );
    gallery.paint();
    Object.assign(shown, { asked, ...right });
    publish();
    kit.announce(
      `${where}${has ? "labelled" : "not labelled"}. Labelled: ${counts.join(", ")}. ` +
        `Right among the other ${asked}: ${right.pixels} by the pixels, ` +
        `${right.features} by the features.`,
    );
  }

  function publish() {
    kit.publish({
      at: state.at,
      over: state.over < 0 ? "none" : state.over,
      chosen: state.chosen.length ? [...state.chosen].sort((a, b) => a - b).join(",") : "none",
      asked: shown.asked,
      pixels: shown.pixels,
      features: shown.features,
      draws: state.draws,
    });
  }

  show();
}

const STYLE = `
  .stage { align-items: start; }
  .heading { font-weight: 650; }
  .score { font-size: 15px; }
  .parts { font-size: 13px; color: var(--quiet); }
  .gallery { aspect-ratio: var(--wide); }
  @container (max-width: 460px) {
    .gallery { aspect-ratio: var(--narrow); }
  }
`;
