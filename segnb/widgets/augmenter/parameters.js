// Controls for the parameters of a transform, one for each kind. Python puts this text before augmenter.js.
//
//     number   ─●──── [0.5]        pair   [-0.2] ──●───●── [0.2]        flag   [x]        choice   [reflect v]
//     text     [(0, 0.5, 1, 1)]    what is none of these, as Python writes it

/** A value as Python writes it. */
function asPython(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return `'${value}'`;
  if (Array.isArray(value)) return `(${value.map(asPython).join(", ")}${value.length === 1 ? "," : ""})`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `'${key}': ${asPython(one)}`).join(", ")}}`;
  return String(value);
}

/** What Python writes as a value; other text stays text, for the library to refuse. */
function fromPython(text) {
  const words = { None: "null", True: "true", False: "false" };
  const json = text.trim().replace(/[()]/g, (sign) => (sign === "(" ? "[" : "]")).replace(/'/g, '"')
    .replace(/,\s*\]/g, "]").replace(/\b(None|True|False)\b/g, (word) => words[word]);
  try {
    return json ? JSON.parse(json) : null;
  } catch {
    return text.trim();
  }
}

/** Tell what was typed, by Enter too: JupyterLab keeps its "change" back. Until then no answer of Python may overwrite it. */
function onCommit(input, handler) {
  const commit = () => { input.editing = false; handler(); };
  input.addEventListener("input", () => { input.editing = true; });
  input.addEventListener("change", commit);
  input.addEventListener("blur", () => { input.editing = false; });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") commit(); });
  return input;
}

function write(input, value) {
  if (!input.editing) input.value = value ?? "";
}

const numberOf = (input) => (input.value.trim() === "" ? null : Number(input.value));

/** How far one press of an arrow goes. */
function stepOf({ whole, low, high }) {
  if (whole) return 1;
  return low !== null && high !== null && high - low > 5 ? 0.5 : 0.01;
}

function numberBox(label, control, onchange) {
  const input = element("input", { type: "number", step: stepOf(control), placeholder: control.none ? "none" : "" });
  if (control.low !== null) input.min = control.low;
  if (control.high !== null) input.max = control.high;
  input.setAttribute("aria-label", label);
  return onCommit(input, onchange);
}

function sliderFor(label, control, oninput) {
  const { low, high } = control;
  const step = control.whole ? 1 : (high - low) / 100;
  const input = element("input", { type: "range", min: low, max: high, step, oninput });
  input.setAttribute("aria-label", `${label}, slider`);
  return input;
}

const bounded = ({ low, high }) => low !== null && high !== null;
const rounded = (value) => Number(Number(value).toPrecision(6));

const CONTROLS = {
  number(name, control, onchange) {
    const box = numberBox(name, control, () => onchange(numberOf(box)));
    const track = bounded(control) ? sliderFor(name, control, () => { box.value = rounded(track.value); onchange(numberOf(box)); }) : null;
    const put = (value) => {
      write(box, value);
      if (track) track.value = value ?? control.low;
    };
    return { nodes: [track, box], put };
  },

  /** Two numbers; both boxes empty mean none, and a value that is no pair is shown as text. */
  pair(name, control, onchange) {
    const labels = [`${name}, first`, `${name}, second`];
    const boxes = labels.map((label) => numberBox(label, control, () => send()));
    const send = () => {
      const numbers = boxes.map(numberOf).filter((number) => number !== null);
      if (numbers.length === 2) onchange(numbers);
      if (numbers.length === 0 && control.none) onchange(null); // one alone is a pair half written
    };
    const tracks = bounded(control) ? labels.map((label, i) => sliderFor(label, control, () => {
      const other = Number(tracks[1 - i].value);
      tracks[i].value = i === 0 ? Math.min(other, tracks[i].value) : Math.max(other, tracks[i].value);
      boxes[i].value = rounded(tracks[i].value);
      send();
    })) : [];
    const span = element("span", { className: tracks.length ? "segnb-span" : "segnb-gap" }, ...tracks);
    const pair = element("span", { className: "segnb-value" }, boxes[0], span, boxes[1]);
    const text = CONTROLS.text(name, control, onchange);
    const put = (value) => {
      const numbers = Array.isArray(value) ? value : [null, null];
      const isPair = value === null || (numbers.length === 2 && numbers.every((number) => typeof number === "number"));
      pair.hidden = !isPair;
      text.nodes[0].hidden = isPair;
      text.put(value);
      if (isPair) numbers.forEach((number, i) => { write(boxes[i], number); if (tracks[i]) tracks[i].value = number ?? control.low; });
    };
    return { nodes: [pair, ...text.nodes], put };
  },

  flag(name, control, onchange) {
    const box = element("input", { type: "checkbox", onchange: () => onchange(box.checked) });
    box.setAttribute("aria-label", name);
    return { nodes: [box], put: (value) => { box.checked = value; } };
  },

  choice(name, control, onchange) {
    const options = control.options.map(([, text], i) => element("option", { value: i }, text));
    const list = element("select", { onchange: () => onchange(control.options[list.value][0]) }, ...options);
    list.setAttribute("aria-label", name);
    return { nodes: [list], put: (value) => { list.value = control.options.findIndex(([option]) => option === value); } };
  },

  text(name, control, onchange) {
    const input = element("input", { type: "text", spellcheck: false, title: control.options.map(([, text]) => text).join(", ") });
    input.setAttribute("aria-label", name);
    onCommit(input, () => onchange(fromPython(input.value)));
    return { nodes: [input], put: (value) => write(input, asPython(value)) };
  },
};

/** The bounds as text: what the pointer shows on a parameter's name, after its meaning. */
function boundsText({ low, high, none }) {
  const range = low === null && high === null ? "" : high === null ? `from ${low}` : low === null ? `to ${high}` : `${low} to ${high}`;
  return [range, none ? "or none" : ""].filter(Boolean).join(" ");
}

/** The rows of all parameters of one transform: { node, put(values) }; onchange(name, value) tells what is changed. */
function parameterRows(controls, onchange) {
  const rows = Object.entries(controls)
    .filter(([, control]) => control.kind !== "choice" || control.options.length > 1)
    .map(([name, control]) => {
      const { nodes, put } = CONTROLS[control.kind](name, control, (value) => onchange(name, value));
      const title = [control.help, boundsText(control)].filter(Boolean).join(" · ");
      const label = element("span", { className: "segnb-parameter-name", title: title || name }, name);
      return { name, put, node: element("div", { className: "segnb-parameter" }, label, element("span", { className: "segnb-value" }, ...nodes)) };
    });
  return {
    node: element("div", { className: "segnb-parameters" }, ...rows.map(({ node }) => node)),
    put: (values) => rows.forEach(({ name, put }) => { if (name in values) put(values[name]); }),
  };
}
