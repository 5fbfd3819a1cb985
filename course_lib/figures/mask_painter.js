// One photograph set into another under a painted mask: by a cut, by scales, by gradients.

const TAPS = [1, 4, 6, 4, 1].map((tap) => tap / 16);

const core = {
  /** Where an index outside 0 … n − 1 is reflected to; the edge itself is not repeated. */
  reflect(index, n) {
    if (n === 1) return 0;
    const period = 2 * (n - 1);
    const at = ((index % period) + period) % period;
    return at < n ? at : period - at;
  },

  /** Apply a method to every row, then to every column; it turns n numbers into `length`. */
  separately(image, method, height, width) {
    const between = { height: image.height, width, values: new Float64Array(image.height * width) };
    for (let y = 0; y < image.height; y++) {
      const row = image.values.subarray(y * image.width, (y + 1) * image.width);
      between.values.set(method(row, width), y * width);
    }
    const out = { height, width, values: new Float64Array(height * width) };
    for (let x = 0; x < width; x++) {
      const column = Float64Array.from(
        { length: image.height },
        (_, y) => between.values[y * width + x],
      );
      method(column, height).forEach((value, y) => (out.values[y * width + x] = value));
    }
    return out;
  },

  /** Smooth with the five taps, and keep every second pixel. */
  down(image) {
    const halve = (line, length) =>
      Float64Array.from({ length }, (_, at) =>
        TAPS.reduce((sum, tap, i) => sum + tap * line[core.reflect(2 * at + i - 2, line.length)], 0),
      );
    return core.separately(image, halve, Math.ceil(image.height / 2), Math.ceil(image.width / 2));
  },

  /** Set the pixels apart by zeros, and smooth with twice the taps: back to the larger size. */
  up(image, height, width) {
    const double = (line, length) =>
      Float64Array.from({ length }, (_, place) => {
        const at = Math.floor(place / 2);
        const next = line[Math.min(at + 1, line.length - 1)];
        if (place % 2) return 8 * TAPS[0] * (line[at] + next);
        const before = line[core.reflect(at - 1, line.length)];
        return 2 * (TAPS[2] * line[at] + TAPS[0] * (before + next));
      });
    return core.separately(image, double, height, width);
  },

  /** The picture, and ever smaller copies of it: `levels` pictures. */
  gaussianPyramid(image, levels) {
    const pyramid = [image];
    while (pyramid.length < levels) pyramid.push(core.down(pyramid.at(-1)));
    return pyramid;
  },

  /** What each copy adds to the next smaller one; the smallest as it is. */
  laplacianPyramid(image, levels) {
    const copies = core.gaussianPyramid(image, levels);
    return copies.map((copy, n) => {
      if (n === levels - 1) return copy;
      const coarse = core.up(copies[n + 1], copy.height, copy.width);
      return { ...copy, values: copy.values.map((value, at) => value - coarse.values[at]) };
    });
  },

  /** Add a Laplacian pyramid up again. */
  reconstruct(pyramid) {
    return pyramid.reduceRight((coarse, fine) => {
      const larger = core.up(coarse, fine.height, fine.width);
      return { ...fine, values: fine.values.map((value, at) => value + larger.values[at]) };
    });
  },

  /** The first picture where the mask is 1, the second where it is 0. */
  cut(first, second, mask) {
    return {
      ...first,
      values: first.values.map((value, at) => (mask.values[at] ? value : second.values[at])),
    };
  },

  /** Blend every level of two Laplacian pyramids with the mask's copy of that size. */
  pyramidBlend(first, second, mask, levels) {
    const [a, b] = [first, second].map((image) => core.laplacianPyramid(image, levels));
    const masks = core.gaussianPyramid(mask, levels);
    return core.reconstruct(
      masks.map((share, n) => ({
        ...share,
        values: share.values.map(
          (m, at) => m * a[n].values[at] + (1 - m) * b[n].values[at],
        ),
      })),
    );
  },

  /** sin(π(j + 1)(k + 1) / (n + 1)), row by row: a matrix that is n + 1 halves of its inverse. */
  sines(n) {
    return Float64Array.from({ length: n * n }, (_, at) =>
      Math.sin((Math.PI * (Math.floor(at / n) + 1) * ((at % n) + 1)) / (n + 1)),
    );
  },

  /** The product of two matrices, of n × k and k × m numbers. */
  product(a, b, n, k, m) {
    const out = new Float64Array(n * m);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < k; j++) {
        const factor = a[i * k + j];
        for (let l = 0; l < m; l++) out[i * m + l] += factor * b[j * m + l];
      }
    }
    return out;
  },

  /** The picture with this Laplacian, whose neighbours outside are all 0. */
  solve({ height, width, values }) {
    const [rows, columns] = [core.sines(height), core.sines(width)];
    const transform = (grid) =>
      core.product(core.product(rows, grid, height, height, width), columns, height, width, width);
    const waves = transform(values).map((value, at) => {
      const [j, k] = [Math.floor(at / width) + 1, (at % width) + 1];
      const factor =
        2 * Math.cos((Math.PI * j) / (height + 1)) + 2 * Math.cos((Math.PI * k) / (width + 1)) - 4;
      return value / factor;
    });
    const scale = 4 / ((height + 1) * (width + 1));
    return { height, width, values: transform(waves).map((value) => scale * value) };
  },

  /** The source's steps between pixels of the mask, the target's elsewhere and on the border. */
  poissonBlend(source, target, mask) {
    const { height, width } = target;
    const apart = source.values.map((value, at) => value - target.values[at]);
    const inner = { height: height - 2, width: width - 2 };
    const values = Float64Array.from({ length: inner.height * inner.width }, (_, place) => {
      const y = Math.floor(place / inner.width) + 1;
      const at = y * width + (place % inner.width) + 1;
      let sum = 0;
      for (const next of [at - width, at + width, at - 1, at + 1])
        if (mask.values[at] && mask.values[next]) sum += apart[next] - apart[at];
      return sum;
    });
    const added = core.solve({ ...inner, values }).values;
    return {
      ...target,
      values: target.values.map((value, at) => {
        const [y, x] = [Math.floor(at / width) - 1, (at % width) - 1];
        const inside = y >= 0 && x >= 0 && y < inner.height && x < inner.width;
        return inside ? value + added[y * inner.width + x] : value;
      }),
    };
  },

  /** Mean size of the step between neighbours on the two sides of the mask's edge. */
  step(channels, mask) {
    const { height, width, values } = mask;
    let [sum, count] = [0, 0];
    for (let at = 0; at < values.length; at++) {
      for (const next of [
        (at + 1) % width ? at + 1 : -1,
        at + width < height * width ? at + width : -1,
      ]) {
        if (next < 0 || values[at] === values[next]) continue;
        for (const channel of channels) sum += Math.abs(channel.values[at] - channel.values[next]);
        count += channels.length;
      }
    }
    return count ? sum / count : 0;
  },

  /** Mean size of the change from the source under the mask. */
  change(channels, source, mask) {
    let [sum, count] = [0, 0];
    mask.values.forEach((m, at) => {
      if (!m) return;
      channels.forEach((channel, c) => {
        sum += Math.abs(channel.values[at] - source[c].values[at]);
      });
      count += channels.length;
    });
    return count ? sum / count : 0;
  },

  /** A mask to begin with. */
  preset(kind, height, width) {
    const values = Float64Array.from({ length: height * width }, (_, at) => {
      const [y, x] = [Math.floor(at / width), at % width];
      const [v, u] = [(2 * y + 1) / height - 1, (2 * x + 1) / width - 1];
      if (kind === "oval") return Number((u / 0.52) ** 2 + (v / 0.42) ** 2 < 1);
      if (kind === "half") return Number(u < 0);
      if (kind === "square") return Number(Math.max(Math.abs(u), Math.abs(v)) < 0.8);
      return 0;
    });
    return { height, width, values };
  },

  /** The mask with a disc painted (1) or erased (0). */
  stamp(mask, row, column, radius, value) {
    return {
      ...mask,
      values: mask.values.map((old, at) => {
        const [y, x] = [Math.floor(at / mask.width) - row, (at % mask.width) - column];
        return y * y + x * x <= radius * radius ? value : old;
      }),
    };
  },
};

