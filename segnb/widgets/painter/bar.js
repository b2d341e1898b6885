// The controls around the painter's picture, joined to the state that page and kernel share.

const TOOLS = { brush: "Brush", eraser: "Eraser", polygon: "Polygon", fill: "Fill", snap: "Snap", move: "Move" };
const TOOL_KEYS = { b: "brush", e: "eraser", p: "polygon", f: "fill", s: "snap", m: "move" };
const WITHIN = { label: "one label", colour: "similar colours", both: "both" };
const WHERE = { all: "everywhere", class: "the chosen class only", unlabelled: "where nothing is labelled" };

/** The rows of controls above and below the picture, joined to the state; update functions follow changes from Python. */
function controls(state, count, zoomButtons, act) {
  const number = element("input", { type: "number", min: 1, max: count, onchange: () => act.goTo(number.value - 1) });
  number.setAttribute("aria-label", "Number of the picture in the queue");
  const previous = button("‹", "Previous picture (Page up)", () => act.goBy(-1), "segnb-step");
  const next = button("›", "Next picture (Page down)", () => act.goBy(1), "segnb-step");
  const title = element("span", { className: "segnb-title" });
  const done = element("input", { type: "checkbox", onchange: () => act.done(done.checked) });
  const counted = element("span", { className: "segnb-faint" });

  const tools = choice("Tool", TOOLS, (tool) => state.set({ tool }));
  for (const [key, tool] of Object.entries(TOOL_KEYS)) tools.inputs[tool].parentElement.title = `${TOOLS[tool]} (${key.toUpperCase()})`;
  const pixelText = (value) => `${value} px`;
  const size = slider("Size", { low: 1, high: 100, step: 1, value: 1, format: pixelText, className: "segnb-size" }, (value) => state.set({ size: value }));
  const superpixels = slider("Superpixels", { low: 5, high: 100, step: 1, value: 5, format: pixelText, className: "segnb-superpixels" },
    (value) => state.set({ superpixel_size: value }));
  const tolerance = slider("Tolerance", { low: 0, high: 255, step: 1, value: 0, className: "segnb-tolerance" }, (value) => state.set({ tolerance: value }));
  const select = (options, onchange) => element("select", { onchange },
    ...Object.entries(options).map(([value, text]) => element("option", { value }, text)));
  const within = select(WITHIN, () => state.set({ within: within.value }));
  const withinField = element("label", { className: "segnb-field" }, "Within", within);
  const undo = button("Undo", "Undo (Z)", () => act.send("undo"));
  const redo = button("Redo", "Redo (Shift Z)", () => act.send("redo"));
  const percent = (value) => `${Math.round(100 * value)} %`;
  const opacity = slider("Opacity", { value: 1, format: percent, className: "segnb-opacity" }, (value) => state.set({ opacity: value }));
  const where = select(WHERE, null);
  where.setAttribute("aria-label", "Where to use the prediction");
  const predict = button("Use prediction", "Use prediction: paint what the model sees", () => act.predict(where.value), "segnb-predict");
  const prediction = element("span", { className: "segnb-field" }, predict, where);

  const top = element("div", { className: "segnb-tools" },
    element("span", { className: "segnb-field", hidden: count === 1 }, previous, number, element("span", { className: "segnb-faint" }, `of ${count}`), next),
    title, counted, element("label", { className: "segnb-field" }, done, "Done"), zoomButtons);
  const middle = element("div", { className: "segnb-tools" }, tools.field, element("span", { className: "segnb-field" }, undo, redo),
    size.field, superpixels.field, withinField, tolerance.field);

  const followTool = () => {
    const tool = state.get("tool");
    for (const [value, input] of Object.entries(tools.inputs)) input.checked = value === tool;
    size.field.hidden = !["brush", "eraser"].includes(tool);
    superpixels.field.hidden = tool !== "snap";
    withinField.hidden = tool !== "fill";
    tolerance.field.hidden = tool !== "fill" || state.get("within") === "label";
  };
  const follow = {
    tool: followTool,
    within: (value) => { within.value = value; followTool(); },
    size: size.put, superpixel_size: superpixels.put, tolerance: tolerance.put, opacity: opacity.put,
    can_predict: (value) => { prediction.hidden = !value; },
  };
  for (const [name, handler] of Object.entries(follow)) {
    state.on(name, handler);
    handler(state.get(name));
  }
  const place = () => {
    const [order, finished, index] = ["order", "finished", "index"].map(state.get);
    number.value = order.indexOf(index) + 1;
    previous.disabled = order[0] === index;
    next.disabled = order.at(-1) === index;
    done.checked = finished.includes(index);
    counted.textContent = count > 1 ? `${finished.length} of ${count} done` : "";
  };
  for (const name of ["order", "finished", "index"]) state.on(name, place);
  place();
  const steps = ([back, forth]) => { [undo.disabled, redo.disabled] = [!back, !forth]; };
  steps([0, 0]);
  return { top, middle, number, title, opacity: opacity.field, prediction, steps, toggleDone: () => done.click() };
}
