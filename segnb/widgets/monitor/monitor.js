// The training monitor: Python sets numbers and pictures as traits, this draws them; buttons send commands back.

const STATES = {
  running: "Training", paused: "Paused", stopped: "Stopped", finished: "Finished", failed: "Failed", unfinished: "Unfinished",
};
const ASKED = { stop: "Stopping…", finish: "Finishing…", pause: "Pausing…", resume: "Resuming…" };
const CALLS = 6; // how often the kernel is asked for an answer before the buttons are taken to be deaf
const EVERY = 700; // ms between two calls
const LOOK = 300; // ms between two questions whether the loop has taken up what a button asked

/** The buttons. What was asked is shown at once; the training loop takes it up after its current step. */
function controls(model, listen, ends, redraw) {
  let [asked, answered, calls] = ["", false, 0];
  const command = (type) => {
    asked = type;
    model.send({ type });
    redraw();
  };
  const paused = () => (asked ? asked === "pause" : model.get("progress").state === "paused");
  const pause = element("button", { type: "button", className: "segnb-pause", onclick: () => command(paused() ? "resume" : "pause") }, "Pause");
  const finish = element("button", { type: "button", className: "segnb-finish", onclick: () => command("finish") }, "Finish now");
  const stop = element("button", { type: "button", className: "segnb-stop", onclick: () => command("stop") }, "Stop");
  finish.title = "Validate after this step, keep the best weights, and end";
  stop.title = "End after this step, with the best weights so far";
  listen("msg:custom", (message) => {
    if (message.type === "alive") { answered = true; redraw(); }
  });
  // The first messages may go out before JupyterLab has opened its subshell, and then wait for the end of the cell.
  const looker = setInterval(() => { if (asked) model.send({ type: "look" }); }, LOOK);
  const caller = setInterval(() => {
    if (answered || calls === CALLS) {
      clearInterval(caller);
      redraw();
      return;
    }
    calls += 1;
    model.send({ type: "ready" });
  }, EVERY);
  ends.push(() => clearInterval(caller), () => clearInterval(looker));
  return {
    node: element("span", { className: "segnb-buttons" }, pause, finish, stop),
    /** Follow the state of the run; returns what was asked and is not done yet, and whether presses get through. */
    draw(now, busy) {
      const deaf = !answered && (model.get("stop_with") !== "buttons" || calls === CALLS);
      if ((asked === "pause" && now.state === "paused") || (asked === "resume" && now.state === "running") || !busy) asked = "";
      const ending = asked === "stop" || asked === "finish";
      pause.textContent = paused() ? "Resume" : "Pause";
      pause.disabled = finish.disabled = !busy || deaf || ending;
      stop.disabled = !busy || deaf || asked === "stop";
      return { asked, deaf };
    },
  };
}

function noteField(state) {
  const area = element("textarea", { className: "segnb-notes", rows: 3, spellcheck: false, placeholder: "What is to be remembered about this run" });
  area.oninput = () => state.set({ notes: area.value });
  state.on("notes", (text) => { if (area.value !== text) area.value = text; });
  area.value = state.get("notes");
  return element("label", { className: "segnb-note-field" }, element("b", {}, "Notes"), area);
}

function render({ model, el }) {
  const { root, problem, listen, ends, close } = frame(model, el, "Training monitor");
  root.classList.add("segnb-monitor");
  const status = linked(model, listen);

  const state = element("span", { className: "segnb-state" });
  const numbers = element("span", { className: "segnb-faint segnb-numbers" });
  const bar = element("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", "Training progress");
  const note = element("div", { className: "segnb-note" });
  note.setAttribute("aria-live", "polite");
  const hint = element("div", { className: "segnb-hint", hidden: true },
    "This front end delivers button presses only after the cell: press ■ Interrupt to stop; the best weights are kept.");

  const redraw = onNextFrame(() => {
    const now = model.get("progress");
    drawHead(now);
    plots.draw(now);
    classes.draw();
    runs.draw();
  });
  const buttons = controls(model, listen, ends, () => redraw());
  const classes = classList(model, status, () => redraw());
  const runs = runList(model, status);
  const plots = charts(model, status, runs, classes);
  const movie = film(model, status, listen);
  const code = copyAsCode(model, listen);
  root.append(
    element("div", { className: "segnb-head" }, state, numbers, buttons.node),
    bar, note, hint, plots.node, movie.node,
    element("div", { className: "segnb-about" }, runs.node, noteField(status)),
    element("div", { className: "segnb-tools" }, code.field), code.text, problem);

  function drawHead(now) {
    const busy = now.state === "running" || now.state === "paused";
    const { asked, deaf } = buttons.draw(now, busy);
    root.dataset.state = now.state ?? "";
    state.textContent = ASKED[asked] ?? STATES[now.state] ?? "Not started";
    const done = now.steps ? (now.epoch - 1 + now.step / now.steps) / now.epochs : 0;
    bar.value = now.state === "finished" ? 1 : Math.min(1, Math.max(0, done));
    numbers.textContent = now.state ? [
      `epoch ${Math.max(busy ? 1 : 0, now.epoch)} of ${now.epochs}`,
      busy ? `step ${now.step} of ${now.steps}` : null,
      now.seconds == null ? null : `${clock(now.seconds)} elapsed`,
      busy && now.remaining != null ? `${clock(now.remaining)} left` : null,
    ].filter(Boolean).join("  ·  ") : "";
    buttons.node.hidden = Boolean(now.state) && !busy;
    hint.hidden = !(busy && deaf);
    if (note.textContent !== (now.note ?? "")) note.textContent = now.note ?? "";
  }

  for (const name of ["progress", "losses", "rates", "history"]) listen(`change:${name}`, redraw);
  for (const name of ["label_names", "palette"]) listen(`change:${name}`, () => { classes.build(); redraw(); });
  listen("change:earlier", () => { runs.build(); redraw(); });
  for (const name of ["shown_classes", "compared"]) status.on(name, redraw);
  const resized = new ResizeObserver(redraw);
  for (const chart of root.querySelectorAll(".segnb-chart")) resized.observe(chart); // they get their size after the first drawing
  ends.push(() => resized.disconnect(), movie.close);

  classes.build();
  runs.build();
  redraw();
  return close;
}

export default { render };