const PRESETS = [
  ["oval", "an oval"],
  ["half", "the left half"],
  ["square", "all but a frame"],
  ["none", "nothing yet"],
  ["own", "by hand"],
];
const METHODS = { cut: "cut", pyramid: "pyramid", poisson: "Poisson" };

function build(kit, data) {
  const [source, target] = data.photos.map(({ channels }) => channels.map(decodeImage));
  const [inside, around] = data.photos.map(({ name }) => name);
  const { height, width } = target[0];
  const deepest = Math.floor(Math.log2(Math.min(height, width)));
  const state = {
    kind: "oval",
    radius: 6,
    levels: Math.min(5, deepest),
    erases: false,
    row: Math.floor(height / 2),
    column: Math.floor(width / 2),
  };
  let mask = core.preset(state.kind, height, width);
  let blended = null; // three channels for each method
  let last = null; // where a stroke has come to

  const kind = kit.choice("Mask", PRESETS, (value) => {
    state.kind = value;
    if (value !== "own") mask = core.preset(value, height, width);
    recompute();
  });
  const radius = kit.slider("Brush", { min: 1, max: 20, say: (r) => `${r} px` }, (value) => {
    state.radius = value;
    show();
  });
  const levels = kit.slider("Pyramid levels", { min: 1, max: deepest }, (value) => {
    state.levels = value;
    recompute();
  });
  const eraser = kit.checkbox("erase instead of paint", (checked) => {
    state.erases = checked;
    show();
  });
  const ratio = width / height;
  const easel = kit.canvas(ratio, drawEasel, {
    key,
    touch: (x, y) => stroke(Math.floor(y * height), Math.floor(x * width)),
  });
  for (const type of ["pointerup", "pointercancel"])
    easel.node.addEventListener(type, () => {
      last = null;
    });
  const easelCaption = element("p", { class: "caption" });
  const panels = Object.fromEntries(
    Object.keys(METHODS).map((method) => [
      method,
      {
        caption: element("p", { class: "caption" }),
        canvas: kit.canvas(ratio, (context, w, h) => {
          drawImage(context, blended[method], w, h);
        }),
      },
    ]),
  );
  kit.body.append(
    element("div", { class: "controls" }, kind.node, radius.node, levels.node, eraser.node),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, easelCaption, easel.node),
      ...Object.values(panels).map(({ caption, canvas }) =>
        element("div", { class: "panel" }, caption, canvas.node),
      ),
    ),
    element(
      "p",
      { class: "caption" },
      "Step: mean difference between neighbours across the mask’s edge. " +
        `Change: mean difference from ${inside} under the mask. Both on the scale 0 to 255.`,
    ),
  );

  // ---- The brush

  function paint(row, column) {
    state.row = clamp(row, 0, height - 1);
    state.column = clamp(column, 0, width - 1);
    mask = core.stamp(mask, state.row, state.column, state.radius, state.erases ? 0 : 1);
    state.kind = "own";
  }

  /** Paint from where the stroke has come to, without gaps. */
  function stroke(row, column) {
    const from = last ?? [row, column];
    const steps = Math.max(Math.abs(row - from[0]), Math.abs(column - from[1]), 1);
    const every = Math.max(1, Math.floor(state.radius / 2));
    for (let step = 0; step < steps; step += every)
      paint(
        Math.round(from[0] + ((row - from[0]) * step) / steps),
        Math.round(from[1] + ((column - from[1]) * step) / steps),
      );
    paint(row, column);
    last = [row, column];
    recompute();
  }

  function key(name) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (name in moves) {
      state.row = clamp(state.row + 2 * moves[name][0], 0, height - 1);
      state.column = clamp(state.column + 2 * moves[name][1], 0, width - 1);
      show();
    } else if (name === "Enter" || name === " ") {
      paint(state.row, state.column);
      recompute();
    } else return false;
    return true;
  }

  function recompute() {
    const each = (method) => source.map((channel, c) => method(channel, target[c]));
    blended = {
      cut: each((a, b) => core.cut(a, b, mask)),
      pyramid: each((a, b) => core.pyramidBlend(a, b, mask, state.levels)),
      poisson: each((a, b) => core.poissonBlend(a, b, mask)),
    };
    for (const channels of Object.values(blended)) {
      for (const { values } of channels) values.forEach((v, at) => (values[at] = clamp(v, 0, 1)));
    }
    show();
  }

  // ---- Pictures

  function drawImage(context, channels, canvasWidth, canvasHeight) {
    const small = element("canvas", { width, height });
    const pixels = new ImageData(width, height);
    for (let at = 0; at < width * height; at++)
      pixels.data.set([...channels.map(({ values }) => Math.round(255 * values[at])), 255], 4 * at);
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, canvasWidth, canvasHeight);
  }

  /** The source under the mask, elsewhere the target with a ghost of the source to aim at. */
  function drawEasel(context, canvasWidth, canvasHeight) {
    const ghost = source.map((channel, c) => ({
      values: channel.values.map((value, at) =>
        mask.values[at] ? value : 0.3 * value + 0.7 * target[c].values[at],
      ),
    }));
    drawImage(context, ghost, canvasWidth, canvasHeight);
    const cell = canvasWidth / width;
    context.fillStyle = kit.colour("mark");
    for (let at = 0; at < width * height; at++) {
      const [y, x] = [Math.floor(at / width), at % width];
      if (x + 1 < width && mask.values[at] !== mask.values[at + 1])
        context.fillRect((x + 1) * cell - 1, y * cell, 2, cell + 1);
      if (y + 1 < height && mask.values[at] !== mask.values[at + width])
        context.fillRect(x * cell, (y + 1) * cell - 1, cell + 1, 2);
    }
    for (const [ink, line] of [
      ["#000000", 4],
      ["#ffffff", 2],
    ]) {
      context.strokeStyle = ink;
      context.lineWidth = line;
      context.beginPath();
      context.arc(
        (state.column + 0.5) * cell,
        (state.row + 0.5) * cell,
        (state.radius + 0.5) * cell,
        0,
        7,
      );
      context.stroke();
    }
  }

  // ---- What is shown

  function show() {
    kind.input.value = state.kind;
    radius.set(state.radius);
    levels.set(state.levels);
    eraser.input.checked = state.erases;
    const count = mask.values.reduce((sum, m) => sum + m, 0);
    const place = `row ${state.row}, column ${state.column}`;
    easelCaption.replaceChildren(
      element("strong", {}, state.erases ? "Erase here" : "Paint here"),
      ` the mask takes from ${inside}`,
    );
    easel.describe(
      `${around} with ${inside} under a mask of ${grouped(count)} pixels; ` +
        `the brush, ${state.radius} pixels in radius, is at ${place}.`,
    );
    easel.paint();
    const measured = {};
    const steps = [];
    for (const [method, { caption, canvas }] of Object.entries(panels)) {
      const step = 255 * core.step(blended[method], mask);
      const change = 255 * core.change(blended[method], source, mask);
      steps.push(`${METHODS[method]} ${decimal(step, 1)}`);
      measured[`${method}-step`] = decimal(step, 2);
      measured[`${method}-change`] = decimal(change, 2);
      caption.replaceChildren(
        element("strong", {}, METHODS[method].replace(/^./, (first) => first.toUpperCase())),
        ` step ${decimal(step, 1)}, change ${decimal(change, 1)}`,
      );
      canvas.describe(
        `${inside} set into ${around}: ${METHODS[method]}. The mean step across ` +
          `the mask’s edge is ${decimal(step, 1)}; ${inside} changes by ${decimal(change, 1)}. ` +
          `The brush is at ${place}.`,
      );
      canvas.paint();
    }
    kit.publish({
      mask: state.kind,
      pixels: count,
      brush: state.radius,
      levels: state.levels,
      erases: state.erases,
      row: state.row,
      column: state.column,
      ...measured,
    });
    kit.announce(
      `Brush at ${place}; ${grouped(count)} pixels under the mask. ` +
        `Step across its edge: ${steps.join(", ")}.`,
    );
  }

  recompute();
}
