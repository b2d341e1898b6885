// The list of encoders with its filters: all of it is in the browser, only what was chosen goes to Python.

const PORTION = 120; // rows that are made at a time; more when the list is scrolled to its end
const NOT_STATED = "not stated";

/** Say whether a name fits: a pattern with * or ? must match the whole name, any other must occur in it. */
function nameFits(pattern) {
  const wanted = pattern.trim().toLowerCase();
  if (!/[*?]/.test(wanted)) return (name) => name.includes(wanted);
  const escaped = wanted.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  const whole = new RegExp(`^${escaped}$`);
  return (name) => whole.test(name);
}

function foundEncoders(encoders, { pattern, max_parameters: most, weights, licence, order }) {
  const fits = nameFits(pattern);
  const kept = encoders.filter(({ name, parameters, tags, offline }) => fits(name)
    && (most == null || parameters <= most)
    && (weights === "any" || (weights === "pretrained" ? tags.length > 0 : offline))
    && (!licence || tags.some(([, stated]) => (stated || NOT_STATED) === licence)));
  const alphabetical = (a, b) => (a.name < b.name ? -1 : 1);
  return kept.sort(order === "parameters" ? (a, b) => a.parameters - b.parameters || alphabetical(a, b) : alphabetical);
}

/** A <select> with its label; options: { value: text }. */
function selection(label, options, onchange) {
  const field = element("select", { onchange: () => onchange(field.value) });
  field.setAttribute("aria-label", label);
  for (const [value, text] of Object.entries(options)) field.append(element("option", { value }, text));
  return field;
}

/**
 * state: of `linked`; unsuitable(encoder): a sentence if the decoder cannot use it, else "".
 * Returns { field, show, refresh }: show() after a change of state, refresh() when `unsuitable` changes its mind.
 */
function encoderList(model, state, unsuitable) {
  const encoders = model.get("encoders").map(([name, parameters, strides, tags, offline]) => ({ name, parameters, strides, tags, offline }));
  const id = `segnb-${Math.random().toString(36).slice(2)}`;
  let [found, made, cursor] = [[], 0, 0];

  const change = (some) => state.set({ filters: { ...state.get("filters"), ...some } });
  const search = element("input", { type: "search", className: "segnb-search", placeholder: "Search, or a pattern: convnext*" });
  search.setAttribute("aria-label", "Search encoders");
  search.oninput = () => change({ pattern: search.value });
  const most = element("input", { type: "number", className: "segnb-most", min: 0, step: "any", placeholder: "any" });
  most.setAttribute("aria-label", "At most so many million parameters");
  most.oninput = () => change({ max_parameters: most.value === "" ? null : Math.round(Number(most.value) * 1e6) });
  const weights = selection("Weights", { any: "any weights", pretrained: "pretrained", offline: "on this machine" }, (value) => change({ weights: value }));
  const named = Object.fromEntries(model.get("licences").map((licence) => [licence, licence]));
  const licence = selection("Licence of the weights, as timm states it", { "": "any licence", ...named }, (value) => change({ licence: value }));
  const order = selection("Order", { name: "by name", parameters: "by size" }, (value) => change({ order: value }));
  const count = element("span", { className: "segnb-faint segnb-count" });
  count.setAttribute("aria-live", "polite");
  const list = element("div", { className: "segnb-encoders", tabIndex: 0 });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Encoders");
  list.setAttribute("data-lm-suppress-shortcuts", "true");

  function makeRow({ name, parameters, strides, tags, offline }, index) {
    const problem = unsuitable({ name, strides });
    const size = element("span", { className: "segnb-encoder-size" }, shortNumber(parameters));
    const about = offline ? "offline" : tags.length ? "" : "no weights";
    const row = element("div", { className: "segnb-encoder", id: `${id}-${index}` },
      element("span", { className: "segnb-encoder-name" }, name), element("span", { className: "segnb-faint" }, about), size);
    const stated = [...new Set(tags.map(([, one]) => one || NOT_STATED))].join(", ");
    row.title = problem || [`strides ${strides.join(", ")}`, tags.length ? `weights: ${stated}` : "no pretrained weights"].join("\n");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(name === state.get("encoder_name")));
    if (problem) row.setAttribute("aria-disabled", "true");
    row.onclick = () => { cursor = index; take(); };
    return row;
  }
  function more(until = made + PORTION) {
    const next = found.slice(made, until);
    list.append(...next.map((one, i) => makeRow(one, made + i)));
    made += next.length;
  }
  /** Mark the row under the cursor and bring it into view: at the nearest edge, or in the middle. */
  function point(middle = false) {
    list.querySelector(".segnb-cursor")?.classList.remove("segnb-cursor");
    if (cursor >= made) more(cursor + PORTION);
    const row = list.children[cursor];
    list.setAttribute("aria-activedescendant", row?.id ?? "");
    if (!row) return;
    row.classList.add("segnb-cursor");
    const [above, below] = [row.offsetTop - list.scrollTop, row.offsetTop + row.offsetHeight - list.scrollTop - list.clientHeight];
    if (above >= 0 && below <= 0) return;
    list.scrollTop += middle ? (above + below) / 2 : above < 0 ? above : below;
  }
  function take() {
    const one = found[cursor];
    point();
    if (one && !unsuitable(one)) state.set({ encoder_name: one.name });
  }
  function refresh() {
    const [top, chosen] = [list.scrollTop, state.get("encoder_name")];
    list.replaceChildren();
    made = 0;
    cursor = Math.max(0, found.findIndex(({ name }) => name === chosen));
    more(cursor + PORTION);
    list.scrollTop = top;
    point(true);
  }
  function show() {
    const filters = state.get("filters");
    if (search.value.trim() !== filters.pattern.trim()) search.value = filters.pattern;
    const millions = filters.max_parameters == null ? "" : filters.max_parameters / 1e6;
    if (most.value === "" || Number(most.value) !== millions) most.value = millions;
    [weights.value, licence.value, order.value] = [filters.weights, filters.licence, filters.order];
    found = foundEncoders(encoders, filters);
    const number = found.length === encoders.length ? `${found.length} encoders` : `${found.length} of ${encoders.length} encoders`;
    count.textContent = found.length ? number : "No encoder fits: widen the filters";
    refresh();
  }

  list.onscroll = () => { if (list.scrollTop + list.clientHeight > list.scrollHeight - 100) more(); };
  list.onkeydown = (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / 24) - 1);
    const places = { ArrowDown: cursor + 1, ArrowUp: cursor - 1, PageDown: cursor + page, PageUp: cursor - page, Home: 0, End: found.length };
    if (event.key in places) cursor = Math.min(found.length - 1, Math.max(0, places[event.key]));
    else if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key in places) point();
    else take();
  };
  search.onkeydown = (event) => {
    if (event.key === "ArrowDown") list.focus();
    else if (event.key === "Enter") take();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const field = element("div", { className: "segnb-choosing" },
    search,
    element("div", { className: "segnb-filters" },
      element("label", { className: "segnb-field" }, "at most", most, "M"), weights, licence, order),
    list, count);
  return { field, show, refresh, named: (name) => encoders.find((one) => one.name === name) };
}
