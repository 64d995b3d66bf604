"use strict";
(() => {
  const root = document.documentElement;
  const curves = JSON.parse(document.getElementById("curves").textContent);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const drawn = new Map();

  function lines(curve) {
    return curve.lines.map((line, place) => ({
      label: line.label,
      stroke: line.counts ? colour(`--line-${(place % 8) + 1}`) : colour("--idle"),
      width: line.counts ? 1.75 : 1,
      dash: line.counts ? undefined : [5, 4],
      spanGaps: false,
      points: { show: line.x.length < 30 },
    }));
  }

  function draw(figure) {
    const curve = curves[figure.dataset.chart];
    const place = figure.querySelector(".plot");
    const old = drawn.get(figure);
    if (old) old.destroy();
    // Steps of attempts differ: gaps that come from laying them over each other are bridged, real ones are not.
    const data = curve.lines.length === 1
      ? [curve.lines[0].x, curve.lines[0].y]
      : uPlot.join(curve.lines.map((line) => [line.x, line.y]), curve.lines.map(() => [1]));
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } };
    const options = {
      width: Math.max(place.clientWidth, 200),
      height: 200,
      scales: { x: { time: false }, y: { distr: figure.dataset.log ? 3 : 1 } },
      axes: [axis, { ...axis, size: 60 }],
      series: [{ label: curve.axis }, ...lines(curve)],
      cursor: { drag: { x: true, y: false } },
    };
    const plot = new uPlot(options, data, place);
    plot.root.setAttribute("aria-hidden", "true");
    place.classList.add("drawn");
    drawn.set(figure, plot);
  }

  function zoom(figure, factor, shift) {
    const plot = drawn.get(figure);
    if (!plot) return;
    const all = plot.data[0];
    const { min, max } = plot.scales.x;
    const middle = (min + max) / 2 + shift * (max - min);
    const half = ((max - min) / 2) * factor;
    const low = Math.max(all[0], middle - half);
    const high = Math.min(all[all.length - 1], middle + half);
    if (high > low) plot.setScale("x", { min: low, max: high });
  }

  function whole(figure) {
    const plot = drawn.get(figure);
    if (plot) plot.setScale("x", { min: plot.data[0][0], max: plot.data[0][plot.data[0].length - 1] });
  }

  const actions = {
    "+": (figure) => zoom(figure, 0.5, 0),
    "-": (figure) => zoom(figure, 2, 0),
    ArrowLeft: (figure) => zoom(figure, 1, -0.25),
    ArrowRight: (figure) => zoom(figure, 1, 0.25),
    0: whole,
    l: (figure) => {
      const values = curves[figure.dataset.chart].lines.flatMap((line) => line.y);
      if (figure.dataset.log) delete figure.dataset.log;
      else if (values.every((value) => value === null || value > 0)) figure.dataset.log = "1";
      draw(figure);
    },
  };

  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "200px" });
  for (const figure of figures) {
    seen.observe(figure);
    figure.addEventListener("keydown", (event) => {
      const action = actions[event.key];
      if (action && event.target === figure && !event.ctrlKey && !event.metaKey && !event.altKey) {
        action(figure);
        event.preventDefault();
      }
    });
    for (const button of figure.querySelectorAll("button")) {
      button.addEventListener("click", () => actions[button.dataset.key](figure));
    }
  }
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const [figure, plot] of drawn) {
        const width = figure.querySelector(".plot").clientWidth;
        if (width) plot.setSize({ width: Math.max(width, 200), height: 200 });
      }
    }, 100);
  });

  const redraw = () => { for (const figure of drawn.keys()) draw(figure); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    redraw();
  });

  const text = document.getElementById("filter");
  const state = document.getElementById("state");
  const count = document.getElementById("count");
  const entries = [...document.querySelectorAll("[data-find]")];
  function filter() {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const entry of entries) {
      const fits = (!wanted || entry.dataset.find.toLowerCase().includes(wanted)) && (!state.value || entry.dataset.tone === state.value);
      entry.hidden = !fits;
      if (fits && entry.tagName === "SECTION") shown += 1;
    }
    count.textContent = wanted || state.value ? `${shown} shown` : "";
  }
  text.addEventListener("input", filter);
  state.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      text.focus();
      event.preventDefault();
    }
  });
  document.getElementById("controls").hidden = false;

  window.addEventListener("beforeprint", () => {
    for (const entry of entries) entry.hidden = false;  // paper shows everything, whatever is filtered
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const figure of figures) if (!drawn.has(figure)) draw(figure);
  });
  window.addEventListener("afterprint", filter);
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target && target.closest("details");
    if (closed) closed.open = true;
  });
})();
