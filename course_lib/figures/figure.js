// What every figure shares: its shell, its theme, its controls and its canvases.
// `figure()` in __init__.py puts this text before the figure's own script and calls `start`.

/** Make an element. `on…` attributes are listeners; `false` and `undefined` leave one out. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      node.addEventListener(name.slice(2), value);
    } else if (value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children);
  return node;
}

/** Whether the page around is dark: the book, JupyterLab and Colab each say it in their own way. */
function pageIsDark() {
  const html = document.documentElement;
  const said =
    html.dataset.theme ?? // the built book
    { true: "light", false: "dark" }[document.body.dataset.jpThemeLight] ?? // JupyterLab
    html.getAttribute("theme"); // Colab
  if (said === "dark" || said === "light") return said === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Keep the host's `data-scheme` like the page, and tell its canvases when it changes. */
function followTheme(host) {
  const weak = new WeakRef(host); // so that a figure whose output was cleared can be forgotten
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(follow);
  function follow() {
    const figure = weak.deref();
    if (!figure) {
      observer.disconnect();
      preference.removeEventListener("change", follow);
      return;
    }
    const scheme = pageIsDark() ? "dark" : "light";
    if (figure.dataset.scheme === scheme) return;
    figure.dataset.scheme = scheme;
    figure.dispatchEvent(new Event("schemechange"));
  }
  const options = {
    attributes: true,
    attributeFilter: ["data-theme", "data-jp-theme-light", "theme"],
  };
  observer.observe(document.documentElement, options);
  observer.observe(document.body, options);
  preference.addEventListener("change", follow);
  follow();
}

/** Format a number with a true minus sign; −0 is 0. */
function decimal(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** A whole number with commas between thousands. */
function grouped(value) {
  return value.toLocaleString("en-US");
}

/** Keep `value` within `low` and `high`. */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Unpack what `encode_image` packed, as { height, width, values } with values in [0, 1]. */
function decodeImage({ height, width, levels, pixels }) {
  const values = Float64Array.from(atob(pixels), (letter) => letter.charCodeAt(0) / levels);
  return { height, width, values };
}

/** "#rrggbb" as [r, g, b]. */
function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The colour at `share` (0 to 1) of the way from one [r, g, b] to another. */
function blend(from, to, share) {
  return from.map((start, i) => Math.round(start + (to[i] - start) * share));
}

/** Black or white, whichever reads better on [r, g, b]. */
function inkOn(colour) {
  const linear = colour.map((c) =>
    c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
  );
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000000" : "#ffffff";
}

/** What a figure's `build` works with. */
function makeKit(host, body, live) {
  const colour = (name) => getComputedStyle(host).getPropertyValue(`--${name}`).trim();
  const kit = {
    host,
    body,
    colour,

    /** A colour map for signed values: [−limit, limit] from negative over zero to positive. */
    diverging(limit) {
      const [negative, zero, positive] = ["negative", "zero", "positive"].map((n) =>
        rgb(colour(n)),
      );
      return (value) =>
        blend(zero, value < 0 ? negative : positive, Math.min(Math.abs(value) / (limit || 1), 1));
    },

    /** Say what is shown: in the attribute that tests read. */
    publish(state) {
      host.dataset.state = Object.entries(state)
        .map((pair) => pair.join("="))
        .join(" ");
    },

    /** Say a result aloud, and show it in the figure's last line. */
    announce(text) {
      if (live.textContent !== text) live.textContent = text;
    },

    button(label, onclick, attributes = {}) {
      return element("button", { type: "button", onclick, ...attributes }, label);
    },

    /** Grey a button out, but leave the focus on it: without focus, keys go to the notebook. */
    enable(button, able) {
      button.setAttribute("aria-disabled", String(!able));
    },

    checkbox(label, onchange) {
      const input = element("input", { type: "checkbox", onchange: () => onchange(input.checked) });
      return { node: element("label", { class: "check" }, input, label), input };
    },

    /** A labelled choice; `setOptions` takes [value, text] pairs. */
    choice(label, options, onchange) {
      let known = "";
      const input = element("select", {
        "aria-label": label,
        onchange: () => onchange(input.value),
      });
      const node = element(
        "label",
        { class: "control" },
        element("span", { class: "label" }, label),
        input,
      );
      const setOptions = (pairs) => {
        if (known === (known = JSON.stringify(pairs))) return; // a rebuilt list would close itself
        input.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
      };
      setOptions(options);
      return { node, input, setOptions };
    },

    /** A labelled slider over whole numbers; `say` turns its value into the words beside it. */
    slider(label, { min, max, say = String }, onchange) {
      const shown = element("strong", { "aria-hidden": "true" });
      const oninput = () => onchange(Number(input.value));
      const input = element("input", {
        type: "range",
        min,
        max,
        step: 1,
        "aria-label": label,
        oninput,
      });
      const text = element("span", { class: "label" }, label, shown);
      const node = element("label", { class: "control" }, text, input);
      const set = (value, high = max) => {
        input.max = high;
        input.value = value;
        shown.textContent = say(value);
        input.setAttribute("aria-valuetext", say(value));
      };
      return { node, input, set };
    },

    /**
     * A canvas as wide as its place; `draw(context, width, height)` works in CSS pixels.
     * `touch(x, y)` gets clicks and drags as shares (0 to 1) of the width and height;
     * `key(name)` gets key presses and says whether it used them.
     */
    canvas(ratio, draw, { touch, key } = {}) {
      const node = element("canvas", {
        role: "img",
        tabindex: key ? 0 : undefined,
        class: touch && "touchable",
      });
      node.style.aspectRatio = String(ratio);
      const paint = () => {
        const width = node.clientWidth;
        const height = node.clientHeight;
        if (width === 0) return;
        const density = window.devicePixelRatio || 1;
        node.width = Math.round(width * density);
        node.height = Math.round(height * density);
        const context = node.getContext("2d");
        context.scale(density, density);
        draw(context, width, height);
      };
      const point = (event) => {
        const box = node.getBoundingClientRect();
        touch((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      };
      if (touch) {
        node.addEventListener("pointerdown", (event) => {
          if (event.button !== 0) return;
          node.setPointerCapture(event.pointerId);
          point(event);
        });
        node.addEventListener("pointermove", (event) => {
          if (node.hasPointerCapture(event.pointerId)) point(event);
        });
      }
      if (key) {
        node.addEventListener("keydown", (event) => {
          if (!event.ctrlKey && !event.metaKey && !event.altKey && key(event.key))
            event.preventDefault();
        });
      }
      new ResizeObserver(paint).observe(node);
      host.addEventListener("schemechange", paint);
      const describe = (text) => node.setAttribute("aria-label", text);
      return { node, paint, describe };
    },
  };
  return kit;
}

/** Find the figure's place, dress it, and let the figure's script fill it. */
function start({ name, title, description, style, data }, core, build) {
  // Some notebook front ends run scripts apart from their place: then take the first one waiting.
  const place = `.course-figure[data-figure="${name}"]`;
  const host =
    document.currentScript?.closest(place) ?? document.querySelector(`${place}:not([data-state])`);
  const root = host.attachShadow({ mode: "open" });
  // A notebook takes single letters and arrows as its own commands: keep them in the figure.
  for (const type of ["keydown", "keypress", "keyup"]) {
    root.addEventListener(type, (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    });
  }
  const live = element("p", { class: "live", "aria-live": "polite" });
  const body = element("div", { class: "body" });
  const heading = element(
    "div",
    {},
    element("p", { class: "title" }, title),
    element("p", { class: "quiet" }, description),
  );
  const frame = element("div", { class: "frame", role: "group", "aria-label": title }, body);
  root.append(element("style", {}, style), frame);
  followTheme(host);
  host.core = core; // what the tests compare with torch
  body.append(heading);
  build(makeKit(host, body, live), data);
  body.append(live);
}
