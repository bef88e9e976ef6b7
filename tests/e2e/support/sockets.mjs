// WebSocket clients on the `ws` package; every frame is held against asyncapi.yaml on arrival.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { checkServerFrame, noteClientFrame, sawHandshake } from './contract.mjs';

const CHANNELS = [
  [/^\/ws\/city\/rooms\//, 'roomSocket'],
  [/^\/ws\/city\/presence$/, 'presenceSocket'],
  [/^\/ws\/city\/global-presence$/, 'globalPresenceSocket'],
];
export const FRAME_TIMEOUT_MS = 8_000;

function query(parameters) {
  const pairs = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return pairs.length > 0 ? `?${new URLSearchParams(pairs)}` : '';
}

export class Socket {
  #waiters = new Set();
  #read = 0;

  constructor(server, target, { protocols, headers, perMessageDeflate = false } = {}) {
    const pathname = target.split('?')[0];
    this.channel = CHANNELS.find(([pattern]) => pattern.test(pathname))?.[1];
    this.frames = []; // everything received, in order: {name, frame}
    this.failure = null; // the first frame that broke the contract
    this.closed = null; // {code, reason}
    this.ws = new WebSocket(`ws://127.0.0.1:${server.publicPort}${target}`, protocols, {
      headers,
      perMessageDeflate,
    });
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', () => {
        sawHandshake(pathname);
        resolve(this);
      });
      this.ws.once('error', reject);
      this.ws.once('unexpected-response', (request, response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('end', () => {
          const text = Buffer.concat(pieces).toString();
          const error = new Error(`handshake refused: ${response.statusCode} ${text}`);
          error.status = response.statusCode;
          error.headers = response.headers;
          error.body = text;
          this.ws.terminate();
          reject(error);
        });
      });
    });
    this.opened.catch(() => {});
    this.ws.on('error', () => {});
    this.ws.on('message', (data, isBinary) => {
      try {
        if (isBinary) {
          throw new Error(`${this.channel}: a binary frame`);
        }
        this.frames.push(checkServerFrame(this.channel, data.toString('utf8')));
      } catch (error) {
        this.failure ??= error;
      }
      this.#wake();
    });
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString('utf8') };
      this.#wake();
    });
  }

  #wake() {
    for (const waiter of this.#waiters) {
      waiter();
    }
  }

  #wait(look, timeoutMs, what) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        this.#waiters.delete(attempt);
        clearTimeout(timer);
        settle(value);
      };
      const attempt = () => {
        if (this.failure) {
          finish(reject, this.failure);
          return;
        }
        const found = look();
        if (found !== undefined) {
          finish(resolve, found);
        } else if (this.closed) {
          const { code, reason } = this.closed;
          finish(reject, new Error(`closed (${code} ${reason}) while waiting for ${what}`));
        }
      };
      const stack = new Error(`${what} did not come`);
      const timer = setTimeout(() => {
        stack.message += `; the last frames: ${JSON.stringify(this.frames.slice(-5))}`;
        finish(reject, stack);
      }, timeoutMs);
      this.#waiters.add(attempt);
      attempt();
    });
  }

  /**
   * The next frame that fits, skipping others. fits: name of a frame schema, or a function of (frame,
   * name). Frames before the one returned are not looked at again.
   */
  nextFrame(fits = () => true, timeoutMs = FRAME_TIMEOUT_MS) {
    const test = typeof fits === 'string' ? (frame, name) => name === fits : fits;
    return this.#wait(() => {
      for (let at = this.#read; at < this.frames.length; at += 1) {
        const { name, frame } = this.frames[at];
        if (test(frame, name)) {
          this.#read = at + 1;
          return frame;
        }
      }
      return undefined;
    }, timeoutMs, typeof fits === 'string' ? fits : `frame ${fits}`);
  }

  /** Resolves with {code, reason} when the connection has ended. */
  waitClosed(timeoutMs = FRAME_TIMEOUT_MS) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.closed) {
          clearTimeout(timer);
          this.#waiters.delete(look);
          resolve(this.closed);
        }
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error('the socket did not close'));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  /** value: an object for a JSON frame, or the text or bytes to send as they are. */
  send(value) {
    const plain = typeof value === 'string' || Buffer.isBuffer(value);
    const data = plain ? value : JSON.stringify(value);
    if (typeof data === 'string') {
      noteClientFrame(this.channel, data);
    }
    this.ws.send(data);
  }

  /** After this, whatever the server had decided to send before has arrived. */
  async barrier() {
    for (let round = 0; round < 2; round += 1) {
      const before = this.frames.length;
      this.ws.send('{"event":"ping"}');
      await this.#wait(
        () => (this.frames.slice(before).some(({ name }) => name === 'Pong') ? true : undefined),
        FRAME_TIMEOUT_MS,
        'pong',
      );
    }
  }

  /** Received frames of one schema. */
  all(name) {
    return this.frames.filter((entry) => entry.name === name).map((entry) => entry.frame);
  }

  /** Closes in order and waits for the end. */
  async close(code = 1000) {
    if (!this.closed) {
      this.ws.close(code);
      await this.waitClosed();
    }
    if (this.failure) {
      throw this.failure;
    }
  }

  /** Ends without a word, as a lost network does. */
  terminate() {
    this.ws.terminate();
  }
}

/** Opens a socket at any path. */
export async function openSocket(server, target, options) {
  const socket = new Socket(server, target, options);
  await socket.opened;
  return socket;
}

/** The socket of a room, after its snapshot (socket.snapshot; socket.reset if there was one). */
export async function openRoom(server, room, user, { epoch, offset, page, join = false } = {}) {
  const target = `/ws/city/rooms/${room}${query({ token: user?.token, epoch, offset, page })}`;
  const socket = await openSocket(server, target);
  const first = await socket.nextFrame();
  if (first.event === 'reset') {
    socket.reset = first;
    socket.snapshot = await socket.nextFrame();
  } else {
    socket.snapshot = first;
  }
  assert.equal(socket.snapshot.event, 'room.snapshot');
  if (join) {
    socket.send({ event: 'room.join', room_id: socket.snapshot.room_id });
    await socket.nextFrame((frame) => frame.event === 'room.join' && frame.user_id === user.id);
  }
  return socket;
}

/** The presence socket; nothing is awaited but the handshake. */
export function openPresence(server, user, parameters = {}, at = '/ws/city/presence') {
  return openSocket(server, `${at}${query({ token: user?.token, ...parameters })}`);
}

/** A presence socket with a first heartbeat that has been heard by the server. */
export async function goOnline(server, user, { status, parameters = {} } = {}) {
  const socket = await openPresence(server, user, parameters);
  socket.send({ event: 'presence.heartbeat', ...(status ? { status } : {}) });
  await socket.nextFrame((frame) => frame.event === 'presence.update'
    && frame.user_id === user.id && frame.status === (status ?? 'online'));
  return socket;
}
