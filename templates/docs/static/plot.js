// The interactive plot of a loss's page: loss, gradient and curvature while one entry moves, a slider for the rest.
"use strict";

// The inputs of one sample, from a plan: nested lists of numbers, parameters, sizes.
symloss.sample = (loss, settings = []) => {
  const p = structuredClone(loss.plan.point);
  p._size = loss.plan.sizes;
  for (const control of loss.plan.controls) if (control.kind === "parameter") p[control.name] = control.value;
  for (const { name, at, value } of settings) symloss.put(p, name, at, value);
  return p;
};

symloss.put = (p, name, at, value) => {
  if (!at.length) p[name] = value;
  else at.slice(0, -1).reduce((row, i) => row[i], p[name])[at.at(-1)] = value;
};

// Loss, gradient and curvature where the moving entry is x; `settings` as the sliders give them.
symloss.evaluate = (name, x, settings = []) => {
  const loss = symloss.losses[name], { moved, at } = loss.plan;
  const p = symloss.sample(loss, [...settings, { name: moved, at, value: x }]);
  return ["value", "grad", "hess"].map((kind) => loss[kind](p, at));
};

(() => {
  const COUNT = 400, SEEN = 0.97, JUMP = 8, TALL = 0.04;
  const BOX = { left: 46, right: 592, upper: 14, lower: 300, width: 604, height: 334 };
  const KINDS = ["value", "grad", "hess"];

  const element = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path", "text", "g", "circle", "clipPath", "rect"].includes(tag);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const short = (x) => {
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    if (x === 0) return "0";
    const text = Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5 ? x.toExponential(3) : String(Number(x.toPrecision(4)));
    return text.replace("-", "−");
  };

  // The range of y that shows everything but what shoots up at the ends.
  const extent = (lines) => {
    const finite = lines.flat().filter(Number.isFinite).sort((a, b) => a - b);
    if (!finite.length) return [-1, 1];
    const quantile = (share) => finite[Math.round(share * (finite.length - 1))];
    const [a, b] = [quantile(1 - SEEN), quantile(SEEN)], spread = Math.max(b - a, 1e-12);
    const low = Math.min(0, Math.max(finite[0], a - spread / 2));
    const high = Math.max(0, Math.min(finite.at(-1), b + spread / 2));
    const margin = 0.06 * (high - low || 2);
    return [low - margin, high + margin];
  };

  const ticks = (low, high, count) => {
    const rough = (high - low) / count, tens = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((s) => s * tens).reduce((a, b) => (Math.abs(b - rough) < Math.abs(a - rough) ? b : a));
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n <= Math.floor(high / step + 1e-9); n++) found.push(Number((n * step).toPrecision(6)));
    return found;
  };

  const path = (xs, ys, toX, toY, height) => {
    let text = "", drawing = false;
    const step = (i) => (i > 0 && i < ys.length ? Math.abs(ys[i] - ys[i - 1]) : 0);
    ys.forEach((y, i) => {
      if (!Number.isFinite(y)) return void (drawing = false);
      if (drawing && step(i) > TALL * height && step(i) > JUMP * Math.max(step(i - 1), step(i + 1))) drawing = false;
      text += `${drawing ? "L" : "M"}${toX(xs[i]).toFixed(1)} ${toY(y).toFixed(1)}`;
      drawing = true;
    });
    return text;
  };

  const build = (root) => {
    const name = root.dataset.loss, loss = symloss.losses[name], words = JSON.parse(root.dataset.words);
    const { low, high, moved, at, controls } = loss.plan;
    const axis = moved + at.map((i) => `[${i}]`).join("");
    const svg = element("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": words.alt });
    const readout = element("div", { class: "sl-readout", "aria-live": "off" });
    const hidden = new Set();
    let xs = [], lines = [], pointer = null, frame = null;

    const set = controls.map((control) => ({ name: control.name, at: control.at, value: control.value }));
    const toX = (x) => BOX.left + ((x - low) / (high - low)) * (BOX.right - BOX.left);
    const draw = () => {
      // An even number of points, so that a kink in the middle lies between two.
      xs = Array.from({ length: COUNT }, (_, i) => low + ((high - low) * i) / (COUNT - 1));
      const results = xs.map((x) => symloss.evaluate(name, x, set));
      lines = KINDS.map((_, k) => results.map((result) => result[k]));
      const shown = lines.filter((_, k) => !hidden.has(KINDS[k]));
      const [bottom, top] = extent(shown);
      const toY = (y) => BOX.lower - Math.min(Math.max((y - bottom) / (top - bottom), -1), 2) * (BOX.lower - BOX.upper);
      frame = { toY };
      svg.replaceChildren(element("clipPath", { id: `clip-${name}` }, element("rect", { x: BOX.left, y: BOX.upper, width: BOX.right - BOX.left, height: BOX.lower - BOX.upper })));
      for (const t of ticks(low, high, 6)) {
        svg.append(element("path", { class: "sl-grid", d: `M${toX(t)} ${BOX.upper}V${BOX.lower}` }));
        svg.append(element("text", { x: toX(t), y: BOX.lower + 16, "text-anchor": "middle" }, short(t)));
      }
      for (const t of ticks(bottom, top, 6)) {
        svg.append(element("path", { class: t === 0 ? "sl-zero" : "sl-grid", d: `M${BOX.left} ${toY(t)}H${BOX.right}` }));
        svg.append(element("text", { x: BOX.left - 6, y: toY(t) + 4, "text-anchor": "end" }, short(t)));
      }
      svg.append(element("text", { x: (BOX.left + BOX.right) / 2, y: BOX.height - 2, "text-anchor": "middle" }, axis));
      [...KINDS].reverse().forEach((kind) => {
        if (hidden.has(kind)) return;
        const d = path(xs, lines[KINDS.indexOf(kind)], toX, toY, top - bottom);
        svg.append(element("path", { class: `sl-line sl-${kind}`, "clip-path": `url(#clip-${name})`, d }));
      });
      svg.append(element("path", { class: "sl-cursor" }));
      point(pointer ?? (low + high) / 2, pointer !== null);
    };

    // What is under the pointer, in numbers.
    const point = (x, mark) => {
      const values = symloss.evaluate(name, x, set);
      readout.replaceChildren(element("span", {}, `${axis} = ${short(x)}`));
      KINDS.forEach((kind, k) => readout.append(element("span", { class: `sl-${kind}` }, `${words[kind]} = ${short(values[k])}`)));
      svg.querySelector(".sl-cursor").setAttribute("d", mark ? `M${toX(x)} ${BOX.upper}V${BOX.lower}` : "");
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * BOX.width;
      pointer = Math.min(high, Math.max(low, low + ((at - BOX.left) / (BOX.right - BOX.left)) * (high - low)));
      point(pointer, true);
    });
    svg.addEventListener("pointerleave", () => {
      pointer = null;
      point((low + high) / 2, false);
    });

    const legend = element("div", { class: "sl-legend" });
    for (const kind of KINDS) {
      const button = element("button", { type: "button", class: `sl-${kind}`, "aria-pressed": "true" }, words[kind]);
      button.addEventListener("click", () => {
        hidden.has(kind) ? hidden.delete(kind) : hidden.add(kind);
        button.setAttribute("aria-pressed", String(!hidden.has(kind)));
        draw();
      });
      legend.append(button);
    }

    const panel = element("div", { class: "sl-controls" });
    const resets = [];
    controls.forEach((control, i) => {
      const label = control.name + control.at.map((j) => `[${j}]`).join("");
      const id = `sl-${name}-${i}`, shown = element("output", { for: id });
      const few = control.choices.length > 0;
      const [from, to, step] = few ? [0, control.choices.length - 1, 1] : [control.low, control.high, "any"];
      const input = element("input", { type: "range", id, min: from, max: to, step, "data-name": control.name, "data-at": control.at.join(",") });
      const show = (value, steer) => {
        set[i].value = value;
        shown.textContent = short(value);
        if (steer) input.value = few ? control.choices.indexOf(value) : value;
      };
      input.addEventListener("input", () => {
        const raw = Number(input.value);
        const round = Math.round(raw / control.step) * control.step;
        const value = few ? control.choices[raw] : Math.min(control.high, Math.max(control.low, Number(round.toPrecision(12))));
        show(value, false);
        draw();
      });
      resets.push(() => show(control.value, true));
      panel.append(element("div", { class: `sl-control sl-${control.kind}-control` }, element("label", { for: id }, label), input, shown));
    });
    const reset = element("button", { type: "button", class: "sl-reset" }, words.reset);
    const restore = () => {
      resets.forEach((back) => back());
      draw();
    };
    reset.addEventListener("click", restore);

    root.replaceChildren(legend, svg, readout, panel);
    if (controls.length) root.append(reset);
    restore();
  };

  symloss.plots = () => document.querySelectorAll(".sl-plot[data-loss]").forEach(build);
})();
