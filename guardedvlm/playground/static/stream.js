// How a trial crosses HTTP (guardedvlm/playground/framing.py): a line of JSON and the picture go; lines of JSON come, each
// with `bytes` followed by as many bytes.

/** Nobody is logged in any more. */
export class SessionEnded extends Error {}

/** Run a trial; calls `on(message, blob)` for every line as it comes. Throws when the connection breaks, SessionEnded when one has to log in again. */
export async function attempt(head, picture, signal, on) {
  const body = new Blob([JSON.stringify(head), "\n", picture]);
  const response = await fetch("/try", { method: "POST", body, signal, cache: "no-store",
    headers: { "Content-Type": "application/octet-stream" } });
  if (response.status === 401) throw new SessionEnded();
  const reader = new Reader(response.body.getReader());
  for (let line; (line = await reader.line()) !== null;) {
    const message = JSON.parse(line);
    on(message, message.bytes === undefined ? null : await reader.take(message.bytes));
  }
}

class Reader {
  #source; #chunks = []; #length = 0; #ended = false;
  constructor(source) { this.#source = source; }

  /** The next line, null at the end. */
  async line() {
    for (;;) {
      const end = this.#newline();
      if (end >= 0) {
        const line = this.#cut(end + 1);
        return new TextDecoder().decode(line.subarray(0, end));
      }
      if (!(await this.#more())) {
        if (this.#length) throw new Error("the response broke off");
        return null;
      }
    }
  }

  /** The next `count` bytes. */
  async take(count) {
    while (this.#length < count) if (!(await this.#more())) throw new Error("the response broke off");
    return this.#cut(count);
  }

  async #more() {
    if (this.#ended) return false;
    const { value, done } = await this.#source.read();
    if (done) { this.#ended = true; return false; }
    this.#chunks.push(value);
    this.#length += value.length;
    return true;
  }

  #newline() {
    let before = 0;
    for (const chunk of this.#chunks) {
      const found = chunk.indexOf(10);
      if (found >= 0) return before + found;
      before += chunk.length;
    }
    return -1;
  }

  #cut(count) {
    const found = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const chunk = this.#chunks[0], part = chunk.subarray(0, count - at);
      found.set(part, at);
      at += part.length;
      if (part.length === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(part.length);
    }
    this.#length -= count;
    return found;
  }
}
