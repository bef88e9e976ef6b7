// A city of several processes over real backends: two city-services, two presence aggregators (one
// leads), auth; PostgreSQL from TEST_DATABASE_URL, NATS and Redis of its own.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Nats, Redis } from '../../e2e/support/backends.mjs';
import { createDatabase } from '../../e2e/support/database.mjs';
import { Client } from '../../e2e/support/http.mjs';
import { INTERNAL_KEY, Server, temporaryDirectory } from '../../e2e/support/server.mjs';

const run = promisify(execFile);

export const LEASE_MS = 4000;
/** Counts must be right again after the lease and so much more. */
export const SETTLE_MS = 5000;

export class Stack {
  static async open({ openNats = () => Nats.open(), env = {} } = {}) {
    const stack = new Stack();
    stack.database = await createDatabase();
    stack.nats = await openNats();
    stack.redis = await Redis.open();
    stack.env = {
      DATABASE_URL: stack.database.url,
      NATS_URL: stack.nats.url,
      REDIS_URL: stack.redis.url,
      PRESENCE_LEASE_MS: LEASE_MS,
      PRESENCE_CLOSE_GRACE_MS: 1000,
      ROOM_PRESENCE_THROTTLE_MS: 200,
      WS_PING_INTERVAL_MS: 1000,
      ...env,
    };
    stack.aggregators = [stack.#role('matrix-presence-aggregator'), stack.#role('matrix-presence-aggregator')];
    stack.cities = [stack.#role('city-service'), stack.#role('city-service')];
    await Promise.all([...stack.aggregators, ...stack.cities].map((server) => server.start()));
    await Promise.all(stack.cities.map((server) => server.waitForEvent(({ event }) => event === 'city.ready')));
    return stack;
  }

  #role(name) {
    return new Server(this.env, temporaryDirectory('role'), { args: [name] });
  }

  /** One more city-service. */
  async addCity(env = {}) {
    const server = new Server({ ...this.env, ...env }, temporaryDirectory('role'), { args: ['city-service'] });
    this.cities.push(server);
    return server.start();
  }

  get servers() {
    return [...this.cities, ...this.aggregators];
  }

  client(at = 0, user = null) {
    return new Client(this.cities[at].publicUrl, user);
  }

  /** Stops, starts, … the PostgreSQL server, as script/with-postgres offers it. */
  async postgres(verb) {
    await run(process.env.TEST_POSTGRES_RESTART, [verb]);
  }

  /** The aggregator that leads, by what each says of itself. */
  async leader() {
    for (const server of this.aggregators.filter(({ running }) => running)) {
      const response = await fetch(`${server.internalUrl}/status`, {
        headers: { 'X-Internal-API-Key': INTERNAL_KEY },
        signal: AbortSignal.timeout(5000),
      });
      if ((await response.json()).role === 'leader') {
        return server;
      }
    }
    return null;
  }

  async remove() {
    const problems = [];
    for (const server of this.servers) {
      await server.remove().catch((error) => problems.push(error));
    }
    await Promise.all([this.nats.remove(), this.redis.remove(), this.database.remove()]);
    if (problems.length > 0) {
      throw problems[0];
    }
  }
}
