// One picture: its layers on one canvas or on two side by side, its classes with their numbers, and the controls for them.

/**
 * The panel. state: linked traits; classes, palette: of the labels; status: a place for the words under the cursor.
 * panel.show(picture) shows a decoded Picture, panel.blank() says that the wanted one is not here, panel.close() ends it.
 */
function picturePanel({ state, classes, palette, pointed, hint }) {
  let picture = null;
  const layers = choice("Show", LAYERS, (layer) => state.set({ layer }));
  const style = choice("Labels as", { overlay: "Overlay", outline: "Outline" }, (value) => state.set({ labels_as: value }));
  const arrangement = choice("Compare by", { swipe: "Swipe", "side by side": "Side by side" }, (value) => state.set({ arrangement: value }));
  const numbers = choice("Numbers", { percent: "%", pixels: "px" }, (value) => state.set({ numbers: value }));
  const percent = (value) => `${Math.round(100 * value)} %`;
  const fader = slider("Opacity", { value: state.get("opacity"), className: "segnb-opacity", format: percent }, (opacity) => state.set({ opacity }));
  const other = element("select", { className: "segnb-against", onchange: () => state.set({ against: other.value }) });
  other.setAttribute("aria-label", "Layer to compare with");
  const swipe = element("input", { type: "range", className: "segnb-swipe", min: 0, max: 100 });
  swipe.setAttribute("aria-label", "Place of the dividing line");
  swipe.oninput = () => state.set({ split: swipe.value / 100 });
  const isVisible = () => classes.map((name) => state.get("shown").includes(name));
  const legend = classLegend(classes, palette, isVisible(), (visible) => state.set({ shown: classes.filter((_, label) => visible[label]) }));
  legend.node.lastChild.append(numbers.field);

  // What this picture can show of what is asked for
  const layer = () => {
    const offered = picture.layers();
    return offered.includes(state.get("layer")) ? state.get("layer") : offered.at(-1);
  };
  const against = () => (picture.layers().includes(state.get("against")) && state.get("against") !== layer() ? state.get("against") : "");
  const swiped = () => against() && state.get("arrangement") === "swipe";
  const look = () => ({ visible: isVisible(), palette, opacity: state.get("opacity"), outline: state.get("labels_as") === "outline" });

  const moveSplit = (_, event) => {
    if (!picture || !swiped() || event?.clientX === undefined || event.shiftKey) return false;
    const box = stage.canvas.getBoundingClientRect();
    state.set({ split: Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))) / 100 });
    return true;
  };
  const point = (echo) => (place) => {
    pointed.textContent = place && picture ? picture.describe(place, classes) : hint(swiped());
    echo().mark = place;
    echo().redraw();
  };
  const stage = new Stage({
    label: "Picture", paint, press: moveSplit, drag: moveSplit, hover: point(() => beside), moved: () => beside.follow(stage),
  });
  const beside = new Stage({
    label: "Picture beside", hover: point(() => stage), moved: () => stage.follow(beside),
    paint: (brush) => picture.paint(brush, against() || "photo", look()),
  });
  const tags = [element("span", { className: "segnb-tag" }), element("span", { className: "segnb-tag segnb-right" })];
  const besideTag = element("span", { className: "segnb-tag" });
  stage.box.append(...tags);
  beside.box.append(besideTag);

  function paint(brush) {
    picture.paint(brush, layer(), look());
    if (!swiped()) return;
    const split = state.get("split");
    picture.paint(brush, against(), look(), { to: split });
    const { context } = brush;
    const edge = Math.round(split * context.canvas.width);
    context.fillStyle = "rgb(0 0 0 / 60%)";
    context.fillRect(edge - 2, 0, 4, context.canvas.height);
    context.fillStyle = "#ffffff";
    context.fillRect(edge - 1, 0, 2, context.canvas.height);
  }

  const redraw = () => {
    stage.redraw();
    if (beside.node.isConnected) beside.redraw();
  };

  /** Set the controls to the state, and to what this picture offers. */
  function update() {
    if (!picture) return;
    const [offered, shown, second] = [picture.layers(), layer(), against()];
    for (const [value, input] of Object.entries(layers.inputs)) {
      input.parentElement.hidden = !offered.includes(value);
      input.checked = value === shown;
    }
    for (const [group, value] of [[style, state.get("labels_as")], [arrangement, state.get("arrangement")], [numbers, state.get("numbers")]]) {
      group.inputs[value].checked = true;
    }
    other.replaceChildren(
      element("option", { value: "" }, "Nothing"),
      ...offered.filter((value) => value !== shown).map((value) => element("option", { value }, LAYERS[value])));
    other.value = second;
    const drawn = [shown, second];
    style.field.hidden = !drawn.some((one) => ["truth", "prediction"].includes(one));
    fader.input.disabled = !drawn.includes("errors") && (style.field.hidden || state.get("labels_as") === "outline");
    fader.put(state.get("opacity"));
    arrangement.field.hidden = !second;
    swipe.hidden = !swiped();
    swipe.value = Math.round(100 * state.get("split"));
    legend.put(isVisible());
    const unit = state.get("numbers");
    const pixelText = (value) => (value == null ? "" : value.toLocaleString("en"));
    const headings = { percent: ["area", "wrong"], pixels: ["pixels", "wrong pixels"] };
    legend.numbers(picture.numbers(shown, classes.length, unit), headings[unit][shown === "errors" ? 1 : 0], unit === "pixels" ? pixelText : percentText);

    const sideBySide = Boolean(second) && !swiped();
    if (sideBySide !== beside.node.isConnected) {
      if (sideBySide) stage.node.before(beside.node);
      else {
        beside.node.remove();
        beside.photo = null;
      }
    }
    if (sideBySide && beside.photo !== picture.photo) beside.show(picture.photo);
    stage.fit();
    tags[0].textContent = swiped() ? LAYERS[second] : sideBySide ? LAYERS[shown] : "";
    tags[1].textContent = swiped() ? LAYERS[shown] : "";
    besideTag.textContent = sideBySide ? LAYERS[second] : "";
    const { name } = picture.payload;
    stage.canvas.setAttribute("aria-label", `${name}: ${LAYERS[shown]}`);
    beside.canvas.setAttribute("aria-label", `${name}: ${LAYERS[second] ?? ""}`);
    if (!stage.canvas.matches(":hover")) pointed.textContent = hint(swiped());
    redraw();
  }
  for (const name of ["layer", "labels_as", "against", "arrangement", "shown", "numbers"]) state.on(name, update);
  state.on("opacity", (value) => { fader.put(value); redraw(); });
  state.on("split", (value) => { swipe.value = Math.round(100 * value); redraw(); });

  const compare = element("span", { className: "segnb-field" }, "Compare with", other, arrangement.field, swipe);
  const body = element("div", { className: "segnb-body" }, stage.node, legend.node);
  return {
    layers: layers.field,
    body,
    tools: element("div", { className: "segnb-tools" }, style.field, fader.field, compare),
    zoom: stage.zoomButtons,
    canvas: stage.canvas,
    show(other) {
      picture = other;
      body.classList.remove("segnb-away");
      stage.show(picture.photo);
      update();
    },
    blank: () => body.classList.add("segnb-away"),
    close() {
      stage.close();
      beside.close();
    },
  };
}
