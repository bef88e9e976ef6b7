// A server that stands between two others in a test: what it does with a request is for take().
import { once } from 'node:events';
import http from 'node:http';

export class Between {
  #server;

  async listen() {
    this.#server = http.createServer((request, response) => this.take(request, response));
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
}
