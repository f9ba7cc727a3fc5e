// Draws the image before and after on the canvas. Only what is visible is blended, so its size costs nothing.

import { WHOLE } from './amounts.js';
import { blend, detailShares, residual } from './blend.js';
import { Viewport } from './viewport.js';

/** Space left around a fitted image, where the screen has it: beside, and for the controls above and below. */
const MARGIN_PX = { x: 36, y: 64 };
const ROOMY_PX = 700;

function makeScratch() {
  // Read after every draw: kept out of the graphics card, from which reading is slow.
  return document.createElement('canvas').getContext('2d', { willReadFrequently: true });
}

export class Stage extends EventTarget {
  viewport = new Viewport();
  #canvas;
  #context;
  #scratch = makeScratch();
  #before = null;
  #after = null;
  #seen = null;
  #out = null;
  #isDue = false;
  #look = { mix: WHOLE, sigma: 0, mode: 'compare', split: 0.5, gain: 2 };

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    this.#resize();
  }

  get look() {
    return this.#look;
  }

  get hasImage() {
    return this.#before !== null;
  }

  get canCompare() {
    return this.#after !== null;
  }

  /** Show pyramids, `after` being null while there is none; those shown until now are closed. */
  show(before, after) {
    for (const old of [this.#before, this.#after]) old?.close();
    this.#before = before;
    this.#after = after;
    if (before) this.viewport.setImage(before.width, before.height);
    this.moved();
  }

  /** Change the mix, the noise level `sigma`, the mode ('compare', 'clean' or 'removed'), the split (0 to 1) or the gain. */
  set(change) {
    this.#look = { ...this.#look, ...change };
    this.#ask();
  }

  /** Say that the viewport was changed. */
  moved() {
    this.#seen = null;
    this.#ask();
  }

  /** Where the divider stands, in device pixels from the frame's left. */
  get dividerX() {
    const { x, width } = this.viewport.visible();
    return x + this.#look.split * width;
  }

  moveDividerTo(x) {
    const seen = this.viewport.visible();
    this.set({ split: Math.min(1, Math.max(0, (x - seen.x) / seen.width)) });
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas.parentElement;
    const ratio = window.devicePixelRatio;
    const width = Math.max(1, Math.round(clientWidth * ratio));
    const height = Math.max(1, Math.round(clientHeight * ratio));
    this.#canvas.width = width;
    this.#canvas.height = height;
    const room = clientWidth >= ROOMY_PX ? ratio : 0;
    this.viewport.setFrame(width, height, { x: MARGIN_PX.x * room, y: MARGIN_PX.y * room });
    this.#seen = null;
    // At once, since a canvas is empty after it was given a size.
    this.#draw();
  }

  #ask() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (this.#before) {
      this.#seen ??= this.#take();
      const { place, before, after } = this.#seen;
      this.#context.putImageData(after ? this.#mixed() : before, place.x, place.y);
    }
    this.dispatchEvent(new Event('drawn'));
  }

  /** Take the pixels that are seen, before and after. */
  #take() {
    const place = this.viewport.visible();
    const take = (pyramid) => {
      const { canvas } = this.#scratch;
      if (canvas.width !== place.width || canvas.height !== place.height) {
        canvas.width = place.width;
        canvas.height = place.height;
      }
      pyramid.draw(this.#scratch, place.source, place.width, place.height);
      return this.#scratch.getImageData(0, 0, place.width, place.height);
    };
    return { place, before: take(this.#before), after: this.#after && take(this.#after) };
  }

  /** The shares of detail of the pixels that are seen; measured once for each place. */
  #shares() {
    const { mix, sigma } = this.#look;
    if (!mix.detail) return null;
    const seen = this.#seen;
    if (seen.sharesOf !== sigma) {
      seen.shares = detailShares(seen.after.data, seen.place.width, sigma);
      seen.sharesOf = sigma;
    }
    return seen.shares;
  }

  #mixed() {
    const { place, before, after } = this.#seen;
    const { mode, split, mix, gain } = this.#look;
    if (this.#out?.width !== place.width || this.#out?.height !== place.height) {
      this.#out = new ImageData(place.width, place.height);
    }
    if (mode === 'removed') residual(before.data, after.data, this.#out.data, mix, gain, this.#shares());
    else {
      const from = mode === 'compare' ? Math.round(split * place.width) : 0;
      blend(before.data, after.data, this.#out.data, place.width, from, mix, this.#shares());
    }
    return this.#out;
  }
}
