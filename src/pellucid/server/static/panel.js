// The settings of the current photo as controls.

import { AMOUNTS, isWhole, WHOLE } from './amounts.js';
import { describeFacts, describeNoise, describeSaving, formatSigma, hintOn } from './words.js';

const find = (id) => document.getElementById(id);
const LARGEST_SIGMA = 55;

function makeSlider({ name, label, whole, hint }) {
  const input = Object.assign(document.createElement('input'), { type: 'range', id: name, min: 0, max: 100 });
  input.setAttribute('value', whole);
  const row = Object.assign(document.createElement('label'), { className: 'slider', id: `${name}-row`, title: hint });
  row.append(
    Object.assign(document.createElement('span'), { textContent: label }),
    Object.assign(document.createElement('span'), { className: 'value', id: `${name}-value`, textContent: `${whole} %` }),
    input,
  );
  return row;
}

export class Panel {
  #photo = null;
  #models = [];
  #levels = [...document.querySelectorAll('input[name=level]')];

  /** @param {{onMix, onAgain, onSave, onSame}} actions */
  constructor({ onMix, onAgain, onSave, onSame }) {
    find('amounts').append(...AMOUNTS.map(makeSlider));
    for (const { name } of AMOUNTS) {
      find(name).addEventListener('input', (event) => onMix(this.#photo, { [name]: event.target.valueAsNumber }));
    }
    find('reset').addEventListener('click', () => {
      onMix(this.#photo, WHOLE);
      find('strength').focus(); // since the button, now disabled, loses it
    });
    find('same').addEventListener('click', () => onSame(this.#photo));
    find('save').addEventListener('click', () => onSave(this.#photo));
    find('again').addEventListener('click', () => onAgain(this.#photo, this.#wanted()));
    find('sigma').addEventListener('input', () => this.#setLevel(find('sigma').value));
    find('sigma-number').addEventListener('input', () => this.#setLevel(find('sigma-number').value));
    find('sigma-number').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !find('again').hidden) find('again').click();
    });
    for (const radio of this.#levels) radio.addEventListener('change', () => this.#offerAgain());
    find('model').addEventListener('change', () => this.#offerAgain());
  }

  /** Offer the server's models. */
  setModels(models) {
    this.#models = models;
    find('model').append(...models.map(({ name, summary }) => Object.assign(new Option(name, name), { title: summary })));
    find('model-row').hidden = models.length < 2;
  }

  /** Show a photo that was not shown before: fields that were touched and not used are put back. */
  open(photo) {
    this.#photo = photo;
    this.#setChecked(photo.sigma === null ? 'auto' : 'set');
    find('model').value = photo.model ?? '';
    this.#fill(photo.sigma ?? photo.answer?.facts.sigma ?? 15);
    this.#say('');
  }

  /** Bring the controls up to date with the photo that is open. */
  update({ isGray, hasOthers }) {
    const { answer, mix, name, state } = this.#photo;
    find('name').textContent = name;
    find('name').title = name;
    find('facts').textContent = describeFacts(this.#photo);
    find('settings').hidden = !answer;
    find('save').parentElement.hidden = !answer;
    find('later').hidden = Boolean(answer) || state === 'failed';
    if (!answer) return;
    this.#showNoise(answer.facts);
    for (const { name } of AMOUNTS) {
      find(name).value = mix[name];
      find(name).style.setProperty('--share', mix[name] / 100);
      find(`${name}-value`).textContent = `${mix[name]} %`;
    }
    for (const { name } of AMOUNTS.filter(({ isColour }) => isColour)) find(`${name}-row`).hidden = isGray;
    find('reset').disabled = isWhole(mix);
    find('same').hidden = !hasOthers;
    find('save').disabled = state !== 'done';
    find('save-note').textContent = describeSaving(this.#photo);
    this.#offerAgain();
  }

  /** Show that a file is being made, or that it is no longer. */
  setSaving(isSaving) {
    const button = find('save');
    button.textContent = isSaving ? 'Making the file …' : 'Save photo';
    button.setAttribute('aria-busy', isSaving);
  }

  /** Say beside the button why saving did not work; nothing to take it back. */
  sayWrong(problem) {
    this.#say(problem ? `${problem.title}. ${problem.text}` : '');
  }

  #say(text) {
    find('save-wrong').textContent = text;
    find('save-wrong').hidden = !text;
  }

  #showNoise(facts) {
    find('sigma-value').textContent = formatSigma(facts.sigma);
    find('sigma-word').textContent = `${describeNoise(facts.sigma)}, ${facts.is_estimated ? 'estimated' : 'set by hand'}`;
    find('sigma-mark').style.setProperty('--share', Math.min(1, facts.sigma / LARGEST_SIGMA));
    const hint = hintOn(facts);
    find('hint').textContent = hint;
    find('hint').hidden = !hint;
    const limit = this.#models.find(({ name }) => name === facts.model)?.sigma_max ?? LARGEST_SIGMA;
    for (const id of ['sigma', 'sigma-number']) find(id).max = limit;
  }

  #setLevel(value) {
    this.#setChecked('set');
    this.#fill(value);
    this.#offerAgain();
  }

  #fill(value) {
    const number = Math.round(10 * value) / 10;
    if (document.activeElement !== find('sigma')) find('sigma').value = number;
    if (document.activeElement !== find('sigma-number')) find('sigma-number').value = number;
    find('sigma').style.setProperty('--share', Math.min(1, value / find('sigma').max));
  }

  #setChecked(value) {
    for (const radio of this.#levels) radio.checked = radio.value === value;
  }

  #wanted() {
    const isSet = this.#levels.find(({ checked }) => checked).value === 'set';
    const number = find('sigma-number');
    const sigma = Math.min(Math.max(number.valueAsNumber, 0), Number(number.max));
    return { sigma: isSet && !Number.isNaN(sigma) ? sigma : null, model: find('model').value || null };
  }

  /** The network runs again only on request, and the button is offered only after a change. */
  #offerAgain() {
    const { sigma, model } = this.#wanted();
    const isSet = this.#levels.find(({ checked }) => checked).value === 'set';
    find('by-hand').hidden = !isSet;
    const isSame = sigma === this.#photo.sigma && model === this.#photo.model;
    find('again').hidden = isSame || this.#photo.state === 'working';
  }
}
