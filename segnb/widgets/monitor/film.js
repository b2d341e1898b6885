// The film of a training: what was predicted for a few pictures after each epoch, with a slider over the epochs.
//
//     photo, truth (sent once) ──┐
//     labels of the epoch (PNG) ─┴─ canvas: the photo under the colours of the labels, or the pixels that are wrong
//
// The frames come as they are made; those of before the page was open are asked for once.

const FRAME = 250; // ms that a frame is seen while the film plays
const TINT = 0.65; // opacity of the labels
const WRONG = [213, 94, 0]; // vermillion, with white stripes

/** All pixels of a map, in the order that tint() and hatch() want. */
function everyPixel({ width, height }) {
  return { columns: Int32Array.from({ length: width }, (_, i) => i), rows: Int32Array.from({ length: height }, (_, j) => j * width) };
}

/** Draw a picture with a layer of colours; fill(words, grid) sets the pixels of the layer. */
function paintPicture(canvas, photo, size, { opacity = TINT, grey = false } = {}, fill = null) {
  const { width, height } = size;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 1;
  context.drawImage(photo, 0, 0, width, height);
  if (grey) {
    context.globalCompositeOperation = "saturation";
    context.fillStyle = "#808080";
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
  }
  if (!fill) return;
  const layer = sheet(width, height);
  const pen = layer.getContext("2d");
  const pixels = pen.createImageData(width, height);
  fill(new Uint32Array(pixels.data.buffer), everyPixel(size));
  pen.putImageData(pixels, 0, 0);
  context.globalAlpha = opacity;
  context.drawImage(layer, 0, 0);
}

