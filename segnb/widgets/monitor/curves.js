// The curves of a training, and the lists that choose what is drawn: classes, and earlier runs behind this one.

const [BLUE, ORANGE, FAINT] = ["var(--segnb-blue)", "var(--segnb-orange)", "var(--segnb-faint)"];

function panel(title, content, legend) {
  const head = element("div", { className: "segnb-panel-head" }, element("b", {}, title), legend);
  return element("div", { className: "segnb-panel" }, head, content);
}

function key(name, colour) {
  return element("span", { className: "segnb-key" }, lineKey(colour), name);
}

function chartIn(className) {
  return svg("svg", { class: `segnb-chart ${className}`, role: "img" });
}

function dashOf(i) {
  return DASHES[i % DASHES.length];
}

/** The list of classes: a box and a line's key for each, its last IoU as a bar. Its rows stay while their numbers change. */
function classList(model, state, redraw) {
  const node = element("div", { className: "segnb-classes" });
  let [rows, pointed] = [[], null];
  const point = (label) => () => { pointed = label; redraw(); };
  const build = () => {
    const [names, colours] = [model.get("label_names"), model.get("palette")];
    rows = names.map((name, label) => {
      const colour = `rgb(${colours[label]})`;
      const box = element("input", { type: "checkbox" });
      box.onchange = () => {
        const shown = new Set(state.get("shown_classes"));
        if (box.checked) shown.add(label); else shown.delete(label);
        state.set({ shown_classes: [...shown].sort((a, b) => a - b) });
      };
      const [fill, score] = [element("i"), element("span", { className: "segnb-score" })];
      fill.style.background = colour;
      const row = element("label", { className: "segnb-class", title: name, onpointerenter: point(label), onpointerleave: point(null) },
        box, lineKey(colour, dashOf(label)), element("span", { className: "segnb-class-name" }, name),
        element("span", { className: "segnb-bar" }, fill), score);
      row.addEventListener("focusin", point(label));
      row.addEventListener("focusout", point(null));
      return { row, box, fill, score };
    });
    node.replaceChildren(...rows.map(({ row }) => row));
    draw();
  };
  const draw = () => {
    const scores = model.get("history").at(-1)?.iou;
    const shown = new Set(state.get("shown_classes"));
    rows.forEach(({ box, fill, score }, label) => {
      box.checked = shown.has(label);
      fill.style.width = `${100 * (scores?.[label] ?? 0)}%`;
      score.textContent = scores ? scores[label]?.toFixed(2) ?? "absent" : "";
    });
  };
  return { node, build, draw, pointed: () => pointed };
}

/** The list of earlier runs, each with a box; chosen() are those to be drawn. */
function runList(model, state) {
  const rows = element("div", { className: "segnb-runs" });
  const node = element("section", { className: "segnb-compare" }, element("b", {}, "Compare with earlier runs"), rows);
  node.setAttribute("aria-label", "Compare with earlier runs");
  let boxes = [];
  const chosen = () => {
    const names = state.get("compared");
    return model.get("earlier").filter((run) => names.includes(run.name));
  };
  const draw = () => {
    const names = chosen().map((run) => run.name);
    boxes.forEach(({ box, place, name }) => {
      box.checked = names.includes(name);
      place.replaceChildren(...(box.checked ? [lineKey(FAINT, dashOf(names.indexOf(name) + 1))] : []));
    });
  };
  const build = () => {
    const runs = model.get("earlier");
    node.hidden = !runs.length;
    boxes = runs.map(({ name }) => {
      const box = element("input", { type: "checkbox" });
      box.onchange = () => {
        const others = state.get("compared").filter((other) => other !== name);
        state.set({ compared: box.checked ? [...others, name] : others });
      };
      return { name, box, place: element("span", { className: "segnb-run-key" }) };
    });
    rows.replaceChildren(...runs.map(({ name, path, text }, i) => element("label", { className: "segnb-run", title: path },
      boxes[i].box, element("span", { className: "segnb-run-name" }, name), element("span", { className: "segnb-faint" }, text), boxes[i].place)));
    draw();
  };
  return { node, build, draw, chosen };
}

