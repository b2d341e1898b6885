// Small line charts in SVG. Python puts this text after shared.js for tools that draw curves.

const DASHES = ["", "7 3", "2 2.5", "9 3 2 3"]; // lines are told apart by their dashes, too

/** 75 -> "1:15", 3700 -> "1:01:40" */
function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** Three digits of any number: 0.004, 3e-5, 1250. */
function short(value) {
  if (value == null) return "";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1).replace(".0", "");
  return String(Number(value.toPrecision(3)));
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

/** An axis from 0 that holds all values. */
function fromZero(values) {
  const high = Math.max(0, ...values.filter((value) => value != null)) * 1.1 || 1;
  const step = niceStep(high, 3);
  return { range: [0, high], step, format: short };
}

/** A piece of a line, to stand in a legend. */
function lineKey(colour, dash = "") {
  const line = { x1: 0, x2: 22, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash };
  return svg("svg", { class: "segnb-line-key", width: 22, height: 10, "aria-hidden": "true" },
    svg("line", { ...line, class: "segnb-casing", stroke: "var(--segnb-ink)", "stroke-width": 3.6 }), svg("line", line));
}

/**
 * Draw axes and lines into an <svg>.
 * lines: [{ points: [[x, y, title]], colour, width, opacity, dash, dots, casing, title }]; x and y: { range, step, label, format }
 * A casing is a faint edge: with it, a line of any colour is seen on any ground. dots: their radius.
 */
function chart(target, { x, y, lines, label }) {
  const room = target.getBoundingClientRect();
  const [width, height] = [Math.round(room.width) || 300, Math.round(room.height) || 150];
  target.setAttribute("viewBox", `0 0 ${width} ${height}`); // if it gets another size before it is drawn again, nothing is cut
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
  for (const line of lines) drawLine(inside, line, toX, toY);
  target.replaceChildren(...parts, inside);
  target.setAttribute("aria-label", label);
}

function drawLine(inside, line, toX, toY) {
  const known = line.points.filter((point) => point[1] != null);
  const d = known.map(([px, py], i) => `${i ? "L" : "M"}${toX(px).toFixed(1)} ${toY(py).toFixed(1)}`).join("");
  const opacity = line.opacity ?? 1;
  const path = { d, fill: "none", "stroke-linejoin": "round", "stroke-opacity": opacity, "stroke-dasharray": line.dash ?? "" };
  if (line.casing) {
    inside.append(svg("path", { ...path, class: "segnb-casing", stroke: "var(--segnb-ink)", "stroke-width": line.width + 1.2, "stroke-opacity": 0.3 * opacity }));
  }
  const drawn = svg("path", {
    ...path, stroke: line.colour, "stroke-width": line.width, class: line.name ?? "",
  });
  if (line.title) drawn.append(svg("title", {}, line.title));
  inside.append(drawn);
  for (const [px, py, title] of line.dots ? known : []) {
    const dot = svg("circle", { cx: toX(px), cy: toY(py), r: title?.best ? 4.5 : line.dots, fill: line.colour, "fill-opacity": opacity });
    if (title) dot.append(svg("title", {}, title.text));
    inside.append(dot);
  }
}
