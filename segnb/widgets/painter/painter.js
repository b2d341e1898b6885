// The painter: strokes change the labels in the page at once; the kernel gets each one when it ends, and has the last word.

const HINTS = {
  brush: "Drag to paint", eraser: "Drag to unlabel",
  polygon: "Click the corners, then the first one again or Enter; Backspace takes the last one back",
  fill: "Click an area to fill it", snap: "Drag over superpixels to paint them", move: "Drag to move the picture",
};
const LARGEST_BRUSH = 500;
const NEAR = 9; // CSS pixels from a polygon's first corner that close it

/** Draw the outline of the area whose value is `wanted`: it stands out without its colour. */
function outlineOf(words, { columns, rows }, values, wanted, colour, width) {
  const [right, below] = [columns.length - 1, rows.length - 1];
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    const [row, next, last] = [rows[j], rows[Math.min(below, j + width)], rows[Math.max(0, j - width)]];
    for (let i = 0; i < columns.length; i += 1, k += 1) {
      const column = columns[i];
      if (values[row + column] === wanted && (values[next + column] !== wanted || values[last + column] !== wanted
        || values[row + columns[Math.min(right, i + width)]] !== wanted
        || values[row + columns[Math.max(0, i - width)]] !== wanted)) words[k] = colour;
    }
  }
}

/** Per cent of the picture that each label covers; the last number is what bears none. */
function areas(labels, count) {
  const pixels = new Uint32Array(256);
  for (let i = 0; i < labels.length; i += 1) pixels[labels[i]] += 1;
  return [...pixels.subarray(0, count), pixels[IGNORE]].map((number) => (100 * number) / labels.length);
}

/** The labels of one picture in the page: what the kernel last said, with the strokes on top that it has not confirmed. */
class Painting {
  constructor(message, photo, labels) {
    const { index, name, width, height } = message;
    Object.assign(this, { index, name, width, height, photo, labels, superpixels: null });
  }

  /** Put a rectangle of labels in its place. */
  put({ values, width, height }, left, top) {
    for (let row = 0; row < height; row += 1) {
      this.labels.set(values.subarray(row * width, (row + 1) * width), (top + row) * this.width + left);
    }
  }

  begin(label) {
    return new Stroke(this.labels, this.width, this.height, label);
  }
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Mask painter");
  root.classList.add("segnb-painter");
  const state = linked(model, listen);
  const [names, palette, count] = [model.get("class_names"), model.get("palette"), model.get("order").length];
  const view = Math.random().toString(36).slice(2); // names this view's strokes among those of all views
  let [painting, stroke, last, over, strokes, waiting, cutting, closed] = [null, null, null, null, 0, 0, 0, false];
  let [corners, pending] = [[], []];

  // To the kernel: one message after the other, in the order in which things were done

