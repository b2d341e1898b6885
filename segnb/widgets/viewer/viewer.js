// The mask viewer: filters and a gallery above, one picture below. Looking never asks the kernel for anything but
// thumbnails and pictures that are not here yet.

const ROWS = 2; // of the gallery
const LEARN = 250; // milliseconds between two looks at new facts

/** Draw a thumbnail with the colours of its labels, as the large picture shows them. */
function paintThumbnail(canvas, { photo, labels, grid }, table, { outline, opacity, bare }) {
  if (canvas.width !== photo.width || canvas.height !== photo.height) {
    Object.assign(canvas, { width: photo.width, height: photo.height });
  }
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0);
  if (!labels || bare) return;
  const overlay = sheet(photo.width, photo.height);
  const pen = overlay.getContext("2d");
  const pixels = pen.createImageData(photo.width, photo.height);
  const words = new Uint32Array(pixels.data.buffer);
  if (outline) contour(words, grid, labels, table, 1);
  else tint(words, grid, labels, table);
  pen.putImageData(pixels, 0, 0);
  context.save();
  context.globalAlpha = outline ? 1 : opacity;
  context.drawImage(overlay, 0, 0);
  context.restore();
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Mask viewer");
  root.classList.add("segnb-viewer");
  root.tabIndex = 0;
  const state = linked(model, listen);
  const [names, classes, palette, first] = ["names", "class_names", "palette", "pictures"].map((name) => model.get(name));
  let flagged = new Set(state.get("flagged"));
  let found = { order: names.map((_, index) => index), waiting: 0 };

  // The head of the picture

  const turn = (step) => { choose(found.order[place() + step]); };
  const place = () => found.order.indexOf(state.get("index"));
  const previous = button("‹", "Previous picture", () => turn(-1), "segnb-step");
  const next = button("›", "Next picture", () => turn(1), "segnb-step");
  const number = element("input", { type: "number", min: 1, onchange: () => goTo(number.value) });
  number.setAttribute("aria-label", "Number of the picture");
  const total = element("span", { className: "segnb-faint segnb-total" });
  const title = element("span", { className: "segnb-title" });
  const flag = element("button", { type: "button", className: "segnb-flag", title: "Flag this picture (F)", onclick: toggleFlag }, "⚑ Flag");
  const pointed = element("span", { className: "segnb-faint segnb-pointed" });
  const status = element("span", { className: "segnb-faint" });
  status.setAttribute("aria-live", "polite");
  const hint = (swiped) => (swiped ? "Drag the line over the picture; with Shift, the picture" : names.length > 1 ? "← → other pictures, F flag" : "F flag");
  const panel = picturePanel({ state, classes, palette, pointed, hint });
  const code = copyAsCode(model, listen);

  const head = element("div", { className: "segnb-tools" },
    element("span", { className: "segnb-field" }, previous, number, total, next), title, flag, panel.layers);
  const foot = element("div", { className: "segnb-tools segnb-foot" }, pointed, status, panel.zoom, code.field);

  // Pictures

  const store = new PictureStore({
    ask: (index) => model.send({ type: "picture", index }),
    deliver: (picture) => {
      const { name, width, height } = picture.payload;
      problem.textContent = "";
      title.textContent = `${name}  ·  ${width} × ${height}`;
      arrived();
      panel.show(picture);
    },
    fail: (index) => { arrived(); away(index); },
  });
  let slow = 0;
  const arrived = () => { clearTimeout(slow); status.textContent = ""; };
  const away = (index) => { title.textContent = names[index]; panel.blank(); };
  first.forEach((payload) => store.put(payload));

  /** Show the picture that the state names. */
  function open() {
    const index = state.get("index");
    clearTimeout(slow);
    slow = setTimeout(() => { status.textContent = "Waiting for the kernel…"; away(index); }, 300);
    store.want(index, found.order[place() + 1] ?? -1);
    gallery?.select(index);
    showPlace();
  }

  function choose(index) {
    if (index !== undefined && index !== state.get("index")) state.set({ index });
  }

  function goTo(typed) {
    const wanted = Math.min(found.order.length, Math.max(1, Math.round(Number(typed) || 1)));
    choose(found.order[wanted - 1]);
    showPlace();
  }

  function showPlace() {
    const here = place();
    number.value = here + 1 || "";
    number.max = found.order.length;
    total.textContent = `of ${found.order.length.toLocaleString("en")}`;
    previous.disabled = here <= 0;
    next.disabled = here < 0 || here + 1 >= found.order.length;
    showFlag();
  }

  // Flags

  function showFlag() {
    const on = flagged.has(names[state.get("index")]);
    flag.setAttribute("aria-pressed", on);
    flag.textContent = on ? "⚑ Flagged" : "⚑ Flag";
  }

  function toggleFlag() {
    const name = names[state.get("index")];
    state.set({ flagged: names.filter((other) => flagged.has(other) !== (other === name)) });
  }

  // Gallery and filters

  let [gallery, supply, frequencies] = [null, null, null];
  const filters = ["search", "with_class", "object_pixels", "only_flagged", "sort", "descending"];

  /** Choose and sort again; while nothing is asked of the pictures themselves, new facts change nothing. */
  function refilter() {
    const wish = Object.fromEntries(filters.map((name) => [name, state.get(name)]));
    found = select(names, supply.facts, flagged, chosenLabels(classes, wish.with_class), wish);
    gallery.show(found.order);
    if (found.order.length && place() < 0) choose(found.order[0]);
    showPlace();
  }
  const filtered = onNextFrame(() => {
    refilter();
    gallery.box.scrollTop = 0; // the first ones are what was asked for
    gallery.refresh();
    describe();
  });
  let learning = 0;
  const learned = () => {
    learning ||= setTimeout(() => {
      learning = 0;
      if (found.waiting) refilter();
      describe();
    }, LEARN);
  };
  function describe() {
    frequencies.put(found.order.map((index) => supply.facts[index]), found.waiting);
  }
  const repaint = () => gallery?.refresh();

  function paintCell(canvas, index) {
    const small = supply.thumbnail(index);
    canvas.classList.toggle("segnb-waiting", !small);
    if (small) {
      const visible = classes.map((name) => state.get("shown").includes(name));
      paintThumbnail(canvas, small, colourTable(palette, visible), {
        outline: state.get("labels_as") === "outline", opacity: state.get("opacity"), bare: state.get("layer") === "photo",
      });
    }
    return supply.facts[index]?.problem ?? "";
  }

  if (names.length > 1) {
    supply = new Supply({ count: names.length, send: (message) => model.send(message), learned, painted: repaint });
    gallery = new Gallery({
      label: "Pictures", rows: ROWS, name: (index) => names[index], badge: (index) => (flagged.has(names[index]) ? "⚑" : ""),
      paint: paintCell, seen: (indexes) => supply.want(indexes), choose, open: () => panel.canvas.focus(),
    });
    frequencies = frequencyBar(classes, palette);
    root.append(filterBar(state, classes, Boolean(first[0].prediction && first[0].truth)), gallery.node, frequencies.node);
    filters.forEach((name) => state.on(name, filtered));
    ["shown", "opacity", "labels_as", "layer"].forEach((name) => state.on(name, repaint));
    const watcher = new IntersectionObserver(([entry]) => supply.watch(entry.isIntersecting));
    watcher.observe(root);
    ends.push(() => watcher.disconnect(), () => gallery.close(), () => supply.close());
  }
  root.append(head, panel.body, panel.tools, foot, code.text, problem);

  state.on("index", open);
  state.on("flagged", (list) => {
    flagged = new Set(list);
    showFlag();
    if (!gallery) return;
    if (state.get("only_flagged")) filtered();
    repaint();
  });
  listen("msg:custom", (message) => {
    if (message.type === "picture") store.receive(message);
    else if (message.type === "records") supply.receive(message.records);
  });
  listen("change:error", () => {
    if (!model.get("error")) return;
    store.failed();
    supply?.failed();
  });
  root.onkeydown = (event) => {
    if (event.key === "Enter" && event.target === number) goTo(number.value); // JupyterLab keeps Enter's "change" back
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.target.matches("input, select, textarea")) turn(step); // those use the arrows themselves
    else if (event.key.toLowerCase() === "f" && !event.target.matches("select, textarea, [type=search], [type=number]")) toggleFlag();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  ends.push(() => clearTimeout(slow), () => clearTimeout(learning), () => panel.close(), () => store.close());

  if (gallery) {
    refilter();
    describe();
  }
  open();
  return close;
}

export default { render };
