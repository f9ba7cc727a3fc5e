// Zoom and position of an image in its frame. All lengths are device pixels; zoom 1 is one image pixel per device pixel.

const LARGEST_ZOOM = 16;
/** A small image is not blown up beyond this to fill the frame. */
const LARGEST_FIT = 4;
const STEPS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 1.5, 2, 3, 4, 6, 8, 12, 16];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewport {
  image = { width: 1, height: 1 };
  frame = { width: 1, height: 1 };
  zoom = 1;
  isFitted = true;
  #margin = { x: 0, y: 0 };
  #centre = { x: 0.5, y: 0.5 };

  /** Zoom at which the whole image is seen, with a margin around it. */
  get fitZoom() {
    const across = (this.frame.width - 2 * this.#margin.x) / this.image.width;
    const down = (this.frame.height - 2 * this.#margin.y) / this.image.height;
    return clamp(Math.min(across, down), 1e-3, LARGEST_FIT);
  }

  get canPan() {
    const { width, height } = this.rect();
    return width > this.frame.width + 0.5 || height > this.frame.height + 0.5;
  }

  setFrame(width, height, margin) {
    this.frame = { width, height };
    this.#margin = margin;
    this.#clamp();
  }

  /** Show another image: the same part of it if it has the same shape, else all of it. */
  setImage(width, height) {
    const isAlike = Math.abs(width / height - this.image.width / this.image.height) < 0.01;
    if (isAlike) this.zoom *= this.image.width / width;
    else this.isFitted = true;
    this.image = { width, height };
    this.#clamp();
  }

  fit() {
    this.isFitted = true;
    this.#clamp();
  }

  /** Zoom, and keep the image's point that lies at `at` in the frame where it is. */
  zoomTo(zoom, at = { x: this.frame.width / 2, y: this.frame.height / 2 }) {
    const before = this.rect();
    const point = { x: (at.x - before.left) / before.width, y: (at.y - before.top) / before.height };
    this.zoom = clamp(zoom, Math.min(this.fitZoom, 1), LARGEST_ZOOM);
    this.isFitted = Math.abs(this.zoom / this.fitZoom - 1) < 1e-3;
    this.#centre.x = point.x + (this.frame.width / 2 - at.x) / (this.image.width * this.zoom);
    this.#centre.y = point.y + (this.frame.height / 2 - at.y) / (this.image.height * this.zoom);
    this.#clamp();
  }

  /** Zoom to the next round step up (1) or down (-1). */
  step(direction) {
    const next = direction > 0
      ? STEPS.find((step) => step > this.zoom * 1.01)
      : STEPS.findLast((step) => step < this.zoom * 0.99);
    this.zoomTo(next ?? this.zoom);
  }

  panBy(dx, dy) {
    if (!this.canPan) return;
    this.#centre.x -= dx / (this.image.width * this.zoom);
    this.#centre.y -= dy / (this.image.height * this.zoom);
    this.#clamp();
  }

  /** Where the whole image lies: from a whole pixel on, so that at zoom 1 each of its pixels is one of the frame. */
  rect() {
    const width = this.image.width * this.zoom;
    const height = this.image.height * this.zoom;
    return {
      left: Math.round(this.frame.width / 2 - this.#centre.x * width),
      top: Math.round(this.frame.height / 2 - this.#centre.y * height),
      width,
      height,
    };
  }

  /** What is seen: whole pixels of the frame, and the part of the image (in image pixels) that belongs there. */
  visible() {
    const { left, top, width, height } = this.rect();
    const x = Math.max(0, left);
    const y = Math.max(0, top);
    const right = Math.max(x + 1, Math.min(this.frame.width, Math.round(left + width)));
    const bottom = Math.max(y + 1, Math.min(this.frame.height, Math.round(top + height)));
    return {
      x, y, width: right - x, height: bottom - y,
      source: {
        x: (x - left) / this.zoom, y: (y - top) / this.zoom,
        width: (right - x) / this.zoom, height: (bottom - y) / this.zoom,
      },
    };
  }

  /** Keep the image in the frame: centred where it is smaller, without a gap where it is larger. */
  #clamp() {
    if (this.isFitted) this.zoom = this.fitZoom;
    for (const [axis, side] of [['x', 'width'], ['y', 'height']]) {
      const half = this.frame[side] / (2 * this.image[side] * this.zoom);
      this.#centre[axis] = half >= 0.5 ? 0.5 : clamp(this.#centre[axis], half, 1 - half);
    }
  }
}
