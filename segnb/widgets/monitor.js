// The training monitor: Python sets numbers and pictures as traits, this draws them; buttons send commands back.

const STATES = { running: "Training", paused: "Paused", stopped: "Stopped", finished: "Finished", failed: "Failed" };
const CALLS = 6; // how often the kernel is asked for an answer before the buttons are taken to be deaf
const EVERY = 700; // ms between two calls
const LOOK = 300; // ms between two questions whether the loop has taken up what a button asked

/** 75 -> "1:15", 3700 -> "1:01:40" */
function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** Round steps for an axis that holds about `count` of them. */
function niceStep(span, count) {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
}

function ticks([low, high], step) {
  const list = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i += 1) list.push(i * step);
  return list;
}

/** Average of each point with its neighbours on both sides: what the eye should follow, and it does not lag behind. */
function smooth(values) {
  const reach = Math.min(12, Math.floor(values.length / 16));
  return values.map((middle, i) => {
    if (middle == null) return null;
    let [sum, weight] = [0, 0];
    for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j += 1) {
      if (values[j] == null) continue;
      const share = reach + 1 - Math.abs(i - j);
      sum += share * values[j];
      weight += share;
    }
    return sum / weight;
  });
}

/** The range that shows the curve: an outlier of the first steps is cut off rather than flattening the rest. */
function lossRange(values) {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
  if (!sorted.length) return [0, 1];
  const high = sorted[Math.floor(0.98 * (sorted.length - 1))] * 1.08 || 1;
  const low = sorted[0] > 0.5 * high ? sorted[0] - 0.15 * (high - sorted[0]) : Math.min(0, sorted[0]);
  return [low, high > low ? high : low + 1];
}

/**
 * Draw axes and lines into an <svg>.
 * lines: [{ points: [[x, y]], colour, width, opacity, dots }]; x and y: { range, step, label, format }
 */
function chart(target, { x, y, lines, label }) {
  const [width, height] = [target.clientWidth || 300, target.clientHeight || 150];
  const box = { left: 38, right: width - 8, top: 6, bottom: height - 30 };
  const toX = (value) => box.left + ((value - x.range[0]) / (x.range[1] - x.range[0])) * (box.right - box.left);
  const toY = (value) => box.bottom - ((value - y.range[0]) / (y.range[1] - y.range[0])) * (box.bottom - box.top);
  const crisp = (value) => Math.round(value) + 0.5;
  const parts = [];

  for (const value of ticks(y.range, y.step)) {
    const at = crisp(toY(value));
    parts.push(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "segnb-grid" }));
    parts.push(svg("text", { x: box.left - 6, y: at + 3.5, "text-anchor": "end" }, y.format(value)));
  }
  for (const value of ticks(x.range, x.step)) {
    const at = crisp(toX(value));
    parts.push(svg("line", { x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4, class: "segnb-axis" }));
    parts.push(svg("text", { x: at, y: box.bottom + 15, "text-anchor": "middle" }, String(value)));
  }
  const base = crisp(box.bottom);
  parts.push(svg("line", { x1: box.left, x2: box.right, y1: base, y2: base, class: "segnb-axis" }));
  parts.push(svg("text", { x: (box.left + box.right) / 2, y: height - 2, "text-anchor": "middle" }, x.label));

  const inside = svg("svg", {
    x: box.left, y: box.top - 4, width: box.right - box.left + 6, height: box.bottom - box.top + 5,
    viewBox: `${box.left} ${box.top - 4} ${box.right - box.left + 6} ${box.bottom - box.top + 5}`,
  });
  for (const line of lines) {
    const known = line.points.filter((point) => point[1] != null);
    const path = known.map(([px, py], i) => `${i ? "L" : "M"}${toX(px).toFixed(1)} ${toY(py).toFixed(1)}`).join("");
    inside.append(svg("path", {
      d: path, fill: "none", stroke: line.colour, "stroke-width": line.width, "stroke-linejoin": "round",
      "stroke-opacity": line.opacity ?? 1, class: line.name ?? "",
    }));
    for (const [px, py, title] of line.dots ? known : []) {
      const dot = svg("circle", { cx: toX(px), cy: toY(py), r: title?.best ? 4.5 : 2.6, fill: line.colour });
      if (title) dot.append(svg("title", {}, title.text));
      inside.append(dot);
    }
  }
  target.replaceChildren(...parts, inside);
  target.setAttribute("aria-label", label);
}