/** One picture: its three canvases; load() decodes photo and truth, show() draws a prediction. */
function filmPicture(example, number) {
  const figure = (name) => {
    const canvas = element("canvas", { width: 1, height: 1, className: `segnb-film-${name}` });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name} of validation picture ${number}`);
    const caption = element("figcaption", {}, name);
    return { canvas, caption, node: element("figure", {}, canvas, caption) };
  };
  const [photo, truth, prediction] = ["photo", "truth", "prediction"].map(figure);
  const node = element("div", { className: "segnb-triple" }, photo.node, truth.node, prediction.node);
  let known = null;
  return {
    node,
    async load(table) {
      const [image, labels] = await Promise.all([bitmap(example.image, "image/jpeg"), greyMap(example.truth)]);
      known = { image, labels, table };
      paintPicture(photo.canvas, image, labels);
      paintPicture(truth.canvas, image, labels, {}, (words, grid) => tint(words, grid, labels.values, table));
      paintPicture(prediction.canvas, image, labels);
    },
    show(labels, errors) {
      if (!known || !labels || labels.values.length !== known.labels.values.length) return;
      const { image, labels: { values: right }, table } = known;
      const wrong = (place) => right[place] !== IGNORE && right[place] !== labels.values[place];
      if (errors) {
        const counted = right.reduce((sum, label) => sum + (label !== IGNORE), 0);
        const missed = right.reduce((sum, _, place) => sum + wrong(place), 0);
        prediction.caption.textContent = `wrong ${percentText(counted ? (100 * missed) / counted : 0)}`;
        paintPicture(prediction.canvas, image, labels, { grey: true, opacity: 0.9 },
          (words, grid) => hatch(words, grid, wrong, word(WRONG), 0.75));
      } else {
        prediction.caption.textContent = "prediction";
        paintPicture(prediction.canvas, image, labels, {}, (words, grid) => tint(words, grid, labels.values, table));
      }
    },
    close() { known?.image.close(); },
  };
}

/** The panel with the film: film(...).node; close() when the view ends. */
function film(model, state, listen) {
  const frames = new Map(); // epoch -> base64 text of the labels of each picture
  const epochs = () => model.get("film_epochs");
  let [pictures, at, timer, drawn] = [[], 0, 0, 0]; // at: place in epochs()

  const scrub = element("input", { type: "range", min: 0, max: 0, step: 1, value: 0, className: "segnb-scrub" });
  scrub.setAttribute("aria-label", "Epoch of the predictions");
  const shown = element("output", { className: "segnb-film-epoch" });
  const play = button("▶", "Play the film", () => state.set({ playing: !state.get("playing") }), "segnb-step segnb-play");
  const which = element("span", { className: "segnb-film-which" });
  const views = choice("What is shown of the prediction", { prediction: "Prediction", errors: "Errors" },
    (value) => state.set({ film_view: value }));
  const sheets = element("div", { className: "segnb-previews" });
  const node = element("section", { className: "segnb-film", hidden: true },
    element("div", { className: "segnb-tools" }, element("b", {}, "Validation pictures"), which, views.field,
      element("span", { className: "segnb-field segnb-scrubber" }, play, scrub, shown)), sheets);
  node.setAttribute("aria-label", "Predictions on validation pictures, by epoch");

  const take = (made) => { for (const [epoch, texts] of Object.entries(made)) frames.set(Number(epoch), texts); };
  const takeLatest = () => {
    const { epoch, frames: texts } = model.get("latest");
    if (epoch) take({ [epoch]: texts });
  };

  /** Draw the frame of the shown epoch; the last asked for wins, whatever is decoded first. */
  const redraw = onNextFrame(async () => {
    const [turn, list] = [(drawn += 1), epochs()];
    at = Math.min(at, Math.max(0, list.length - 1));
    scrub.max = Math.max(0, list.length - 1);
    scrub.value = at;
    scrub.disabled = play.disabled = list.length < 2;
    const epoch = list[at];
    shown.textContent = epoch ? `epoch ${epoch} of ${model.get("progress").epochs ?? epoch}` : "no epoch yet";
    scrub.setAttribute("aria-valuetext", shown.textContent);
    const only = state.get("film_picture");
    pictures.forEach((picture, i) => { picture.node.hidden = Boolean(only) && only !== i + 1; });
    sheets.classList.toggle("segnb-one", Boolean(only));
    const texts = frames.get(epoch) ?? [];
    const labels = await Promise.all(pictures.map((picture, i) => (picture.node.hidden ? null : greyMap(texts[i]))));
    if (turn === drawn) pictures.forEach((picture, i) => picture.show(labels[i], state.get("film_view") === "errors"));
  });

  /** Go to the epoch that the state names; 0 is the newest, whichever that is by then. */
  const follow = () => {
    if (timer) return;
    const place = epochs().indexOf(state.get("film_epoch"));
    at = place < 0 ? epochs().length - 1 : place;
    redraw();
  };
  const goTo = (place) => {
    at = place;
    state.set({ film_epoch: place === epochs().length - 1 ? 0 : epochs()[place] ?? 0 });
  };
  scrub.oninput = () => {
    const place = Number(scrub.value);
    if (state.get("playing")) state.set({ playing: false });
    goTo(place);
  };
  const roll = () => {
    clearInterval(timer);
    timer = 0;
    const playing = state.get("playing") && epochs().length > 1;
    play.textContent = playing ? "❚❚" : "▶";
    play.title = playing ? "Pause the film" : "Play the film";
    play.setAttribute("aria-label", play.title);
    if (!playing) return;
    if (at >= epochs().length - 1) at = 0; // from the beginning
    redraw();
    timer = setInterval(() => {
      at += 1;
      redraw();
      if (at >= epochs().length - 1) stop();
    }, FRAME);
  };
  const stop = () => state.set({ playing: false });
  state.on("playing", (playing) => {
    const rolling = Boolean(timer);
    roll();
    if (!playing && rolling) goTo(Math.max(0, at));
  });
  state.on("film_epoch", follow);
  state.on("film_picture", () => { checkWhich(); redraw(); });
  state.on("film_view", () => { views.inputs[state.get("film_view")].checked = true; redraw(); });
  views.inputs[state.get("film_view")].checked = true;

  let inputs = {};
  const checkWhich = () => { const input = inputs[state.get("film_picture")]; if (input) input.checked = true; };
  const build = async () => {
    pictures.forEach((picture) => picture.close());
    const mine = model.get("examples").map((example, i) => filmPicture(example, i + 1));
    pictures = mine;
    node.hidden = !mine.length;
    const numbers = Object.fromEntries([["0", "All"], ...mine.map((_, i) => [String(i + 1), String(i + 1)])]);
    const made = choice("Which validation picture", numbers, (value) => state.set({ film_picture: Number(value) }));
    inputs = made.inputs;
    which.replaceChildren(...(mine.length > 1 ? [made.field] : []));
    checkWhich();
    sheets.replaceChildren(...mine.map((picture) => picture.node));
    const palette = model.get("palette");
    const table = colourTable(palette, palette.map(() => true));
    await Promise.all(mine.map((picture) => picture.load(table)));
    if (pictures === mine) follow();
  };

  listen("change:examples", build);
  listen("change:latest", () => { takeLatest(); follow(); });
  listen("change:film_epochs", follow);
  listen("msg:custom", (message) => {
    if (message.type !== "film") return;
    take(message.frames);
    redraw();
  });
  takeLatest();
  build();
  roll();
  if (epochs().some((epoch) => !frames.has(epoch))) model.send({ type: "film" });
  return {
    node,
    close() {
      clearInterval(timer);
      pictures.forEach((picture) => picture.close());
      pictures = [];
    },
  };
}
