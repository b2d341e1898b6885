// The frame of the studio: tabs from data to export, what each is for, its form, and what has been done so far.

const FIELDS = ["part", "epochs", "rate", "budget", "pictures", "file", "raw_pixels", "notebook"]; // of all forms
let pressed = ""; // the button whose work may have the view drawn anew, with a new picture for saved notebooks: the focus stays on it

/** Tabs as WAI-ARIA has them: one stop for Tab, arrows go from tab to tab, Enter or Space opens (opening may take seconds). */
function tabRow(tabs, panelId, open) {
  const row = element("div", { className: "segnb-studio-tabs" });
  row.setAttribute("role", "tablist");
  row.setAttribute("aria-label", "Steps from data to export");
  const buttons = tabs.map(({ name, title }, place) => {
    const done = element("span", { className: "segnb-studio-done" });
    const node = element("button", { type: "button", id: `${panelId}-${name}`, onclick: () => open(name) },
      element("span", { className: "segnb-studio-number" }, String(place + 1)), title, done);
    node.setAttribute("role", "tab");
    node.setAttribute("aria-controls", panelId);
    return node;
  });
  const places = { ArrowRight: (place) => place + 1, ArrowLeft: (place) => place - 1, Home: () => 0, End: () => -1 };
  row.onkeydown = (event) => {
    const place = buttons.indexOf(event.target.closest("button"));
    if (place < 0 || !(event.key in places)) return;
    event.preventDefault();
    event.stopPropagation();
    const next = buttons.at(places[event.key](place) % buttons.length);
    buttons.forEach((node) => { node.tabIndex = node === next ? 0 : -1; });
    next.focus();
  };
  row.append(...buttons);
  const choose = (chosen) => tabs.forEach(({ name }, place) => {
    buttons[place].setAttribute("aria-selected", String(name === chosen));
    buttons[place].tabIndex = name === chosen ? 0 : -1;
  });
  const mark = (facts, training) => tabs.forEach(({ name }, place) => {
    const sign = name in facts ? "✓" : "";
    buttons[place].querySelector(".segnb-studio-done").textContent = training && name === "train" ? "…" : sign;
    buttons[place].title = facts[name] ?? "";
  });
  return { row, choose, mark };
}

/** A whole number that is told to Python as soon as it is one. */
function countField(state, name, label) {
  const input = element("input", { type: "number", min: 1, step: 1 });
  input.oninput = () => {
    if (Number.isInteger(Number(input.value)) && Number(input.value) >= 1) state.set({ [name]: Number(input.value) });
  };
  const put = () => { if (document.activeElement !== input) input.value = state.get(name); };
  input.onblur = put; // what is no such number goes
  state.on(name, put);
  put();
  return element("label", { className: "segnb-field" }, label, input);
}

function textField(state, name, label, { width, placeholder = "" }) {
  const input = element("input", { type: "text", placeholder, spellcheck: false, oninput: () => state.set({ [name]: input.value }) });
  input.style.width = width;
  const put = () => { if (input.value !== state.get(name)) input.value = state.get(name); };
  state.on(name, put);
  put();
  return element("label", { className: "segnb-field" }, label, input);
}

function switchField(state, name, label) {
  const input = element("input", { type: "checkbox", onchange: () => state.set({ [name]: input.checked }) });
  const put = () => { input.checked = state.get(name); };
  state.on(name, put);
  put();
  return element("label", { className: "segnb-field" }, input, label);
}

/** The form of each tab that has one; `act.button` makes a button that calls Python. */
function forms(state, act) {
  const part = choice("Pictures", { training: "Training", validation: "Validation" }, (value) => {
    state.set({ part: value });
    act.open("data");
  });
  const showPart = () => { part.inputs[state.get("part")].checked = true; };
  state.on("part", showPart);
  showPart();
  return {
    data: [part.field],
    check: [act.button("check", "Check the data")],
    train: [
      countField(state, "epochs", "Epochs"),
      textField(state, "rate", "Learning rate", { width: "76px", placeholder: "auto" }),
      textField(state, "budget", "Time limit", { width: "84px", placeholder: "10 min" }),
      act.button("train", "Train"),
    ],
    correct: [
      countField(state, "pictures", "Worst pictures"),
      act.button("paint", "Paint them"),
      act.button("take", "Use the painted masks"),
    ],
    export: [
      textField(state, "file", "File", { width: "150px" }),
      switchField(state, "raw_pixels", "takes pixels as they are, 0 to 255"),
      act.button("export", "Export"),
    ],
  };
}

