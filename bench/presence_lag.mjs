// How long a change of presence takes from a Matrix client to a browser: people change on a real Synapse at a steady
// pace, and each change is followed to its frame. The way is told apart at the moment in which the aggregator
// has the homeserver's answer ("heard_ts" on the bus; one machine, one clock, milliseconds).
//
//   script/with-synapse node bench/presence_lag.mjs [USERS] [CHANGES_A_SECOND] [SECONDS]     DAARION_BIN=build/daarion
//
// The homeserver, its clients, the city, NATS, Redis and the watcher share the machine.
import http from 'node:http';
import { Nats, Redis } from '../tests/e2e/support/backends.mjs';
import { internalHeaders } from '../tests/e2e/support/city.mjs';
import { openPresence } from '../tests/e2e/support/sockets.mjs';
import { makeUser } from '../tests/e2e/support/tokens.mjs';
import { NatsListener } from '../tests/matrix/support/nats.mjs';
import { MatrixCity } from '../tests/matrix/support/residents.mjs';
import { Synapse } from '../tests/matrix/support/synapse.mjs';

const USERS = Number(process.argv[2] ?? 1000);
const PER_S = Number(process.argv[3] ?? 150);
const SECONDS = Number(process.argv[4] ?? 30);
const PARALLEL = 8;

const synapse = await Synapse.start();
const agent = new http.Agent({ keepAlive: true, maxSockets: PARALLEL });

/** As one of the residents whom the application service keeps: its limits do not count for it. */
function call(method, target, user, json) {
  const mark = target.includes('?') ? '&' : '?';
  const url = `${synapse.url}/_matrix/client/v3${target}${user ? `${mark}user_id=${encodeURIComponent(user)}` : ''}`;
  return new Promise((resolve, reject) => {
    const request = http.request(url, {
      method, agent, headers: { Authorization: `Bearer ${synapse.asToken}`, 'Content-Type': 'application/json' },
    }, (response) => {
      let text = '';
      response.on('data', (piece) => { text += piece; });
      response.on('end', () => (response.statusCode === 200
        ? resolve(JSON.parse(text))
        : reject(new Error(`${method} ${target}: ${response.statusCode} ${text}`))));
    });
    request.on('error', reject);
    request.end(JSON.stringify(json ?? {}));
  });
}

async function inParallel(items, work) {
  const todo = [...items];
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    while (todo.length > 0) {
      await work(todo.shift());
    }
  }));
}

const percentiles = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => (sorted.length > 0 ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : NaN);
  return `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, max ${sorted.at(-1)} ms (${sorted.length})`;
};

const [nats, redis] = await Promise.all([Nats.open(), Redis.open()]);
const city = await MatrixCity.start(synapse, { NATS_URL: nats.url, REDIS_URL: redis.url, ROOM_PRESENCE_THROTTLE_MS: 3000 });
await city.listening();
const rooms = await Promise.all(['general', 'welcome', 'builders'].map((slug) => city.room(slug)));
const people = Array.from({ length: USERS }, (_, i) => ({
  id: `bench${i}`, mxid: `@daarion.bench${i}:${synapse.serverName}`, isOnline: false, room: rooms[i % rooms.length].matrix_room_id,
}));
await inParallel(people, async (one) => {
  await call('POST', '/register', null, { type: 'm.login.application_service', username: one.mxid.slice(1, one.mxid.indexOf(':')), inhibit_login: true });
  await call('POST', `/join/${encodeURIComponent(one.room)}`, one.mxid);
});
console.log(`${USERS} people in ${rooms.length} rooms; ${PER_S} changes a second for ${SECONDS} s`);
await city.until((matrix) => matrix.people >= USERS, 120_000);

const started = new Map(); // id -> when its change was asked for
const heard = new Map();
const parts = { sync: [], frame: [], all: [] };
const byId = new Map(people.map((one) => [one.id, one]));
const bus = await NatsListener.open(nats.url, 'city.presence.user.*');
const socket = await openPresence(city.server, makeUser(), { mode: 'heartbeat' });
socket.ws.removeAllListeners('message'); // the contract is checked elsewhere
bus.onMessage = ({ json }) => heard.set(json.user_id, json.heard_ts);
socket.ws.on('message', (data) => {
  const frame = JSON.parse(data.toString());
  const at = started.get(frame.user_id);
  if (frame.event === 'presence.update' && at !== undefined) {
    started.delete(frame.user_id);
    const now = Date.now();
    parts.all.push(now - at);
    setImmediate(() => { // the bus's word is on another connection
      const when = heard.get(frame.user_id);
      if (when >= at) {
        parts.sync.push(when - at);
        parts.frame.push(now - when);
      }
    });
  }
});

const puts = [];
let asked = 0;
let waiting = 0;
const from = performance.now();
await new Promise((resolve) => {
  const timer = setInterval(() => {
    const due = Math.min(PER_S * SECONDS, Math.floor((performance.now() - from) / 1000 * PER_S));
    for (; asked < due; asked += 1) {
      const one = people[asked % people.length];
      one.isOnline = !one.isOnline;
      const at = Date.now();
      waiting += 1;
      call('PUT', `/presence/${encodeURIComponent(one.mxid)}/status`, one.mxid, { presence: one.isOnline ? 'online' : 'unavailable' })
        .then(() => puts.push(Date.now() - at), (error) => console.error(error.message))
        .finally(() => { waiting -= 1; });
      started.set(one.id, at);
    }
    if (asked === PER_S * SECONDS && waiting === 0) {
      clearInterval(timer);
      setTimeout(resolve, 3000);
    }
  }, 5);
});
const seconds = (performance.now() - from) / 1000 - 3;
const metrics = await (await fetch(`${city.server.internalUrl}/metrics`, { headers: internalHeaders })).text();
console.log(`PUT, Synapse's own answer:  ${percentiles(puts)}; ${(puts.length / seconds).toFixed(0)}/s`);
console.log(`asked -> heard by /sync:    ${percentiles(parts.sync)}`);
console.log(`heard -> frame in a client: ${percentiles(parts.frame)}`);
console.log(`asked -> frame in a client: ${percentiles(parts.all)}; without a frame: ${started.size}`);
console.log(metrics.split('\n').filter((line) => /^daarion_presence_(heard|change)_to_frame_seconds_(sum|count)/.test(line)
  || /^daarion_presence_heard_to_frame_seconds_bucket.*(0\.0025|0\.005|0\.01|0\.025|0\.05|0\.1)"/.test(line)).join('\n'));
socket.terminate();
bus.close();
agent.destroy();
await city.remove();
await Promise.all([nats.remove(), redis.remove()]);
await synapse.remove();
