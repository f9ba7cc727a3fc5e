// Explains errors to users.

const WORDS = {
  0: ['pellucid does not answer', 'No answer, or an incomplete one. Check that “pellucid serve” is still running, then try again.'],
  401: ['A token is required', 'This server requires a token. Try again to enter it.'],
  413: ['Too large for this server', 'The file or its image is larger than this server allows. Make it smaller, or use the command “pellucid denoise”.'],
  415: ['Unsupported format', 'pellucid reads JPEG, PNG, TIFF, WebP and AVIF. Save the photo as one of these and add it again.'],
  422: ['This file cannot be used', 'It may be damaged or not be a photo. Open it in another program and save it again, or copy it again from the camera.'],
  429: ['The server is busy', 'Other requests are waiting. Try again in a moment.'],
  503: ['Denoising was interrupted', 'The process that worked on this photo stopped. Other photos are not affected. Try again.'],
  504: ['It took too long', 'The photo was not done within the server’s time limit. Try a smaller one, or use the command “pellucid denoise”.'],
};
const FINAL = new Set([413, 415, 422]);
const UNKNOWN = ['Something went wrong', 'The server could not do this. Try again; if it fails again, see the server’s log.'];

/**
 * Explain an error.
 * @returns {{title: string, text: string, detail: string, isFinal: boolean}} `detail` is the server's own message, or
 * empty; `isFinal` means that trying again would fail again
 */
export function explain(error) {
  const [title, text] = WORDS[error.status] ?? UNKNOWN;
  return { title, text, detail: error.detail || (error.status === undefined ? String(error) : ''), isFinal: FINAL.has(error.status) };
}
