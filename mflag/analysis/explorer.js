"use strict";
// Rotatable clouds of points and spectra with values; all text from data goes in as text.
(() => {
  const read = (variable) => getComputedStyle(document.documentElement)
    .getPropertyValue(variable.replace(/^var\(|\)$/g, "")).trim();
  const make = (name, attributes = {}, text = "") => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  // A dot in a colour of the page, and a name beside it.
  const keyed = (variable, text) => {
    const name = make("span", {class: "name"});
    name.append(make("span", {class: "key", style: `background:${variable}`, "aria-hidden": "true"}));
    name.append(text);
    return name;
  };
  // Size the canvas to its box at the screen's resolution, and clear it.
  const prepare = (canvas) => {
    const {width, height} = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "12px system-ui, sans-serif";
    return [context, width, height];
  };
  const watch = (canvases, draw) => {
    const observer = new ResizeObserver(draw);
    canvases.forEach((canvas) => observer.observe(canvas));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    draw();
  };
  const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

  const FINDING = {present: "var(--s1)", absent: "var(--random)", uncertain: "var(--s4)"};
  const groupColour = (group, k) => {
    const name = group.values[k];
    if (name === "unknown" || name === "other") return "var(--quiet)";
    if (group.kind === "finding") return FINDING[name];
    return group.is_ordered ? `var(--q${k})` : `var(--s${k % 6})`;
  };

  const clouds = (box, data) => {
    const start = {yaw: -0.7, pitch: 0.45, zoom: 1};
    const view = {...start, group: null, hidden: new Set()};
    const select = box.querySelector("select"), legend = box.querySelector(".legend");
    const shelf = box.querySelector(".shelf"), canvases = [];

    const project = ([x, y, z]) => {
      const {yaw, pitch} = view;
      const across = x * Math.cos(yaw) - y * Math.sin(yaw);
      const away = x * Math.sin(yaw) + y * Math.cos(yaw);
      return [across, z * Math.cos(pitch) - away * Math.sin(pitch),
              away * Math.cos(pitch) + z * Math.sin(pitch)];
    };
    const drawOne = (canvas, cloud) => {
      const [context, width, height] = prepare(canvas);
      const scale = view.zoom * 0.42 * Math.min(width, height) / cloud.radius;
      const place = (point) => {
        const [x, y, depth] = project(point);
        return [width / 2 + scale * x, height / 2 - scale * y, depth / cloud.radius];
      };
      context.fillStyle = context.strokeStyle = read("--quiet");
      context.lineWidth = 1;
      context.textAlign = "center";
      for (let axis = 0; axis < 3; axis++) {
        const end = [0, 0, 0];
        end[axis] = 1.1 * cloud.radius;
        const [x, y] = place(end), [fromX, fromY] = place(end.map((v) => -v));
        context.globalAlpha = 0.45;
        context.beginPath();
        context.moveTo(fromX, fromY);
        context.lineTo(x, y);
        context.stroke();
        context.globalAlpha = 1;
        const label = `PC ${axis + 1} (${percent(cloud.shares[axis])})`;
        const half = context.measureText(label).width / 2 + 2;
        context.fillText(label, Math.min(Math.max(x, half), width - half), y - 5);
      }
      const group = view.group === null ? null : data.groups[view.group];
      const colours = group ? group.values.map((_, k) => read(groupColour(group, k))) : [];
      const own = read(cloud.colour);
      cloud.points
        .map((point, k) => [...place(point), group ? group.of_point[k] : -1])
        .filter(([, , , of]) => !view.hidden.has(of))
        .sort((a, b) => b[2] - a[2])
        .forEach(([x, y, depth, of]) => {
          const near = Math.min(Math.max(0.5 - depth / 2, 0), 1);
          context.globalAlpha = 0.4 + 0.5 * near;
          context.fillStyle = group ? colours[of] : own;
          context.beginPath();
          context.arc(x, y, 1.5 + 1.5 * near, 0, 7);
          context.fill();
        });
      context.globalAlpha = 1;
    };
    const draw = () => canvases.forEach((canvas, k) => drawOne(canvas, data.clouds[k]));
    const turn = (yaw, pitch) => {
      view.yaw += yaw;
      view.pitch = Math.min(Math.max(view.pitch + pitch, -1.57), 1.57);
      draw();
    };
    const keys = {
      ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0),
      ArrowUp: () => turn(0, 0.1), ArrowDown: () => turn(0, -0.1),
      "+": () => { view.zoom *= 1.2; draw(); }, "-": () => { view.zoom /= 1.2; draw(); },
      0: () => { Object.assign(view, start); draw(); },
    };
    const listLegend = () => {
      view.hidden.clear();
      legend.replaceChildren();
      if (view.group === null) return;
      const group = data.groups[view.group];
      group.values.forEach((value, k) => {
        const count = group.of_point.filter((of) => of === k).length;
        const button = make("button", {type: "button", "aria-pressed": "true"});
        button.append(keyed(groupColour(group, k), `${value} (${count})`));
        button.addEventListener("click", () => {
          const shown = view.hidden.delete(k) || !view.hidden.add(k);
          button.setAttribute("aria-pressed", String(shown));
          draw();
        });
        legend.append(button);
      });
    };

    select.append(make("option", {value: ""}, "encoder"));
    const sets = {};
    data.groups.forEach((group, k) => {
      sets[group.kind] ??= select.appendChild(make("optgroup", {label: `${group.kind}s`}));
      sets[group.kind].append(make("option", {value: k}, group.name));
    });
    select.addEventListener("change", () => {
      view.group = select.value === "" ? null : Number(select.value);
      listLegend();
      draw();
    });
    data.clouds.forEach((cloud) => {
      const canvas = make("canvas", {
        tabindex: 0, role: "img",
        "aria-label": `${cloud.name}: latents along three components, which hold ` +
          `${cloud.shares.map(percent).join(", ")} of the variance; arrow keys turn the cloud`,
      });
      const figure = make("figure"), caption = make("figcaption");
      caption.append(keyed(cloud.colour, cloud.name));
      figure.append(caption, canvas);
      shelf.append(figure);
      canvases.push(canvas);
      let last = null;
      canvas.addEventListener("pointerdown", (event) => {
        last = [event.clientX, event.clientY];
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (last === null) return;
        turn((event.clientX - last[0]) / 120, (event.clientY - last[1]) / 120);
        last = [event.clientX, event.clientY];
      });
      for (const end of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(end, () => { last = null; });
      }
      canvas.addEventListener("keydown", (event) => {
        if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
        keys[event.key]();
        event.preventDefault();
      });
    });
    watch(canvases, draw);
  };

  const spectra = (box, data) => {
    const canvas = box.querySelector("canvas"), values = box.querySelector("output");
    const count = Math.max(...data.series.map((s) => s.values.length));
    const known = data.series.flatMap((s) => s.values).filter((v) => v !== null);
    const low = Math.floor(Math.min(...known)), high = Math.ceil(Math.max(...known));
    const left = 40, right = 16, bottom = 34;
    let at = 0;
    const xOf = (k, width) => left + (width - left - right) * k / Math.max(count - 1, 1);
    const draw = () => {
      const [context, width, height] = prepare(canvas);
      const yOf = (v) => 8 + (height - bottom - 8) * (high - v) / Math.max(high - low, 1);
      const every = Math.max(1, Math.ceil((high - low) / 8));
      context.fillStyle = read("--ink");
      context.strokeStyle = read("--line");
      context.textAlign = "right";
      context.textBaseline = "middle";
      for (let v = low; v <= high; v += every) {
        context.fillText(v, left - 6, yOf(v));
        context.beginPath();
        context.moveTo(left, yOf(v));
        context.lineTo(width - right, yOf(v));
        context.stroke();
      }
      context.textAlign = "center";
      context.textBaseline = "alphabetic";
      const ticks = width < 480 ? 4 : 8;
      for (let t = 0; t <= ticks; t++) {
        const k = Math.round((count - 1) * t / ticks);
        context.fillText(k + 1, xOf(k, width), height - 18);
      }
      context.fillText("direction, from the strongest", width / 2, height - 3);
      data.series.forEach((series, n) => {
        context.strokeStyle = read(series.colour);
        context.lineWidth = 1.6;
        context.setLineDash(series.is_baseline ? [5, 3] : [[], [8, 2, 2, 2], [2, 2]][n % 3]);
        context.beginPath();
        series.values.forEach((v, k) => {
          if (v !== null) context[k ? "lineTo" : "moveTo"](xOf(k, width), yOf(v));
        });
        context.stroke();
      });
      context.setLineDash([]);
      context.lineWidth = 1;
      context.strokeStyle = read("--quiet");
      context.beginPath();
      context.moveTo(xOf(at, width), 8);
      context.lineTo(xOf(at, width), height - bottom);
      context.stroke();
      data.series.forEach((series) => {
        const v = series.values[at];
        if (v === null || v === undefined) return;
        context.fillStyle = read(series.colour);
        context.beginPath();
        context.arc(xOf(at, width), yOf(v), 3.5, 0, 7);
        context.fill();
      });
    };
    const move = (k) => {
      at = Math.min(Math.max(k, 0), count - 1);
      values.replaceChildren(`Direction ${at + 1}: `);
      data.series.forEach((series) => {
        const v = series.values[at];
        const shown = v === undefined ? "no such direction" : v === null ? "none"
          : `10^${v.toFixed(2)}, ${percent(series.shares[at])} of the variance up to here`;
        values.append(keyed(series.colour, `${series.name}: ${shown} `));
      });
      draw();
    };
    const keys = {
      ArrowLeft: () => -1, ArrowRight: () => 1, PageUp: () => -10, PageDown: () => 10,
      Home: () => -count, End: () => count,
    };
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      move(at + keys[event.key]());
      event.preventDefault();
    });
    const follow = (event) => {
      const {left: from, width} = canvas.getBoundingClientRect();
      move(Math.round((event.clientX - from - left) / (width - left - right) * (count - 1)));
    };
    canvas.addEventListener("pointermove", follow);
    canvas.addEventListener("pointerdown", follow);
    move(0);
    watch([canvas], draw);
  };

  const kinds = {clouds, spectra};
  document.querySelectorAll("[data-explore]").forEach((box) => {
    box.hidden = false;
    kinds[box.dataset.explore](box, JSON.parse(box.querySelector("script").textContent));
  });
})();
