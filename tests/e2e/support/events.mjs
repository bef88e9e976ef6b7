// A client of text/event-stream on a raw connection; every event is held against asyncapi.yaml.
import assert from 'node:assert/strict';
import { checkResponse, checkStreamEvent } from './contract.mjs';
import { connect } from './raw.mjs';

export class EventStream {
  #raw;
  #text = '';

  static async open(server, pathname, headers = '') {
    const stream = new EventStream();
    stream.#raw = await connect(server.publicPort);
    stream.#raw.send(`GET ${pathname} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n${headers}\r\n`);
    const head = await stream.#raw.readHead();
    stream.status = head.status;
    stream.headers = head.headers;
    checkResponse('GET', pathname.split('?')[0], { ...head, text: '', json: undefined });
    return stream;
  }

  /** Moves what has arrived out of the chunked encoding, if that is used. */
  #decode() {
    const raw = this.#raw;
    if (this.headers['transfer-encoding'] !== 'chunked') {
      this.#text += raw.take(raw.input.length).toString('utf8');
      return;
    }
    for (;;) {
      const end = raw.input.indexOf('\r\n');
      if (end < 0) {
        return;
      }
      const size = Number.parseInt(raw.input.subarray(0, end).toString('latin1'), 16);
      if (raw.input.length < end + 2 + size + 2) {
        return;
      }
      raw.take(end + 2);
      this.#text += raw.take(size).toString('utf8');
      raw.take(2);
    }
  }

  /** The next block between blank lines: {comment} or {id, data}. */
  async next(timeoutMs) {
    const block = await this.#raw.wait(() => {
      this.#decode();
      const end = this.#text.indexOf('\n\n');
      if (end < 0) {
        return undefined;
      }
      const found = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      return found;
    }, 'an event', timeoutMs);
    if (block.startsWith(':')) {
      return { comment: block.slice(1).trim() };
    }
    const fields = {};
    for (const line of block.split('\n')) {
      const match = /^([a-z]+): ?(.*)$/.exec(line);
      assert.ok(match, `not a field: ${JSON.stringify(line)}`);
      assert.ok(!(match[1] in fields), `${match[1]} must stand once in an event`);
      fields[match[1]] = match[2];
    }
    const data = JSON.parse(fields.data);
    checkStreamEvent(data);
    assert.equal(fields.id, `${data.epoch}:${data.offset}`);
    return { id: fields.id, data };
  }

  /** The next event whose data fits. */
  async nextEvent(fits = () => true, timeoutMs = 8_000) {
    for (;;) {
      const { data } = await this.next(timeoutMs);
      if (data && fits(data)) {
        return data;
      }
    }
  }

  close() {
    this.#raw.destroy();
  }

  destroy() {
    this.close();
  }

  waitEnd() {
    return this.#raw.waitEnd();
  }
}
