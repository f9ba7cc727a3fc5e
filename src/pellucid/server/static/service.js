// HTTP client of the server: the only module that sends requests. All addresses are relative to the page's own.

import { WHOLE } from './amounts.js';
import { readParts } from './multipart.js';

/** An error of the server or of the connection; `status` is 0 if there was no answer. */
export class ServiceError extends Error {
  constructor(status, { title = '', detail = '' } = {}, retryAfter_s = null) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.retryAfter_s = retryAfter_s;
  }
}

let token = null;
let askForToken = async () => null;

/** Set the function that asks for a token. Its argument is whether one was refused; it returns a token or null. */
export function setTokenSource(ask) {
  askForToken = ask;
}

async function send(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const used = token;
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ServiceError(0);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await problemOf(response);
    // Another request may have been given the right one while this was on its way.
    if (used === token) token = await askForToken(used !== null);
    if (!token) throw new ServiceError(401);
  }
}

async function problemOf(response) {
  const retryAfter_s = Number.parseFloat(response.headers.get('Retry-After'));
  const problem = await response.json().catch(() => ({}));
  return new ServiceError(response.status, problem ?? {}, Number.isFinite(retryAfter_s) ? retryAfter_s : null);
}

function denoiseRequest(file, { sigma = null, model = null, mix = null }, accept, signal) {
  const query = new URLSearchParams();
  if (sigma !== null) query.set('sigma', sigma);
  if (model) query.set('model', model);
  for (const [name, percent] of Object.entries(mix ?? {})) {
    if (percent !== WHOLE[name]) query.set(name, percent);
  }
  return [`v1/denoise?${query}`, {
    method: 'POST',
    body: file,
    headers: { Accept: accept, 'Content-Type': 'application/octet-stream' },
    signal,
  }];
}

/**
 * Denoise a file and return the result with previews.
 * @returns {Promise<{facts: object, before: Blob, after: Blob, result: Blob}>}
 */
export async function denoise(file, settings, { signal, onProgress }) {
  const response = await send(...denoiseRequest(file, settings, 'multipart/mixed', signal));
  const answer = {};
  try {
    for await (const { headers, name, bytes } of readParts(response)) {
      const type = headers.get('Content-Type') ?? 'application/octet-stream';
      if (name) answer[name] = new Blob([bytes], { type });
      else if (type.startsWith('application/json')) {
        const said = JSON.parse(new TextDecoder().decode(bytes));
        if (said.problem) throw new ServiceError(said.problem.status, said.problem);
        if ('total' in said) onProgress(said);
        else answer.facts = said;
      }
    }
  } catch (error) {
    if (error instanceof ServiceError || error.name === 'AbortError') throw error;
    throw new ServiceError(0, { detail: error.message });
  }
  if (!(answer.facts && answer.before && answer.after && answer.result)) throw new ServiceError(0);
  return answer;
}

/** Denoise a file to a file, blended as `settings.mix` says. */
export async function denoiseToFile(file, settings, signal) {
  const response = await send(...denoiseRequest(file, settings, 'image/*', signal));
  return response.blob();
}

/** List the server's models. */
export async function listModels() {
  return (await (await send('v1/models')).json()).models;
}
