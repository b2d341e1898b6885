// A picture on a canvas, with zoom and pan. Python puts this text after shared.js for tools that show pictures.
//
//     photo ImageBitmap ─ drawImage ─┐
//     labels, probabilities (bytes) ─┴─ looked up once for every pixel of the SCREEN ─▶ canvas
//
// So a frame costs the same for a picture of 100 and of 16 million pixels, at any zoom.

const TALLEST = 520; // CSS pixels of the canvas
const ENLARGED = 8; // times a tiny picture is enlarged to begin with
const CLOSEST = 64; // CSS pixels of one picture pixel, at most
const IGNORE = 255;

/** Base64 text -> ImageBitmap, by way of a Blob: some front ends forbid fetch() of data URLs. */
async function bitmap(text, type, options) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type }), options);
}

function sheet(width, height) {
  return element("canvas", { width, height });
}

/** A grey PNG as base64 text -> { values: Uint8Array, width, height }. Colour management would change numbers: it is off. */
async function greyMap(text) {
  if (!text) return null;
  const image = await bitmap(text, "image/png", { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = image;
  const context = sheet(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const words = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  const values = new Uint8Array(words.length);
  for (let i = 0; i < words.length; i += 1) values[i] = words[i]; // the lowest byte is red
  return { values, width, height };
}

/** [r, g, b] -> one opaque pixel in memory order (little-endian: A B G R). */
function word([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** label -> pixel for the shown classes, nothing for the others: what tint() and contour() look up. */
function colourTable(palette, visible) {
  const table = new Uint32Array(256);
  palette.forEach((colour, label) => { if (visible[label]) table[label] = word(colour); });
  return table;
}

/** Fill the screen's pixels with the colours of their labels. */
function tint(words, { columns, rows }, labels, table) {
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    const row = rows[j];
    for (let i = 0; i < columns.length; i += 1, k += 1) words[k] = table[labels[row + columns[i]]];
  }
}

/** Colour the outlines only: screen pixels whose right or lower neighbours, `width` pixels on, bear another label. */
function contour(words, { columns, rows }, labels, table, width = 2) {
  const [right, below] = [columns.length - 1, rows.length - 1];
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    const [row, next, last] = [rows[j], rows[Math.min(below, j + width)], rows[Math.max(0, j - width)]];
    for (let i = 0; i < columns.length; i += 1, k += 1) {
      const label = labels[row + columns[i]];
      if (labels[next + columns[i]] !== label || labels[last + columns[i]] !== label
        || labels[row + columns[Math.min(right, i + width)]] !== label
        || labels[row + columns[Math.max(0, i - width)]] !== label) words[k] = table[label];
    }
  }
}

/** Slanted stripes over the screen pixels where test(place in the picture) holds: a mark that needs no colour vision. */
function hatch(words, { columns, rows }, test, colour, dense = 1) {
  const [white, period] = [0xffffffff, Math.round(8 * dense)];
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    for (let i = 0; i < columns.length; i += 1, k += 1) {
      if (test(rows[j] + columns[i])) words[k] = (i + j) % period < period / 4 ? white : colour;
    }
  }
}

/** Per cent of the counted pixels that each label covers. */
function shares(labels, count) {
  const pixels = new Uint32Array(256);
  for (let i = 0; i < labels.length; i += 1) pixels[labels[i]] += 1;
  const counted = labels.length - pixels[IGNORE];
  return Array.from({ length: count }, (_, label) => (counted ? (100 * pixels[label]) / counted : 0));
}

/** A number of per cent as short text; nothing for null. */
function percentText(value) {
  if (value == null) return "";
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
}

/**
 * The list of classes: colour, name, a number each, and a box that shows or hides the class.
 * legend.node; legend.numbers(list, heading, format) writes per cent, or what format(value) makes of the numbers;
 * legend.put(visible) follows a change made elsewhere.
 */
function classLegend(names, palette, visible, onchange) {
  let shown = [...visible];
  const rows = names.map((name, label) => {
    const box = element("input", { type: "checkbox", checked: shown[label] });
    box.onchange = () => { shown[label] = box.checked; onchange([...shown]); };
    const swatch = element("span", { className: "segnb-swatch" });
    swatch.style.background = `rgb(${palette[label]})`;
    const percent = element("span", { className: "segnb-percent" });
    const text = element("span", { className: "segnb-name", title: name }, name);
    return { box, percent, row: element("label", { className: "segnb-row" }, box, swatch, text, percent) };
  });
  const put = (list) => {
    shown = [...list];
    rows.forEach(({ box }, label) => { box.checked = shown[label]; });
  };
  const all = (on) => () => { put(names.map(() => on)); onchange([...shown]); };
  const column = element("span", { className: "segnb-faint" });
  const node = element("div", { className: "segnb-legend" },
    element("div", { className: "segnb-legend-head" }, element("b", {}, "Classes"), column),
    element("div", { className: "segnb-rows" }, ...rows.map(({ row }) => row)),
    element("div", { className: "segnb-all" }, button("All", "Show all classes", all(true)), button("None", "Hide all classes", all(false))));
  const numbers = (list, heading, format = percentText) => {
    column.textContent = heading;
    list.forEach((value, label) => {
      rows[label].percent.textContent = format(value);
      rows[label].row.classList.toggle("segnb-absent", !value);
    });
  };
  return { node, rows, put, numbers };
}

/**
 * The canvas. Options, all functions but the label:
 *   paint(brush)          draws a frame: brush.photo(), brush.colours(...), brush.context for lines (see below)
 *   hover(point or null)  the pointer or the keyboard's cross is over a picture pixel: { x, y, index }, whole numbers
 *   press(point, event)   a press begins; returns true to take the drag for the tool, else dragging pans the picture
 *   drag(point, event), release(point, event)   points also bear the exact place: { px, py }
 *   moved(stage)          zoom or place have changed; beside.follow(stage) keeps a second picture of that size in step
 * With the keyboard, while the canvas has the focus: arrows move a cross (Shift: 10 steps), Space presses and releases,
 * + and - zoom, 0 shows the whole picture. Ctrl and wheel zoom where the pointer is; a double click enlarges.
 */
class Stage {
  constructor({ label, paint, hover = () => {}, press = () => false, drag = () => {}, release = () => {}, moved = () => {} }) {
    Object.assign(this, { paint, hover, press, drag, release, moved });
    this.canvas = element("canvas", { className: "segnb-canvas", tabIndex: 0 });
    this.canvas.setAttribute("role", "application"); // arrows go to the canvas, not to a screen reader
    this.canvas.setAttribute("aria-label", label);
    this.zoomButtons = element("span", { className: "segnb-field segnb-zoom" },
      button("−", "Zoom out", () => this.zoomBy(1 / 1.5), "segnb-step"),
      button("+", "Zoom in", () => this.zoomBy(1.5), "segnb-step"),
      button("⤢", "Whole picture", () => this.whole(), "segnb-step"));
    this.node = element("div", { className: "segnb-stage" }, element("div", { className: "segnb-canvas-box" }, this.canvas));
    this.box = this.node.firstChild; // tools put tags over the picture here
    this.overlay = sheet(1, 1);
    this.backdrops = Object.fromEntries(["colour", "grey"].map((kind) => [kind, { canvas: sheet(1, 1), of: "" }]));
    this.photo = null;
    this.cross = null; // where the keyboard points, in picture pixels
    this.mark = null; // a point to be shown with a cross as well, for example the pointer's place in a picture beside this one
    this.redraw = onNextFrame(() => this.draw());
    this.listenToPointer();
    this.listenToKeys();
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.node);
  }

  /** To be called when the view ends. */
  close() {
    this.resized.disconnect();
    this.photo = null; // a frame that was asked for draws nothing any more: the picture may be closed
  }

  /** Show another picture: an ImageBitmap, and the size in pixels of its label maps (the photo's own unless given). */
  show(photo, width = photo.width, height = photo.height) {
    const other = width !== this.width || height !== this.height;
    Object.assign(this, { photo, width, height });
    for (const backdrop of Object.values(this.backdrops)) backdrop.of = "";
    if (other) {
      this.cross = null;
      this.zoom = 0;
    }
    this.fit();
  }

  // Place: `zoom` CSS pixels are one picture pixel; (left, top) is the picture's place in the canvas's upper left corner.

  /** Give the canvas the screen's own resolution; enlarge by whole numbers, so that pixels stay squares. */
  fit() {
    if (!this.photo || !this.node.clientWidth) return;
    const room = Math.max(120, this.node.clientWidth);
    let least = Math.min(room / this.width, TALLEST / this.height, ENLARGED);
    if (least >= 2) least = Math.floor(least);
    const whole = !this.zoom || this.zoom <= Math.max(least, this.least);
    this.least = least;
    this.dense = window.devicePixelRatio || 1;
    const [width, height] = [this.width, this.height].map((length) => Math.max(1, Math.round(length * least)));
    const [wide, high] = [width, height].map((length) => Math.max(1, Math.round(length * this.dense)));
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    if (whole) Object.assign(this, { zoom: least, left: 0, top: 0 });
    this.moveTo(this.left, this.top);
  }

  moveTo(left, top) {
    const seen = [this.canvas.width, this.canvas.height].map((length) => length / this.dense / this.zoom);
    this.left = Math.max(0, Math.min(this.width - seen[0], left));
    this.top = Math.max(0, Math.min(this.height - seen[1], top));
    this.redraw();
    this.moved(this);
  }

  /** Take over zoom and place of another stage. */
  follow({ zoom, left, top }) {
    if (!this.photo || (zoom === this.zoom && left === this.left && top === this.top)) return;
    Object.assign(this, { zoom, left, top });
    this.redraw();
  }

  /** Zoom about a place of the canvas, given in CSS pixels; about its middle unless given. */
  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.photo) return;
    const zoom = Math.max(this.least, Math.min(CLOSEST, this.zoom * factor));
    const [px, py] = [this.left + x / this.zoom, this.top + y / this.zoom];
    this.zoom = zoom;
    this.moveTo(px - x / zoom, py - y / zoom);
  }

  whole() {
    this.zoomBy(0);
  }

  /** Where an event of the pointer is in the picture. */
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.pointAt(this.left + (event.clientX - box.left) / this.zoom, this.top + (event.clientY - box.top) / this.zoom);
  }

  pointAt(px, py) {
    const x = Math.min(this.width - 1, Math.max(0, Math.floor(px)));
    const y = Math.min(this.height - 1, Math.max(0, Math.floor(py)));
    return { x, y, px, py, index: y * this.width + x };
  }

  // Drawing

  /** For every column and row of the screen, where its value lies in a label map. */
  grid() {
    const { canvas, dense, zoom, width, height } = this;
    const pixel = 1 / (zoom * dense);
    const place = (start, i, last) => Math.min(last, Math.max(0, Math.floor(start + (i + 0.5) * pixel)));
    const columns = Int32Array.from({ length: canvas.width }, (_, i) => place(this.left, i, width - 1));
    const rows = Int32Array.from({ length: canvas.height }, (_, j) => width * place(this.top, j, height - 1));
    return { columns, rows };
  }

  draw() {
    if (!this.photo || !this.zoom) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.paint(this.brush(context, this.grid()));
    const focused = this.canvas.matches(":focus");
    for (const point of [focused && this.cross, this.mark]) if (point) this.drawCross(context, point);
  }

  /**
   * What paint() draws with; `from` and `to` limit a layer to a part of the canvas's width (0 to 1).
   *   brush.photo({ grey, from, to })
   *   brush.colours(fill, opacity, { from, to })   fill(words, grid) sets screen pixels: tint, contour, hatch
   *   brush.inPicture(draw)   draw(context, pixel): one unit is one picture pixel, `pixel` units are one CSS pixel
   */
  brush(context, grid) {
    const { canvas, overlay } = this;
    const clipped = ({ from = 0, to = 1 } = {}, draw) => {
      const [start, end] = [Math.round(from * canvas.width), Math.round(to * canvas.width)];
      context.save();
      context.beginPath();
      context.rect(start, 0, end - start, canvas.height);
      context.clip();
      draw();
      context.restore();
    };
    return {
      context, grid, dense: this.dense,
      photo: (options = {}) => clipped(options, () => context.drawImage(this.scaledPhoto(options.grey), 0, 0)),
      colours: (fill, opacity = 1, options = {}) => clipped(options, () => {
        const pen = overlay.getContext("2d");
        if (overlay.width !== canvas.width || overlay.height !== canvas.height || !this.pixels) {
          Object.assign(overlay, { width: canvas.width, height: canvas.height });
          this.pixels = pen.createImageData(canvas.width, canvas.height); // kept: a new one in each frame would stop for garbage
        }
        const words = new Uint32Array(this.pixels.data.buffer);
        words.fill(0);
        fill(words, grid);
        pen.putImageData(this.pixels, 0, 0);
        context.globalAlpha = opacity;
        context.drawImage(overlay, 0, 0);
      }),
      inPicture: (draw) => {
        const scale = this.zoom * this.dense;
        context.save();
        context.setTransform(scale, 0, 0, scale, -this.left * scale, -this.top * scale);
        draw(context, 1 / this.zoom);
        context.restore();
      },
    };
  }

  /** The photo at the present zoom and place, scaled once and kept: scaling a large one takes longer than a frame has. */
  scaledPhoto(grey = false) {
    const { canvas, photo, zoom, left, top } = this;
    const backdrop = this.backdrops[grey ? "grey" : "colour"];
    const of = [zoom, left, top, canvas.width, canvas.height].join();
    if (backdrop.of === of) return backdrop.canvas;
    Object.assign(backdrop.canvas, { width: canvas.width, height: canvas.height });
    const context = backdrop.canvas.getContext("2d");
    context.imageSmoothingEnabled = zoom < 2;
    context.imageSmoothingQuality = "high";
    const [across, down] = [photo.width / this.width, photo.height / this.height];
    const [wide, high] = [canvas.width, canvas.height].map((length) => length / (zoom * this.dense));
    context.drawImage(photo, left * across, top * down, wide * across, high * down, 0, 0, canvas.width, canvas.height);
    if (grey) {
      context.globalCompositeOperation = "saturation"; // the photo loses its colours, marks stand out
      context.fillStyle = "#808080";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    backdrop.of = of;
    return backdrop.canvas;
  }

  drawCross(context, point) {
    const scale = this.zoom * this.dense;
    const [x, y] = [(point.x + 0.5 - this.left) * scale, (point.y + 0.5 - this.top) * scale];
    for (const [width, colour] of [[4, "rgb(0 0 0 / 70%)"], [1.5, "#ffffff"]]) {
      context.lineWidth = width * this.dense;
      context.strokeStyle = colour;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx * this.dense, y + 4 * dy * this.dense);
        context.lineTo(x + 11 * dx * this.dense, y + 11 * dy * this.dense);
      }
      context.stroke();
    }
  }

  // Pointer and keyboard

  listenToPointer() {
    const { canvas } = this;
    let [held, panned, taken] = ["", null, false]; // taken: the last press was the tool's, so two of them do not zoom
    canvas.onpointerdown = (event) => {
      if (!this.photo || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      taken = this.press(this.point(event), event);
      held = taken ? "tool" : "picture";
      panned = { x: event.clientX, y: event.clientY, left: this.left, top: this.top };
    };
    canvas.onpointermove = (event) => {
      if (!this.photo) return;
      this.hover(this.point(event));
      if (held === "tool") this.drag(this.point(event), event);
      if (held === "picture") {
        this.moveTo(panned.left - (event.clientX - panned.x) / this.zoom, panned.top - (event.clientY - panned.y) / this.zoom);
      }
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => {
      if (held === "tool") this.release(this.point(event), event);
      held = "";
    };
    canvas.onpointerleave = () => this.hover(null);
    canvas.ondblclick = (event) => {
      const box = canvas.getBoundingClientRect();
      if (!taken) this.zoomBy(2, event.clientX - box.left, event.clientY - box.top);
    };
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
  }

  listenToKeys() {
    let held = false;
    const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.canvas.onkeydown = (event) => {
      if (!this.photo || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in zooms) this.zoomBy(zooms[event.key], ...this.crossPlace());
      else if (event.key === "0") this.whole();
      else if (event.key in steps) {
        const [dx, dy] = steps[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
        const from = this.cross ?? this.pointAt(this.left + this.canvas.clientWidth / this.zoom / 2, this.top + this.canvas.clientHeight / this.zoom / 2);
        this.putCross(from.x + dx, from.y + dy);
        if (held) this.drag(this.cross, event);
      } else if (event.key === " " && this.cross) {
        if (!event.repeat) { // Space held down is one press
          if (held) this.release(this.cross, event);
          held = !held && Boolean(this.press(this.cross, event));
        }
      } else return;
      event.preventDefault();
      event.stopPropagation();
      this.redraw();
    };
    this.canvas.addEventListener("blur", () => {
      if (held) this.release(this.cross, null);
      held = false;
      this.redraw();
    });
  }

  crossPlace() {
    return this.cross ? [(this.cross.x + 0.5 - this.left) * this.zoom, (this.cross.y + 0.5 - this.top) * this.zoom] : [];
  }

  /** Move the keyboard's cross to a picture pixel and bring that into view. */
  putCross(x, y) {
    this.cross = this.pointAt(Math.max(0, x) + 0.5, Math.max(0, y) + 0.5);
    this.cross = this.pointAt(this.cross.x + 0.5, this.cross.y + 0.5); // the middle of a pixel inside the picture
    const [wide, high] = [this.canvas.clientWidth / this.zoom, this.canvas.clientHeight / this.zoom];
    const into = (place, start, length) => Math.max(Math.min(start, place - 0.1 * length), place - 0.9 * length);
    this.moveTo(into(this.cross.x, this.left, wide), into(this.cross.y, this.top, high));
    this.hover(this.cross);
  }
}
