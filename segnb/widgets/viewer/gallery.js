// A gallery of any number of small pictures: only the cells in view exist, and only their pictures are asked for.
//
//     order [7, 2, 9, ...] ─▶ rows of cells ─ in view? ─▶ <canvas>, name          Gallery
//     Python ── a few thumbnails and facts at a time ──▶ decoded, the last 600 kept    Supply

const CELL = { width: 118, height: 112 }; // CSS pixels; the width is the least one
const THUMBNAILS = 600; // decoded and kept
const BATCH = 32; // thumbnails asked for at once, at most
const REST = [100, 3000]; // milliseconds between two surveys, at least and at most

/**
 * A list box of cells. name(index), badge(index): texts; paint(canvas, index): draws, returns a problem's text or "";
 * seen(indexes): cells have come into view; choose(index): one was clicked or reached with the keyboard; open(): Enter.
 */
class Gallery {
  constructor({ label, rows, name, badge, paint, seen, choose, open }) {
    Object.assign(this, { rows, name, badge, paint, seen, choose, open, order: [], places: new Map(), selected: -1 });
    this.id = `segnb-${Math.random().toString(36).slice(2)}`;
    this.sheet = element("div", { className: "segnb-gallery-sheet" });
    this.sheet.setAttribute("role", "presentation");
    this.box = element("div", { className: "segnb-gallery", tabIndex: 0, onscroll: onNextFrame(() => this.update()) }, this.sheet);
    this.box.style.height = `${rows * CELL.height + 2}px`;
    this.box.setAttribute("role", "listbox");
    this.box.setAttribute("aria-label", label);
    this.box.setAttribute("data-lm-suppress-shortcuts", "true");
    this.box.onkeydown = (event) => this.key(event);
    this.none = element("div", { className: "segnb-gallery-none segnb-faint", hidden: true }, "No picture passes the filters");
    this.node = element("div", {}, this.box, this.none);
    this.cells = new Map(); // place in the order -> cell
    this.refresh = onNextFrame(() => this.cells.forEach((cell) => this.fill(cell)));
    this.resized = new ResizeObserver(onNextFrame(() => this.layout()));
    this.resized.observe(this.box);
  }

  close() {
    this.resized.disconnect();
    this.cells.clear(); // a frame that was asked for paints nothing any more
  }

  /** Show these pictures in this order. */
  show(order) {
    this.order = order;
    this.places = new Map(order.map((index, place) => [index, place]));
    this.box.hidden = !order.length;
    this.none.hidden = order.length > 0;
    this.layout();
    this.update(); // an empty gallery has no layout
  }

  /** Mark a picture as the one that is shown, and bring it into view. */
  select(index) {
    this.selected = index;
    this.reveal();
    this.refresh();
  }

  reveal() {
    const place = this.places.get(this.selected);
    if (place === undefined || !this.columns) return;
    const top = Math.floor(place / this.columns) * CELL.height;
    const bottom = top + CELL.height - this.box.clientHeight;
    if (this.box.scrollTop > top || this.box.scrollTop < bottom) this.box.scrollTop = this.box.scrollTop > top ? top : bottom;
    this.update();
  }

  layout() {
    const width = this.box.clientWidth;
    if (!width) return;
    const first = !this.columns;
    this.columns = Math.max(1, Math.floor(width / CELL.width));
    this.across = width / this.columns;
    const rows = Math.ceil(this.order.length / this.columns);
    this.sheet.style.height = `${rows * CELL.height}px`;
    this.box.style.maxHeight = `${rows * CELL.height + 2}px`; // the box may be pulled larger, to that height
    if (first) this.reveal();
    this.update();
    this.refresh();
  }

  /** Make the cells in view and one row above and below; take those that went out of view. */
  update() {
    if (!this.columns) return;
    const row = (pixels) => Math.floor(pixels / CELL.height);
    const first = Math.max(0, (row(this.box.scrollTop) - 1) * this.columns);
    const last = Math.min(this.order.length, (row(this.box.scrollTop + this.box.clientHeight) + 2) * this.columns);
    const free = [];
    for (const [place, cell] of this.cells) {
      if (place >= first && place < last) continue;
      this.cells.delete(place);
      free.push(cell);
    }
    for (let place = first; place < last; place += 1) {
      if (this.cells.has(place)) continue;
      const cell = free.pop() ?? this.cell();
      cell.place = place;
      this.cells.set(place, cell);
      this.fill(cell);
    }
    free.forEach((cell) => cell.node.remove());
    if (!this.cells.has(this.places.get(this.selected))) this.box.removeAttribute("aria-activedescendant");
    this.seen(this.order.slice(first, last));
  }

  cell() {
    const [canvas, name, badge] = [element("canvas"), element("span", { className: "segnb-gallery-cell-name" }), element("span", { className: "segnb-gallery-cell-badge" })];
    const cell = { canvas, name, badge, node: element("div", { className: "segnb-gallery-cell" }, canvas, name, badge) };
    cell.node.setAttribute("role", "option");
    cell.node.onclick = () => this.choose(this.order[cell.place]);
    this.sheet.append(cell.node);
    return cell;
  }

