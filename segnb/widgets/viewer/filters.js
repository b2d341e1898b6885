// Which pictures, in which order: the controls, and the rules of select() in gallery.py.

const SORTS = {
  data: "Order of the data", name: "Name", area: "Area", "largest object": "Largest object", "smallest object": "Smallest object",
  errors: "Errors",
};

/** The labels that count: the chosen class, or every class but the background. */
function chosenLabels(classes, withClass) {
  return classes.flatMap((name, label) => ((withClass ? name === withClass : name.toLowerCase() !== "background") ? [label] : []));
}

/** Pixels of the objects of some labels. */
function objectSizes(facts, labels) {
  return labels.flatMap((label) => facts.objects[label] ?? []);
}

/** What pictures are sorted by; null is sorted to the end. */
function sortValue(sort, facts, labels) {
  if (!facts || facts.problem) return null;
  if (sort === "errors") return facts.wrong;
  if (sort === "area") {
    const counted = Object.values(facts.pixels).reduce((sum, pixels) => sum + pixels, 0);
    return counted ? labels.reduce((sum, label) => sum + (facts.pixels[label] ?? 0), 0) / counted : 0;
  }
  const sizes = objectSizes(facts, labels);
  if (!sizes.length) return null;
  return sizes.reduce((best, size) => (sort === "largest object" ? Math.max(best, size) : Math.min(best, size)));
}

/**
 * Choose and sort: wish has the traits search, with_class, object_pixels, only_flagged, sort, descending.
 * Returns { order, waiting }: indexes, and how many pictures could not be judged because their facts are not here yet.
 */
function select(names, facts, flagged, labels, wish) {
  const [low, high] = wish.object_pixels;
  const bounded = low != null || high != null;
  const part = wish.search.toLowerCase();
  let waiting = 0;
  const judge = (one) => {
    if (wish.with_class && !labels.some((label) => one.pixels[label])) return false;
    return !bounded || objectSizes(one, labels).some((size) => size >= (low ?? 0) && size <= (high ?? size));
  };
  const order = [];
  names.forEach((name, index) => {
    if (!name.toLowerCase().includes(part) || (wish.only_flagged && !flagged.has(name))) return;
    const measured = !["data", "name"].includes(wish.sort);
    if (!facts[index] && (wish.with_class || bounded || measured)) waiting += 1;
    if ((wish.with_class || bounded) && !(facts[index] && judge(facts[index]))) return;
    order.push(index);
  });
  if (wish.sort === "data") return { order: wish.descending ? order.reverse() : order, waiting };
  const values = new Map(order.map((index) => [index, wish.sort === "name" ? names[index] : sortValue(wish.sort, facts[index], labels)]));
  const sign = wish.descending ? -1 : 1;
  order.sort((a, b) => {
    const [first, second] = [values.get(a), values.get(b)];
    if (first == null || second == null) return (first == null) - (second == null) || a - b;
    return sign * ((first > second) - (first < second)) || a - b;
  });
  return { order, waiting };
}

