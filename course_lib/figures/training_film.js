// A film of a training run: pictures of what is learned, and the curves that grow with them.

const core = {
  /** Unpack frame after frame of signed pictures: bytes 0 to 254, of which 127 is zero. */
  decode({ frames, count, height, width, limit, bytes }) {
    const raw = atob(bytes);
    const size = height * width;
    return Array.from({ length: frames }, (_, frame) =>
      Array.from({ length: count }, (_, which) =>
        Float64Array.from({ length: size }, (_, at) => {
          const byte = raw.charCodeAt((frame * count + which) * size + at);
          return ((byte - 127) / 127) * limit;
        }),
      ),
    );
  },

  /** The frame after this one; after the last comes the first. */
  turn(frame, by, frames) {
    return (((frame + by) % frames) + frames) % frames;
  },
};

const STYLES = [
  ["mark", []],
  ["accent", [6, 4]],
  ["ink", [2, 3]],
];

function build(kit, data) {
  const { pictures, curves, axis, value } = data;
  const frames = pictures.frames;
  const films = core.decode(pictures);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const across = pictures.count > 6 ? Math.ceil(pictures.count / 2) : pictures.count;
  const down = Math.ceil(pictures.count / across);
  const top = Math.max(...curves.flatMap(({ values }) => values));
  let frame = frames - 1;
  let timer = null;

  const play = kit.button("Play", () => (timer === null ? run() : pause()), { class: "primary" });
  const back = kit.button("Back", () => turn(-1));
  const on = kit.button("Forward", () => turn(1));
  const slider = kit.slider(axis, { min: 0, max: frames - 1, say: (at) => String(data.ticks[at]) }, (at) => {
    pause();
    frame = at;
    show();
  });
  const shown = kit.canvas((across * 1.05) / (down * (data.names.length ? 1.35 : 1.05)), drawPictures, { key });
  const chart = kit.canvas(2, drawCurves);
  const pictureCaption = element("p", { class: "caption" }, data.caption);
  const chartCaption = element("p", { class: "caption" });
  kit.body.append(
    slider.node,
    element("div", { class: "buttons" }, play, back, on),
    element(
      "div",
      { class: "stage" },
      element("div", { class: "panel" }, pictureCaption, shown.node),
      element("div", { class: "panel" }, chartCaption, chart.node),
    ),
  );

  function turn(by) {
    pause();
    frame = core.turn(frame, by, frames);
    show();
  }

  function key(name) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[name];
    if (by === undefined) return false;
    turn(by);
    return true;
  }

  /** From the beginning if it is at its end; slowly for a reader who wants little motion. */
  function run() {
    frame = frame === frames - 1 ? 0 : frame + 1;
    play.textContent = "Pause";
    kit.announce("The film is running; Pause says the numbers.");
    timer = setInterval(
      () => {
        if (!kit.host.isConnected) return pause();
        frame = Math.min(frame + 1, frames - 1); // it may have begun at the last but one
        if (frame === frames - 1) pause();
        else show(false);
      },
      calm.matches ? 1200 : 220,
    );
    show(false);
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    show();
  }

  function drawPictures(context, width, height) {
    const paint = kit.diverging(pictures.limit);
    const [wide, tall] = [width / across, height / down];
    const side = Math.min(wide * 0.92, tall * (data.names.length ? 0.78 : 0.92));
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    films[frame].forEach((values, which) => {
      const left = (which % across) * wide + (wide - side) / 2;
      const above = Math.floor(which / across) * tall;
      const edge = (at, count, from) => Math.round(from + (at / count) * side);
      values.forEach((number, at) => {
        const [row, column] = [Math.floor(at / pictures.width), at % pictures.width];
        const [x, y] = [edge(column, pictures.width, left), edge(row, pictures.height, above)];
        context.fillStyle = `rgb(${paint(number)})`;
        context.fillRect(
          x,
          y,
          edge(column + 1, pictures.width, left) - x,
          edge(row + 1, pictures.height, above) - y,
        );
      });
      context.strokeStyle = kit.colour("line");
      context.strokeRect(left, above + 0.5, side, side);
      context.fillStyle = kit.colour("ink");
      if (data.names.length) context.fillText(data.names[which], left + side / 2, above + side + 15);
    });
  }

  function drawCurves(context, width, height) {
    const [left, bottom, ceiling] = [46, height - 22, 8];
    const x = (at) => left + (at / Math.max(frames - 1, 1)) * (width - left - 12);
    const y = (number) => bottom - (number / (top || 1)) * (bottom - ceiling);
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = kit.colour("quiet");
    context.strokeStyle = kit.colour("line");
    context.textAlign = "right";
    for (const share of [0, 0.5, 1]) {
      context.beginPath();
      context.moveTo(left, y(share * top));
      context.lineTo(width, y(share * top));
      context.stroke();
      context.fillText(decimal(share * top, 2), left - 6, y(share * top) + 4);
    }
    context.fillText(`${axis} ${data.ticks.at(-1)}`, width - 12, height - 5);
    context.textAlign = "left";
    context.fillText(String(data.ticks[0]), left, height - 5);
    curves.forEach(({ values }, n) => {
      const [colour, dash] = STYLES[n];
      context.strokeStyle = kit.colour(colour);
      context.fillStyle = kit.colour(colour);
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath();
      values.slice(0, frame + 1).forEach((number, at) => context.lineTo(x(at), y(number)));
      context.stroke();
      context.setLineDash([]);
      context.beginPath();
      context.arc(x(frame), y(values[frame]), 4, 0, 2 * Math.PI);
      context.fill();
    });
  }

  function show(aloud = true) {
    const signs = ["line", "dashed line", "dotted line"];
    const numbers = curves.map(({ name, values }) => `${name} ${decimal(values[frame], 3)}`);
    const words = `${axis} ${data.ticks[frame]}: ${numbers.join(", ")}`;
    slider.set(frame);
    chartCaption.replaceChildren(
      element("strong", {}, value),
      `: ${curves.map(({ name }, n) => `${name} (${signs[n]})`).join(", ")}`,
    );
    shown.describe(`${data.caption} ${words}.`);
    chart.describe(`Curves of the ${value} up to ${words}.`);
    shown.paint();
    chart.paint();
    kit.publish({
      frame,
      frames,
      ...Object.fromEntries(curves.map(({ values }, n) => [`curve${n}`, values[frame].toFixed(6)])),
      playing: timer !== null,
    });
    if (aloud) kit.announce(`${words}.`);
  }

  show();
}
