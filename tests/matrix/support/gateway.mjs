// The city on a Synapse, and calls to its gateway.
import assert from 'node:assert/strict';
import { internalHeaders } from '../../e2e/support/city.mjs';
import { Client } from '../../e2e/support/http.mjs';
import { startServer } from '../../e2e/support/server.mjs';
import { until } from './until.mjs';

export class Gateway {
  static async start(synapse, env) {
    const gateway = new Gateway();
    gateway.synapse = synapse;
    gateway.server = await startServer({
      SYNAPSE_URL: synapse.url,
      MATRIX_SERVER_NAME: synapse.serverName,
      MATRIX_CHECK_INTERVAL_MS: 200,
      LOG_LEVEL: 'debug',
      ...env,
    });
    gateway.tokens = [];
    return gateway;
  }

  get client() {
    return new Client(this.server.internalUrl);
  }

  /** No token, neither ours nor a resident's, may stand in the log. */
  async remove() {
    await this.server.remove();
    const { asToken, hsToken, adminToken, registrationSecret } = this.synapse;
    for (const secret of [asToken, hsToken, adminToken, registrationSecret, ...this.tokens]) {
      assert.ok(!this.server.stderr.includes(secret), 'a secret stands in the log');
    }
  }

  post(target, json) {
    return this.client.post(`/internal/matrix/${target}`, json, { headers: internalHeaders });
  }

  get(target) {
    return this.client.get(`/internal/matrix/${target}`, { headers: internalHeaders });
  }

  create(slug, name = 'Energy') {
    return this.post('rooms/create', { slug, name });
  }

  find(alias) {
    return this.get(`rooms/find-by-alias?alias=${encodeURIComponent(alias)}`);
  }

  async token(body) {
    const response = await this.post('users/token', body);
    assert.equal(response.status, 200, response.text);
    this.tokens.push(response.json.access_token);
    return response.json;
  }

  untilHealth(fits) {
    return until('a health', () => this.client.ok('GET', '/healthz'), fits);
  }

  waits() {
    return this.server.events.filter((event) => event.event === 'matrix.waiting');
  }
}
