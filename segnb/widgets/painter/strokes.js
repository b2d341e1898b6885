// Which pixels a stroke covers: the rules of strokes.py, so that page and kernel agree on every pixel.
//
//     points ─ line, disc, polygon, superpixels ─▶ runs of pixels in rows ─┬─▶ labels of the page, at once
//                                                                          └─▶ covered ─ on release ─▶ PNG for the kernel

/** The rows of a disc of a diameter: [dy, first, last], pixels first ... last - 1, counted from the middle pixel. */
function discRows(size) {
  const [even, rows] = [1 - (size % 2), []];
  for (let dy = -Math.floor(size / 2); dy <= size / 2; dy += 1) {
    const left = size * size - (2 * dy + even) ** 2;
    const reach = Math.floor(Math.sqrt(left));
    if (left >= even) rows.push([dy, -Math.floor((reach + even) / 2), Math.floor((reach - even) / 2) + 1]);
  }
  return rows;
}

/** Call visit(x, y) for every pixel from a to b, both included. */
function walkLine(a, b, visit) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const steps = Math.max(1, Math.abs(dx), Math.abs(dy));
  const rounded = (way) => Math.floor((2 * way + steps) / (2 * steps));
  for (let k = 0; k <= steps; k += 1) visit(a.x + rounded(k * dx), a.y + rounded(k * dy));
}

/** A map of numbers up to 65535, from a PNG: red + 256 × green. */
async function numberMap(text) {
  const image = await bitmap(text, "image/png", { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = sheet(image.width, image.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const words = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  image.close();
  return Uint16Array.from(words, (colour) => colour & 0xffff);
}

/** Superpixels, and where the pixels of each are. */
class Superpixels {
  constructor(ids) {
    this.ids = ids;
    this.starts = new Uint32Array(65537);
    for (const id of ids) this.starts[id + 1] += 1;
    for (let id = 0; id < 65536; id += 1) this.starts[id + 1] += this.starts[id];
    this.places = new Uint32Array(ids.length);
    const next = this.starts.slice();
    for (let i = 0; i < ids.length; i += 1) this.places[next[ids[i]]++] = i;
  }

  /** Indices of the pixels of one superpixel. */
  of(id) {
    return this.places.subarray(this.starts[id], this.starts[id + 1]);
  }
}

/** One stroke: it changes the page's labels as it is drawn, and remembers which pixels it covers. */
class Stroke {
  constructor(labels, width, height, label) {
    Object.assign(this, { labels, width, height, label });
    this.covered = new Uint8Array(labels.length);
    this.box = { left: width, top: height, right: 0, bottom: 0 };
  }

  /** Cover the pixels first ... last - 1 of row y, as far as they lie in the picture. */
  run(y, first, last) {
    const [from, to] = [Math.max(0, first), Math.min(this.width, last)];
    if (y < 0 || y >= this.height || from >= to) return;
    const { box } = this;
    this.covered.fill(1, y * this.width + from, y * this.width + to);
    this.labels.fill(this.label, y * this.width + from, y * this.width + to);
    if (from < box.left) box.left = from;
    if (to > box.right) box.right = to;
    if (y < box.top) box.top = y;
    if (y >= box.bottom) box.bottom = y + 1;
  }

  brush(a, b, size) {
    const rows = discRows(size);
    walkLine(a, b, (x, y) => rows.forEach(([dy, first, last]) => this.run(y + dy, x + first, x + last)));
  }

  /** Fill by the even-odd rule for pixel centres; the outline belongs to the polygon. */
  polygon(points) {
    const { width, height } = this;
    const turns = new Uint8Array(height * (width + 1)); // where a row crosses the outline
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      for (let y = Math.min(a.y, b.y); y < Math.max(a.y, b.y); y += 1) {
        turns[y * (width + 1) + a.x - Math.floor(((a.y - y) * (b.x - a.x)) / (b.y - a.y))] ^= 1;
      }
      walkLine(a, b, (x, y) => this.run(y, x, x + 1));
    });
    const { top, bottom, left, right } = this.box;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left, inside = 0, first = left; x <= right; x += 1) {
        if (!turns[y * (width + 1) + x]) continue;
        if (inside) this.run(y, first, x);
        [inside, first] = [1 - inside, x];
      }
    }
  }

  /** Cover all superpixels that a line touches. */
  snap(a, b, superpixels) {
    walkLine(a, b, (x, y) => {
      if (this.covered[y * this.width + x]) return;
      for (const i of superpixels.of(superpixels.ids[y * this.width + x])) {
        const row = Math.floor(i / this.width);
        this.run(row, i - row * this.width, i - row * this.width + 1);
      }
    });
  }

  /** Lay the stroke over labels that came from the kernel. */
  again() {
    const { top, bottom, left, right } = this.box;
    for (let y = top; y < bottom; y += 1) {
      for (let i = y * this.width + left; i < y * this.width + right; i += 1) if (this.covered[i]) this.labels[i] = this.label;
    }
  }

  /** The covered pixels as base64 text of a PNG of the box: white where covered. */
  async png() {
    const { left, top, right, bottom } = this.box;
    const page = sheet(right - left, bottom - top);
    const context = page.getContext("2d");
    const pixels = context.createImageData(page.width, page.height);
    const words = new Uint32Array(pixels.data.buffer);
    for (let y = top, k = 0; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1, k += 1) words[k] = this.covered[y * this.width + x] ? 0xffffffff : 0xff000000;
    }
    context.putImageData(pixels, 0, 0);
    const file = await new Promise((deliver) => { page.toBlob(deliver, "image/png"); });
    let text = "";
    for (const byte of new Uint8Array(await file.arrayBuffer())) text += String.fromCharCode(byte);
    return btoa(text);
  }
}