/** The charts: charts(...).draw() reads all traits and draws. */
function charts(model, state, runs, classes) {
  const [loss, miou, iou, lr, speed] = ["loss", "miou", "iou", "lr", "speed"].map((name) => chartIn(`segnb-${name}`));
  const [lrNow, speedNow] = [0, 1].map(() => element("span", { className: "segnb-faint segnb-now" }));
  const node = element("div", { className: "segnb-panels" },
    panel("Loss", loss, element("span", {}, key("training", BLUE), key("validation", ORANGE))),
    panel("Mean IoU, validation", miou),
    panel("IoU of each class", iou),
    panel("Learning rate", lr, lrNow),
    panel("Images per second", speed, speedNow),
    element("div", { className: "segnb-panel" }, classes.node));

  const others = (column) => runs.chosen().map((run, i) => ({
    points: run.history.map((row) => [row[0], row[column]]), title: run.name, name: "segnb-other",
    colour: FAINT, width: 1.4, opacity: 0.8, dash: dashOf(i + 1), dots: run.history.length > 1 ? 0 : 2,
  }));

  function drawLoss(now, x, history) {
    const { every = 1, values = [] } = model.get("losses");
    const steps = Math.max(1, now.steps ?? 1);
    const at = (i) => Math.min(x.range[1], ((i + 0.5) * every) / steps);
    const smoothed = smooth(values);
    const valid = history.map((row) => [row.epoch, row.valid_loss, { text: `epoch ${row.epoch}: ${row.valid_loss}` }]);
    const trained = values.length ? smoothed.map((value, i) => [at(i), value]) : history.map((row) => [row.epoch, row.train_loss]);
    const compared = others(1);
    const points = [...valid, ...compared.flatMap((line) => line.points), ...(values.length ? [] : trained)];
    const range = lossRange([...values, ...points.map((point) => point[1])]);
    const step = niceStep(range[1] - range[0], 4);
    const digits = Math.max(0, Math.min(4, -Math.floor(Math.log10(step) + 1e-9) + (String(step).includes("25") ? 1 : 0)));
    chart(loss, {
      label: `Training loss by epoch, now ${trained.at(-1)?.[1]?.toFixed(3) ?? "unknown"}`,
      x, y: { range, step, format: (value) => value.toFixed(digits) },
      lines: [
        ...compared,
        { name: "segnb-raw", points: values.map((value, i) => [at(i), value]), colour: BLUE, width: 1, opacity: 0.3 },
        { name: "segnb-smooth", points: trained, colour: BLUE, width: 2 },
        { name: "segnb-valid", points: valid, colour: ORANGE, width: 1.8, dots: valid.length <= 40 ? 2.6 : 0 },
      ],
    });
  }

  function drawScores(x, history) {
    const y = { range: [0, 1], step: 0.25, format: (value) => value.toFixed(2) };
    const best = Math.max(...history.map((row) => row.miou ?? -1));
    const scores = history.map((row) => [row.epoch, row.miou, {
      text: `epoch ${row.epoch}: mIoU ${row.miou}`, best: row.miou === best,
    }]);
    chart(miou, {
      label: history.length ? `Validation mIoU by epoch, best ${best}` : "Validation mIoU, none yet",
      x, y, lines: [...others(2), { points: scores, colour: ORANGE, width: 1.8, dots: history.length <= 100 ? 2.6 : 0.1 }],
    });
    const [names, colours, shown] = [model.get("label_names"), model.get("palette"), state.get("shown_classes")];
    const lines = shown.map((label) => ({
      points: history.map((row) => [row.epoch, row.iou[label]]), title: names[label], name: "segnb-class-line",
      colour: `rgb(${colours[label]})`, width: classes.pointed() === label ? 2.8 : 1.6, dash: dashOf(label), casing: true,
      opacity: [null, label].includes(classes.pointed()) ? 1 : 0.2, dots: history.length === 1 ? 2.4 : 0,
    }));
    chart(iou, { label: `IoU of ${shown.length} of ${names.length} classes by epoch`, x, y, lines });
  }

  function drawRates(now, x, history) {
    const { first = 0, every = 1, lr: rates = [], speed: speeds = [] } = model.get("rates");
    const steps = Math.max(1, now.steps ?? 1);
    const at = (i) => (first + (i + 0.5) * every) / steps;
    // Of the steps before, in an earlier part of the run, the last rate of each epoch is known.
    const before = history.filter((row) => !rates.length || row.epoch * steps <= first).map((row) => [row.epoch, row.lr]);
    const points = [...before, ...rates.map((value, i) => [at(i), value])];
    const paces = speeds.map((value, i) => [at(i), value]);
    const line = { colour: BLUE, width: 1.8 };
    lrNow.textContent = short(points.at(-1)?.[1]);
    speedNow.textContent = short(paces.at(-1)?.[1]);
    chart(lr, { label: `Learning rate by epoch, now ${lrNow.textContent}`, x, y: fromZero(points.map((point) => point[1])), lines: [{ ...line, points }] });
    chart(speed, { label: `Images per second, now ${speedNow.textContent || "unknown"}`, x, y: fromZero(speeds), lines: [{ ...line, points: paces }] });
  }

  return {
    node,
    draw(now) {
      const history = model.get("history");
      const epochs = Math.max(1, now.epochs ?? 1, ...runs.chosen().map((run) => run.history.at(-1)?.[0] ?? 1));
      const x = { range: [0, epochs], step: Math.max(1, niceStep(epochs, 6)), label: "epoch" };
      if (x.step === 2.5) x.step = 2;
      drawLoss(now, x, history);
      drawScores(x, history);
      drawRates(now, x, history);
    },
  };
}
