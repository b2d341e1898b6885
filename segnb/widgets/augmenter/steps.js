// The list of steps, and the search over all transforms that adds one. Python puts this text before augmenter.js.
//
// Every change makes a new list of steps and shares it; Python answers with the list as the library understands it, or with
// the former one if it refuses.

const GROUP = "OneOf";

// Steps are plain lists: each function returns a new one.

/** Where a step ends: a group includes what is inside. */
function endOf(steps, i) {
  let end = i + 1;
  if (steps[i].name === GROUP) while (steps[end]?.inside) end += 1;
  return end;
}

/** Move a step to a place that is counted without what moves; between two steps of a group it becomes one of them. */
function moved(steps, i, to) {
  const end = endOf(steps, i);
  const [block, rest] = [steps.slice(i, end), [...steps.slice(0, i), ...steps.slice(end)]];
  const within = Boolean(rest[to]?.inside);
  if (steps[i].name !== GROUP) block[0] = { ...block[0], inside: within };
  else if (within) return steps;
  return [...rest.slice(0, to), ...block, ...rest.slice(to)];
}

/** The place one further up or down; a group jumps over a group. Null at the end. */
function placeBeside(steps, i, direction) {
  const group = steps[i].name === GROUP;
  if (direction < 0) {
    let to = i - 1;
    if (group) while (steps[to]?.inside) to -= 1;
    return to < 0 ? null : to;
  }
  const end = endOf(steps, i);
  if (end >= steps.length) return null;
  return group ? i + endOf(steps, end) - end : i + 1;
}

/** Whether a step may go into, or is in, the group above. */
function nestable(steps, i) {
  return i > 0 && steps[i].name !== GROUP && (steps[i].inside || steps[i - 1].name === GROUP || steps[i - 1].inside);
}

/** The search over all transforms. */
function finder(model, add) {
  const [catalogue, leftOut] = [model.get("catalogue"), model.get("left_out")];
  const search = element("input", { type: "search", placeholder: `Add one of ${catalogue.length} transforms`, spellcheck: false });
  search.setAttribute("aria-label", "Search for a transform to add");
  const list = element("select", { size: 8, className: "segnb-found" });
  list.setAttribute("aria-label", "Transforms found");
  const about = element("div", { className: "segnb-faint segnb-transform" });
  about.setAttribute("aria-live", "polite");
  const addOne = () => {
    if (!list.value) return;
    add(list.value);
    search.value = "";
    fill();
  };
  const explain = () => {
    const entry = catalogue.find(({ name }) => name === list.value);
    about.textContent = entry ? `${entry.about}${entry.masks ? "" : " The mask stays as it is."}` : "";
  };
  const fill = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (text) => words.every((word) => text.toLowerCase().includes(word));
    const byName = catalogue.filter(({ name, group }) => fits(`${group} ${name}`));
    const missed = byName.length || !words.length ? null : Object.keys(leftOut).find(fits);
    const byAbout = catalogue.filter(({ name, group, about: text }) => fits(`${group} ${name} ${text}`));
    const found = byName.length || missed ? byName : byAbout;
    const groups = [...new Set(found.map(({ group }) => group))];
    list.replaceChildren(...groups.map((group) => element("optgroup", { label: group },
      ...found.filter((entry) => entry.group === group).map(({ name }) => element("option", { value: name }, name)))));
    list.selectedIndex = words.length && found.length ? 0 : -1;
    explain();
    if (!found.length) about.textContent = missed ? `${missed} is left out: ${leftOut[missed]}.` : "No transform fits.";
  };
  const onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") addOne();
    else if (event.key === "Escape") event.target.blur();
    else if (step && event.target === search) {
      list.selectedIndex = Math.min(list.length - 1, Math.max(0, list.selectedIndex + step));
      explain();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  Object.assign(search, { oninput: fill, onkeydown });
  Object.assign(list, { onchange: explain, onkeydown, ondblclick: addOne });
  fill();
  const plus = button("Add", "Add the chosen transform", addOne);
  return element("div", { className: "segnb-finder" },
    element("div", { className: "segnb-field" }, search, plus),
    element("div", { className: "segnb-results" }, list, about));
}

