// Clients that behave as a good browser does: they repeat what was not acknowledged with the same
// key, they notice a silent connection, they come back with their cursor, wherever the city answers.
import assert from 'node:assert/strict';
import { openPresence, openRoom } from '../../e2e/support/sockets.mjs';
import { makeUser } from '../../e2e/support/tokens.mjs';

const PING_MS = 500;
const SILENCE_MS = 3000;
const REQUEST_MS = 3000;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Says numbered things in a room until it is told to stop; each until it is acknowledged. */
export class Writer {
  constructor(stack, room, name) {
    Object.assign(this, { stack, room, name, user: makeUser(name) });
    this.acknowledged = []; // {body, id, offset}
    this.failures = 0;
    this.stopping = false;
    this.done = this.#run();
  }

  async #say(body) {
    for (let attempt = 0; ; attempt += 1) {
      const cities = this.stack.cities.filter(({ running }) => running);
      const server = cities[attempt % cities.length];
      try {
        const response = await fetch(`${server.publicUrl}/api/city/rooms/${this.room.slug}/messages`, {
          method: 'POST',
          headers: {
            Authorization: `Bearer ${this.user.token}`,
            'Content-Type': 'application/json',
            'Idempotency-Key': body,
          },
          body: JSON.stringify({ body }),
          signal: AbortSignal.timeout(REQUEST_MS),
        });
        const answer = await response.json();
        if (response.status === 200) {
          return answer;
        }
        assert.ok([429, 503, 504].includes(response.status), `${response.status} ${JSON.stringify(answer)}`);
      } catch (error) {
        if (error instanceof assert.AssertionError) {
          throw error;
        }
      }
      this.failures += 1;
      await pause(50);
    }
  }

  async #run() {
    for (let i = 0; !this.stopping; i += 1) {
      const body = `${this.name}-${i}`;
      const { id, offset } = await this.#say(body);
      this.acknowledged.push({ body, id, offset });
      await pause(5);
    }
  }

  async stop() {
    this.stopping = true;
    await this.done;
  }
}

/** Sits in a room as a member and keeps what it hears, in the order in which it hears it. */
export class Reader {
  constructor(stack, room, name, at) {
    Object.assign(this, { stack, room, at, user: makeUser(name) });
    this.messages = [];
    this.first = null; // the offset at which it came
    this.cursor = {};
    this.connections = 0;
    this.resets = [];
    this.longestPauseMs = 0;
    this.stopping = false;
    this.waiters = new Set();
    this.done = this.#run();
  }

  get lastOffset() {
    return this.messages.at(-1)?.offset ?? this.first;
  }

  #hear(frame) {
    if (frame.event === 'room.message') {
      const now = performance.now();
      if (this.heardAt) {
        this.longestPauseMs = Math.max(this.longestPauseMs, now - this.heardAt);
      }
      this.heardAt = now;
      this.messages.push(frame.message);
      this.cursor = { epoch: frame.epoch, offset: frame.offset };
      this.waiters.forEach((look) => look());
    }
  }

  async #listen(server) {
    const socket = await openRoom(server, this.room.slug, this.user, { ...this.cursor, join: false });
    try {
      if (socket.reset) {
        this.resets.push(socket.reset);
      }
      this.connections += 1;
      this.server = server;
      this.first ??= socket.snapshot.offset;
      if (this.cursor.epoch === undefined) {
        this.cursor = { epoch: socket.snapshot.epoch, offset: socket.snapshot.offset };
      }
      socket.send({ event: 'room.join', room_id: socket.snapshot.room_id });
      for (let heardAt = performance.now(); ;) {
        const frame = await socket.nextFrame(() => true, PING_MS).catch((error) => {
          if (socket.closed || socket.failure) {
            throw error;
          }
          return null;
        });
        if (this.stopping) {
          return;
        }
        if (frame) {
          heardAt = performance.now();
          this.#hear(frame);
        } else if (performance.now() - heardAt > SILENCE_MS) {
          return; // a connection that says nothing is dead
        } else {
          socket.send('{"event":"ping"}');
        }
      }
    } finally {
      this.failure ??= socket.failure;
      socket.terminate();
    }
  }

  async #run() {
    for (let turn = this.at; !this.stopping && !this.failure; turn += 1) {
      const cities = this.stack.cities.filter(({ running }) => running);
      await this.#listen(cities[turn % cities.length]).catch(() => {});
      if (!this.stopping) {
        await pause(50);
      }
    }
  }

  /** Resolves when everything up to the offset has been heard. */
  until(offset, timeoutMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(look);
        reject(new Error(`${this.user.name} heard ${this.lastOffset} of ${offset}, after ${this.connections} connections`));
      }, timeoutMs);
      const look = () => {
        if (this.lastOffset >= offset) {
          clearTimeout(timer);
          this.waiters.delete(look);
          resolve();
        }
      };
      this.waiters.add(look);
      look();
    });
  }

  async stop() {
    this.stopping = true;
    await this.done;
    if (this.failure) {
      throw this.failure;
    }
  }
}

/** Watches the counts of one room from one replica, and comes back when the connection ends. */
export class Watcher {
  constructor(stack, room, at) {
    Object.assign(this, { stack, room, at });
    this.counts = []; // {count, ms, of, state}
    this.stopping = false;
    this.waiters = new Set();
    this.done = this.#run();
  }

  get count() {
    return this.counts.at(-1)?.count;
  }

  async #listen() {
    const socket = await openPresence(this.stack.cities[this.at], makeUser('Глядач'), { mode: 'rooms' });
    this.socket = socket;
    try {
      for (;;) {
        const frame = await socket.nextFrame(() => true, 3_600_000);
        const state = frame.type === 'snapshot'
          ? frame.rooms.find(({ room_id: id }) => id === this.room.id)
          : frame;
        if (state?.room_id === this.room.id && state.online_count !== undefined) {
          this.counts.push({ count: state.online_count, ms: Math.round(performance.now()), of: frame.type, state: frame.state });
          this.waiters.forEach((look) => look());
        }
      }
    } finally {
      this.failure ??= socket.failure;
      socket.terminate();
    }
  }

  async #run() {
    while (!this.stopping && !this.failure) {
      if (this.stack.cities[this.at].running) {
        await this.#listen().catch(() => {});
      }
      if (!this.stopping) {
        await pause(50);
      }
    }
  }

  /** Resolves when the newest count is this one. */
  until(count, timeoutMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(look);
        reject(new Error(`replica ${this.at} counts ${this.count}, not ${count}: ${JSON.stringify(this.counts.slice(-8))}`));
      }, timeoutMs);
      const look = () => {
        if (this.count === count) {
          clearTimeout(timer);
          this.waiters.delete(look);
          resolve();
        }
      };
      this.waiters.add(look);
      look();
    });
  }

  async stop() {
    this.stopping = true;
    this.socket?.terminate();
    await this.done;
    if (this.failure) {
      throw this.failure;
    }
  }
}
