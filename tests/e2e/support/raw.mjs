// Bytes on a TCP connection: HTTP and WebSocket as no well-behaved library would send them.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import { checkErrorResponse, checkResponse } from './contract.mjs';

const TIMEOUT_MS = 8_000;

export class Raw {
  #waiters = new Set();

  constructor(socket) {
    this.socket = socket;
    this.input = Buffer.alloc(0);
    this.ended = false;
    socket.on('data', (bytes) => {
      this.input = Buffer.concat([this.input, bytes]);
      this.#wake();
    });
    socket.on('error', () => {});
    const end = () => {
      this.ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
  }

  #wake() {
    for (const waiter of this.#waiters) {
      waiter();
    }
  }

  /** Resolves with look()'s first value that is not undefined. */
  wait(look, what, timeoutMs = TIMEOUT_MS) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        this.#waiters.delete(attempt);
        clearTimeout(timer);
        settle(value);
      };
      const attempt = () => {
        try {
          const found = look();
          if (found !== undefined) {
            finish(resolve, found);
          } else if (this.ended) {
            finish(reject, new Error(`the connection ended before ${what}; read: ${
              JSON.stringify(this.input.toString('latin1').slice(0, 500))}`));
          }
        } catch (error) {
          finish(reject, error);
        }
      };
      const timer = setTimeout(() => finish(reject, new Error(`${what} did not come; read: ${
        JSON.stringify(this.input.toString('latin1').slice(0, 500))}`)), timeoutMs);
      this.#waiters.add(attempt);
      attempt();
    });
  }

  /** Writes bytes, or text as Latin-1 so that every byte can be given. */
  send(bytes) {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  waitEnd(timeoutMs = TIMEOUT_MS) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.ended) {
          clearTimeout(timer);
          this.#waiters.delete(look);
          resolve();
        }
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error('the connection did not end'));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  destroy() {
    this.socket.destroy();
  }

  take(length) {
    const bytes = this.input.subarray(0, length);
    this.input = this.input.subarray(length);
    return bytes;
  }

  // --- HTTP ---

  #head() {
    const end = this.input.indexOf('\r\n\r\n');
    if (end < 0) {
      return undefined;
    }
    const lines = this.input.subarray(0, end).toString('latin1').split('\r\n');
    const match = /^HTTP\/1\.1 (\d{3})(?: .*)?$/.exec(lines[0]);
    assert.ok(match, `not a status line: ${JSON.stringify(lines[0])}`);
    const headers = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      assert.ok(colon > 0, `not a header line: ${JSON.stringify(line)}`);
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    return { status: Number(match[1]), headers, end: end + 4 };
  }

  /** Reads only status and headers of the next answer: 100, 101, or a stream. */
  async readHead(timeoutMs) {
    const head = await this.wait(() => this.#head(), 'an HTTP head', timeoutMs);
    this.take(head.end);
    return head;
  }

  /** Reads the next whole answer and holds errors against the contract. */
  async readResponse({ method = 'GET', path: pathname, timeoutMs } = {}) {
    const head = await this.readHead(timeoutMs);
    let body = Buffer.alloc(0);
    if (method !== 'HEAD' && head.status >= 200 && head.status !== 204 && head.status !== 304) {
      if (head.headers['transfer-encoding'] === 'chunked') {
        body = await this.#readChunked();
      } else {
        const length = Number(head.headers['content-length']);
        assert.ok(Number.isInteger(length), `no length: ${JSON.stringify(head.headers)}`);
        await this.wait(() => (this.input.length >= length ? true : undefined), 'the body');
        body = Buffer.from(this.take(length));
      }
    }
    const text = body.toString('utf8');
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    const response = { status: head.status, headers: head.headers, bytes: body, text, json };
    if (pathname) {
      checkResponse(method, pathname, response);
    } else if (head.status >= 400 && method !== 'HEAD') {
      checkErrorResponse(`raw -> ${head.status}`, response);
    }
    return response;
  }

  async #readChunked() {
    const pieces = [];
    for (;;) {
      const end = await this.wait(() => {
        const at = this.input.indexOf('\r\n');
        return at < 0 ? undefined : at;
      }, 'a chunk size');
      const size = Number.parseInt(this.take(end + 2).toString('latin1'), 16);
      await this.wait(() => (this.input.length >= size + 2 ? true : undefined), 'a chunk');
      pieces.push(Buffer.from(this.take(size)));
      this.take(2);
      if (size === 0) {
        return Buffer.concat(pieces);
      }
    }
  }

  // --- WebSocket ---

  /** Sends one frame; everything about it may be wrong. */
  sendFrame(opcode, payload = '', { fin = true, mask = true, rsv = 0, length } = {}) {
    this.send(encodeFrame(opcode, payload, { fin, mask, rsv, length }));
  }

  #frame() {
    const bytes = this.input;
    if (bytes.length < 2) {
      return undefined;
    }
    assert.equal(bytes[1] & 0x80, 0, 'a server must not mask');
    let length = bytes[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) {
        return undefined;
      }
      length = bytes.readUInt16BE(2);
      assert.ok(length > 125, 'the length must be written in its shortest form');
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) {
        return undefined;
      }
      length = Number(bytes.readBigUInt64BE(2));
      assert.ok(length > 65535, 'the length must be written in its shortest form');
      at = 10;
    }
    if (bytes.length < at + length) {
      return undefined;
    }
    const payload = Buffer.from(bytes.subarray(at, at + length));
    const frame = {
      fin: (bytes[0] & 0x80) !== 0,
      rsv: (bytes[0] >> 4) & 7,
      opcode: bytes[0] & 0x0f,
      payload,
      text: payload.toString('utf8'),
    };
    this.take(at + length);
    return frame;
  }

  /** The next frame that fits; others are skipped. */
  async readFrame(fits = () => true, timeoutMs = TIMEOUT_MS) {
    return this.wait(() => {
      for (;;) {
        const frame = this.#frame();
        if (frame === undefined || fits(frame)) {
          return frame;
        }
      }
    }, 'a frame', timeoutMs);
  }

  /** Reads up to the close frame: {code, reason}. */
  async readClose(timeoutMs = TIMEOUT_MS) {
    const frame = await this.readFrame(({ opcode }) => opcode === OPCODE.close, timeoutMs);
    return {
      code: frame.payload.length >= 2 ? frame.payload.readUInt16BE(0) : 1005,
      reason: frame.payload.subarray(2).toString('utf8'),
    };
  }
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export function encodeFrame(opcode, payload = '', { fin = true, mask = true, rsv = 0, length } = {}) {
  const body = Buffer.from(payload);
  const said = length ?? body.length;
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const bit = mask ? 0x80 : 0;
  if (said < 126) {
    head.push(bit | said);
  } else if (said < 65536) {
    head.push(bit | 126, said >> 8, said & 255);
  } else {
    const wide = Buffer.alloc(8);
    wide.writeBigUInt64BE(BigInt(said));
    head.push(bit | 127, ...wide);
  }
  if (!mask) {
    return Buffer.concat([Buffer.from(head), body]);
  }
  const key = randomBytes(4);
  const masked = Buffer.from(body.map((byte, i) => byte ^ key[i % 4]));
  return Buffer.concat([Buffer.from(head), key, masked]);
}

