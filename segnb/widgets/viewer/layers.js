// What can be seen of one picture: photo, truth, prediction, errors; and the pictures that are kept in memory.

const LAYERS = { photo: "Photo", truth: "Truth", prediction: "Prediction", errors: "Errors" };
const KEEP = 24; // decoded pictures in memory
const MARK = word([216, 27, 120]);

class Picture {
  /** Decode one message of Python. */
  static async from(payload) {
    const [photo, truth, prediction] = await Promise.all([
      bitmap(payload.image, "image/jpeg"), greyMap(payload.truth), greyMap(payload.prediction),
    ]);
    return Object.assign(new Picture(), { payload, photo, labels: { truth: truth?.values, prediction: prediction?.values } });
  }

  close() {
    this.photo.close();
  }

  layers() {
    const { truth, prediction } = this.labels;
    return ["photo", truth && "truth", prediction && "prediction", truth && prediction && "errors"].filter(Boolean);
  }

  /** Draw one layer over a part of the canvas; look: { visible, palette, opacity, outline }. */
  paint(brush, layer, { visible, palette, opacity, outline }, part) {
    const { truth, prediction } = this.labels;
    brush.photo({ ...part, grey: layer === "errors" });
    if (layer === "photo") return;
    if (layer === "errors") {
      const wrong = (i) => truth[i] !== prediction[i] && truth[i] !== IGNORE && (visible[truth[i]] || visible[prediction[i]]);
      brush.colours((words, grid) => hatch(words, grid, wrong, MARK, brush.dense), opacity, part);
      return;
    }
    const [labels, table] = [this.labels[layer], colourTable(palette, visible)];
    if (outline) brush.colours((words, grid) => contour(words, grid, labels, table, Math.round(2 * brush.dense)), 1, part);
    else brush.colours((words, grid) => tint(words, grid, labels, table), opacity, part);
  }

  /** Numbers for the legend: pixels, or per cent of the counted area; in the map of errors of the class's own area. */
  numbers(layer, classes, unit) {
    const { counts } = this.payload;
    const shown = layer === "photo" ? (counts.truth ? "truth" : "prediction") : layer;
    if (!counts[shown]) return Array(classes).fill(null);
    const occurs = (label) => layer !== "errors" || counts.truth[label] > 0;
    const total = counts[shown].reduce((sum, pixels) => sum + pixels, 0);
    const whole = (label) => (layer === "errors" ? counts.truth[label] : total) || 1;
    return counts[shown].map((pixels, label) => {
      if (!occurs(label)) return null;
      return unit === "pixels" ? pixels : (100 * pixels) / whole(label);
    });
  }

  /** What stands at a point, in words; the point is one of the label map, which may be smaller than the original. */
  describe(point, classes) {
    const { width, height } = this.payload;
    const [x, y] = [[point.x, width / this.photo.width], [point.y, height / this.photo.height]]
      .map(([place, scale]) => Math.floor((place + 0.5) * scale));
    const said = ["truth", "prediction"].filter((kind) => this.labels[kind]).map((kind) => {
      const label = this.labels[kind][point.index];
      return `${kind}: ${label === IGNORE ? "ignored" : classes[label]}`;
    });
    return [`x ${x}, y ${y}`, ...said].join("  ·  ");
  }
}

/**
 * Pictures by index. One is asked for at a time, the one wanted last before all others, so that turning pages fast never
 * piles up: ask(index) tells the kernel; deliver(picture) and fail(index) tell what became of the wanted one.
 */
class PictureStore {
  constructor({ ask, deliver, fail }) {
    Object.assign(this, { ask, deliver, fail, pictures: new Map(), wanted: -1, ahead: -1, flying: -1 });
  }

  /** Want a picture now, and another one soon (-1: none). */
  want(index, ahead = -1) {
    Object.assign(this, { wanted: index, ahead });
    if (this.pictures.has(index)) this.hand(index);
    this.fly();
  }

  fly() {
    if (this.flying >= 0) return;
    this.flying = [this.wanted, this.ahead].find((index) => index >= 0 && !this.pictures.has(index)) ?? -1;
    if (this.flying >= 0) this.ask(this.flying);
  }

  async hand(index) {
    const promise = this.pictures.get(index);
    this.pictures.delete(index); // the last one used is the last one to be dropped
    this.pictures.set(index, promise);
    const picture = await promise.catch(() => null);
    if (index !== this.wanted || this.closed) return; // the reader has gone on
    if (picture) this.deliver(picture);
    else this.fail(index);
  }

  put(payload) {
    this.pictures.set(payload.index, Picture.from(payload));
    for (const [index, promise] of this.pictures) {
      if (this.pictures.size <= KEEP) return;
      this.pictures.delete(index);
      promise.then((picture) => picture.close(), () => {});
    }
  }

  receive(payload) {
    this.put(payload);
    if (this.flying === payload.index) this.flying = -1;
    if (this.wanted === payload.index) this.hand(payload.index);
    this.fly();
  }

  /** Python has met an error: what was asked for will not come. */
  failed() {
    const index = this.flying;
    this.flying = -1;
    if (index === this.ahead) this.ahead = -1;
    if (index < 0) return;
    if (index === this.wanted) this.fail(index); // asked for again when it is wanted again
    else this.fly();
  }

  close() {
    this.closed = true;
    for (const promise of this.pictures.values()) promise.then((picture) => picture.close(), () => {});
  }
}
