// Blends the pixels of the noisy and the denoised image, 8-bit RGBA; also shows what was removed.

/** ITU-R BT.601-7 (2011), sec. 2.5.1: brightness of red, green and blue. The server splits the residual alike. */
const LUMA = [0.299, 0.587, 0.114];
/** Pixels to each side in which structure is measured, as on the server. */
const DETAIL_REACH_PX = 2;

/** Weights (a, b) of `noisy + a * change + b * luma(change)`, where change = clean - noisy. */
function weights({ strength, luma, chroma }) {
  return [(strength * chroma) / 1e4, (strength * (luma - chroma)) / 1e4];
}

/**
 * Share of the removed brightness that full detail would restore at each pixel: v / (v + sigma^2), where v is the
 * variance of the clean brightness in a window around it (Lee 1980, eq. 6). The server uses the noise level at each
 * pixel, the page that of the whole photo; so the saved file can differ a little from what is shown.
 * @param {Uint8ClampedArray} clean @param {number} sigma on the 0..255 scale
 */
export function detailShares(clean, width, sigma) {
  const height = clean.length / 4 / width;
  const luma = new Float32Array(width * height);
  for (let i = 0; i < luma.length; i++) {
    luma[i] = LUMA[0] * clean[4 * i] + LUMA[1] * clean[4 * i + 1] + LUMA[2] * clean[4 * i + 2];
  }
  const mean = windowMean(luma, width, height);
  const meanOfSquares = windowMean(luma.map((value) => value * value), width, height);
  return mean.map((value, i) => {
    const variance = Math.max(0, meanOfSquares[i] - value * value);
    return variance / (variance + sigma * sigma + 1e-6);
  });
}

function windowMean(values, width, height) {
  return meanAlong(meanAlong(values, width, height, 1, width), height, width, width, 1);
}

/** Mean over the window along one axis, mirrored at the edges. */
function meanAlong(values, length, nLines, step, lineStep) {
  const out = new Float32Array(values.length);
  for (let line = 0; line < nLines; line++) {
    for (let at = 0; at < length; at++) {
      let total = 0;
      for (let k = at - DETAIL_REACH_PX; k <= at + DETAIL_REACH_PX; k++) {
        let place = k < 0 ? -k - 1 : k >= length ? 2 * length - 1 - k : k;
        place = Math.min(Math.max(place, 0), length - 1);
        total += values[line * lineStep + place * step];
      }
      out[line * lineStep + at * step] = total / (2 * DETAIL_REACH_PX + 1);
    }
  }
  return out;
}

/**
 * Blend, in the columns from `from` on; before them stay noisy pixels. `out` rounds and clips by itself.
 * @param {Uint8ClampedArray} noisy @param {Uint8ClampedArray} clean @param {Uint8ClampedArray} out
 * @param {Float32Array | null} shares of detailShares, where mix.detail is not 0
 */
export function blend(noisy, clean, out, width, from, mix, shares = null) {
  const [a, b] = weights(mix);
  const detail = shares ? (mix.detail / 100) * (a + b) : 0;
  const [red, green, blue] = LUMA;
  out.set(noisy);
  const skip = 4 * Math.min(Math.max(from, 0), width);
  for (let row = 0; row < noisy.length; row += 4 * width) {
    for (let i = row + skip; i < row + 4 * width; i += 4) {
      const r = clean[i] - noisy[i];
      const g = clean[i + 1] - noisy[i + 1];
      const d = clean[i + 2] - noisy[i + 2];
      const brightness = (detail ? b - detail * shares[i >> 2] : b) * (red * r + green * g + blue * d);
      out[i] = noisy[i] + a * r + brightness;
      out[i + 1] = noisy[i + 1] + a * g + brightness;
      out[i + 2] = noisy[i + 2] + a * d + brightness;
    }
  }
}

/** What is removed, `gain` times, around middle gray. */
export function residual(noisy, clean, out, mix, gain, shares = null) {
  const [a, b] = weights(mix);
  const detail = shares ? (mix.detail / 100) * (a + b) : 0;
  const [red, green, blue] = LUMA;
  for (let i = 0; i < noisy.length; i += 4) {
    const r = noisy[i] - clean[i];
    const g = noisy[i + 1] - clean[i + 1];
    const d = noisy[i + 2] - clean[i + 2];
    const brightness = (detail ? b - detail * shares[i >> 2] : b) * (red * r + green * g + blue * d);
    out[i] = 128 + gain * (a * r + brightness);
    out[i + 1] = 128 + gain * (a * g + brightness);
    out[i + 2] = 128 + gain * (a * d + brightness);
    out[i + 3] = noisy[i + 3];
  }
}

/** Whether no pixel has color. */
export function isGray(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return false;
  }
  return true;
}
