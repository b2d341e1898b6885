// The augmenter: steps on the left, draws of one picture on the right. The steps are shared with Python, which checks
// them, makes the draws and says what is wrong; opacity, outline and classes are composed here.

const UNKNOWN = 0xff9c9c9c; // grey stripes where pixels are ignored

/** One picture of the grid. */
class Tile {
  constructor(label, look, say) {
    this.stage = new Stage({
      label,
      paint: (brush) => this.paint(brush, look()),
      hover: (point) => say(point && this.labels ? this.labels[point.index] : null),
    });
    this.caption = element("span", {}, label);
    this.size = element("span", { className: "segnb-faint" });
    this.lost = element("div", { className: "segnb-lost" });
    this.failed = element("div", { className: "segnb-error segnb-failed" });
    this.node = element("figure", { className: "segnb-draw" }, this.stage.node, this.failed,
      element("figcaption", {}, this.caption, this.size), this.lost);
  }

  async show(payload, names) {
    this.payload = payload;
    const [photo, map] = await Promise.all([
      payload.photo ? bitmap(payload.photo, "image/jpeg") : null, greyMap(payload.labels)]);
    if (this.payload !== payload) return photo?.close(); // a later draw has come
    this.photo?.close();
    [this.photo, this.labels] = [photo, map?.values ?? null];
    this.failed.textContent = payload.step ? `Fails at ${payload.step}` : payload.problem;
    this.stage.node.hidden = !photo;
    this.size.textContent = photo ? payload.size.join(" × ") : "";
    this.lost.textContent = payload.vanished.length ? `without ${payload.vanished.map((label) => names[label]).join(", ")}` : "";
    if (photo) this.stage.show(photo, map.width, map.height);
    return null;
  }

  paint(brush, { look, opacity, table }) {
    brush.photo();
    if (look === "photo") return;
    const fill = look === "outline" ? contour : tint;
    brush.colours((words, grid) => fill(words, grid, this.labels, table), look === "outline" ? 1 : opacity);
    brush.colours((words, grid) => hatch(words, grid, (place) => this.labels[place] === IGNORE, UNKNOWN, brush.dense), opacity);
  }

  close() {
    this.payload = null;
    this.stage.close();
    this.photo?.close();
  }
}

