// Texts that describe photos, their noise and their state.

import { isWhole } from './amounts.js';

const NOISE = [[0.75, 'hardly any noise'], [5, 'faint noise'], [15, 'visible noise'], [30, 'strong noise'], [Infinity, 'very strong noise']];
const FORMATS = { jpeg: 'JPEG', png: 'PNG', tiff: 'TIFF', webp: 'WebP', avif: 'AVIF' };
/** Longest side of previews; larger photos are shown smaller than they are saved. */
const PREVIEW_PX = 4096;
/** Below this, the noise may be of a kind that the estimate misses. */
const DOUBTFUL_SIGMA = 2;

export function describeNoise(sigma) {
  return NOISE.find(([limit]) => sigma < limit)[1];
}

/** A photo's state in a few words, and its progress (0 to 1). */
export function describeState(photo) {
  const { state, progress, answer, problem } = photo;
  if (state === 'waiting') return { text: 'Waiting', share: 0 };
  if (state === 'failed') return { text: problem.title, share: 0 };
  if (state === 'done') return { text: `Noise ${formatSigma(answer.facts.sigma)}`, share: 1 };
  if (photo.busyUntil) return { text: 'Server busy', share: 0 };
  if (!progress?.total) return { text: 'Working', share: 0 };
  return { text: `Working, ${Math.round((100 * progress.done) / progress.total)} %`, share: progress.done / progress.total };
}

/** Describe the progress of a photo. */
export function describeWork(photo) {
  const { state, progress, busyUntil } = photo;
  if (state === 'waiting') return 'Waiting in the queue';
  if (busyUntil) {
    return `The server is busy; trying again in ${Math.max(1, Math.round((busyUntil - Date.now()) / 1000))} s`;
  }
  if (!progress?.total) return 'Uploading, and estimating the noise';
  if (progress.done === progress.total) return 'Writing the result';
  return `Tile ${Math.min(progress.done + 1, progress.total)} of ${progress.total}`;
}

export function describeFacts(photo) {
  if (!photo.answer) return formatBytes(photo.file.size);
  const { facts } = photo.answer;
  const said = [`${facts.width} × ${facts.height}`, FORMATS[facts.format] ?? facts.format, `${facts.seconds.toFixed(1)} s`];
  if (facts.sigmas?.length > 1) said.push(`page 1 of ${facts.sigmas.length}`);
  if (Math.max(facts.width, facts.height) > PREVIEW_PX) said.push(`shown at ${PREVIEW_PX} px`);
  return said.join(' · ');
}

/** A hint on the noise level, or an empty string. */
export function hintOn(facts) {
  if (!facts.is_estimated || facts.sigma >= DOUBTFUL_SIGMA) return '';
  return 'Little noise was found. If you see more, set the level by hand: 10 is a good start for photos.';
}

/** Describe the file that is saved. */
export function describeSaving({ mix, answer }) {
  const format = FORMATS[answer.facts.format] ?? answer.facts.format;
  if (isWhole(mix)) return `Full size, as ${format}, with its metadata.`;
  if (mix.strength === 0 || (mix.luma === 0 && mix.chroma === 0)) return 'Nothing is removed: this saves the original.';
  return `With these amounts the server makes the full-size ${format} when you save: about ${Math.ceil(answer.facts.seconds)} s.`;
}

function formatBytes(n_bytes) {
  return n_bytes < 1e6 ? `${Math.ceil(n_bytes / 1e3)} KB` : `${(n_bytes / 1e6).toFixed(1)} MB`;
}

export function formatSigma(sigma) {
  return sigma.toFixed(sigma < 10 ? 1 : 0);
}

/** Where photos go, by the page's own address. */
export function describePlace(hostname) {
  const isHere = ['localhost', '[::1]'].includes(hostname) || /^127\./.test(hostname);
  return isHere ? 'Photos stay on this computer.' : `Photos go to ${hostname}, are not kept there, and go nowhere else.`;
}