function panel(title, content, legend) {
  const head = element("div", { className: "segnb-panel-head" }, element("b", {}, title), legend);
  return element("div", { className: "segnb-panel" }, head, content);
}

function key(name, colour) {
  const dash = element("i", { className: "segnb-dash" });
  dash.style.background = colour;
  return element("span", { className: "segnb-key" }, dash, name);
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Training monitor");
  root.classList.add("segnb-monitor");

  const state = element("span", { className: "segnb-state" });
  const numbers = element("span", { className: "segnb-faint segnb-numbers" });
  const pause = element("button", { type: "button", className: "segnb-pause" }, "Pause");
  const stop = element("button", { type: "button", className: "segnb-stop" }, "Stop");
  const bar = element("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", "Training progress");
  const note = element("div", { className: "segnb-note", ariaLive: "polite" });
  note.setAttribute("aria-live", "polite");
  const hint = element("div", { className: "segnb-hint", hidden: true },
    "This front end delivers button presses only after the cell: press ■ Interrupt to stop; the best weights are kept.");
  const loss = svg("svg", { class: "segnb-chart segnb-loss", role: "img" });
  const miou = svg("svg", { class: "segnb-chart segnb-miou", role: "img" });
  const classes = element("div", { className: "segnb-classes" });
  const previews = element("div", { className: "segnb-previews" });
  root.append(
    element("div", { className: "segnb-head" }, state, numbers, element("span", { className: "segnb-buttons" }, pause, stop)),
    bar,
    element("div", { className: "segnb-panels" },
      panel("Loss", loss, element("span", {}, key("training", "var(--segnb-blue)"), key("validation", "var(--segnb-orange)"))),
      panel("Mean IoU, validation", miou),
      panel("IoU of each class", classes)),
    previews, note, hint, problem);

  // Commands. What was asked is shown at once; the training loop takes it up after its current step.
  let asked = "";
  let answered = false;
  let calls = 0;
  const command = (type) => {
    asked = type;
    model.send({ type });
    redraw();
  };
  stop.onclick = () => command("stop");
  const paused = () => (asked ? asked === "pause" : model.get("progress").state === "paused");
  pause.onclick = () => command(paused() ? "resume" : "pause");
  listen("msg:custom", (message) => {
    if (message.type === "alive") { answered = true; redraw(); }
  });
  // The first messages may go out before JupyterLab has opened its subshell, and then wait for the end of the cell.
  const looker = setInterval(() => { if (asked) model.send({ type: "look" }); }, LOOK);
  const caller = setInterval(() => {
    if (answered || calls === CALLS) {
      clearInterval(caller);
      redraw();
      return;
    }
    calls += 1;
    model.send({ type: "ready" });
  }, EVERY);
  ends.push(() => clearInterval(caller), () => clearInterval(looker));

  function drawHead(now) {
    const busy = now.state === "running" || now.state === "paused";
    const deaf = !answered && (model.get("stop_with") !== "buttons" || calls === CALLS);
    if ((asked === "pause" && now.state === "paused") || (asked === "resume" && now.state === "running") || !busy) asked = "";
    const word = { stop: "Stopping…", pause: "Pausing…", resume: "Resuming…" }[asked] ?? STATES[now.state] ?? "Not started";
    root.dataset.state = now.state ?? "";
    state.textContent = word;
    const done = now.steps ? (now.epoch - 1 + now.step / now.steps) / now.epochs : 0;
    bar.value = now.state === "finished" ? 1 : Math.min(1, Math.max(0, done));
    numbers.textContent = now.state ? [
      `epoch ${Math.max(1, now.epoch)} of ${now.epochs}`,
      busy ? `step ${now.step} of ${now.steps}` : null,
      now.seconds == null ? null : `${clock(now.seconds)} elapsed`,
      busy && now.remaining != null ? `${clock(now.remaining)} left` : null,
    ].filter(Boolean).join("  ·  ") : "";
    pause.textContent = paused() ? "Resume" : "Pause";
    pause.disabled = stop.disabled = !busy || deaf || asked === "stop";
    hint.hidden = !(busy && deaf);
    if (note.textContent !== (now.note ?? "")) note.textContent = now.note ?? "";
  }

  function drawCharts(now) {
    const epochs = Math.max(1, now.epochs ?? 1);
    const x = { range: [0, epochs], step: Math.max(1, niceStep(epochs, 6)), label: "epoch" };
    if (x.step === 2.5) x.step = 2;
    const { every = 1, values = [] } = model.get("losses");
    const steps = Math.max(1, now.steps ?? 1);
    const at = (i) => Math.min(epochs, ((i + 0.5) * every) / steps);
    const smoothed = smooth(values);
    const history = model.get("history");
    const valid = history.map((row) => [row.epoch, row.valid_loss, { text: `epoch ${row.epoch}: ${row.valid_loss}` }]);
    const range = lossRange([...values, ...valid.map((point) => point[1])]);
    const step = niceStep(range[1] - range[0], 4);
    const digits = Math.max(0, Math.min(4, -Math.floor(Math.log10(step) + 1e-9) + (String(step).includes("25") ? 1 : 0)));
    chart(loss, {
      label: `Training loss by epoch, now ${smoothed.at(-1)?.toFixed(3) ?? "unknown"}`,
      x, y: { range, step, format: (value) => value.toFixed(digits) },
      lines: [
        { name: "segnb-raw", points: values.map((value, i) => [at(i), value]), colour: "var(--segnb-blue)", width: 1, opacity: 0.3 },
        { name: "segnb-smooth", points: smoothed.map((value, i) => [at(i), value]), colour: "var(--segnb-blue)", width: 2 },
        { points: valid, colour: "var(--segnb-orange)", width: 1.8, dots: valid.length <= 40 },
      ],
    });
    const best = Math.max(...history.map((row) => row.miou ?? -1));
    const scores = history.map((row) => [row.epoch, row.miou, {
      text: `epoch ${row.epoch}: mIoU ${row.miou}`, best: row.miou === best,
    }]);
    chart(miou, {
      label: history.length ? `Validation mIoU by epoch, best ${best}` : "Validation mIoU, none yet",
      x, y: { range: [0, 1], step: 0.25, format: (value) => value.toFixed(2) },
      lines: [{ points: scores, colour: "var(--segnb-orange)", width: 1.8, dots: true }],
    });
  }

  function drawClasses() {
    const [names, colours, scores] = [model.get("label_names"), model.get("palette"), model.get("iou")];
    classes.replaceChildren(...names.flatMap((name, i) => {
      const swatch = element("span", { className: "segnb-swatch" });
      swatch.style.background = `rgb(${colours[i]})`;
      const fill = element("i");
      fill.style.background = swatch.style.background;
      fill.style.width = `${100 * (scores[i] ?? 0)}%`;
      const text = scores.length ? scores[i]?.toFixed(2) ?? "absent" : "";
      return [
        element("span", { className: "segnb-class", title: name }, swatch, element("span", {}, name)),
        element("span", { className: "segnb-bar" }, fill),
        element("span", { className: "segnb-score" }, text),
      ];
    }));
  }

  function drawPreviews() {
    const [examples, predictions] = [model.get("examples"), model.get("predictions")];
    previews.hidden = !examples.length;
    previews.replaceChildren(...examples.map((example, i) => {
      const picture = (name, url) => element("figure", {},
        url && element("img", { src: url, alt: `${name} of validation picture ${i + 1}` }), element("figcaption", {}, name));
      return element("div", { className: "segnb-triple" },
        picture("photo", example.image), picture("truth", example.truth), picture("prediction", predictions[i]));
    }));
  }

  const redraw = onNextFrame(() => {
    const now = model.get("progress");
    drawHead(now);
    drawCharts(now);
  });
  const redrawClasses = onNextFrame(drawClasses);
  const redrawPreviews = onNextFrame(drawPreviews);
  for (const name of ["progress", "losses", "history"]) listen(`change:${name}`, redraw);
  for (const name of ["iou", "label_names", "palette"]) listen(`change:${name}`, redrawClasses);
  for (const name of ["examples", "predictions"]) listen(`change:${name}`, redrawPreviews);
  const resized = new ResizeObserver(redraw);
  resized.observe(root);
  ends.push(() => resized.disconnect());

  drawClasses();
  drawPreviews();
  redraw();
  return close;
}

export default { render };
