// Presence of people with Matrix clients while something breaks: two processes of the whole city over NATS and Redis
// on a real Synapse. Whatever is killed, who stays online is never said to have gone, and counts are the truth again
// within ten seconds of the recovery.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Nats, Redis } from '../e2e/support/backends.mjs';
import { closing, internalHeaders, person } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { Server } from '../e2e/support/server.mjs';
import { openPresence } from '../e2e/support/sockets.mjs';
import {
  MatrixCity, NO_LIMITS, Resident, STEADY,
} from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const PEOPLE = 12;
const STAYING = 8; // the others come and go
const CONVERGE_MS = 10_000;
const WATCH_MS = 60_000;
const RENEW_MS = 10_000;

let synapse;
let nats;
let redis;
let city;
let second; // another aggregator, and the process whose sockets are watched while the first is killed
let room;
let people;
let renewals; // presence that is not renewed ends by itself
const gone = new Set();

before(async () => {
  [synapse, nats, redis] = await Promise.all([Synapse.start(NO_LIMITS + STEADY), Nats.open(), Redis.open()]);
  const env = { NATS_URL: nats.url, REDIS_URL: redis.url, PRESENCE_LEADER_LEASE_MS: '1s' };
  city = await MatrixCity.start(synapse, env);
  second = new Server({
    ...env,
    SYNAPSE_URL: synapse.url,
    MATRIX_SERVER_NAME: synapse.serverName,
    MATRIX_ACCESS_TOKEN: city.daemon.token,
    MATRIX_USER_ID: city.daemon.id,
    CITY_SERVICE_INTERNAL_URL: city.server.internalUrl,
    ROOM_PRESENCE_THROTTLE_MS: 100,
  }, city.server.dataDir, { args: ['matrix-presence-aggregator'] });
  await second.start();
  await city.listening();
  room = await city.room('general');
  people = await Promise.all(Array.from({ length: PEOPLE }, (_, i) => Resident.register(synapse, `stays${i}`)));
  for (const resident of people) {
    await resident.join(room.matrix_room_id);
  }
  await everybodyIsHere();
  renewals = setInterval(() => everybodyIsHere().catch(() => undefined), RENEW_MS); // the homeserver may be down
});

after(async () => {
  clearInterval(renewals);
  await second?.stop();
  await city?.remove();
  await Promise.all([nats?.remove(), redis?.remove()]);
  await synapse?.remove();
});

const counts = (frame) => (frame.type === 'snapshot'
  ? frame.rooms.find((entry) => entry.room_slug === 'general')
  : frame.type === 'room.presence' && frame.room_slug === 'general' && frame);

/** Hears counts and people; `settle` ends it and holds what was heard against who has stayed. */
class Watcher {
  static async open(t) {
    const watcher = new Watcher();
    watcher.socket = await openPresence(city.server, person(city));
    closing(t, watcher.socket);
    return watcher;
  }

  until(online, timeoutMs = WATCH_MS) {
    return this.socket.nextFrame((frame) => counts(frame)?.online_count === online, timeoutMs);
  }

  /** Nobody who stayed was ever said to be offline, and no count was ever below those who stayed. */
  settle() {
    const staying = new Set(people.slice(0, STAYING).map(({ id }) => id));
    const frames = this.socket.frames.map(({ frame }) => frame);
    for (const frame of frames.slice(frames.findIndex((each) => counts(each)?.online_count === PEOPLE))) {
      assert.ok(!(frame.event === 'presence.update' && frame.status === 'offline' && staying.has(frame.user_id)),
        `${frame.user_id} is said to have gone`);
      const online = counts(frame)?.online_count;
      assert.ok(online === undefined || online >= STAYING, `a count of ${online}`);
    }
  }
}

function comeAndGo(presence) {
  return Promise.all(people.slice(STAYING).map((resident) => {
    if (presence === 'offline') {
      gone.add(resident);
    } else {
      gone.delete(resident);
    }
    return resident.presence(presence);
  }));
}

/** The truth, `online` people, is heard within ten seconds of now. */
async function converges(watcher, online) {
  const from = performance.now();
  await watcher.until(online);
  const took = performance.now() - from;
  assert.ok(took < CONVERGE_MS, `right again after ${Math.round(took)} ms`);
}

function everybodyIsHere() {
  return Promise.all(people.filter((resident) => !gone.has(resident)).map((resident) => resident.presence('online')));
}

async function leaderOf(client, target) {
  return (await client.ok('GET', target, undefined, { headers: internalHeaders })).role;
}

const untilLeads = (client) => until('another leader', () => leaderOf(client, '/status'), (role) => role === 'leader');

describe('counts are the truth again, and nobody who stays has gone', { concurrency: 1 }, () => {
  test('when NATS is killed and comes back, with people coming and going meanwhile', async (t) => {
    const watcher = await Watcher.open(t);
    await watcher.until(PEOPLE);
    await nats.stop('SIGKILL');
    await comeAndGo('offline');
    await nats.start();
    await converges(watcher, STAYING);
    await comeAndGo('online');
    await converges(watcher, PEOPLE);
    watcher.settle();
  });

  test('when the leading aggregator is killed', async (t) => {
    // Whoever leads is to be the process that can be spared.
    const alone = new Client(second.internalUrl);
    await city.server.stop();
    await untilLeads(alone);
    await city.server.start();
    await city.listening();
    const watcher = await Watcher.open(t);
    await watcher.until(PEOPLE);
    await second.kill();
    await comeAndGo('offline');
    await converges(watcher, STAYING);
    await second.start();
    await comeAndGo('online');
    await converges(watcher, PEOPLE);
    watcher.settle();
  });

  test('when the gateway is killed: its snapshot is right at once when it is back', async (t) => {
    const before = await Watcher.open(t);
    await before.until(PEOPLE);
    const alone = new Client(second.internalUrl);
    await city.server.kill();
    await untilLeads(alone);
    await comeAndGo('offline');
    await city.server.start();
    const watcher = await Watcher.open(t);
    await converges(watcher, STAYING);
    await comeAndGo('online');
    await converges(watcher, PEOPLE);
    before.settle();
    watcher.settle();
  });

  test('when the homeserver is stopped and comes back', async (t) => {
    const watcher = await Watcher.open(t);
    await watcher.until(PEOPLE);
    await synapse.control('stop');
    await city.until((matrix) => matrix.state !== 'fresh');
    await synapse.control('start');
    // Of those whom it knew before, Synapse itself tells nothing but time-outs now (matrix/MODES.md §4): somebody new.
    const late = await Resident.register(synapse, 'late');
    await late.join(room.matrix_room_id);
    await late.presence('online');
    await converges(watcher, PEOPLE + 1);
    await late.presence('offline');
    await converges(watcher, PEOPLE);
    await city.until((matrix) => matrix.state === 'fresh');
    watcher.settle();
  });
});