/** The list of steps. `change(steps)` shares a new list; one step at a time shows its parameters. */
function stepList(model, state) {
  const node = element("ol", { className: "segnb-steps" });
  const empty = element("div", { className: "segnb-faint segnb-empty" }, "No transform yet: search for one above, or start from a preset.");
  let [rows, drawn, open, wanted] = [[], null, -1, null];

  const steps = () => state.get("steps");
  const change = (list) => state.set({ steps: list });
  const replace = (i, changes) => change(steps().map((step, place) => (place === i ? { ...step, ...changes } : step)));
  const move = (i, to, part = "name") => {
    if (to === null) return;
    const was = open >= 0 ? steps()[open] : null;
    const list = moved(steps(), i, to);
    if (list === steps()) return;
    open = was ? list.findIndex((step) => step.values === was.values) : -1;
    wanted = { i: to, part };
    change(list);
  };
  const remove = (i) => {
    if (open === i) open = -1;
    else if (open > i) open -= 1;
    wanted = { i: Math.min(i, steps().length - 2), part: "name" };
    change(steps().filter((_, place) => place !== i));
  };
  const nest = (i, inside) => {
    wanted = { i, part: "name" };
    replace(i, { inside });
  };
  const toggle = (i) => {
    open = open === i ? -1 : i;
    show();
  };

  function makeRow(step, i) {
    const { name } = step;
    const on = element("input", { type: "checkbox", onchange: () => replace(i, { on: on.checked }) });
    on.setAttribute("aria-label", `Use ${name}`);
    const title = element("button", { type: "button", className: "segnb-step-name", onclick: () => toggle(i) });
    title.title = "Parameters. Alt and ↑ ↓ move, Alt and → ← put into the group above or out of it, Delete removes";
    const chance = element("span", { className: "segnb-faint" });
    title.append(element("span", {}, name), chance);
    const inside = button("", "", () => nest(i, !steps()[i].inside), "segnb-small");
    const up = button("↑", `Move ${name} up`, () => move(i, placeBeside(steps(), i, -1), "up"), "segnb-small");
    const down = button("↓", `Move ${name} down`, () => move(i, placeBeside(steps(), i, 1), "down"), "segnb-small");
    const out = button("✕", `Remove ${name}`, () => remove(i), "segnb-small");
    const handle = element("span", { className: "segnb-handle", title: "Drag to move" }, "⠿");
    handle.setAttribute("aria-hidden", "true");
    const head = element("div", { className: "segnb-step-head", draggable: true }, handle, on, title, inside, up, down, out);
    const problem = element("div", { className: "segnb-error segnb-problem" });
    const row = element("li", {}, head, problem);
    let parameters = null;

    title.onkeydown = (event) => {
      const act = {
        ArrowUp: () => move(i, placeBeside(steps(), i, -1)), ArrowDown: () => move(i, placeBeside(steps(), i, 1)),
        ArrowRight: () => nestable(steps(), i) && nest(i, true), ArrowLeft: () => nest(i, false),
      }[event.altKey && event.key] ?? (event.key === "Delete" ? () => remove(i) : null);
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    };
    head.ondragstart = (event) => {
      event.dataTransfer.setData("text/plain", name);
      event.dataTransfer.effectAllowed = "move";
      node.dataset.dragged = i;
    };
    head.ondragend = () => { delete node.dataset.dragged; };
    row.ondragover = (event) => {
      if (node.dataset.dragged === undefined) return;
      event.preventDefault();
      row.classList.add("segnb-target");
    };
    row.ondragleave = () => row.classList.remove("segnb-target");
    row.ondrop = (event) => {
      row.classList.remove("segnb-target");
      if (node.dataset.dragged === undefined) return;
      event.preventDefault();
      const [from, length] = [Number(node.dataset.dragged), endOf(steps(), Number(node.dataset.dragged)) - Number(node.dataset.dragged)];
      if (i < from) move(from, i);
      else if (i >= from + length) move(from, i - length + 1);
    };

    const put = (now) => {
      on.checked = now.on;
      chance.textContent = "p" in now.values ? `p ${Number(now.values.p.toFixed(3))}` : "";
      row.classList.toggle("segnb-off", !now.on);
      row.classList.toggle("segnb-inside", now.inside);
      inside.hidden = !nestable(steps(), i);
      inside.textContent = now.inside ? "⇤" : "⇥";
      inside.title = now.inside ? `Take ${name} out of the group` : `Put ${name} into the group above`;
      inside.setAttribute("aria-label", inside.title);
      up.disabled = placeBeside(steps(), i, -1) === null;
      down.disabled = placeBeside(steps(), i, 1) === null;
      const controls = open === i ? model.get("controls")[name] : null;
      title.setAttribute("aria-expanded", open === i);
      row.classList.toggle("segnb-open", open === i);
      if (!controls) {
        parameters?.node.remove();
        parameters = null;
        return;
      }
      if (!parameters) {
        parameters = parameterRows(controls, (key, value) => replace(i, { values: { ...steps()[i].values, [key]: value } }));
        row.append(parameters.node);
      }
      parameters.put(now.values);
    };
    const putProblem = (text) => { problem.textContent = text ? `⚠ ${text}` : ""; };
    const focus = (part) => [{ up, down }[part], title].find((node) => node && !node.disabled).focus();
    return { row, put, putProblem, focus };
  }

  /** Rows are made anew only if other steps stand there: a slider that is dragged must stay. */
  function show() {
    const now = steps();
    const order = now.map(({ name }) => name).join();
    if (drawn !== order) {
      drawn = order;
      rows = now.map(makeRow);
      node.replaceChildren(...rows.map(({ row }) => row));
    }
    rows.forEach(({ put }, i) => put(now[i]));
    empty.hidden = now.length > 0;
    if (wanted) rows[wanted.i]?.focus(wanted.part);
    wanted = null;
    showProblems();
  }
  function showProblems() {
    const problems = model.get("problems");
    rows.forEach(({ putProblem }, i) => putProblem(problems.length === rows.length ? problems[i] : ""));
  }
  const add = (name) => {
    open = steps().length;
    wanted = { i: open, part: "name" }; // the list of transforms closes, and the new step can be tuned
    change([...steps(), { name, values: {}, on: true, inside: false }]);
  };
  return { nodes: [empty, node], show, showProblems, add };
}
