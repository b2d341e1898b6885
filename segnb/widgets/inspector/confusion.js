// A confusion matrix whose cells can be opened. Rows are the truth, columns the prediction; a cell's colour is its share of
// the true class. What is right is blue, what is confused orange; square roots of shares, so that small ones are seen.

const EDGE = 7; // CSS pixels of the classes' colours along the edges

/**
 * matrix.node; matrix.put([true, predicted] or []) marks the opened cell. onopen(cell) is told a cell or, when the opened one
 * is chosen again, an empty list. With the keyboard: arrows move, Enter or Space opens.
 */
function confusionMatrix(counts, names, palette, onopen) {
  const size = names.length;
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  let [opened, pointed] = [[], null];
  const canvas = element("canvas", { className: "segnb-matrix", tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Confusion matrix: rows are the truth, columns the prediction; arrows move, Enter opens a cell");
  const said = element("div", { className: "segnb-cell" });
  said.setAttribute("aria-live", "polite");

  const side = () => (canvas.clientWidth - EDGE) / size;
  const describe = ([row, column]) => {
    if (!totals[row]) return `${names[row]}: no true pixels`;
    const share = percentText((100 * counts[row][column]) / totals[row]);
    return `${names[row]} → ${names[column]}: ${share} (${counts[row][column].toLocaleString("en")})`;
  };

  const draw = onNextFrame(() => {
    const dense = window.devicePixelRatio || 1;
    const length = Math.round(canvas.clientWidth * dense);
    if (!length) return;
    if (canvas.width !== length) Object.assign(canvas, { width: length, height: length });
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const [blue, orange, line, ink] = ["blue", "orange", "line", "ink"].map((name) => style.getPropertyValue(`--segnb-${name}`));
    const cell = side();
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, length, length);
    const gap = cell > 6 ? 1 : 0;
    for (let row = 0; row < size; row += 1) {
      pen.globalAlpha = 1;
      pen.fillStyle = `rgb(${palette[row]})`;
      pen.fillRect(0, EDGE + row * cell, EDGE - 2, cell - gap);
      pen.fillRect(EDGE + row * cell, 0, cell - gap, EDGE - 2);
      for (let column = 0; column < size; column += 1) {
        const share = totals[row] ? counts[row][column] / totals[row] : 0;
        const [x, y] = [EDGE + column * cell, EDGE + row * cell];
        pen.globalAlpha = 0.25;
        pen.fillStyle = line;
        pen.fillRect(x, y, cell - gap, cell - gap);
        pen.globalAlpha = Math.sqrt(share);
        pen.fillStyle = row === column ? blue : orange;
        pen.fillRect(x, y, cell - gap, cell - gap);
        if (cell > 26 && share >= 0.005) {
          pen.globalAlpha = 1;
          pen.fillStyle = ink;
          pen.font = `${Math.min(12, cell / 2.6)}px sans-serif`;
          pen.textAlign = "center";
          pen.textBaseline = "middle";
          pen.fillText(Math.round(100 * share), x + cell / 2, y + cell / 2);
        }
      }
    }
    pen.globalAlpha = 1;
    const outline = ([row, column], width) => {
      pen.lineWidth = width;
      pen.strokeStyle = ink;
      pen.strokeRect(EDGE + column * cell - 0.5, EDGE + row * cell - 0.5, cell, cell);
    };
    if (pointed) outline(pointed, 1);
    if (opened.length) outline(opened, 2.5);
  });

  const point = (cell) => {
    pointed = cell;
    const told = cell ?? (opened.length ? opened : null);
    said.textContent = told ? describe(told) : "Choose a cell to see its pixels";
    draw();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const place = (from, start) => Math.min(size - 1, Math.max(0, Math.floor((from - start - EDGE) / side())));
    return [place(event.clientY, box.top), place(event.clientX, box.left)];
  };
  const open = (cell) => onopen(cell.join() === opened.join() ? [] : cell);
  canvas.onpointermove = (event) => point(at(event));
  canvas.onpointerleave = () => point(null);
  canvas.onclick = (event) => open(at(event));
  canvas.onfocus = () => { if (canvas.matches(":focus-visible")) point(pointed ?? (opened.length ? opened : [0, 0])); };
  canvas.onblur = () => point(null);
  canvas.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) point((pointed ?? [0, 0]).map((place, axis) => Math.min(size - 1, Math.max(0, place + step[axis]))));
    else if (["Enter", " "].includes(event.key) && pointed) open(pointed);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const resized = new ResizeObserver(draw);
  resized.observe(canvas);
  point(null);
  return {
    node: element("div", { className: "segnb-confusion" },
      element("div", { className: "segnb-legend-head" }, element("b", {}, "Confusion"), element("span", { className: "segnb-faint" }, "true ↓ predicted →")),
      canvas, said),
    put(cell) { opened = cell; point(pointed); },
    close: () => resized.disconnect(),
  };
}
