// What stands between Synapse and the gateway in tests: Synapse needs the address of the gateway before either is
// started. It hands everything on, and can lose answers or repeat transactions.
import http from 'node:http';
import { Between } from './between.mjs';

export class Push extends Between {
  constructor() {
    super();
    this.target = null; // http://127.0.0.1:PORT of the gateway
    this.transactions = []; // {id, body, status}, as they came
    this.loses = 0; // answers to transactions that do not arrive
    this.repeats = false; // each transaction that is taken is delivered twice
  }

  #hand(request, body) {
    return new Promise((resolve, reject) => {
      const outgoing = http.request(`${this.target}${request.url}`, {
        method: request.method,
        headers: { ...request.headers, connection: 'close' },
      }, (incoming) => {
        const pieces = [];
        incoming.on('data', (piece) => pieces.push(piece));
        incoming.once('end', () => resolve({ status: incoming.statusCode, text: Buffer.concat(pieces) }));
        incoming.once('error', reject);
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }

  async take(request, response) {
    const pieces = [];
    for await (const piece of request) {
      pieces.push(piece);
    }
    const body = Buffer.concat(pieces);
    const isTransaction = request.url.includes('/transactions/');
    try {
      let { status, text } = await this.#hand(request, body);
      if (isTransaction && this.repeats && status === 200) {
        ({ status, text } = await this.#hand(request, body));
      }
      if (isTransaction) {
        this.transactions.push({ id: request.url.split('/').at(-1), body: JSON.parse(body), status });
        if (this.loses > 0) {
          this.loses -= 1;
          response.destroy();
          return;
        }
      }
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(text);
    } catch { // the gateway is not there
      response.destroy();
    }
  }
}
