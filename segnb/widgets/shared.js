// What every widget uses. Python puts this text before the script of each widget.

/**
 * Make an HTML element: element("button", { className: "x", onclick: f }, "text", child).
 * JupyterLab would take arrow keys and Enter for itself; its shortcuts skip an element with this attribute, but only
 * if the focused element bears it: a parent is too far up.
 */
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (["button", "input", "select", "textarea", "canvas"].includes(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Make an SVG element; attributes are set as they are written in SVG. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Let one drawing follow any number of changes: returns a function that asks for it. */
function onNextFrame(draw) {
  let asked = 0;
  return () => {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); });
  };
}

/** The frame of a widget: its root, a place for errors, and listeners that end with the view. */
function frame(model, el, label) {
  const problem = element("div", { className: "segnb-error", role: "alert" });
  const root = element("div", { className: "segnb" });
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  el.append(root);

  const ends = [];
  const listen = (event, handler) => {
    model.on(event, handler);
    ends.push(() => model.off(event, handler));
  };
  const showProblem = () => { problem.textContent = model.get("error"); };
  listen("change:error", showProblem);
  showProblem();
  const close = () => {
    ends.forEach((end) => end());
    root.remove(); // ipywidgets keeps the element of every view that ever was: at least it is empty then
  };
  return { root, problem, listen, ends, close };
}

/** A button whose text may be a sign: `label` is what a screen reader says and what the pointer shows. */
function button(text, label, onclick, className = "") {
  const node = element("button", { type: "button", title: label, onclick, className }, text);
  node.setAttribute("aria-label", label);
  return node;
}

/** A row of radio buttons that looks like one switch; inputs[value] is the button of each option. */
function choice(label, options, onchange) {
  const name = `segnb-${Math.random().toString(36).slice(2)}`; // two widgets on a page must not share a name
  const field = element("fieldset", { className: "segnb-choice" }, element("legend", {}, label));
  const inputs = {};
  for (const [value, text] of Object.entries(options)) {
    inputs[value] = element("input", { type: "radio", name, value, onchange: () => onchange(value) });
    field.append(element("label", {}, inputs[value], element("span", {}, text)));
  }
  return { field, inputs };
}

/** A slider with its label and its value as text: numbers from `low` to `high`. */
function slider(text, { low = 0, high = 1, step = 0.01, value, format = String, className = "" }, oninput) {
  const input = element("input", { type: "range", min: low, max: high, step, value, className });
  const shown = element("output", {}, format(value));
  const put = (number) => { input.value = number; shown.textContent = format(Number(number)); };
  input.oninput = () => { put(input.value); oninput(Number(input.value)); };
  return { field: element("label", { className: "segnb-field" }, text, input, shown), input, put };
}

/**
 * State that the browser and Python share. The browser changes it at once and tells the kernel, one message at a time, so
 * that a busy kernel is not flooded; a change made in Python arrives as a trait. Python's answer settles a conflict.
 *
 * const state = linked(model, listen); state.on("opacity", draw); state.get("opacity"); state.set({ opacity: 0.5 })
 */
function linked(model, listen) {
  const [values, handlers] = [{}, {}];
  let [changed, flying, timer] = [{}, false, 0];
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const fly = () => {
    timer = 0;
    if (flying || !Object.keys(changed).length) return;
    model.send({ type: "set", values: changed });
    [changed, flying] = [{}, true];
  };
  const follow = (name) => {
    if (flying || Object.keys(changed).length || same(values[name], model.get(name))) return;
    values[name] = model.get(name);
    handlers[name]?.forEach((handler) => handler(values[name]));
  };
  listen("msg:custom", (message) => {
    if (message.type !== "done") return;
    flying = false;
    fly();
    Object.keys(values).forEach(follow);
  });
  const get = (name) => {
    if (!(name in values)) {
      values[name] = model.get(name);
      listen(`change:${name}`, () => follow(name));
    }
    return values[name];
  };
  return {
    get,
    on(name, handler) { get(name); (handlers[name] ??= []).push(handler); },
    set(some) {
      for (const [name, value] of Object.entries(some)) {
        get(name);
        [values[name], changed[name]] = [value, value];
        handlers[name]?.forEach((handler) => handler(value));
      }
      timer ||= setTimeout(fly, 60);
    },
  };
}

/** The button "Copy as code": Python writes the code; a page without a clipboard shows it to be copied by hand. */
function copyAsCode(model, listen) {
  const text = element("textarea", { readOnly: true, rows: 4, hidden: true, className: "segnb-code", spellcheck: false });
  text.setAttribute("aria-label", "The same as Python code");
  const said = element("span", { className: "segnb-faint" });
  said.setAttribute("aria-live", "polite");
  const ask = element("button", { type: "button", className: "segnb-copy", onclick: () => model.send({ type: "code" }) }, "Copy as code");
  listen("msg:custom", async (message) => {
    if (message.type !== "code") return;
    text.value = message.text;
    text.rows = Math.min(16, message.text.split("\n").length + 1);
    text.hidden = false;
    try {
      await navigator.clipboard.writeText(message.text);
      said.textContent = "Copied: paste it into a cell";
    } catch {
      text.select();
      said.textContent = "Press Ctrl-C to copy it";
    }
  });
  return { field: element("span", { className: "segnb-field" }, ask, said), text };
}
