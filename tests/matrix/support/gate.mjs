// What stands between the city and Synapse in a test: it hands everything on, and can keep requests from arriving.
import { once } from 'node:events';
import http from 'node:http';

export class Gate {
  #server;

  #waiting = new Set();

  constructor(target) {
    this.target = target; // http://127.0.0.1:PORT of Synapse
    this.holds = null; // a pattern of "METHOD /path?query": what fits does not arrive
    this.held = 0; // so many have not
  }

  async listen() {
    this.#server = http.createServer((request, response) => this.#take(request, response));
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  async close() {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** Until so many requests have been kept. */
  async untilHeld(count) {
    while (this.held < count) {
      await new Promise((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  #take(request, response) {
    if (this.holds?.test(`${request.method} ${request.url}`)) {
      this.held += 1; // the client goes some time
      this.#waiting.forEach((resolve) => resolve());
      this.#waiting.clear();
      return;
    }
    const outgoing = http.request(`${this.target}${request.url}`, {
      method: request.method,
      headers: { ...request.headers, connection: 'close' },
    }, (incoming) => {
      response.writeHead(incoming.statusCode, { 'Content-Type': incoming.headers['content-type'] ?? 'application/json' });
      incoming.pipe(response);
    });
    outgoing.once('error', () => response.destroy());
    request.pipe(outgoing);
  }
}
