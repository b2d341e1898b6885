// Many pictures in one order, as bars to move along.

/** The scores of the listed pictures as bars, worst first; a slider below moves along them. */
function scoreStrip(onmove) {
  const canvas = element("canvas", { className: "segnb-strip" });
  const input = element("input", { type: "range", min: 1, max: 1, value: 1, className: "segnb-place", oninput: () => onmove(input.value - 1) });
  input.setAttribute("aria-label", "Place in the order, worst first");
  let [values, place] = [[], 0];
  const draw = onNextFrame(() => {
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * dense), Math.round(canvas.clientHeight * dense)];
    if (!width) return;
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const low = values.reduce((least, value) => Math.min(least, value), 0);
    const high = values.reduce((most, value) => Math.max(most, value), 0) || 1;
    const step = width / Math.max(values.length, 12);
    const gap = step > 6 * dense ? Math.round(2 * dense) : 0;
    for (let x = 0; x < Math.min(width, values.length * step); x += Math.max(1, step)) {
      const i = Math.floor((x + 0.5) / step);
      const [top, zero] = [Math.max(0, values[i]), Math.min(0, values[i])].map((value) => ((high - value) / (high - low)) * height);
      pen.fillStyle = style.getPropertyValue(i === place ? "--segnb-orange" : "--segnb-bars");
      pen.fillRect(x, Math.min(top, height - 2 * dense), Math.max(1, step - gap), Math.max(2 * dense, zero - top));
    }
    pen.fillStyle = style.getPropertyValue("--segnb-orange");
    if (step < 1) pen.fillRect(place * step, 0, 2 * dense, height);
  });
  canvas.onclick = (event) => {
    const i = Math.floor((event.offsetX / canvas.clientWidth) * Math.max(values.length, 12));
    if (i < values.length) onmove(i);
  };
  const resized = new ResizeObserver(draw);
  resized.observe(canvas);
  const put = (list, at) => {
    [values, place] = [list, at];
    Object.assign(input, { max: Math.max(1, list.length), value: at + 1, disabled: list.length < 2 });
    draw();
  };
  return { node: element("div", { className: "segnb-strips" }, canvas, input), input, put, close: () => resized.disconnect() };
}
