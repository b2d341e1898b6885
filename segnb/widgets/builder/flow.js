// The data-flow drawing. Python has placed every block and every corner of every arrow; this puts them into an <svg>.

const CORNER = 6; // pixels of an arrow's turns
const SLANT = 3; // pixels of half an arrowhead

/** 24436369 -> "24.4 M", 725 -> "725" */
function shortNumber(count) {
  const [size, unit] = count >= 1e9 ? [1e9, " G"] : count >= 1e6 ? [1e6, " M"] : count >= 1e3 ? [1e3, " k"] : [1, ""];
  return unit ? `${(count / size).toFixed(1)}${unit}` : String(count);
}

/** A line through points with round corners; its runs are horizontal or vertical. */
function turningPath(points) {
  const parts = [`M${points[0]}`];
  for (let i = 1; i < points.length - 1; i += 1) {
    const [before, corner, after] = points.slice(i - 1, i + 2);
    const near = (other) => {
      const length = Math.abs(other[0] - corner[0]) + Math.abs(other[1] - corner[1]);
      const share = Math.min(CORNER, length / 2) / Math.max(length, 1e-6);
      return corner.map((value, axis) => value + share * (other[axis] - value));
    };
    parts.push(`L${near(before)}`, `Q${corner} ${near(after)}`);
  }
  return [...parts, `L${points.at(-1)}`].join("");
}

function arrowShape({ points, kind, text, at }) {
  const [[x, y], [, before]] = [points.at(-1), points.at(-2)];
  const tip = before === y
    ? `${x},${y} ${x - 2 * SLANT},${y - SLANT} ${x - 2 * SLANT},${y + SLANT}`
    : `${x},${y} ${x - SLANT},${y - 2 * SLANT} ${x + SLANT},${y - 2 * SLANT}`;
  const group = svg("g", { class: `segnb-arrow segnb-${kind}` }, svg("path", { d: turningPath(points) }), svg("polygon", { points: tip }));
  if (text) group.append(svg("text", { x: at[0], y: at[1], class: "segnb-scale" }, text));
  return group;
}

/** A slab with front, top and side; a joint is a circle with a sign; a stage that is missing is an outline. */
function blockShape({ kind, x, y, width, height, depth, name, shape }) {
  if (kind === "joint") {
    const body = svg("rect", { x, y, width, height, rx: height / 2, class: "segnb-front" });
    const sign = { x: x + width / 2, y: y + height / 2 + (name.length > 1 ? 3.5 : 4.5), class: name.length > 1 ? "segnb-word" : "segnb-sign" };
    return [body, svg("text", sign, name)];
  }
  const front = svg("rect", { x, y, width, height, class: shape.length ? "segnb-front" : "segnb-missing" });
  if (!depth) return [front];
  const [right, bottom] = [x + width, y + height];
  const top = `${x},${y} ${x + depth},${y - depth} ${right + depth},${y - depth} ${right},${y}`;
  const side = `${right},${y} ${right + depth},${y - depth} ${right + depth},${bottom - depth} ${right},${bottom}`;
  return [front, svg("polygon", { points: top, class: "segnb-top" }), svg("polygon", { points: side, class: "segnb-side" })];
}

