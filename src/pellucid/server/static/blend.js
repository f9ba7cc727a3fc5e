// Enters: the pixels of a noisy image and of the clean one, 8-bit RGBA. Leaves: pixels in between, or what was taken out.
// Does not know: canvases, sliders, files.

/** ITU-R BT.601-7 (2011), sec. 2.5.1: brightness of red, green and blue. The server splits the residual in the same way. */
const LUMA = [0.299, 0.587, 0.114];
export const WHOLE = Object.freeze({ strength: 100, luma: 100, chroma: 100 });

/** Tell whether a mix takes out all that the network saw. */
export function isWhole(mix) {
  return mix.strength === 100 && mix.luma === 100 && mix.chroma === 100;
}

/** Weights (a, b) of `noisy + a * change + b * luma(change)`, where change = clean - noisy. */
function weights({ strength, luma, chroma }) {
  return [(strength * chroma) / 1e4, (strength * (luma - chroma)) / 1e4];
}

/**
 * Blend, in the columns from `from` on; before them stay noisy pixels. `out` rounds and clips by itself.
 * @param {Uint8ClampedArray} noisy @param {Uint8ClampedArray} clean @param {Uint8ClampedArray} out
 */
export function blend(noisy, clean, out, width, from, mix) {
  const [a, b] = weights(mix);
  const [red, green, blue] = LUMA.map((share) => share * b);
  out.set(noisy);
  const skip = 4 * Math.min(Math.max(from, 0), width);
  for (let row = 0; row < noisy.length; row += 4 * width) {
    for (let i = row + skip; i < row + 4 * width; i += 4) {
      const r = clean[i] - noisy[i];
      const g = clean[i + 1] - noisy[i + 1];
      const d = clean[i + 2] - noisy[i + 2];
      const brightness = red * r + green * g + blue * d;
      out[i] = noisy[i] + a * r + brightness;
      out[i + 1] = noisy[i + 1] + a * g + brightness;
      out[i + 2] = noisy[i + 2] + a * d + brightness;
    }
  }
}

/** What is taken out, `gain` times, around middle gray. */
export function residual(noisy, clean, out, mix, gain) {
  const [a, b] = weights(mix);
  const [red, green, blue] = LUMA.map((share) => share * b);
  for (let i = 0; i < noisy.length; i += 4) {
    const r = noisy[i] - clean[i];
    const g = noisy[i + 1] - clean[i + 1];
    const d = noisy[i + 2] - clean[i + 2];
    const brightness = red * r + green * g + blue * d;
    out[i] = 128 + gain * (a * r + brightness);
    out[i + 1] = 128 + gain * (a * g + brightness);
    out[i + 2] = 128 + gain * (a * d + brightness);
    out[i + 3] = noisy[i + 3];
  }
}

/** Tell whether no pixel has colour. */
export function isGray(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return false;
  }
  return true;
}
