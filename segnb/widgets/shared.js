// What both widgets use. Python puts this text before the script of each widget.

/**
 * Make an HTML element: element("button", { className: "x", onclick: f }, "text", child).
 * JupyterLab would take arrow keys and Enter for itself; its shortcuts skip an element with this attribute, but only
 * if the focused element bears it: a parent is too far up.
 */
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (["button", "input", "select"].includes(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Make an SVG element; attributes are set as they are written in SVG. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Let one drawing follow any number of changes: returns a function that asks for it. */
function onNextFrame(draw) {
  let asked = 0;
  return () => {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); });
  };
}

/** The frame of a widget: its root, a place for errors, and listeners that end with the view. */
function frame(model, el, label) {
  const problem = element("div", { className: "segnb-error", role: "alert" });
  const root = element("div", { className: "segnb" });
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  el.append(root);

  const ends = [];
  const listen = (event, handler) => {
    model.on(event, handler);
    ends.push(() => model.off(event, handler));
  };
  const showProblem = () => { problem.textContent = model.get("error"); };
  listen("change:error", showProblem);
  showProblem();
  return { root, problem, listen, ends, close: () => ends.forEach((end) => end()) };
}
