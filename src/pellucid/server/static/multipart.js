// Reads a multipart/mixed answer as a stream, part by part (RFC 2046, section 5.1). Each part has its Content-Length, so that its
// bytes need not be searched for the boundary.

const BROKEN = 'the answer is incomplete';
const LINE = Uint8Array.of(13, 10);
const BLANK = Uint8Array.of(13, 10, 13, 10);
const END = Uint8Array.of(45, 45);

/** Bytes that arrive in pieces, taken from the front. */
class Inbox {
  #reader;
  #held = new Uint8Array();

  constructor(stream) {
    this.#reader = stream.getReader();
  }

  /** Take `length` bytes. */
  async take(length) {
    const taken = new Uint8Array(length);
    for (let filled = 0; filled < length;) {
      if (!this.#held.length) this.#held = await this.#next();
      const piece = this.#held.subarray(0, length - filled);
      taken.set(piece, filled);
      filled += piece.length;
      this.#held = this.#held.subarray(piece.length);
    }
    return taken;
  }

  /** Take what lies before `pattern`, and the pattern with it. Made for headers: it looks at all that it holds. */
  async takeUntil(pattern) {
    for (;;) {
      const found = this.#held.findIndex((_, at) => this.#matches(pattern, at));
      if (found >= 0) {
        const taken = this.#held.slice(0, found);
        this.#held = this.#held.subarray(found + pattern.length);
        return taken;
      }
      await this.#fill();
    }
  }

  /** Tell whether what comes next is `pattern`, which is then taken. */
  async skip(pattern) {
    while (this.#held.length < pattern.length) await this.#fill();
    if (!this.#matches(pattern, 0)) return false;
    this.#held = this.#held.subarray(pattern.length);
    return true;
  }

  async cancel() {
    await this.#reader.cancel();
  }

  async #fill() {
    const next = await this.#next();
    const joined = new Uint8Array(this.#held.length + next.length);
    joined.set(this.#held);
    joined.set(next, this.#held.length);
    this.#held = joined;
  }

  async #next() {
    const { done, value } = await this.#reader.read();
    if (done) throw new Error(BROKEN);
    return value;
  }

  #matches(pattern, at) {
    return pattern.every((byte, i) => this.#held[at + i] === byte);
  }
}

/** Give the boundary that a Content-Type names. */
function boundaryOf(contentType) {
  const found = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(contentType ?? '');
  if (!found) throw new Error('the answer has no boundary');
  return found[1] ?? found[2];
}

function parseHeaders(bytes) {
  const lines = new TextDecoder().decode(bytes).split('\r\n');
  return new Headers(lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }));
}

/** Give `{headers, name, bytes}` of each part of a response; throws where the stream ends before its last boundary. */
export async function* readParts(response) {
  const inbox = new Inbox(response.body);
  const boundary = new TextEncoder().encode(`--${boundaryOf(response.headers.get('Content-Type'))}`);
  const delimiter = Uint8Array.of(...LINE, ...boundary);
  try {
    await inbox.takeUntil(boundary);
    while (!(await inbox.skip(END))) {
      await inbox.takeUntil(LINE);
      const headers = parseHeaders(await inbox.takeUntil(BLANK));
      const bytes = await inbox.take(Number(headers.get('Content-Length')));
      if (!(await inbox.skip(delimiter))) throw new Error('the Content-Length of a part is wrong');
      const name = /name="([^"]*)"/.exec(headers.get('Content-Disposition') ?? '')?.[1] ?? null;
      yield { headers, name, bytes };
    }
  } finally {
    await inbox.cancel();
  }
}
