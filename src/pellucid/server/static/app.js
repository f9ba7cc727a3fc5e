// Connects the modules of the page.

import { isGray } from './blend.js';
import { attachGestures } from './gestures.js';
import { attachIntake } from './intake.js';
import { Overlay } from './overlay.js';
import { Panel } from './panel.js';
import { Photos } from './photos.js';
import { explain } from './problems.js';
import { Pyramid } from './pyramid.js';
import { save } from './saving.js';
import { listModels, setTokenSource } from './service.js';
import { Stage } from './stage.js';
import { Strip } from './strip.js';
import { makeTokenDialog } from './token.js';
import { describePlace, describeState } from './words.js';

const TOAST_MS = 8000;
const find = (id) => document.getElementById(id);
const photos = new Photos();
const stage = new Stage(find('canvas'));
const overlay = new Overlay(stage, {
  onRetry: () => photos.again(current),
  onGiveUp: () => (current.answer ? photos.keepLast(current) : photos.remove(current)),
});
const panel = new Panel({
  onMix: (photo, mix) => photos.setMix(photo, mix),
  onAgain: (photo, settings) => photos.again(photo, settings),
  onSave: (photo) => saveOne(photo),
  onSame: ({ mix }) => photos.all.forEach((photo) => photos.setMix(photo, mix)),
});
const strip = new Strip(find('films'), { onPick: open, onRemove: (photo) => photos.remove(photo) });

let current = null;
let shown = null; // the blob whose pixels are on the stage
let isCurrentGray = false;

photos.addEventListener('change', ({ detail: photo }) => {
  const isGone = !photos.all.includes(photo);
  strip.update(photo, { isGone, isCurrent: photo === current });
  if (isGone && photo === current) open(photos.all.at(-1) ?? null);
  showCounts();
  if (!isGone) announce(photo);
  if (photo === current) refresh();
});

function open(photo) {
  const last = current;
  current = photo;
  if (last && photos.all.includes(last)) strip.update(last, { isGone: false, isCurrent: false });
  showCounts();
  if (!photo) {
    shown = null;
    stage.show(null, null);
    find('choose').focus();
    return;
  }
  strip.update(photo, { isGone: false, isCurrent: true });
  strip.reveal(photo);
  panel.open(photo);
  refresh();
}

function refresh() {
  showPixels();
  panel.update({ isGray: isCurrentGray, hasOthers: photos.all.length > 1 });
  overlay.update(current);
  stage.set({ mix: current.mix, sigma: current.answer?.facts.sigma ?? 0 });
}

/** Bring the current photo's pixels on the stage: the original while there is nothing better. */
async function showPixels() {
  const photo = current;
  const [before, after] = photo.answer ? [photo.answer.before, photo.answer.after] : [photo.file, null];
  if (shown === (after ?? before)) return;
  shown = after ?? before;
  const wanted = shown;
  // What the browser cannot read, such as TIFF, is shown when the server's previews arrive.
  const pyramids = await Promise.all([before, after].map((blob) => blob && Pyramid.of(blob).catch(() => null)));
  if (shown !== wanted) {
    for (const pyramid of pyramids) pyramid?.close();
    return;
  }
  isCurrentGray = pyramids.every((pyramid) => pyramid && isGray(pyramid.pixels()));
  stage.show(...pyramids);
  refresh();
}

async function saveOne(photo) {
  panel.sayWrong(null);
  panel.setSaving(true);
  try {
    await save(photo);
    say(`${photo.name} is saved`);
  } catch (error) {
    if (photo === current) panel.sayWrong(explain(error));
    else toast(`${photo.name} is not saved: ${explain(error).title}. Open it and save it again.`);
  } finally {
    panel.setSaving(false);
  }
}

async function saveAll() {
  for (const photo of photos.all.filter(({ state }) => state === 'done')) await saveOne(photo);
}

let toastClock = null;

function toast(text) {
  find('toast').textContent = text;
  find('toast').hidden = false;
  clearTimeout(toastClock);
  toastClock = setTimeout(() => { find('toast').hidden = true; }, TOAST_MS);
}

function showCounts() {
  const { length } = photos.all;
  find('welcome').hidden = length > 0;
  find('work').hidden = length === 0;
  find('add').hidden = length === 0;
  find('strip').hidden = length < 2;
  find('save-all').hidden = photos.all.filter(({ state }) => state === 'done').length < 2;
}

let announced = '';

/** Tell screen readers of each state, and of progress by quarters. */
function announce(photo) {
  const { text, share } = describeState(photo);
  const step = `${photo.id} ${photo.state} ${photo.state === 'working' ? Math.floor(4 * share) : ''}`;
  if (step === announced || photo.state === 'waiting') return;
  announced = step;
  say(photo.state === 'done' ? `${photo.name}: done. ${text}.` : `${photo.name}: ${text}`);
}

function say(text) {
  find('status').textContent = text;
}

setTokenSource(makeTokenDialog());
attachGestures(find('view'), find('divider'), stage);
attachIntake(find('picker'), find('veil'), (files) => {
  const added = photos.add(files);
  if (!current) open(added[0]);
});
for (const id of ['choose', 'add']) find(id).addEventListener('click', () => find('picker').click());
find('save-all').addEventListener('click', saveAll);
find('where').textContent = describePlace(location.hostname);
showCounts();
// Without the list the page works, with the models that the server takes by itself.
listModels().then((models) => panel.setModels(models), () => {});
