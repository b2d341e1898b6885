// The mask viewer: pictures come once from Python; everything after that is drawn here, without asking the kernel.

const LAYERS = { photo: "Photo", truth: "Truth", prediction: "Prediction", errors: "Errors" };
const IGNORE = 255;
const TALLEST = 520; // CSS pixels of the canvas
const LARGEST = 8; // times a tiny picture is enlarged
const KEEP = 24; // decoded pictures in memory

/** Base64 text -> ImageBitmap, by way of a Blob: some front ends forbid fetch() of data URLs. */
async function bitmap(text, type, options) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type }), options);
}

function sheet(width, height) {
  return element("canvas", { width, height });
}

/** A grey PNG -> one label per pixel. Colour management would change the numbers, so it is off. */
async function labelMap(text) {
  if (!text) return null;
  const image = await bitmap(text, "image/png", { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = sheet(image.width, image.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  return Uint8Array.from({ length: image.width * image.height }, (_, i) => pixels[4 * i]);
}

/** Per cent of the counted pixels that each label covers. */
function shares(labels, count) {
  const pixels = new Uint32Array(256);
  for (const label of labels) pixels[label] += 1;
  const counted = labels.length - pixels[IGNORE];
  return Array.from({ length: count }, (_, label) => (counted ? (100 * pixels[label]) / counted : 0));
}

/** Per cent of each true class that is predicted as something else; null for a class that does not occur. */
function mistakes(truth, prediction, count) {
  const [pixels, wrong] = [new Uint32Array(256), new Uint32Array(256)];
  for (let i = 0; i < truth.length; i += 1) {
    pixels[truth[i]] += 1;
    if (truth[i] !== prediction[i]) wrong[truth[i]] += 1;
  }
  return Array.from({ length: count }, (_, label) => (pixels[label] ? (100 * wrong[label]) / pixels[label] : null));
}

/** Slanted stripes, so that errors show by pattern and not by colour alone. */
function stripes(context, scale) {
  const size = Math.round(8 * scale);
  const tile = sheet(size, size);
  const pen = tile.getContext("2d");
  pen.fillStyle = "#d81b78";
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = size / 4;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat");
}

class Picture {
  /** Decode one message of Python. */
  static async from(payload) {
    const picture = new Picture();
    const [photo, truth, prediction] = await Promise.all([
      bitmap(payload.image, "image/jpeg"), labelMap(payload.truth), labelMap(payload.prediction),
    ]);
    return Object.assign(picture, {
      payload, photo, width: photo.width, height: photo.height, labels: { truth, prediction }, painted: {},
    });
  }

  layers() {
    const { truth, prediction } = this.labels;
    return ["photo", truth && "truth", prediction && "prediction", truth && prediction && "errors"].filter(Boolean);
  }

  /** The colours of one layer as a canvas of the picture's own size; kept until the shown classes change. */
  paint(layer, visible, palette) {
    const version = visible.join();
    if (this.painted[layer]?.version === version) return this.painted[layer].canvas;
    const canvas = this.painted[layer]?.canvas ?? sheet(this.width, this.height);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(this.width, this.height);
    const words = new Uint32Array(pixels.data.buffer);
    const { truth, prediction } = this.labels;
    if (layer === "errors") {
      for (let i = 0; i < words.length; i += 1) {
        const wrong = truth[i] !== prediction[i] && truth[i] !== IGNORE;
        if (wrong && (visible[truth[i]] || visible[prediction[i]])) words[i] = 0xffffffff;
      }
    } else {
      const table = new Uint32Array(256); // label -> opaque colour in memory order (little-endian: A B G R), or nothing
      palette.forEach(([r, g, b], label) => {
        if (visible[label]) table[label] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
      });
      const labels = this.labels[layer];
      for (let i = 0; i < words.length; i += 1) words[i] = table[labels[i]];
    }
    context.putImageData(pixels, 0, 0);
    this.painted[layer] = { version, canvas };
    return canvas;
  }

  /** Per cent for the legend: of the picture's area, or in the map of errors of the class's own area. */
  percent(layer, count) {
    const { truth, prediction } = this.labels;
    if (layer === "photo") layer = prediction && !truth ? "prediction" : "truth";
    if (layer === "errors") return mistakes(truth, prediction, count);
    return this.labels[layer] ? shares(this.labels[layer], count) : Array(count).fill(null);
  }
}

/** A row of radio buttons that looks like one switch. */
function choice(label, name, options, onchange) {
  const field = element("fieldset", { className: "segnb-choice" }, element("legend", {}, label));
  const inputs = {};
  for (const [value, text] of Object.entries(options)) {
    inputs[value] = element("input", { type: "radio", name, value, onchange: () => onchange(value) });
    field.append(element("label", {}, inputs[value], element("span", {}, text)));
  }
  return { field, inputs };
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Mask viewer");
  root.classList.add("segnb-viewer");
  root.tabIndex = 0;

  const [names, palette, count] = [model.get("class_names"), model.get("palette"), model.get("count")];
  const cache = new Map(); // index -> Promise of a Picture, oldest first
  const waiting = new Map(); // index -> how to deliver it
  const visible = names.map((name) => name.toLowerCase() !== "background"); // its colour would cover the whole picture
  let [index, layer, against, opacity, split, picture] = [0, "", "", 0.55, 0.5, null];
  let zoom = 1;

  // Controls

  const button = (text, label, onclick) => {
    const node = element("button", { type: "button", className: "segnb-step", onclick, title: label }, text);
    node.setAttribute("aria-label", label);
    return node;
  };
  const previous = button("‹", "Previous picture", () => show(index - 1));
  const next = button("›", "Next picture", () => show(index + 1));
  const number = element("input", { type: "number", min: 1, max: count, value: 1, onchange: () => show(number.value - 1) });
  number.setAttribute("aria-label", "Number of the picture");
  const title = element("span", { className: "segnb-title" });
  const group = `segnb-${Math.random().toString(36).slice(2)}`; // radio buttons of two viewers must not share a name
  const layers = choice("Show", group, LAYERS, (value) => { layer = value; update(); });
  const slider = (className, label, value, oninput) => {
    const node = element("input", { type: "range", className, min: 0, max: 100, value });
    node.setAttribute("aria-label", label);
    node.oninput = () => oninput(node.value / 100);
    return node;
  };
  const shown = element("output", { className: "segnb-faint" }, "55 %");
  const fader = slider("segnb-opacity", "Opacity of the colours", 55, (value) => {
    opacity = value;
    shown.textContent = `${Math.round(100 * value)} %`;
    draw();
  });
  const swipe = slider("segnb-swipe", "Place of the dividing line", 50, (value) => { split = value; draw(); });
  const other = element("select", { className: "segnb-against", onchange: () => { against = other.value; update(); } });
  other.setAttribute("aria-label", "Layer on the left of the dividing line");

  const canvas = element("canvas", { className: "segnb-canvas" });
  canvas.setAttribute("role", "img");
  const tags = [element("span", { className: "segnb-tag" }), element("span", { className: "segnb-tag segnb-right" })];
  const stage = element("div", { className: "segnb-stage" }, element("div", { className: "segnb-canvas-box" }, canvas, ...tags));
  const pointed = element("span", { className: "segnb-faint segnb-pointed" });
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");

  const rows = names.map((name, label) => {
    const box = element("input", { type: "checkbox", checked: visible[label] });
    box.onchange = () => { visible[label] = box.checked; draw(); };
    const swatch = element("span", { className: "segnb-swatch" });
    swatch.style.background = `rgb(${palette[label]})`;
    const percent = element("span", { className: "segnb-percent" });
    const text = element("span", { className: "segnb-name", title: name }, name);
    return { box, percent, row: element("label", { className: "segnb-row" }, box, swatch, text, percent) };
  });
  const all = (on) => () => {
    rows.forEach(({ box }, label) => { visible[label] = box.checked = on; });
    draw();
  };
  const column = element("span", { className: "segnb-faint" });
  const legend = element("div", { className: "segnb-legend" },
    element("div", { className: "segnb-legend-head" }, element("b", {}, "Classes"), column),
    element("div", { className: "segnb-rows" }, ...rows.map(({ row }) => row)),
    element("div", { className: "segnb-all" },
      element("button", { type: "button", onclick: all(true) }, "All"),
      element("button", { type: "button", onclick: all(false) }, "None")));

  const opacityLabel = element("label", { className: "segnb-field" }, "Opacity", fader, shown);
  const compare = element("span", { className: "segnb-field" }, "Swipe against", other, swipe);
  root.append(
    element("div", { className: "segnb-bar-top" },
      element("span", { className: "segnb-field" }, previous, number, element("span", { className: "segnb-faint" }, `of ${count}`), next),
      title, layers.field),
    element("div", { className: "segnb-body" }, stage, legend),
    element("div", { className: "segnb-bar-bottom" }, opacityLabel, compare),
    element("div", { className: "segnb-status" }, pointed, status), problem);

  // Pictures

  function fetchPicture(i) {
    if (!cache.has(i)) {
      cache.set(i, new Promise((deliver) => {
        waiting.set(i, deliver);
        model.send({ type: "picture", index: i });
      }));
      if (cache.size > KEEP) cache.delete(cache.keys().next().value);
    }
    return cache.get(i);
  }
  for (const payload of model.get("pictures")) cache.set(payload.index, Picture.from(payload));
  listen("msg:custom", (message) => {
    if (message.type !== "picture") return;
    waiting.get(message.index)?.(Picture.from(message));
    waiting.delete(message.index);
  });
  listen("change:error", () => {
    for (const i of waiting.keys()) cache.delete(i); // ask again when it is wanted again
    waiting.clear();
    status.textContent = "";
  });

  async function show(wanted) {
    index = Math.min(count - 1, Math.max(0, Math.round(Number(wanted) || 0)));
    number.value = index + 1;
    previous.disabled = index === 0;
    next.disabled = index === count - 1;
    const slow = setTimeout(() => { status.textContent = "Waiting for the kernel…"; }, 300);
    const here = index;
    const loaded = await fetchPicture(here);
    clearTimeout(slow);
    if (here !== index) return; // the reader has gone on
    picture = loaded;
    problem.textContent = "";
    status.textContent = "";
    update();
    if (index + 1 < count) fetchPicture(index + 1);
  }

  // Drawing

  /** Set the controls to what this picture offers, then draw. */
  function update() {
    const offered = picture.layers();
    if (!offered.includes(layer)) layer = offered.includes("prediction") ? "prediction" : offered.at(-1);
    for (const [value, input] of Object.entries(layers.inputs)) {
      input.parentElement.hidden = !offered.includes(value);
      input.checked = value === layer;
    }
    const others = offered.filter((value) => value !== layer);
    if (!others.includes(against)) against = "";
    other.replaceChildren(
      element("option", { value: "" }, "nothing"),
      ...others.map((value) => element("option", { value }, LAYERS[value].toLowerCase())));
    other.value = against;
    swipe.disabled = !against;

    const { name, width, height } = picture.payload;
    title.textContent = `${name}  ·  ${width} × ${height}`;
    canvas.setAttribute("aria-label", `${name}: ${LAYERS[layer]}`);
    column.textContent = layer === "errors" ? "wrong" : "area";
    picture.percent(layer, names.length).forEach((value, label) => {
      rows[label].percent.textContent = value == null ? "" : value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
      rows[label].row.classList.toggle("segnb-absent", !value);
    });
    fit();
    draw();
  }

  /** Give the canvas the screen's own resolution; enlarge by whole numbers, so that pixels stay squares. */
  function fit() {
    if (!picture) return;
    const room = Math.max(120, stage.clientWidth);
    zoom = Math.min(room / picture.width, TALLEST / picture.height, LARGEST);
    if (zoom >= 2) zoom = Math.floor(zoom);
    const [width, height] = [Math.round(picture.width * zoom), Math.round(picture.height * zoom)];
    const dense = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }

  function drawLayer(context, what) {
    const { width, height } = canvas;
    context.imageSmoothingEnabled = zoom < 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.photo, 0, 0, width, height);
    if (what === "photo") return;
    const colours = picture.paint(what, visible, palette);
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = zoom < 1;
    if (what === "errors") {
      context.globalAlpha = 1;
      context.globalCompositeOperation = "saturation"; // with grey: the photo loses its colours, the marks stand out
      context.fillStyle = "#808080";
      context.fillRect(0, 0, width, height);
      context.globalCompositeOperation = "source-over";
      context.globalAlpha = opacity;
      const marks = sheet(width, height);
      const pen = marks.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.drawImage(colours, 0, 0, width, height);
      pen.globalCompositeOperation = "source-in";
      pen.fillStyle = stripes(pen, window.devicePixelRatio || 1);
      pen.fillRect(0, 0, width, height);
      context.drawImage(marks, 0, 0);
    } else {
      context.drawImage(colours, 0, 0, width, height);
    }
    context.globalAlpha = 1;
  }

  const draw = onNextFrame(() => {
    if (!picture) return;
    const context = canvas.getContext("2d");
    drawLayer(context, layer);
    if (against) {
      const edge = Math.round(split * canvas.width);
      context.save();
      context.beginPath();
      context.rect(0, 0, edge, canvas.height);
      context.clip();
      drawLayer(context, against);
      context.restore();
      context.fillStyle = "rgb(0 0 0 / 60%)";
      context.fillRect(edge - 2, 0, 4, canvas.height);
      context.fillStyle = "#ffffff";
      context.fillRect(edge - 1, 0, 2, canvas.height);
    }
    if (!canvas.matches(":hover")) advise();
    tags[0].textContent = against ? LAYERS[against] : "";
    tags[1].textContent = against ? LAYERS[layer] : "";
  });

  // Pointer and keyboard

  function moveSplit(event) {
    const box = canvas.getBoundingClientRect();
    split = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    swipe.value = Math.round(100 * split);
    draw();
  }
  canvas.onpointerdown = (event) => {
    if (!against) return;
    canvas.setPointerCapture(event.pointerId);
    moveSplit(event);
  };
  canvas.onpointermove = (event) => {
    if (against && canvas.hasPointerCapture(event.pointerId)) moveSplit(event);
    if (!picture) return;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [[event.clientX - box.left, box.width, picture.width], [event.clientY - box.top, box.height, picture.height]]
      .map(([place, length, pixels]) => Math.min(pixels - 1, Math.max(0, Math.floor((place / length) * pixels))));
    const said = ["truth", "prediction"].filter((kind) => picture.labels[kind]).map((kind) => {
      const label = picture.labels[kind][y * picture.width + x];
      return `${kind}: ${label === IGNORE ? "ignored" : names[label]}`;
    });
    pointed.textContent = [`x ${x}, y ${y}`, ...said].join("  ·  ");
  };
  const advise = () => { pointed.textContent = against ? "Drag the line over the picture" : "← → other pictures"; };
  canvas.onpointerleave = advise;
  root.onkeydown = (event) => {
    if (event.key === "Enter" && event.target === number) show(number.value - 1); // JupyterLab keeps Enter's "change" back
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || ["INPUT", "SELECT"].includes(event.target.tagName)) return; // those use the arrows themselves
    event.preventDefault();
    event.stopPropagation();
    show(index + step);
  };
  const resized = new ResizeObserver(() => { fit(); draw(); });
  resized.observe(stage);
  ends.push(() => resized.disconnect());

  show(0);
  return close;
}

export default { render };
