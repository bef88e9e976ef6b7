// What stands between the city and Synapse in a test: it hands everything on, and can keep requests from arriving.
import http from 'node:http';
import { Between } from './between.mjs';

export class Gate extends Between {
  #waiting = new Set();

  constructor(target) {
    super();
    this.target = target; // http://127.0.0.1:PORT of Synapse
    this.holds = null; // a pattern of "METHOD /path?query": what fits does not arrive
    this.held = 0; // so many have not
  }

  /** Until so many requests have been kept. */
  async untilHeld(count) {
    while (this.held < count) {
      await new Promise((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  take(request, response) {
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