/** The picture as it is, and the draws. */
function drawGrid(model, state, say) {
  const [names, palette] = [model.get("class_names"), model.get("palette")];
  const look = () => ({ look: state.get("look"), opacity: state.get("opacity"), table: colourTable(palette, state.get("visible")) });
  const sayLabel = (label) => say(label === null ? "" : label === IGNORE ? "ignored" : names[label] ?? `label ${label}, without a class`);
  const node = element("div", { className: "segnb-draws" });
  const tiles = [new Tile("As it is", look, sayLabel)];
  node.append(tiles[0].node);
  const show = () => {
    const draws = model.get("draws");
    while (tiles.length > draws.length + 1) {
      const tile = tiles.pop();
      tile.close();
      tile.node.remove();
    }
    while (tiles.length < draws.length + 1) {
      tiles.push(new Tile(`Draw ${tiles.length}`, look, sayLabel));
      node.append(tiles.at(-1).node);
    }
    draws.forEach((payload, i) => tiles[i + 1].show(payload, names));
  };
  const showOriginal = () => tiles[0].show(model.get("original"), names);
  return { node, show, showOriginal, redraw: () => tiles.forEach(({ stage }) => stage.redraw()), close: () => tiles.forEach((tile) => tile.close()) };
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Augmentation");
  root.classList.add("segnb-augmenter");
  const state = linked(model, listen);
  const drawing = { ...state, set: (values) => { wait(); state.set(values); } }; // what Python answers with other draws
  const count = model.get("count");

  const title = element("span", { className: "segnb-title" });
  const number = onCommit(element("input", { type: "number", min: 1, max: count }), () => go(Number(number.value) - 1));
  number.setAttribute("aria-label", "Number of the picture");
  const go = (index) => drawing.set({ index: Math.min(count - 1, Math.max(0, Math.round(index) || 0)) });
  const previous = button("‹", "Previous picture", () => go(state.get("index") - 1), "segnb-step");
  const next = button("›", "Next picture", () => go(state.get("index") + 1), "segnb-step");
  const presets = element("select", { onchange: () => drawing.set({ preset: presets.value }) },
    element("option", { value: "" }, "Preset…"), ...model.get("presets").map((name) => element("option", { value: name }, name)));
  presets.setAttribute("aria-label", "Start from a preset");
  const again = button("Draw again", "Throw other dice", () => drawing.set({ seed: state.get("seed") + 1 }), "segnb-again");

  const steps = stepList(model, drawing);
  const pointed = element("span", { className: "segnb-faint" });
  const grid = drawGrid(model, state, (text) => { pointed.textContent = text; });
  ends.push(grid.close);
  const warnings = element("ul", {});
  const warned = element("div", { className: "segnb-warnings" }, warnings);
  warned.setAttribute("role", "status");
  const legend = classLegend(model.get("class_names"), model.get("palette"), state.get("visible"), (visible) => state.set({ visible }));
  const looks = choice("Masks", { overlay: "Overlay", outline: "Outline", photo: "Photo" }, (look) => state.set({ look }));
  const opacity = slider("Opacity", { value: state.get("opacity"), format: (value) => `${Math.round(100 * value)} %`, className: "segnb-opacity" },
    (value) => state.set({ opacity: value }));
  const draws = onCommit(element("input", { type: "number", min: 1, max: 12 }),
    () => drawing.set({ number: Math.min(12, Math.max(1, Math.round(Number(draws.value)) || 1)) }));
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const copy = copyAsCode(model, listen);

  root.append(
    element("div", { className: "segnb-tools" },
      element("span", { className: "segnb-field" }, previous, number, element("span", { className: "segnb-faint" }, `of ${count}`), next),
      title, presets, again),
    element("div", { className: "segnb-parts" },
      element("div", { className: "segnb-left" }, finder(model, steps.add), problem, ...steps.nodes),
      element("div", { className: "segnb-right" }, grid.node, warned, legend.node)),
    element("div", { className: "segnb-tools" }, looks.field, opacity.field,
      element("label", { className: "segnb-field" }, "Draws", draws), copy.field),
    element("div", { className: "segnb-status" }, status, pointed), copy.text);

  // What Python says

  const showWarnings = () => warnings.replaceChildren(...model.get("warnings").map((text) => element("li", {}, text)));
  const showTitle = () => {
    title.textContent = model.get("title");
    title.title = model.get("title");
  };
  let waiting = 0;
  const showStatus = () => {
    clearTimeout(waiting);
    waiting = 0;
    status.textContent = model.get("status");
    root.removeAttribute("aria-busy");
  };
  const wait = () => {
    waiting ||= setTimeout(() => {
      root.setAttribute("aria-busy", "true");
      status.textContent = "Drawing…";
    }, 400);
  };
  ends.push(() => clearTimeout(waiting));
  for (const [name, show] of Object.entries({
    draws: grid.show, original: grid.showOriginal, warnings: showWarnings, problems: steps.showProblems, title: showTitle, controls: steps.show,
  })) {
    listen(`change:${name}`, show);
    show();
  }
  listen("change:status", showStatus);
  listen("msg:custom", (message) => { if (message.type === "done") showStatus(); });
  showStatus();

  // State that is shared

  const showIndex = () => {
    write(number, state.get("index") + 1);
    previous.disabled = state.get("index") === 0;
    next.disabled = state.get("index") === count - 1;
  };
  const showLook = () => {
    for (const [value, input] of Object.entries(looks.inputs)) input.checked = value === state.get("look");
    opacity.input.disabled = state.get("look") !== "overlay";
    grid.redraw();
  };
  for (const [name, show] of Object.entries({
    steps: steps.show, index: showIndex, look: showLook,
    opacity: () => { opacity.put(state.get("opacity")); grid.redraw(); },
    visible: () => { legend.put(state.get("visible")); grid.redraw(); },
    number: () => write(draws, state.get("number")),
    preset: () => { presets.value = state.get("preset"); },
    seed: () => {},
  })) {
    state.on(name, show);
    show();
  }
  return close;
}

export default { render };