/** Where the pointer means a block: its shape and its words, and the space between them. */
function blockArea({ kind, x, y, width, height, depth, beside }) {
  const [middle, half] = [x + width / 2, kind === "joint" ? width / 2 + 3 : Math.max(36, width / 2 + depth)];
  const [left, right] = beside ? [x - 96, x + width + depth] : [middle - half, middle + half];
  const [top, bottom] = [y - depth - 14, y + height + 14];
  return svg("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "segnb-area" });
}

function blockTexts({ kind, x, y, width, height, depth, name, caption, note, beside }) {
  const middle = x + width / 2;
  if (!beside) {
    const above = kind === "joint" ? [] : [svg("text", { x: middle, y: y - depth - 4, class: "segnb-name" }, name)];
    return [...above, svg("text", { x: middle, y: y + height + 12, class: "segnb-shape" }, caption)];
  }
  const lines = [name, caption, note].filter(Boolean);
  return lines.map((line, i) => svg("text", {
    x: x - 10, y: y + height / 2 + 4 + 13 * (i - (lines.length - 1) / 2), class: `segnb-beside ${i ? "segnb-shape" : "segnb-name"}`,
  }, line));
}

/** What can be said of a block in one line. */
function blockSentence(drawing, index) {
  const block = drawing.blocks[index];
  const reads = drawing.arrows.filter(({ target }) => target === index).map(({ source }) => drawing.blocks[source].name);
  return [
    block.name,
    block.layer,
    block.shape.length ? `gives ${block.shape.join(" × ")}` : "no map of this stride",
    block.parameters ? `${shortNumber(block.parameters)} parameters` : "",
    block.note,
    reads.length ? `reads ${reads.join(", ")}` : "",
  ].filter(Boolean).join("  ·  ");
}

/**
 * The drawing and its keys: arrow keys go from block to block. `say` is called with a line about the block under the pointer or
 * the focus, and with "" when there is none.
 */
function flowDrawing(say) {
  const box = element("div", { className: "segnb-flow" });
  let [drawing, groups, arrows] = [null, [], []];

  function point(index) {
    const some = index != null;
    box.classList.toggle("segnb-some", some);
    groups.forEach((group, i) => group.classList.toggle("segnb-here", i === index));
    arrows.forEach((arrow, i) => {
      const { source, target } = drawing.arrows[i];
      arrow.classList.toggle("segnb-here", some && (source === index || target === index));
    });
    say(some ? blockSentence(drawing, index) : "");
  }
  const focused = () => groups.indexOf(box.getRootNode().activeElement);
  const leave = () => point(focused() >= 0 ? focused() : null);

  function go(index) {
    const next = Math.min(groups.length - 1, Math.max(0, index));
    groups.forEach((group, i) => group.setAttribute("tabindex", i === next ? "0" : "-1"));
    groups[next].focus();
  }
  box.onkeydown = (event) => {
    const here = focused();
    const places = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: groups.length };
    if (here < 0 || !(event.key in places)) return;
    event.preventDefault();
    event.stopPropagation();
    go(places[event.key]);
  };

  function show(given) {
    drawing = given;
    if (!drawing.blocks) return;
    const { width, height } = drawing;
    const bands = drawing.bands.flatMap(({ top, height: tall, text }, i) => [
      svg("rect", { x: -width, y: top, width: 3 * width, height: tall, class: i % 2 ? "segnb-band" : "segnb-band segnb-even" }),
      svg("text", { x: 8, y: top + tall / 2 + 3.5, class: "segnb-stride" }, text),
    ]);
    const titles = drawing.titles.map(({ x, text }, i) =>
      svg("text", { x, y: 18, class: `segnb-heading ${i ? "segnb-block" : "segnb-stage"}` }, text));
    arrows = drawing.arrows.map(arrowShape);
    groups = drawing.blocks.map((block, i) => {
      const group = svg("g", {
        class: `segnb-node segnb-${block.kind}${block.read ? "" : " segnb-unread"}`, tabindex: i ? "-1" : "0", role: "img",
        "aria-label": blockSentence(drawing, i), "data-lm-suppress-shortcuts": "true",
      }, blockArea(block), ...blockShape(block), ...blockTexts(block));
      group.onpointerenter = () => point(i);
      group.onpointerleave = leave;
      group.onfocus = () => point(i);
      group.onblur = () => point(null);
      return group;
    });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Data flow" },
      ...bands, ...titles, ...arrows, ...groups);
    // As wide as there is room: down to two thirds of its size, then it scrolls; never larger than itself.
    Object.assign(picture.style, { minWidth: `${0.66 * width}px`, maxHeight: `${height}px`, aspectRatio: `${width} / ${height}` });
    box.replaceChildren(picture);
  }
  return { box, show };
}
