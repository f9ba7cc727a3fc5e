// The amounts that can be set after denoising: the only list of them on the page.
// Names, units and defaults are those of the query of /v1/denoise.

/** @type {{name: string, label: string, whole: number, isColour: boolean, hint: string}[]} */
export const AMOUNTS = [
  { name: 'strength', label: 'Strength', whole: 100, isColour: false, hint: 'How much of the noise is removed.' },
  { name: 'luma', label: 'Luminance noise', whole: 100, isColour: true, hint: 'How much of the noise in brightness is removed.' },
  { name: 'chroma', label: 'Color noise', whole: 100, isColour: true, hint: 'How much of the noise in color is removed.' },
  { name: 'detail', label: 'Keep detail', whole: 0, isColour: false, hint: 'How much of the removed detail is restored in edges and texture.' },
];

/** The amounts that remove all the noise that the network found. */
export const WHOLE = Object.freeze(Object.fromEntries(AMOUNTS.map(({ name, whole }) => [name, whole])));

/** Whether a mix removes all the noise that the network found. */
export function isWhole(mix) {
  return AMOUNTS.every(({ name, whole }) => mix[name] === whole);
}
