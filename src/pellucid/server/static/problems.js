// Enters: an error. Leaves: what happened and what to do, in plain words.
// Does not know: where it is shown.

const WORDS = {
  0: ['pellucid does not answer', 'Nothing came back. See whether “pellucid serve” still runs where it was started, then try again.'],
  401: ['A token is needed', 'This server answers only to those who have its token. Try again to enter it.'],
  413: ['Too large for this server', 'The file, or the picture in it, is larger than this server takes. Make it smaller, or use the command “pellucid denoise”.'],
  415: ['Not a kind of photo that pellucid reads', 'It reads JPEG, PNG, TIFF, WebP and AVIF. Save the photo as one of these and add it again.'],
  422: ['This file cannot be used', 'It may be damaged or not be a photo. Open it in another program and save it anew, or copy it again from the camera.'],
  429: ['The server is busy', 'Others are being served. Try again in a moment.'],
  503: ['It broke off', 'The part of pellucid that worked on this photo stopped. The others are not affected. Try again.'],
  504: ['It took too long', 'The photo was not done within the server’s time limit. Try a smaller one, or use the command “pellucid denoise”.'],
};
const FINAL = new Set([413, 415, 422]);
const UNKNOWN = ['Something went wrong', 'The server could not do this. Try again; if it happens again, look at what it printed.'];

/**
 * Explain an error.
 * @returns {{title: string, text: string, detail: string, isFinal: boolean}} `detail` is what the server itself says, or
 * empty; `isFinal` tells that to try again would end in the same way
 */
export function explain(error) {
  const [title, text] = WORDS[error.status] ?? UNKNOWN;
  return { title, text, detail: error.detail || (error.status === undefined ? String(error) : ''), isFinal: FINAL.has(error.status) };
}
