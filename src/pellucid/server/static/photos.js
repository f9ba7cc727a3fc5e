// A queue of photos that are denoised one after another; each change of one dispatches the event 'change'.
// The state of a photo is 'waiting', 'working', 'done' or 'failed'.

import { WHOLE } from './amounts.js';
import { explain } from './problems.js';
import { denoise } from './service.js';

const BUSY = 429;
const DEFAULT_WAIT_S = 2;

function makePhoto(id, file) {
  return {
    id, file, name: file.name, state: 'waiting',
    sigma: null, model: null, // what is wanted; null is automatic
    mix: WHOLE,
    progress: null, // {done, total} in tiles
    busyUntil: null, // when a busy server is asked again, in ms
    answer: null, // the last one that came: {facts, before, after, result, asked}
    problem: null, // as problems.js explains it
    controller: null,
  };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

export class Photos extends EventTarget {
  all = [];
  #nextId = 1;
  #isRunning = false;

  /** Put files at the end of the queue; gives their photos. */
  add(files) {
    const added = files.map((file) => makePhoto(this.#nextId++, file));
    this.all.push(...added);
    added.forEach((photo) => this.#tell(photo));
    this.#run();
    return added;
  }

  /** Take a photo out, and stop the work on it. */
  remove(photo) {
    this.all = this.all.filter((other) => other !== photo);
    photo.controller?.abort();
    this.#tell(photo);
  }

  /** Queue a photo again, with another noise level or model, or after a failure. */
  again(photo, settings = {}) {
    photo.controller?.abort();
    Object.assign(photo, settings, { state: 'waiting', problem: null, progress: null });
    this.#tell(photo);
    this.#run();
  }

  /** After a failure, go back to the answer that there was. */
  keepLast(photo) {
    Object.assign(photo, { state: 'done', problem: null, ...photo.answer.asked });
    this.#tell(photo);
  }

  /** Change how the residual is mixed: nothing is asked of the server. */
  setMix(photo, mix) {
    photo.mix = { ...photo.mix, ...mix };
    this.#tell(photo);
  }

  #tell(photo) {
    this.dispatchEvent(new CustomEvent('change', { detail: photo }));
  }

  async #run() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let photo; (photo = this.all.find(({ state }) => state === 'waiting'));) await this.#work(photo);
    this.#isRunning = false;
  }

  async #work(photo) {
    const controller = new AbortController();
    Object.assign(photo, { state: 'working', problem: null, progress: null, controller });
    this.#tell(photo);
    const onProgress = (progress) => {
      photo.progress = progress;
      this.#tell(photo);
    };
    try {
      const asked = { sigma: photo.sigma, model: photo.model };
      const answer = await this.#patiently(photo, () => denoise(photo.file, asked, { signal: controller.signal, onProgress }));
      Object.assign(photo, { state: 'done', answer: { ...answer, asked } });
    } catch (error) {
      // Stopped by us: whoever did so has set its state.
      if (controller.signal.aborted) return;
      Object.assign(photo, { state: 'failed', problem: explain(error) });
    }
    photo.controller = null;
    this.#tell(photo);
  }

  /** Ask as often as the server says that it is busy, each time after the wait it wants. */
  async #patiently(photo, ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (error.status !== BUSY) throw error;
        const wait_s = error.retryAfter_s ?? DEFAULT_WAIT_S;
        photo.busyUntil = Date.now() + 1000 * wait_s;
        this.#tell(photo);
        await pause(wait_s, photo.controller.signal);
        photo.busyUntil = null;
        this.#tell(photo);
      }
    }
  }
}
