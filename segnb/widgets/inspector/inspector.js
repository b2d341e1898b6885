// The inspector: scores of all pictures and the maps of one are here, so ordering, filtering and looking never ask Python.

const LABEL_LAYERS = { photo: "Photo", truth: "Truth", prediction: "Prediction", other: "Other model", errors: "Errors", differences: "Differences" };
const MAP_LAYERS = { probability: "Probability", entropy: "Entropy", variance: "Variance", gradcam: "Grad-CAM", features: "Features" };
const TITLES = { ...LABEL_LAYERS, ...MAP_LAYERS };
const USES = { probability: ["label"], entropy: [], variance: ["label"], gradcam: ["label", "stage"], features: ["stage", "channel"] };
const OF_A_CLASS = ["probability", "gradcam"];
const PRESENCE = { truth: 1, prediction: 2, errors: 4 };
const ONLY = { all: "all pictures", truth: "that have the class", prediction: "predicted to have it", errors: "with errors in the class" };
const MORE_IS_WORSE = ["loss"];

/** Base64 text -> the numbers of a NumPy array. */
function numbers(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

/** Short text of a number. */
function short(value) {
  if (Number.isNaN(value)) return "none";
  return Math.abs(value) >= 0.001 || value === 0 ? value.toFixed(3) : value.toExponential(1);
}

/** A drop-down with its label. */
function menu(text, options, onchange) {
  const input = element("select", { onchange: () => onchange(input.value) });
  input.setAttribute("aria-label", text); // else the options would be part of its name
  let filled = "";
  const fill = (some) => {
    if (filled === JSON.stringify(some)) return; // an open list must not be changed under the reader's hand
    filled = JSON.stringify(some);
    input.replaceChildren(...Object.entries(some).map(([value, title]) => element("option", { value }, title)));
  };
  fill(options);
  return { field: element("label", { className: "segnb-field" }, text, input), input, fill };
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Inspector");
  root.classList.add("segnb-inspector");
  root.tabIndex = 0;
  const state = linked(model, listen);
  const get = state.get;
  const [names, titles, palette, metrics] = ["names", "class_names", "palette", "metrics"].map((name) => model.get(name));
  const stages = model.get("stages");
  const [labels, compared] = [titles.length, model.get("compared")];
  const scores = Object.fromEntries(Object.entries(model.get("scores")).map(([name, text]) => [name, numbers(text, Float32Array)]));
  const presence = numbers(model.get("presence"), Uint8Array);
  const heatTable = Uint32Array.from(model.get("colours"), word);
  const heats = {}; // layer -> its decoded map
  let picture = null; // the decoded one
  let decoded = 0; // counts what was decoded: then the text below the picture changes
  let [ranked, rankedBy] = [[], ""];

  // Which picture

  const byClass = (metric) => scores[metric].length > names.length;
  const scoreOf = (i, metric = get("metric"), label = get("label")) =>
    (byClass(metric) ? scores[metric][i * (labels + 1) + (label < 0 ? labels : label)] : scores[metric][i]);
  const scoreTitle = () => {
    const [metric, label] = [get("metric"), get("label")];
    return byClass(metric) ? `${metrics[metric]} ${label < 0 ? "(mean)" : `of ${titles[label]}`}` : metrics[metric];
  };
  /** Pixels of the chosen cell in each picture, or null while Python has not counted them. */
  const cellPixels = () => {
    const { of, pixels } = model.get("cell_pixels");
    return of?.join() === get("confused").join() ? numbers(pixels, Float32Array) : null;
  };
  function ranking() {
    const by = JSON.stringify([...["metric", "label", "only", "confused"].map(get), model.get("cell_pixels").of]);
    if (by === rankedBy) return ranked;
    rankedBy = by;
    const pixels = get("confused").length ? cellPixels() : null;
    const [bit, label] = [get("only") === "all" || get("label") < 0 ? 0 : PRESENCE[get("only")], get("label")];
    const sign = MORE_IS_WORSE.includes(get("metric")) ? -1 : 1;
    const badness = pixels ? pixels.map((count) => -count) : Float32Array.from(names, (_, i) => sign * scoreOf(i));
    const kept = (i) => (pixels ? pixels[i] > 0 : !Number.isNaN(badness[i]) && (!bit || presence[i * labels + label] & bit));
    ranked = Array.from(names.keys()).filter(kept).sort((a, b) => badness[a] - badness[b] || a - b);
    ranked.values = ranked.map((i) => (pixels ? pixels[i] : scoreOf(i)));
    return ranked;
  }
  const show = (place) => {
    const list = ranking();
    const index = list[Math.min(list.length - 1, Math.max(0, Math.round(Number(place) || 0)))];
    if (index !== undefined && index !== get("shown")) state.set({ shown: index });
    refresh();
  };
  const step = (by) => show(Math.max(0, ranking().indexOf(get("shown")) + by));
  const reorder = (some) => { state.set(some); show(0); };

  const previous = button("‹", "Previous picture", () => step(-1), "segnb-step");
  const next = button("›", "Next picture", () => step(1), "segnb-step");
  const number = element("input", { type: "number", min: 1, onchange: () => show(number.value - 1) });
  number.setAttribute("aria-label", "Place in the order, worst first");
  const of = element("span", { className: "segnb-faint" });
  const orders = Object.fromEntries(Object.entries(metrics).map(([name, text]) => [name, byClass(name) ? `${text} of the class` : text]));
  const order = menu("Worst first by", {}, (metric) => reorder({ confused: [], metric }));
  const chosen = menu("Class", { "-1": "all", ...titles }, (value) => {
    const label = Number(value);
    const leave = (layer, other) => (label < 0 && OF_A_CLASS.includes(layer) ? other : layer);
    state.set({ label, layer: leave(get("layer"), "prediction"), left: leave(get("left"), "") });
    if (byClass(get("metric")) || get("only") !== "all") show(0);
  });
  chosen.input.prepend(chosen.input.querySelector("option[value='-1']"));
  const filter = menu("Pictures", ONLY, (only) => reorder({ confused: [], only }));
  const strip = scoreStrip(show);
  const title = element("span", { className: "segnb-title" });
  const opened = element("span");
  const cellTag = element("span", { className: "segnb-opened", hidden: true }, opened, button("×", "Close the cell", () => state.set({ confused: [] }), "segnb-step"));

  // What of it

  const pick = (layer) => state.set(layer === get("left") ? { left: get("layer"), layer } : { layer }); // the two change places
  const offered = Object.keys(TITLES).filter((layer) => (compared || !["other", "differences"].includes(layer))
    && (Object.keys(stages).length || !["gradcam", "features"].includes(layer)));
  const some = (layers) => Object.fromEntries(Object.entries(layers).filter(([layer]) => offered.includes(layer)));
  const groups = [choice("Labels", some(LABEL_LAYERS), pick), choice("Maps", some(MAP_LAYERS), pick)];
  const inputs = { ...groups[0].inputs, ...groups[1].inputs };
  const fader = slider("Opacity", { value: get("opacity"), format: (value) => `${Math.round(100 * value)} %`, className: "segnb-opacity" }, (opacity) => state.set({ opacity }));
  const limit = slider("Threshold", { step: 0.005, value: get("threshold"), format: (value) => value.toFixed(2), className: "segnb-threshold" }, (threshold) => state.set({ threshold }));
  const stageMenu = menu("Stage", Object.fromEntries(Object.entries(stages).map(([name, text]) => [name, `${name} · ${text}`])), (stage) => state.set({ stage }));
  const channel = element("input", { type: "number", min: 0, placeholder: "mean", onchange: () => state.set({ channel: channel.value === "" ? -1 : Math.max(0, Math.round(channel.value)) }) });
  const channelField = element("label", { className: "segnb-field" }, "Channel", channel);
  const left = menu("Beside", {}, (layer) => state.set({ left: layer }));
  const compare = choice("Comparison", { swipe: "Swipe", side: "Side by side" }, (way) => state.set({ compare: way }));
  const line = slider("Line", { value: get("split"), format: () => "", className: "segnb-swipe" }, (split) => state.set({ split }));
  const working = element("progress", { max: 1, hidden: true });
  const key = element("div", { className: "segnb-marks" });
  const pointed = element("span", { className: "segnb-faint segnb-pointed" });
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const code = copyAsCode(model, listen);

  const swiping = () => get("left") && get("compare") === "swipe";
  const nearLine = ({ px }) => stage.zoom <= stage.least || Math.abs((px - stage.left) * stage.zoom - get("split") * stage.canvas.clientWidth) < 14;
  const moveLine = ({ px }) => state.set({ split: Math.min(1, Math.max(0, ((px - stage.left) * stage.zoom) / stage.canvas.clientWidth)) });
  const stage = new Stage({
    label: "Picture",
    paint: (brush) => {
      if (swiping()) {
        paintLayer(brush, get("layer"), { from: get("split") });
        paintLayer(brush, get("left"), { to: get("split") });
        const edge = Math.round(get("split") * stage.canvas.width);
        for (const [width, colour] of [[4, "rgb(0 0 0 / 60%)"], [2, "#ffffff"]]) {
          brush.context.fillStyle = colour;
          brush.context.fillRect(edge - (width / 2) * brush.dense, 0, width * brush.dense, stage.canvas.height);
        }
      } else paintLayer(brush, get("layer"));
      follow(stage, beside);
    },
    hover: point,
    press: (place) => { const taken = Boolean(swiping()) && nearLine(place); if (taken) moveLine(place); return taken; },
    drag: moveLine,
  });
  const beside = new Stage({ label: "Picture beside it", paint: (brush) => { if (get("left")) paintLayer(brush, get("left")); follow(beside, stage); }, hover: point });
  const tags = { left: element("span", { className: "segnb-tag" }), right: element("span", { className: "segnb-tag segnb-right" }), beside: element("span", { className: "segnb-tag" }) };
  stage.box.append(tags.left, tags.right);
  beside.box.append(tags.beside);
  /** Two pictures side by side zoom and move together: the one that has left the common view takes the other along. */
  let common = "";
  function follow(one, other) {
    const view = [one.zoom, one.left, one.top].join();
    if (other.node.hidden || !other.photo || view === common) return;
    common = view;
    other.zoom = one.zoom;
    other.moveTo(one.left, one.top);
  }

  const legend = classLegend(titles, palette, get("visible"), (visible) => state.set({ visible }));
  const matrix = confusionMatrix(model.get("matrix"), titles, palette, (cell) => state.set(cell.length ? { confused: cell, layer: "errors" } : { confused: [] }));
  legend.node.append(matrix.node);

  root.append(
    element("div", { className: "segnb-tools" }, order.field, chosen.field, filter.field,
      element("span", { className: "segnb-field segnb-walk" }, previous, number, of, next)),
    strip.node,
    element("div", { className: "segnb-tools segnb-heading" }, title, cellTag),
    element("div", { className: "segnb-tools" }, ...groups.map(({ field }) => field)),
    element("div", { className: "segnb-body" },
      element("div", { className: "segnb-looking" }, element("div", { className: "segnb-pair" }, beside.node, stage.node), key), legend.node),
    element("div", { className: "segnb-tools" }, fader.field, limit.field, stageMenu.field, channelField, left.field, compare.field, line.field, stage.zoomButtons, code.field),
    element("div", { className: "segnb-status" }, pointed, element("span", { className: "segnb-field" }, status, working)), code.text, problem);

  // Decoding

  async function takePicture() {
    const payload = model.get("picture");
    if (!payload.image || payload === picture?.payload) return;
    const [photo, truth, prediction, other] = await Promise.all([
      bitmap(payload.image, "image/jpeg"), greyMap(payload.labels), greyMap(payload.prediction), greyMap(payload.other)]);
    if (payload !== model.get("picture") || ended) {
      photo.close();
      return;
    }
    picture?.photo.close();
    picture = { payload, photo, width: truth.width, height: truth.height, truth: truth.values, prediction: prediction.values, other: other?.values };
    for (const one of [stage, beside]) one.show(photo, picture.width, picture.height);
    decoded += 1;
    refresh();
  }
  async function takeMaps() {
    const maps = model.get("maps");
    for (const layer of Object.keys(heats)) if (!(layer in maps)) delete heats[layer];
    for (const [layer, payload] of Object.entries(maps)) {
      if (heats[layer]?.payload.values === payload.values && heats[layer].payload.of.join() === payload.of.join()) continue;
      const map = await greyMap(payload.values);
      if (model.get("maps")[layer] === payload) heats[layer] = { payload, ...map };
      decoded += 1;
    }
    refresh();
  }
  /** The decoded map of a layer, or null while Python computes it. */
  const heatOf = (layer) => {
    const wanted = [get("shown"), ...USES[layer].map(get)].join();
    return heats[layer]?.payload.of.join() === wanted && picture?.payload.index === get("shown") ? heats[layer] : null;
  };

  // Drawing

  const context = () => ({ label: get("label"), confused: get("confused"), visible: get("visible"), names: titles });
  const level = () => Math.max(0, Math.ceil(get("threshold") * 255 - 1e-6));
  function paintLayer(brush, layer, place = {}) {
    const opacity = get("opacity");
    if (layer in MAP_LAYERS) {
      brush.photo({ ...place, grey: true });
      const map = heatOf(layer);
      if (!map) return;
      const table = heatTable.map((colour) => see(colour, opacity)); // in the pixels, so that one sheet holds an opaque outline, too
      brush.colours((words, grid) => {
        heat(words, grid, map, picture.width, picture.height, table);
        if (layer === "probability") outlineAbove(words, grid, map.values, level(), Math.round(brush.dense));
      }, 1, place);
    } else if (["errors", "differences"].includes(layer)) {
      brush.photo({ ...place, grey: true });
      brush.colours((words, grid) => fillMarks(words, grid, marksOf(layer, picture, context()), brush.dense), opacity, place);
    } else {
      brush.photo(place);
      const table = colourTable(palette, get("visible"));
      if (layer !== "photo") brush.colours((words, grid) => tint(words, grid, picture[layer], table), opacity, place);
    }
  }

  // Text and controls

  function point(place) {
    if (!place || !picture) {
      pointed.textContent = "← → other pictures";
      return;
    }
    const { x, y, index } = place;
    const said = [["truth", picture.truth], ["prediction", picture.prediction], ["other", picture.other]].filter(([, values]) => values)
      .map(([kind, values]) => `${kind}: ${values[index] === IGNORE ? "ignored" : titles[values[index]]}`);
    const map = get("layer") in MAP_LAYERS && heatOf(get("layer"));
    if (map) {
      const cell = Math.floor((y * map.height) / picture.height) * map.width + Math.floor((x * map.width) / picture.width);
      const { low, high } = map.payload;
      said.push(`${MAP_LAYERS[get("layer")].toLowerCase()}: ${short(low + (map.values[cell] / 255) * (high - low))}`);
    }
    pointed.textContent = [`x ${x}, y ${y}`, ...said].join("  ·  ");
  }
  /** Below the picture: what the marks mean and how much they cover, or the scale of the map. */
  function explainKey() {
    const layer = get("layer");
    if (["errors", "differences"].includes(layer) && picture) {
      const { marks, which } = marksOf(layer, picture, context());
      const found = new Float64Array(marks.length + 1);
      let counted = 0;
      for (let i = 0; i < picture.truth.length; i += 1) {
        found[which(i)] += 1;
        if (picture.truth[i] !== IGNORE) counted += 1;
      }
      key.replaceChildren(...marks.map(({ name, colour, slope }, number) => {
        const swatch = element("span", { className: `segnb-mark ${["segnb-falling", "", "segnb-rising"][slope + 1]}` });
        swatch.style.setProperty("--mark", `rgb(${colour})`);
        return element("span", { className: "segnb-field" }, swatch, `${name} ${percentText((100 * found[number + 1]) / (counted || 1))}`);
      }));
      return;
    }
    const map = layer in MAP_LAYERS && heatOf(layer);
    key.replaceChildren();
    if (!map) return;
    const bar = element("span", { className: "segnb-scale" });
    bar.style.background = `linear-gradient(to right, ${model.get("colours").filter((_, i) => i % 51 === 0).map((colour) => `rgb(${colour})`).join()})`;
    key.append(element("span", { className: "segnb-field" }, short(map.payload.low), bar, short(map.payload.high)), element("span", { className: "segnb-faint" }, map.payload.about));
    if (layer === "probability") {
      map.scores ??= thresholdScores(map.values, picture.truth, get("label"));
      key.append(element("span", { className: "segnb-iou" }, `outlined: at least ${get("threshold").toFixed(2)} · IoU ${short(map.scores(level()))}`));
    }
  }
  const keyOf = () => JSON.stringify([decoded, ...["layer", "label", "confused", "visible", "threshold", "stage", "channel", "shown"].map(get)]);
  let keyed = "";

  const refresh = onNextFrame(() => {
    const list = ranking();
    const [shown, layer, other, label, cell] = ["shown", "layer", "left", "label", "confused"].map(get);
    const place = list.indexOf(shown);
    strip.put(list.values, place);
    Object.assign(number, { value: place < 0 ? "" : place + 1, max: list.length, disabled: !list.length });
    of.textContent = `of ${list.length}`;
    previous.disabled = place <= 0;
    next.disabled = place === list.length - 1 || !list.length;
    order.fill({ ...(cell.length ? { "": "pixels of the cell" } : {}), ...orders });
    order.input.value = cell.length ? "" : get("metric");
    chosen.input.value = label;
    filter.input.value = label < 0 ? "all" : get("only");
    filter.input.disabled = label < 0 || cell.length > 0;
    cellTag.hidden = !cell.length;
    opened.textContent = cell.length ? `${list.length} with ${titles[cell[0]]} → ${titles[cell[1]]}` : "";

    for (const [name, input] of Object.entries(inputs)) {
      input.checked = name === layer;
      input.disabled = OF_A_CLASS.includes(name) && label < 0;
      input.parentElement.title = input.disabled ? "Choose a class first" : "";
    }
    const others = offered.filter((name) => name === other || (name !== layer && !inputs[name].disabled));
    left.fill({ "": "nothing", ...Object.fromEntries(others.map((name) => [name, TITLES[name].toLowerCase()])) });
    left.input.value = other;
    compare.field.hidden = !other;
    for (const [way, input] of Object.entries(compare.inputs)) input.checked = way === get("compare");
    line.field.hidden = !swiping();
    beside.node.hidden = !other || get("compare") !== "side";
    limit.field.hidden = ![layer, other].includes("probability");
    stageMenu.field.hidden = ![layer, other].some((name) => ["gradcam", "features"].includes(name));
    channelField.hidden = ![layer, other].includes("features");
    stageMenu.input.value = get("stage");
    channel.value = get("channel") < 0 ? "" : get("channel");
    fader.put(get("opacity"));
    limit.put(get("threshold"));
    line.put(get("split"));
    legend.put(get("visible"));

    tags.left.textContent = swiping() ? TITLES[other] : "";
    tags.right.textContent = other ? TITLES[layer] : "";
    tags.beside.textContent = other ? TITLES[other] : "";
    const value = scoreOf(shown);
    title.textContent = [names[shown], picture && `${picture.payload.width} × ${picture.payload.height}`, `${scoreTitle()} ${short(value)}`].filter(Boolean).join("  ·  ");
    stage.canvas.setAttribute("aria-label", `${names[shown]}: ${TITLES[layer]}`);
    writeLegend(shown);
    writeStatus();
    if (keyed !== keyOf()) {
      keyed = keyOf();
      explainKey();
    }
    root.classList.toggle("segnb-stale", picture?.payload.index !== shown);
    for (const one of [stage, beside]) one.redraw();
  });
  function writeLegend(shown) {
    const values = titles.map((_, label) => ("iou" in scores ? scoreOf(shown, "iou", label) : NaN)).map((value) => (Number.isNaN(value) ? null : 100 * value));
    legend.numbers(values, "iou" in scores ? "IoU here" : "");
    values.forEach((value, label) => legend.rows[label].row.classList.toggle("segnb-absent", value == null));
  }
  function writeStatus() {
    const waiting = [get("layer"), get("left")].filter((layer) => layer in MAP_LAYERS && !heatOf(layer));
    const progress = model.get("progress");
    working.hidden = progress < 0;
    working.value = Math.max(0, progress);
    if (model.get("error")) status.textContent = "";
    else if (picture?.payload.index !== get("shown")) status.textContent = "Predicting…";
    else if (waiting.length) status.textContent = `Computing ${waiting.map((layer) => TITLES[layer]).join(", ")}…`;
    else status.textContent = ranking().length ? model.get("note") : "No picture passes the filter";
  }

  let ended = false;
  for (const name of ["shown", "metric", "label", "only", "confused", "layer", "left", "compare", "split", "opacity", "threshold", "visible", "stage", "channel"]) state.on(name, refresh);
  for (const name of ["cell_pixels", "progress", "error"]) listen(`change:${name}`, refresh);
  state.on("confused", matrix.put);
  matrix.put(get("confused"));
  listen("change:picture", takePicture);
  listen("change:maps", takeMaps);
  root.onkeydown = (event) => {
    if (event.key === "Enter" && event.target === number) show(number.value - 1); // JupyterLab keeps Enter's "change" back
    if (event.key === "Enter" && event.target === channel) channel.onchange();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return; // those use the arrows themselves
    event.preventDefault();
    event.stopPropagation();
    step(by);
  };
  ends.push(() => {
    ended = true;
    for (const part of [stage, beside, strip, matrix]) part.close();
    picture?.photo.close();
  });
  point(null);
  refresh();
  takePicture();
  takeMaps();
  return close;
}

export default { render };
