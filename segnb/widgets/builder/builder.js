// The builder: what is chosen goes to Python, which answers with numbers and a drawing.

const PARTS = { encoder: "segnb-stage", decoder: "segnb-block", head: "segnb-head" };
const FAMILIES = { pyramid: "Fuse levels", pooling: "Windows and dilation", affinity: "Pixel similarity", query: "Masks as queries" };
const DEEPEST = 5; // times that an encoder halves the picture, unless encoder_depth says otherwise
const BYTES = 4; // of a weight in float32

/** 97.7 million bytes -> "98 MB" */
function bytesText(count) {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

/** Commit a number or a text once: JupyterLab keeps the "change" of Enter back until the focus leaves. */
function onCommit(input, commit) {
  let known = null;
  input.onfocus = () => { known = input.value; };
  input.onchange = () => {
    if (input.value === known) return;
    known = input.value;
    commit();
  };
  input.onkeydown = (event) => { if (event.key === "Enter") input.onchange(); };
}

/** The control of one option: { field, put }; `set` is called with a value, or with undefined for the default. */
function optionControl({ name, help, default: usual, kind, choices, whole, optional }, set) {
  const same = (value) => JSON.stringify(value) === JSON.stringify(usual);
  const change = (value) => set(same(value) ? undefined : value);
  const show = (value) => (value == null ? "none" : String(value));
  let [input, put] = [null, null];
  if (kind === "switch") {
    input = element("input", { type: "checkbox", onchange: () => change(input.checked) });
    put = (value) => { input.checked = value; };
  } else if (kind === "choice") {
    input = element("select", { onchange: () => change(choices[input.selectedIndex]) });
    for (const value of choices) input.append(element("option", {}, show(value)));
    put = (value) => { input.selectedIndex = choices.findIndex((one) => one === value); };
  } else if (kind === "number") {
    input = element("input", { type: "number", step: whole ? 1 : "any", placeholder: optional ? "none" : "" });
    onCommit(input, () => {
      if (input.value === "" && !optional) put(usual);
      change(input.value === "" ? (optional ? null : usual) : Number(input.value));
    });
    put = (value) => { input.value = value ?? ""; };
  } else {
    const numbers = kind === "numbers";
    input = element("input", { type: "text", placeholder: numbers ? "as usual" : "" });
    onCommit(input, () => {
      const words = input.value.split(/[\s,]+/).filter(Boolean);
      if (numbers) change(words.length ? words.map(Number) : usual);
      else change(input.value);
    });
    put = (value) => { input.value = numbers ? (value ?? []).join(", ") : value ?? ""; };
  }
  const explained = element("span", { className: "segnb-faint segnb-help" }, help.replace(/`/g, ""));
  explained.title = explained.textContent;
  const field = element("label", { className: "segnb-option" }, element("span", { className: "segnb-option-name" }, name), input, explained);
  return { name, field, put: (value) => put(value === undefined ? usual : value) };
}

/** A number with its unit and what it means. */
function tile(label, ...content) {
  return element("div", { className: "segnb-cost" }, element("span", { className: "segnb-faint" }, label), ...content);
}

function render({ model, el }) {
  const { root, problem, listen, close } = frame(model, el, "Model builder");
  root.classList.add("segnb-builder");
  const state = linked(model, listen);
  const architectures = model.get("architectures");
  const facts = () => model.get("facts");

  // Architecture and its options

  const arch = element("select", { className: "segnb-arch", onchange: () => state.set({ arch: arch.value }) });
  arch.setAttribute("aria-label", "Architecture");
  for (const family of new Set(architectures.map((one) => one.family))) {
    const group = element("optgroup", { label: FAMILIES[family] ?? family });
    const members = architectures.filter((one) => one.family === family);
    group.append(...members.map(({ name, title }) => element("option", { value: name }, title.toLowerCase() === name ? title : `${title} (${name})`)));
    arch.append(group);
  }
  const idea = element("p", { className: "segnb-idea" });
  const form = element("div", { className: "segnb-options" });
  let controls = [];
  function showArchitecture() {
    const { name, idea: sentence, paper, options } = architecture();
    arch.value = name;
    const link = element("a", { target: "_blank", rel: "noopener noreferrer" }, "Paper");
    if (/^https:\/\//.test(paper)) link.href = paper;
    idea.replaceChildren(`${sentence} `, ...(link.href ? [link] : []));
    controls = options.map((option) => optionControl(option, (value) => {
      const { [option.name]: _, ...others } = state.get("options");
      state.set({ options: value === undefined ? others : { ...others, [option.name]: value } });
    }));
    form.replaceChildren(...controls.map(({ field }) => field));
    showOptions();
  }
  function showOptions() {
    const options = state.get("options");
    for (const control of controls) {
      control.put(options[control.name]);
      control.field.classList.toggle("segnb-changed", control.name in options);
    }
  }

  // Encoder and its weights

  const architecture = () => architectures.find((one) => one.name === state.get("arch"));
  const encoders = encoderList(model, state, ({ name, strides }) => {
    const wanted = architecture().levels[state.get("options").encoder_depth ?? DEEPEST];
    if (Math.max(...wanted) >= 4 || wanted.some((stride) => strides.includes(stride))) return ""; // coarser maps can be resized
    return `${name} has no map of stride ${wanted.at(-1)}, and ${state.get("arch")} reads no other at this encoder_depth.`;
  });
  const weights = element("select", { className: "segnb-weights", onchange: () => state.set({ encoder_weights: weights.value || null }) });
  weights.setAttribute("aria-label", "Weights of the encoder");
  const terms = element("span", { className: "segnb-faint segnb-title" });
  function showWeights() {
    const { tags, offline } = encoders.named(state.get("encoder_name"));
    const usual = tags.length ? [element("option", { value: "imagenet" }, `imagenet (${tags[0][0]})`)] : [];
    weights.replaceChildren(...usual, ...tags.map(([tag]) => element("option", { value: tag }, tag)), element("option", { value: "" }, "none: random"));
    const chosen = state.get("encoder_weights");
    weights.value = chosen ?? "";
    const [, licence] = tags.find(([tag]) => tag === chosen) ?? tags[0] ?? [];
    const place = offline && chosen === "imagenet" ? "on this machine" : "";
    terms.textContent = chosen == null ? "" : [`licence: ${licence || "not stated"}`, place].filter(Boolean).join(", ");
    terms.title = "As timm states it";
  }

  // Size

  const sides = ["Height", "Width"].map((label, axis) => {
    const input = element("input", { type: "number", min: 1, max: 4096, step: 1 });
    input.setAttribute("aria-label", `${label} of the picture`);
    onCommit(input, () => {
      const side = Math.round(Number(input.value));
      if (!(side >= 1 && side <= 4096)) { showSize(); return; }
      const size = [...state.get("size")];
      size[axis] = side;
      state.set({ size });
    });
    return input;
  });
  const showSize = () => sides.forEach((input, axis) => { input.value = state.get("size")[axis]; });

  // Numbers

  const total = element("b");
  const bar = element("div", { className: "segnb-parts" });
  const split = element("span", { className: "segnb-faint" });
  const operations = element("b");
  const memory = element("b");
  const peak = element("span", { className: "segnb-faint" });
  const latency = element("b");
  const spread = element("span", { className: "segnb-faint" });
  const meter = element("progress", { max: 1 });
  meter.setAttribute("aria-label", "Measuring");
  const ask = element("button", { type: "button", className: "segnb-measure" });
  ask.onclick = () => model.send({ type: model.get("progress") == null ? "measure" : "cancel" });
  const tiles = element("div", { className: "segnb-tiles" },
    tile("Parameters", total, bar, split),
    tile("Multiply-adds", operations, element("span", { className: "segnb-faint" }, "one picture, forward")),
    tile("Memory", memory, peak),
    tile("Latency", latency, spread, meter, ask));
  function showNumbers() {
    const { parameters, multiply_adds: count } = facts();
    if (!parameters) return;
    const sum = Object.values(parameters).reduce((a, b) => a + b);
    total.textContent = shortNumber(sum);
    bar.replaceChildren(...Object.entries(parameters).map(([part, number]) => {
      const piece = element("i", { className: PARTS[part], title: `${part}: ${number.toLocaleString("en")}` });
      piece.style.flexGrow = number / sum;
      return piece;
    }));
    split.textContent = Object.entries(parameters).map(([part, number]) => `${part} ${shortNumber(number)}`).join(" · ");
    operations.textContent = count == null ? "not counted" : shortNumber(count);
    memory.textContent = bytesText(BYTES * sum);
    showMeasured();
  }
  function showMeasured() {
    const [{ ms, lower, upper, peak_mb: top, machine }, progress] = [model.get("measured"), model.get("progress")];
    const digits = (value) => value.toFixed(value < 100 ? 1 : 0);
    latency.textContent = ms == null ? "–" : `${digits(ms)} ms`;
    spread.textContent = ms == null ? "one picture, this machine" : `${digits(lower)} to ${digits(upper)} ms, ${digits(1000 / ms)} a second`;
    latency.parentElement.title = machine ?? "";
    peak.textContent = top == null ? "weights in float32" : `weights; a pass needs ${bytesText(top * 1e6)} more`;
    meter.hidden = progress == null;
    meter.value = progress ?? 0;
    ask.textContent = progress == null ? (ms == null ? "Measure" : "Measure again") : "Cancel";
  }

  // Drawing

  const pointed = element("span", { className: "segnb-faint segnb-title" });
  const hint = "Point at a block, or press Tab and the arrow keys";
  pointed.textContent = hint;
  const flow = flowDrawing((text) => { pointed.textContent = text || hint; });
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const remarks = element("ul", { className: "segnb-remarks" });
  const wrong = element("p", { className: "segnb-wrong segnb-error", role: "alert" });
  function showFacts() {
    const { problem: sentence = "", remarks: said = [], for: about } = facts();
    const chosen = ["arch", "encoder_name", "options", "size"].map(state.get);
    const waiting = JSON.stringify(about) !== JSON.stringify(chosen) && !model.get("error");
    status.textContent = waiting ? "Tracing the shapes…" : "";
    wrong.textContent = waiting ? "" : sentence;
    remarks.replaceChildren(...(sentence ? [] : said).map((text) => element("li", {}, text)));
    flow.box.classList.toggle("segnb-stale", waiting || Boolean(sentence));
    tiles.classList.toggle("segnb-stale", waiting || Boolean(sentence));
    ask.disabled = Boolean(sentence);
  }

  const copy = copyAsCode(model, listen);
  root.append(
    element("div", { className: "segnb-choices" },
      element("div", { className: "segnb-architecture" }, element("h4", {}, "Architecture"), arch, idea, form),
      element("div", { className: "segnb-backbone" }, element("h4", {}, "Encoder"), encoders.field,
        element("div", { className: "segnb-field segnb-weights-row" }, "Weights", weights, terms))),
    tiles,
    element("div", { className: "segnb-tools" },
      element("span", { className: "segnb-field" }, "Picture", sides[0], "×", sides[1], "pixels"), status, element("span", { className: "segnb-title" }), copy.field),
    copy.text, wrong, flow.box,
    element("div", { className: "segnb-status" }, pointed), remarks, problem);

  // What changes what

  state.on("arch", () => { showArchitecture(); encoders.refresh(); showFacts(); });
  state.on("options", () => { showOptions(); encoders.refresh(); showFacts(); });
  state.on("size", () => { showSize(); showFacts(); });
  state.on("encoder_name", () => { encoders.refresh(); showWeights(); showFacts(); });
  state.on("encoder_weights", showWeights);
  state.on("filters", encoders.show);
  listen("change:drawing", () => flow.show(model.get("drawing")));
  listen("change:facts", () => { showNumbers(); showFacts(); });
  listen("change:measured", showMeasured);
  listen("change:progress", showMeasured);
  listen("change:error", showFacts);

  showArchitecture();
  showWeights();
  showSize();
  encoders.show();
  flow.show(model.get("drawing"));
  showNumbers();
  showFacts();
  requestAnimationFrame(encoders.refresh); // only then does the list have a height, and the chosen row a place in it
  return close;
}

export default { render };
