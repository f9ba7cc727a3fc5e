// An image at its own size and repeatedly halved, ready to be drawn.

/** Below this many pixels a further half would save nothing. */
const SMALLEST_PX = 400 * 400;

export class Pyramid {
  #levels;

  constructor(levels) {
    this.#levels = levels;
  }

  static async of(blob) {
    const levels = [await createImageBitmap(blob)];
    while (levels.at(-1).width * levels.at(-1).height > SMALLEST_PX) {
      const { width, height } = levels.at(-1);
      levels.push(await createImageBitmap(levels.at(-1), {
        resizeWidth: Math.max(1, width >> 1), resizeHeight: Math.max(1, height >> 1), resizeQuality: 'medium',
      }));
    }
    return new Pyramid(levels);
  }

  get width() {
    return this.#levels[0].width;
  }

  get height() {
    return this.#levels[0].height;
  }

  /** Give the pixels of the smallest level. */
  pixels() {
    const { width, height } = this.#levels.at(-1);
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(this.#levels.at(-1), 0, 0);
    return context.getImageData(0, 0, width, height).data;
  }

  /** Draw a part of the image so that it fills `width` x `height`, from the smallest level that has enough pixels. */
  draw(context, source, width, height) {
    const scale = width / source.width;
    const wanted = Math.max(0, Math.floor(Math.log2(1 / scale) + 1e-6));
    const level = this.#levels[Math.min(wanted, this.#levels.length - 1)];
    const across = level.width / this.width;
    const down = level.height / this.height;
    // From twice the size on, pixels are what one wants to see.
    context.imageSmoothingEnabled = scale < 2;
    context.imageSmoothingQuality = 'medium';
    context.clearRect(0, 0, width, height);
    context.drawImage(level, source.x * across, source.y * down, source.width * across, source.height * down, 0, 0, width, height);
  }

  close() {
    for (const level of this.#levels) level.close();
  }
}