/** The row of controls above the gallery; `errors`: there are predictions to sort by. */
function filterBar(state, classes, errors) {
  const search = element("input", { type: "search", placeholder: "Find a name", className: "segnb-by-name" });
  search.setAttribute("aria-label", "Part of the name");
  search.oninput = () => state.set({ search: search.value });

  const option = (value, text) => element("option", { value }, text);
  const withClass = element("select", { className: "segnb-with" }, option("", "Any class"), ...classes.map((name) => option(name, name)));
  withClass.setAttribute("aria-label", "Pictures with this class");
  withClass.onchange = () => state.set({ with_class: withClass.value });

  const bounds = ["Least", "Most"].map((word) => {
    const input = element("input", { type: "number", min: 0, placeholder: word.toLowerCase(), className: "segnb-pixels" });
    input.setAttribute("aria-label", `${word} pixels of an object`);
    return input;
  });
  const putBounds = () => {
    const typed = bounds.map((input) => (input.value === "" ? null : Math.max(0, Math.round(Number(input.value)))));
    state.set({ object_pixels: typed });
  };
  bounds.forEach((input) => { input.oninput = putBounds; });

  const offered = Object.entries(SORTS).filter(([value]) => errors || value !== "errors");
  const sort = element("select", { className: "segnb-sort" }, ...offered.map(([value, text]) => option(value, text)));
  sort.setAttribute("aria-label", "Sort by");
  // The largest first is what one looks for, but names begin with A and specks are the smallest.
  sort.onchange = () => state.set({ sort: sort.value, descending: ["area", "largest object", "errors"].includes(sort.value) });
  const turn = button("↑", "", () => state.set({ descending: !state.get("descending") }), "segnb-step");

  const only = element("input", { type: "checkbox" });
  only.onchange = () => state.set({ only_flagged: only.checked });

  const follow = {
    search: (value) => { if (search.value !== value) search.value = value; },
    with_class: (value) => { withClass.value = value; },
    object_pixels: (values) => bounds.forEach((input, i) => {
      if (document.activeElement !== input && input.getRootNode().activeElement !== input) input.value = values[i] ?? "";
    }),
    sort: (value) => { sort.value = value; },
    descending: (value) => {
      turn.textContent = value ? "↓" : "↑";
      turn.title = value ? "Descending: click for ascending" : "Ascending: click for descending";
      turn.setAttribute("aria-label", turn.title);
    },
    only_flagged: (value) => { only.checked = value; },
  };
  for (const [name, put] of Object.entries(follow)) {
    state.on(name, put);
    put(state.get(name));
  }
  return element("div", { className: "segnb-tools segnb-picking" },
    search, withClass, element("span", { className: "segnb-field" }, "Objects", bounds[0], "to", bounds[1], "px"),
    element("label", { className: "segnb-field" }, only, "Flagged"),
    element("span", { className: "segnb-field" }, "Sort by", sort, turn));
}

/** One bar for all classes: how much of the pictures found each covers, in words for those who cannot see the colours. */
function frequencyBar(classes, palette) {
  const bar = element("span", { className: "segnb-frequency" });
  bar.setAttribute("role", "img");
  const about = element("span", { className: "segnb-faint" });
  const node = element("div", { className: "segnb-frequencies" }, element("span", {}, "Class frequency"), bar, about);
  const light = (colour) => colour.reduce((sum, level, i) => sum + [0.2126, 0.7152, 0.0722][i] * (level / 255) ** 2.2, 0);
  const ink = (colour) => (light(colour) > 0.179 ? "#000000" : "#ffffff"); // whichever has the greater contrast
  /** list: facts of the pictures found, where they are known; waiting: how many more could not be judged yet. */
  const put = (list, waiting) => {
    const pixels = new Array(classes.length).fill(0);
    let pictures = 0;
    for (const facts of list) {
      if (!facts || facts.problem) continue;
      pictures += 1;
      for (const [label, count] of Object.entries(facts.pixels)) pixels[label] += count;
    }
    const total = pixels.reduce((sum, count) => sum + count, 0);
    const texts = classes.map((name, label) => `${name} ${percentText(total ? (100 * pixels[label]) / total : 0)}`);
    bar.replaceChildren(...classes.flatMap((name, label) => {
      if (!pixels[label]) return [];
      const part = element("span", { title: `${texts[label]}: ${pixels[label].toLocaleString("en")} pixels` }, pixels[label] > 0.1 * total ? name : "");
      Object.assign(part.style, { flexGrow: pixels[label] / total, background: `rgb(${palette[label]})`, color: ink(palette[label]) });
      return [part];
    }));
    bar.setAttribute("aria-label", `Class frequency: ${texts.join(", ")}`);
    const all = Math.max(list.length, pictures + waiting);
    about.textContent = pictures < all ? `${pictures.toLocaleString("en")} of ${all.toLocaleString("en")} pictures read` : "";
  };
  return { node, put };
}