  fill(cell) {
    const { node, place } = cell;
    const index = this.order[place];
    if (index === undefined) return;
    const [text, badge, selected] = [this.name(index), this.badge(index), index === this.selected];
    const problem = this.paint(cell.canvas, index);
    Object.assign(node.style, {
      width: `${this.across}px`, left: `${(place % this.columns) * this.across}px`, top: `${Math.floor(place / this.columns) * CELL.height}px`,
    });
    node.id = `${this.id}-${place}`;
    node.title = problem ? `${text}: ${problem}` : text;
    cell.name.textContent = text;
    cell.badge.textContent = problem ? "⚠" : badge;
    node.classList.toggle("segnb-selected", selected);
    for (const [attribute, value] of [["selected", selected], ["setsize", this.order.length], ["posinset", place + 1],
      ["label", [text, badge && "flagged", problem].filter(Boolean).join(", ")]]) node.setAttribute(`aria-${attribute}`, value);
    if (selected) this.box.setAttribute("aria-activedescendant", node.id);
  }

  key(event) {
    const page = this.rows * this.columns;
    const place = this.places.get(this.selected) ?? -1;
    const steps = {
      ArrowLeft: place - 1, ArrowRight: place + 1, ArrowUp: place - this.columns, ArrowDown: place + this.columns,
      PageUp: place - page, PageDown: place + page, Home: 0, End: this.order.length - 1,
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") this.open();
    else if (event.key in steps) this.choose(this.order[Math.max(0, Math.min(this.order.length - 1, steps[event.key]))]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/**
 * What Python tells of the pictures: facts of all of them, thumbnails of those in view. One request flies at a time, and the
 * kernel rests three times as long as it took, so that a survey of all facts takes a quarter of its time at most.
 * send(message); learned(): facts have arrived; painted(): a thumbnail has.
 */
class Supply {
  constructor({ count, send, learned, painted }) {
    Object.assign(this, { count, send, learned, painted, facts: [], thumbnails: new Map(), wanted: [] });
    Object.assign(this, { known: 0, first: 0, flying: false, watched: false, timer: 0, rest: REST[0] });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    for (const small of this.thumbnails.values()) small.photo?.close();
    this.thumbnails.clear();
  }

  /** A decoded thumbnail: { photo, labels, grid }, or undefined while it is not here. */
  thumbnail(index) {
    const small = this.thumbnails.get(index);
    if (!small?.photo) return undefined;
    this.thumbnails.delete(index); // the last one used is the last one to be dropped
    this.thumbnails.set(index, small);
    return small;
  }

  /** Thumbnails that are in view: they come next; those wanted before are forgotten. */
  want(indexes) {
    this.wanted = indexes.filter((index) => !this.thumbnails.has(index) && !this.facts[index]?.problem);
    this.fly();
  }

  /** Survey the other pictures only while someone looks. */
  watch(on) {
    this.watched = on;
    this.fly();
  }

  fly() {
    if (this.flying || this.closed) return;
    const next = this.wanted.filter((index) => !this.thumbnails.has(index)).slice(0, BATCH);
    if (next.length) {
      this.sent({ type: "thumbnails", indexes: next });
    } else if (this.watched && this.known < this.count && !this.timer) {
      this.timer = setTimeout(() => {
        this.timer = 0;
        while (this.facts[this.first]) this.first += 1;
        if (!this.flying && this.watched && this.first < this.count) this.sent({ type: "survey", first: this.first });
      }, this.rest);
    }
  }

  sent(message) {
    Object.assign(this, { flying: true, since: performance.now() });
    this.send(message);
  }

  receive(records) {
    if (this.flying) this.rest = Math.min(REST[1], Math.max(REST[0], 3 * (performance.now() - this.since)));
    this.flying = false;
    const known = this.known;
    for (const { index, facts, image, labels } of records) {
      if (!this.facts[index]) this.known += 1;
      this.facts[index] = facts;
      if (image) this.decode(index, image, labels);
      else if (facts.problem) this.painted();
    }
    if (this.known > known) this.learned();
    this.fly();
  }

  /** Python has met an error: nothing will come. */
  failed() {
    this.flying = false;
    this.wanted = [];
  }

  async decode(index, image, labels) {
    const small = {};
    this.thumbnails.set(index, small);
    try {
      const [photo, map] = await Promise.all([bitmap(image, "image/webp"), greyMap(labels)]);
      if (this.closed) return photo.close();
      const columns = Int32Array.from({ length: photo.width }, (_, x) => x);
      const rows = Int32Array.from({ length: photo.height }, (_, y) => y * photo.width);
      Object.assign(small, { photo, labels: map?.values, grid: { columns, rows } });
    } catch {
      return; // this browser cannot show it: the cell keeps its name
    }
    for (const [oldest, { photo }] of this.thumbnails) {
      if (this.thumbnails.size <= THUMBNAILS) break;
      this.thumbnails.delete(oldest);
      photo?.close();
    }
    this.painted();
  }
}
