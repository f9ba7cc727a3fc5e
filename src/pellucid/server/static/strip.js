// The queue of photos, each with thumbnail and state.

import { describeState } from './words.js';

const THUMB_PX = 192;

/** Draw the middle square of an image; false where the browser cannot read it. */
async function drawThumb(canvas, blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return false;
  }
  const side = Math.min(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, THUMB_PX, THUMB_PX);
  bitmap.close();
  return true;
}

export class Strip {
  #list;
  #films = new Map();
  #onPick;
  #onRemove;
  #thumbs = Promise.resolve();

  constructor(list, { onPick, onRemove }) {
    this.#list = list;
    this.#onPick = onPick;
    this.#onRemove = onRemove;
  }

  /** Bring one photo's film up to date; `isGone` takes it away. */
  update(photo, { isGone, isCurrent }) {
    const film = this.#films.get(photo) ?? (isGone ? null : this.#add(photo));
    if (!film) return;
    if (isGone) {
      film.item.remove();
      this.#films.delete(photo);
      return;
    }
    const { text, share } = describeState(photo);
    film.item.dataset.state = photo.state;
    film.state.textContent = text;
    film.bar.style.setProperty('--share', share);
    film.pick.setAttribute('aria-current', isCurrent);
    if (photo.answer && !film.hasThumb) this.#fetchThumb(film, photo.answer.before);
  }

  /** Bring a photo's film into view. */
  reveal(photo) {
    this.#films.get(photo)?.item.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  #add(photo) {
    const item = document.createElement('li');
    item.innerHTML = `<button type="button" class="film"><canvas width="${THUMB_PX}" height="${THUMB_PX}"></canvas>
      <span class="film-name"></span><span class="film-state"></span><i class="film-bar"></i></button>
      <button type="button" class="film-remove"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 7l10 10M17 7 7 17"/></svg></button>`;
    const find = (selector) => item.querySelector(selector);
    const film = { item, pick: find('.film'), state: find('.film-state'), bar: find('.film-bar'), hasThumb: false };
    find('.film-name').textContent = photo.name;
    find('.film-remove').setAttribute('aria-label', `Remove ${photo.name}`);
    film.pick.addEventListener('click', () => this.#onPick(photo));
    find('.film-remove').addEventListener('click', () => this.#onRemove(photo));
    this.#films.set(photo, film);
    this.#list.append(item);
    this.#fetchThumb(film, photo.file);
    return film;
  }

  /** One after another: twenty photos decoded at once would take gigabytes. */
  #fetchThumb(film, blob) {
    film.hasThumb = true;
    this.#thumbs = this.#thumbs.then(async () => {
      film.hasThumb = film.item.isConnected && (await drawThumb(film.item.querySelector('canvas'), blob));
    });
  }
}