export function closePayload(code, reason = '') {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

/** A TCP connection to a listener. */
export function connect(port, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, ...options });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(new Raw(socket));
    });
  });
}

/** Sends text, reads one answer and says whether the server closed: for one malformed request. */
export async function exchange(port, text, options = {}) {
  const raw = await connect(port);
  try {
    raw.send(text);
    return await raw.readResponse(options);
  } finally {
    raw.destroy();
  }
}

const HANDSHAKE = {
  Host: '127.0.0.1',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Version': '13',
};

/** The bytes of a handshake; changes replace headers, null removes one. */
export function handshakeText(target, changes = {}, { method = 'GET', version = 'HTTP/1.1' } = {}) {
  const headers = { ...HANDSHAKE, 'Sec-WebSocket-Key': randomBytes(16).toString('base64'), ...changes };
  const lines = Object.entries(headers)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} ${version}\r\n${lines.join('')}\r\n`;
}

/** A raw connection on which the handshake has succeeded. */
export async function upgrade(server, target, changes = {}) {
  const raw = await connect(server.publicPort);
  const key = randomBytes(16).toString('base64');
  raw.send(handshakeText(target, { 'Sec-WebSocket-Key': key, ...changes }));
  const head = await raw.readHead();
  assert.equal(head.status, 101);
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
  assert.equal(head.headers['sec-websocket-accept'], accept.digest('base64'));
  raw.upgradeHeaders = head.headers;
  return raw;
}
