// A subscriber of NATS, by its text protocol: what stands on the bus, as anybody there sees it.
import net from 'node:net';
import { once } from 'node:events';

export class NatsListener {
  #waiters = new Set();
  #input = Buffer.alloc(0);

  /** url: nats://user:password@127.0.0.1:PORT */
  static async open(url, subject) {
    const listener = new NatsListener();
    listener.messages = []; // {subject, json}, unless onMessage(message) is set
    const { hostname, port, username: user, password: pass } = new URL(url);
    listener.socket = net.connect(Number(port), hostname);
    listener.socket.on('data', (data) => listener.#take(data));
    listener.socket.on('error', () => {});
    await once(listener.socket, 'connect');
    listener.socket.write(`CONNECT ${JSON.stringify({ verbose: false, user, pass })}\r\nSUB ${subject} 1\r\nPING\r\n`);
    await new Promise((resolve, reject) => {
      Object.assign(listener, { resolve, reject });
    });
    return listener;
  }

  #take(data) {
    this.#input = Buffer.concat([this.#input, data]);
    for (;;) {
      const end = this.#input.indexOf('\r\n');
      if (end < 0) {
        return;
      }
      const line = this.#input.subarray(0, end).toString();
      const [verb, subject, ...rest] = line.split(' ');
      let next = end + 2;
      if (verb === 'MSG') {
        const length = Number(rest.at(-1));
        if (this.#input.length < next + length + 2) {
          return;
        }
        const message = { subject, json: JSON.parse(this.#input.subarray(next, next + length).toString()) };
        if (this.onMessage) {
          this.onMessage(message);
        } else {
          this.messages.push(message);
        }
        next += length + 2;
      } else if (verb === 'PING') {
        this.socket.write('PONG\r\n');
      } else if (verb === 'PONG') {
        this.resolve();
      } else if (verb === '-ERR') {
        this.reject(new Error(line));
      }
      this.#input = this.#input.subarray(next);
      this.#waiters.forEach((look) => look());
    }
  }

  /** The first message that fits, also one of before. */
  next(fits, timeoutMs = 20_000) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.messages.find(fits);
        if (found) {
          this.#waiters.delete(look);
          clearTimeout(timer);
          resolve(found);
        }
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error(`no such message; the last: ${JSON.stringify(this.messages.slice(-5))}`));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  close() {
    this.socket.destroy();
  }
}
