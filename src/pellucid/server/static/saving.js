// Saves the result of a photo as a download.

import { isWhole } from './amounts.js';
import { denoiseToFile } from './service.js';

const SUFFIXES = {
  jpeg: ['jpg', 'jpeg', 'jpe', 'jfif'], png: ['png'], tiff: ['tif', 'tiff'], webp: ['webp'], avif: ['avif'],
};
const REVOKE_AFTER_MS = 60_000;

/** Name a result: NAME_denoised.EXT, where EXT is the original's own if it goes with the format. */
export function resultName(name, format) {
  const suffixes = SUFFIXES[format] ?? [format];
  const dot = name.lastIndexOf('.');
  const suffix = dot > 0 ? name.slice(dot + 1) : '';
  const isKept = suffixes.includes(suffix.toLowerCase());
  return `${dot > 0 ? name.slice(0, dot) : name}_denoised.${isKept ? suffix : suffixes[0]}`;
}

/** Give the full-size file of a photo as it is mixed: the one that came, or one that the server makes now. */
export async function resultOf(photo) {
  const { answer, mix } = photo;
  if (isWhole(mix)) return answer.result;
  const key = JSON.stringify(mix);
  // Kept beside the answer that it belongs to, so that saving twice asks once.
  if (answer.mixed?.key !== key) {
    answer.mixed = { key, blob: await denoiseToFile(photo.file, { ...answer.asked, mix }) };
  }
  return answer.mixed.blob;
}

/** Hand a photo's file to the browser. */
export async function save(photo) {
  const url = URL.createObjectURL(await resultOf(photo));
  const link = document.createElement('a');
  link.href = url;
  link.download = resultName(photo.name, photo.answer.facts.format);
  link.click();
  // The browser says nowhere when it has read the last byte.
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_AFTER_MS);
}