function render({ model, el }) {
  const { root, problem, listen, close } = frame(model, el, "Studio");
  root.classList.add("segnb-studio");
  const state = linked(model, listen);
  const tabs = model.get("tabs");
  const id = `segnb-${Math.random().toString(36).slice(2)}`; // two views on a page must not share one

  // What is asked of Python, and its answer

  let [asked, wanted] = [0, null]; // questions without an answer; the tab that shall open
  const send = (message) => {
    asked += 1;
    const values = Object.fromEntries(FIELDS.map((name) => [name, state.get(name)]));
    model.send({ ...message, values });
    show();
  };
  const open = (name) => { wanted = name; send({ type: "open", tab: name }); };
  listen("msg:custom", (message) => {
    if (message.type !== "answered") return;
    [asked, pressed] = [Math.max(0, asked - 1), ""];
    if (!asked) wanted = null;
    show();
  });
  const actions = [];
  const act = {
    open,
    button(type, text) {
      const node = element("button", { type: "button", className: "segnb-studio-act", onclick: () => { pressed = type; send({ type }); } }, text);
      actions.push([type, node]);
      return node;
    },
  };

  // The page

  const { row, choose, mark } = tabRow(tabs, id, open);
  const purpose = element("p", { className: "segnb-studio-purpose" });
  const hint = element("p", { className: "segnb-studio-hint segnb-faint" });
  const lack = element("span", {});
  const way = element("button", { type: "button" });
  const missing = element("div", { className: "segnb-tools segnb-studio-missing" }, lack, way);
  const byTab = forms(state, act);
  const rows = Object.fromEntries(Object.entries(byTab).map(([name, fields]) => [name, element("div", { className: "segnb-tools" }, ...fields)]));
  const status = element("div", { className: "segnb-status segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const body = element("div", { className: "segnb-studio-step", id }, purpose, hint, missing, ...Object.values(rows));
  body.setAttribute("role", "tabpanel");
  const done = element("ol", { className: "segnb-studio-facts" });
  const soFar = element("details", { className: "segnb-studio-sofar" }, element("summary", {}, "The session so far"), done);
  const copy = copyAsCode(model, listen);
  root.append(row, body, status,
    element("div", { className: "segnb-tools segnb-studio-keep" },
      textField(state, "notebook", "The session as a notebook", { width: "150px" }), act.button("save", "Save"), copy.field),
    copy.text, soFar, problem);

  function show() {
    const tab = wanted ?? model.get("tab");
    const [sentence, next] = model.get("missing")[tab] ?? [];
    choose(tab);
    purpose.textContent = tabs.find(({ name }) => name === tab).purpose;
    hint.textContent = model.get("hints")[tab] ?? "";
    hint.hidden = !hint.textContent;
    body.setAttribute("aria-labelledby", `${id}-${tab}`);
    missing.hidden = !sentence;
    lack.textContent = sentence ?? "";
    way.hidden = !next;
    if (next) {
      way.textContent = `Go to ${tabs.find(({ name }) => name === next).title}`;
      way.onclick = () => open(next);
    }
    for (const [name, form] of Object.entries(rows)) form.hidden = name !== tab || Boolean(sentence);
    for (const [type, node] of actions) node.disabled = asked > 0 || (type === "train" && model.get("training"));
    status.textContent = model.get("working") || (asked ? "Waiting for the kernel…" : model.get("said"));
  }
  function showFacts() {
    const facts = model.get("facts");
    mark(facts, model.get("training"));
    done.replaceChildren(...tabs.map(({ name, title }) =>
      element("li", { className: name in facts ? "" : "segnb-faint" }, element("b", {}, title), ` ${facts[name] ?? "not yet"}`)));
  }
  for (const name of ["tab", "hints", "missing", "working", "said", "training"]) listen(`change:${name}`, show);
  for (const name of ["facts", "training"]) listen(`change:${name}`, showFacts);
  show();
  showFacts();
  const again = actions.find(([type]) => type === pressed)?.[1];
  if (again) requestAnimationFrame(() => { if (document.activeElement === document.body) again.focus(); });
  return close;
}

export default { render };
