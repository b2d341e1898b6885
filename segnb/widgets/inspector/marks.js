// What the inspector lays over a photo: maps, marks of errors, and what a threshold would find.

const [BLUE, ORANGE, GREY] = [[0, 114, 178], [213, 94, 0], [110, 110, 110]]; // two of Okabe and Ito, and grey

/** Colour the screen by a map that may be coarser than the picture: then values between its cells are interpolated. */
function heat(words, { columns, rows }, map, width, height, table) {
  if (map.width === width && map.height === height) {
    tint(words, { columns, rows }, map.values, table);
    return;
  }
  const cells = (places, length, count) => {
    const exact = Float64Array.from(places, (place) => Math.min(count - 1, Math.max(0, ((place + 0.5) * count) / length - 0.5)));
    const first = Int32Array.from(exact, Math.floor);
    return { first, second: first.map((cell) => Math.min(count - 1, cell + 1)), share: exact.map((place) => place % 1) };
  };
  const across = cells(columns, width, map.width);
  const down = cells(rows.map((row) => row / width), height, map.height);
  const line = new Float64Array(map.width);
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    const [upper, lower, share] = [down.first[j] * map.width, down.second[j] * map.width, down.share[j]];
    for (let cell = 0; cell < line.length; cell += 1) line[cell] = map.values[upper + cell] * (1 - share) + map.values[lower + cell] * share;
    for (let i = 0; i < columns.length; i += 1, k += 1) {
      const [left, right] = [line[across.first[i]], line[across.second[i]]];
      words[k] = table[Math.round(left + (right - left) * across.share[i])];
    }
  }
}

/**
 * What the layers "errors" and "differences" mark: `marks`, each with its name, colour and slope of its stripes (1 rises, -1
 * falls, 0 has none), and `which(place)`, the number of a pixel's mark counted from 1, or 0.
 */
function marksOf(layer, { truth, prediction, other }, { label, confused, visible, names }) {
  const mark = (name, colour, slope) => ({ name, colour, slope });
  if (layer === "differences") {
    const marks = [mark("only this model is right", BLUE, -1), mark("only the other is right", ORANGE, 1), mark("both wrong, differently", GREY, 0)];
    const which = (i) => {
      if (prediction[i] === other[i] || truth[i] === IGNORE) return 0;
      return prediction[i] === truth[i] ? 1 : other[i] === truth[i] ? 2 : 3;
    };
    return { marks, which };
  }
  if (confused.length) {
    const [t, p] = confused;
    return { marks: [mark(`${names[t]} → ${names[p]}`, ORANGE, 1)], which: (i) => Number(truth[i] === t && prediction[i] === p) };
  }
  if (label >= 0) {
    const marks = [mark("false positive", ORANGE, 1), mark("false negative", BLUE, -1)];
    const which = (i) => {
      if ((truth[i] === label) === (prediction[i] === label) || truth[i] === IGNORE) return 0;
      return prediction[i] === label ? 1 : 2;
    };
    return { marks, which };
  }
  const which = (i) => Number(truth[i] !== prediction[i] && truth[i] !== IGNORE && (visible[truth[i]] || visible[prediction[i]]));
  return { marks: [mark("wrong", ORANGE, 1)], which };
}

/** Fill the screen's pixels with their marks; stripes need no colour vision. */
function fillMarks(words, { columns, rows }, { marks, which }, dense) {
  const [white, period, colours] = [0xffffffff, Math.round(8 * dense), marks.map(({ colour }) => word(colour))];
  for (let j = 0, k = 0; j < rows.length; j += 1) {
    for (let i = 0; i < columns.length; i += 1, k += 1) {
      const found = which(rows[j] + columns[i]);
      if (!found) continue;
      const { slope } = marks[found - 1];
      const striped = slope && (i + (slope > 0 ? j : rows.length - j)) % period < period / 4;
      words[k] = striped ? white : colours[found - 1];
    }
  }
}

/** The same pixel, seen through: opacity 0 to 1. */
function see(pixel, opacity) {
  return ((Math.round(255 * opacity) << 24) | (pixel & 0xffffff)) >>> 0;
}

/** Outline the screen's pixels whose value is at least `level`: white inside, black outside, so it is seen on any colour. */
function outlineAbove(words, { columns, rows }, values, level, width) {
  const [across, down, colours] = [columns.length, rows.length, [word([0, 0, 0]), word([255, 255, 255])]];
  const above = new Uint8Array(across * down);
  for (let j = 0, k = 0; j < down; j += 1) {
    const row = rows[j];
    for (let i = 0; i < across; i += 1, k += 1) if (values[row + columns[i]] >= level) above[k] = 1;
  }
  for (let j = 0; j < down; j += 1) {
    const [here, over, under] = [j, Math.max(0, j - width), Math.min(down - 1, j + width)].map((row) => row * across);
    for (let i = 0; i < across; i += 1) {
      const side = above[here + i];
      if (above[over + i] !== side || above[under + i] !== side || above[here + Math.max(0, i - width)] !== side
        || above[here + Math.min(across - 1, i + width)] !== side) words[here + i] = colours[side];
    }
  }
}

/** Says for every threshold from 0 to 255 how well "probability at least that" meets the truth of a class. */
function thresholdScores(probability, truth, label) {
  const [ours, others] = [new Float64Array(257), new Float64Array(257)];
  for (let i = 0; i < truth.length; i += 1) if (truth[i] !== IGNORE) (truth[i] === label ? ours : others)[probability[i]] += 1;
  for (let level = 255; level >= 0; level -= 1) {
    ours[level] += ours[level + 1];
    others[level] += others[level + 1];
  }
  return (level) => (ours[0] + others[level] ? ours[level] / (ours[0] + others[level]) : NaN);
}
