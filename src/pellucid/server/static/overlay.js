// Controls over the image: divider, zoom, progress and errors.

import { describeWork } from './words.js';

const find = (id) => document.getElementById(id);
/** A chip that names a side goes when the divider leaves it less room than this, in CSS pixels. */
const CHIP_ROOM_PX = 96;

export class Overlay {
  #stage;
  #clock = null;

  constructor(stage, { onRetry, onGiveUp }) {
    this.#stage = stage;
    find('retry').addEventListener('click', onRetry);
    find('give-up').addEventListener('click', onGiveUp);
    for (const radio of document.querySelectorAll('input[name=mode]')) {
      radio.addEventListener('change', () => stage.set({ mode: radio.value }));
    }
    find('gain').addEventListener('input', (event) => stage.set({ gain: event.target.valueAsNumber }));
    const zooms = {
      'zoom-in': () => stage.viewport.step(1),
      'zoom-out': () => stage.viewport.step(-1),
      'zoom-fit': () => stage.viewport.fit(),
      'zoom-full': () => stage.viewport.zoomTo(1),
    };
    for (const [id, change] of Object.entries(zooms)) {
      find(id).addEventListener('click', () => {
        change();
        stage.moved();
      });
    }
    stage.addEventListener('drawn', () => this.#follow());
  }

  /** Show how it stands with a photo. */
  update(photo) {
    const isBusy = photo.state === 'waiting' || photo.state === 'working';
    find('working').hidden = !isBusy;
    find('trouble').hidden = photo.state !== 'failed';
    find('stage').dataset.state = photo.state;
    clearTimeout(this.#clock);
    if (isBusy) this.#showWork(photo);
    find('give-up').textContent = photo.answer ? 'Keep the last result' : 'Remove it';
    if (photo.problem) {
      find('retry').hidden = photo.problem.isFinal;
      for (const part of ['title', 'text', 'detail']) find(`trouble-${part}`).textContent = photo.problem[part];
    }
  }

  #showWork(photo) {
    find('working-text').textContent = describeWork(photo);
    const { progress } = photo;
    if (progress?.total) Object.assign(find('progress'), { max: progress.total, value: progress.done });
    else find('progress').removeAttribute('value');
    if (photo.busyUntil) this.#clock = setTimeout(() => this.#showWork(photo), 1000);
  }

  /** Keep divider, chips and numbers where the pixels are. */
  #follow() {
    const { viewport, look, canCompare } = this.#stage;
    const ratio = window.devicePixelRatio;
    const seen = viewport.visible();
    const view = find('view');
    const isCompared = canCompare && look.mode === 'compare';
    const sides = { left: seen.x / ratio, top: seen.y / ratio, width: seen.width / ratio, height: seen.height / ratio };
    for (const [side, value] of Object.entries(sides)) view.style.setProperty(`--${side}`, `${value}px`);
    view.style.setProperty('--split', look.split);
    view.classList.toggle('can-pan', viewport.canPan);
    find('divider').hidden = !isCompared;
    find('divider').setAttribute('aria-valuenow', Math.round(100 * look.split));
    find('divider').setAttribute('aria-valuetext', `${Math.round(100 * look.split)} % before`);
    find('chip-before').hidden = !isCompared || look.split * sides.width < CHIP_ROOM_PX;
    find('chip-after').hidden = !isCompared || (1 - look.split) * sides.width < CHIP_ROOM_PX;
    find('modes').hidden = !canCompare;
    find('gain-row').hidden = !canCompare || look.mode !== 'removed';
    find('gain-value').textContent = `${look.gain}×`;
    find('gain').style.setProperty('--share', (look.gain - 1) / 15);
    find('zoom-value').textContent = `${Math.round(100 * viewport.zoom)} %`;
    find('tools').hidden = !this.#stage.hasImage;
  }
}