  let sending = Promise.resolve();
  const send = (type, more = {}, index = state.get("index")) => {
    sending = sending.then(async () => model.send({ type, index, ...(more instanceof Function ? await more() : more) }))
      .catch((error) => { problem.textContent = `${error}`; });
  };
  const wait = (text) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { status.textContent = text; }, 300);
  };
  const arrived = (text = "") => {
    clearTimeout(waiting);
    status.textContent = text;
  };
  ends.push(() => clearTimeout(waiting));
  const ask = (photo) => {
    send("picture", { photo });
    wait("Waiting for the kernel…");
  };

  const act = {
    send: (type) => { endStroke(); send(type); },
    done: (done) => send("done", { done }),
    predict: (where) => { send("predict", { where, label: state.get("label") }); wait("Predicting…"); },
    goTo(place) {
      const order = state.get("order");
      const index = order[Math.min(count - 1, Math.max(0, Math.round(Number(place) || 0)))];
      endStroke();
      if (index !== state.get("index")) state.set({ index });
    },
    goBy(step) { this.goTo(state.get("order").indexOf(state.get("index")) + step); },
  };

  // Controls

  const picker = classPicker(names, palette, (label) => state.set({ label }));
  const stage = new Stage({ label: "Picture to paint", paint, hover, press, drag, release: endStroke });
  ends.push(() => stage.close());
  stage.canvas.style.touchAction = "none"; // a pen paints, it does not scroll
  stage.canvas.addEventListener("blur", () => hover(null));
  const bar = controls(state, count, stage.zoomButtons, act);
  const pointed = element("span", { className: "segnb-faint segnb-pointed" });
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const code = copyAsCode(model, listen);
  root.append(bar.top, bar.middle,
    element("div", { className: "segnb-body" }, stage.node, picker.node),
    element("div", { className: "segnb-status" }, pointed, status),
    element("div", { className: "segnb-tools" }, bar.opacity, bar.prediction, code.field), code.text, problem,
    element("details", { className: "segnb-faint segnb-keys" }, element("summary", {}, "Keys"),
      "B brush · E eraser · P polygon · F fill · S snap · M move · 1–9 class · [ ] size · Z undo · D done · Page up/down picture. "
      + "On the picture: arrows and Space paint, + − 0 zoom, Shift-drag moves it."));

  // From the kernel: one message after the other, though pictures take time to decode

  let arriving = Promise.resolve();
  const receive = (message) => {
    const handle = { picture: showPicture, edit: takeEdit, superpixels: takeSuperpixels, saved, refused }[message.type];
    if (handle) arriving = arriving.then(() => (closed ? null : handle(message))).catch((error) => { problem.textContent = `${error}`; });
  };
  listen("msg:custom", receive);
  listen("change:error", () => arrived());
  ends.push(() => {
    closed = true;
    painting?.photo.close();
    stage.photo = null; // a frame that was asked for before must not draw it
  });

  async function showPicture(message) {
    if (message.index !== state.get("index")) return;
    const same = painting?.index === message.index;
    if (!message.image && !same) return; // another view asked
    const labels = (await greyMap(message.labels)).values;
    const photo = message.image ? await bitmap(message.image, "image/jpeg") : painting.photo;
    if (closed) return photo.close();
    if (painting && photo !== painting.photo) painting.photo.close();
    const superpixels = same ? painting.superpixels : null;
    painting = Object.assign(new Painting(message, photo, labels), { superpixels });
    if (!same) [corners, over] = [[], null]; // they are places in another picture
    layAgain();
    stage.show(photo, message.width, message.height);
    stage.canvas.classList.remove("segnb-outdated");
    bar.title.textContent = `${message.name}  ·  ${message.width} × ${message.height}`;
    bar.steps(message.steps);
    arrived();
    measure();
    needSuperpixels();
  }

  async function takeEdit(message) {
    pending = pending.filter(({ id }) => id !== message.stroke);
    if (message.index !== painting?.index) return;
    if (message.labels) painting.put(await greyMap(message.labels), message.x, message.y);
    layAgain();
    bar.steps(message.steps);
    arrived();
    measure();
  }

  async function takeSuperpixels(message) {
    if (message.index !== painting?.index || message.size !== state.get("superpixel_size")) return;
    painting.superpixels = new Superpixels(await numberMap(message.ids));
    arrived();
    stage.redraw();
  }

  function saved(message) {
    arrived(`Saved ${message.file}`);
  }

  /** The kernel could not take a stroke: show what it has. */
  function refused(message) {
    pending = pending.filter(({ id }) => id !== message.stroke);
    if (message.index === painting?.index) ask(false);
  }

  /** Lay what the kernel has not confirmed over what it sent. */
  function layAgain() {
    const mine = pending.filter(({ index }) => index === painting.index).map((one) => one.stroke);
    for (const one of stroke ? [...mine, stroke] : mine) {
      one.labels = painting.labels;
      one.again();
    }
  }

  function measure() {
    picker.numbers(areas(painting.labels, names.length), "area");
    hover(over); // the label under the pointer may be another one now
  }

  function needSuperpixels() {
    if (state.get("tool") !== "snap" || !painting || painting.superpixels) return;
    send("superpixels", { size: state.get("superpixel_size") });
    wait("Cutting the picture into superpixels…");
  }

  // Drawing

  function paint(brush) {
    brush.photo();
    if (!painting) return;
    const alpha = Math.round(255 * state.get("opacity"));
    const table = colourTable(palette, names.map(() => true)).map((colour) => (colour ? ((colour & 0xffffff) | (alpha << 24)) >>> 0 : 0));
    const { labels, superpixels } = painting;
    const chosen = state.get("label");
    const width = Math.max(1, Math.round(brush.dense));
    brush.colours((words, grid) => {
      tint(words, grid, labels, table);
      if (alpha && chosen !== IGNORE) outlineOf(words, grid, labels, chosen, 0xffffffff, width);
      if (superpixels && over && state.get("tool") === "snap") {
        outlineOf(words, grid, superpixels.ids, superpixels.ids[over.index], 0xff00ffff, 2 * width);
      }
    });
    if (over || corners.length) brush.inPicture(drawTool);
  }

  /** The brush's circle, or the polygon so far: black under white, to be seen on any picture. */
  function drawTool(context, pixel) {
    const tool = state.get("tool");
    const path = new Path2D();
    if (over && ["brush", "eraser"].includes(tool)) {
      const [size, middle] = [state.get("size"), (state.get("size") % 2) / 2];
      path.arc(over.x + middle, over.y + middle, Math.max(size / 2, 2 * pixel), 0, 2 * Math.PI);
    }
    if (tool === "polygon") {
      const all = over ? [...corners, over] : corners;
      all.forEach(({ x, y }, i) => path[i ? "lineTo" : "moveTo"](x + 0.5, y + 0.5));
      for (const { x, y } of corners) path.rect(x + 0.5 - 2.5 * pixel, y + 0.5 - 2.5 * pixel, 5 * pixel, 5 * pixel);
    }
    for (const [width, colour] of [[3, "rgb(0 0 0 / 65%)"], [1.25, "#ffffff"]]) {
      context.lineWidth = width * pixel;
      context.strokeStyle = colour;
      context.stroke(path);
    }
  }

  function hover(point) {
    over = point;
    if (!painting || !point) pointed.textContent = HINTS[state.get("tool")];
    else {
      const label = painting.labels[point.index];
      pointed.textContent = `x ${point.x}, y ${point.y}  ·  ${label === IGNORE ? "unlabelled" : names[label]}`;
    }
    stage.redraw();
  }

  // Strokes

  function press(point, event) {
    const tool = state.get("tool");
    const byKey = event.type === "keydown";
    if (!painting || painting.index !== state.get("index") || tool === "move" || (event.shiftKey && !byKey)) return false;
    if (tool === "fill") {
      const [label, within, tolerance] = ["label", "within", "tolerance"].map(state.get);
      send("fill", { x: point.x, y: point.y, label, within, tolerance });
      wait("Filling…");
      return !byKey;
    }
    if (tool === "polygon") {
      addCorner(point);
      return !byKey;
    }
    if (tool === "snap" && !painting.superpixels) return true;
    stroke = painting.begin(tool === "eraser" ? IGNORE : state.get("label"));
    last = point;
    drag(point);
    return true;
  }

  function drag(point) {
    if (!stroke) return;
    if (state.get("tool") === "snap") stroke.snap(last, point, painting.superpixels);
    else stroke.brush(last, point, state.get("size"));
    last = point;
    stage.redraw();
  }

  /** Hand the stroke to the kernel. */
  function endStroke() {
    if (!stroke) return;
    const ended = stroke;
    stroke = null;
    strokes += 1;
    const id = `${view}-${strokes}`;
    pending.push({ id, index: painting.index, stroke: ended });
    bar.steps([1, 0]);
    const { left: x, top: y } = ended.box;
    send("paint", async () => ({ x, y, label: ended.label, stroke: id, covered: await ended.png() }), painting.index);
    measure();
  }

  function addCorner(point) {
    const near = corners.length > 2 && Math.hypot(point.x - corners[0].x, point.y - corners[0].y) * stage.zoom <= NEAR;
    if (near) return closePolygon();
    const [x, y] = [point.x, point.y];
    if (corners.at(-1)?.x !== x || corners.at(-1)?.y !== y) corners.push({ x, y }); // a double click is one corner
    return stage.redraw();
  }

  function closePolygon() {
    if (corners.length && painting) {
      stroke = painting.begin(state.get("label"));
      stroke.polygon(corners);
      corners = [];
      endStroke();
    }
  }

  // Keys and state

  const toolKeys = {
    Enter: closePolygon,
    Escape: () => { corners = []; stage.redraw(); },
    Backspace: () => { corners.pop(); stage.redraw(); },
  };
  const resize = (up) => {
    const [name, low, high] = state.get("tool") === "snap" ? ["superpixel_size", 5, 100] : ["size", 1, LARGEST_BRUSH];
    const step = Math.max(1, Math.round(state.get(name) / 5));
    state.set({ [name]: Math.min(high, Math.max(low, state.get(name) + (up ? step : -step))) });
  };

  /** What a key does, or null. */
  function keyAction(event) {
    const key = event.key.toLowerCase();
    if (key === "z") return () => act.send(event.shiftKey ? "redo" : "undo");
    if (event.ctrlKey || event.metaKey) return key === "y" ? () => act.send("redo") : null;
    if (event.key in toolKeys) return corners.length ? toolKeys[event.key] : null;
    if (key in TOOL_KEYS) return () => state.set({ tool: TOOL_KEYS[key] });
    if (key === "[" || key === "]") return () => resize(key === "]");
    if (key === "d") return bar.toggleDone;
    if (key === "pageup" || key === "pagedown") return () => act.goBy(key === "pageup" ? -1 : 1);
    const label = picker.label(key);
    return label === null ? null : () => picker.choose(label);
  }
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === bar.number) act.goTo(bar.number.value - 1); // JupyterLab keeps Enter's "change" back
    if (event.target.matches("input[type=number], input[type=search], textarea, select") || event.altKey) return;
    if (event.key === "Enter" && event.target.matches("button")) return;
    const action = keyAction(event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });

  state.on("index", () => {
    endStroke();
    stage.canvas.classList.add("segnb-outdated");
    ask(true);
  });
  state.on("superpixel_size", () => {
    if (!painting) return;
    endStroke();
    painting.superpixels = null;
    clearTimeout(cutting);
    cutting = setTimeout(needSuperpixels, 300); // a slider passes many sizes
  });
  ends.push(() => clearTimeout(cutting));
  state.on("opacity", stage.redraw);
  state.on("size", stage.redraw);
  state.on("label", (label) => { picker.put(label); stage.redraw(); });
  state.on("tool", () => {
    endStroke();
    corners = [];
    needSuperpixels();
    hover(over);
  });
  picker.put(state.get("label"));
  hover(null);
  const first = model.get("first");
  if (first.index === state.get("index")) receive({ type: "picture", ...first });
  arriving.then(() => ask(painting?.index !== state.get("index"))); // the mask may have changed since
  return close;
}

export default { render };
