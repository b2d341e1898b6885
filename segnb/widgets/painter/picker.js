// The list of classes to choose one from: by click, by arrow keys, by the keys 1 to 9, or by typing a part of the name.

const FEW = 9; // classes that need no search

/**
 * picker.node; picker.put(label) follows a change made elsewhere; picker.numbers(list, heading) writes per cent, one for each
 * class and a last one for what bears no label; picker.label(key) is the label of a key.
 */
function classPicker(names, palette, onchange) {
  const group = `segnb-${Math.random().toString(36).slice(2)}`; // radio buttons of two painters must not share a name
  const makeRow = (label, name, key) => {
    const box = element("input", { type: "radio", name: group, value: label, onchange: () => onchange(label) });
    const swatch = element("span", { className: "segnb-swatch" });
    if (label !== IGNORE) swatch.style.background = `rgb(${palette[label]})`;
    const percent = element("span", { className: "segnb-percent" });
    const row = element("label", { className: "segnb-row" }, box, swatch,
      element("span", { className: "segnb-name", title: name }, name), percent, element("kbd", { className: "segnb-hotkey" }, key));
    return { label, name, box, percent, row };
  };
  const rows = names.map((name, label) => makeRow(label, name, label < 9 ? `${label + 1}` : ""));
  rows.push(makeRow(IGNORE, "unlabelled", ""));

  const search = element("input", { type: "search", placeholder: "Find a class", className: "segnb-find", hidden: names.length <= FEW });
  search.setAttribute("aria-label", "Find a class");
  const found = () => rows.filter(({ row }) => !row.hidden);
  search.oninput = () => {
    const wanted = search.value.trim().toLowerCase();
    for (const { row, name } of rows) row.hidden = !name.toLowerCase().includes(wanted);
  };
  search.onkeydown = (event) => {
    if (event.key === "Enter" && found().length) choose(found()[0].label);
    if (event.key === "Escape") search.value = "";
    if (["Enter", "Escape"].includes(event.key)) {
      event.preventDefault();
      event.stopPropagation();
      search.oninput();
    }
  };
  const choose = (label) => { put(label); onchange(label); };
  const put = (label) => {
    for (const one of rows) {
      one.box.checked = one.label === label;
      one.row.classList.toggle("segnb-chosen", one.label === label);
      if (one.label === label) one.row.scrollIntoViewIfNeeded?.(false);
    }
  };
  const column = element("span", { className: "segnb-faint" });
  const list = element("div", { className: "segnb-rows" }, ...rows.map(({ row }) => row));
  list.setAttribute("role", "radiogroup");
  list.setAttribute("aria-label", "Class to paint");
  const node = element("div", { className: "segnb-legend segnb-picker" },
    element("div", { className: "segnb-legend-head" }, element("b", {}, "Classes"), column), search, list);
  const numbers = (values, heading) => {
    column.textContent = heading;
    values.forEach((value, i) => {
      rows[i].percent.textContent = percentText(value);
      rows[i].row.classList.toggle("segnb-absent", !value);
    });
  };
  const label = (key) => (/^[1-9]$/.test(key) && Number(key) <= names.length ? Number(key) - 1 : null);
  return { node, put, choose, numbers, label };
}
