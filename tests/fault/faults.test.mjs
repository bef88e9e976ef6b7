// What the issue of faults promises, with real servers: while clients write, read and are counted,
// something breaks. In every case each acknowledged message reaches each reader once and in order,
// counts are right again within the lease and five seconds, nobody who has gone stays, nobody who
// stays is said to have gone, and no process of the city ends.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NatsCluster } from '../e2e/support/backends.mjs';
import { closing } from '../e2e/support/city.mjs';
import { openRoom } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import { Reader, Watcher, Writer } from './support/clients.mjs';
import { LEASE_MS, SETTLE_MS, Stack } from './support/stack.mjs';

const READERS = 6;
const WRITERS = 3;
const HEARD_MS = 30_000;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

let rooms = 0;

/** Clients at work in a room of their own: readers on both replicas, writers, a watcher on each. */
async function crowd(stack) {
  rooms += 1;
  const slug = `fault-${process.pid}-${rooms}`;
  const room = await stack.client(0, makeUser('Власниця')).createRoom(`Аварія ${rooms}`, { slug });
  const readers = Array.from({ length: READERS }, (_, i) => new Reader(stack, room, `reader${i}`, i % 2));
  const watchers = [new Watcher(stack, room, 0), new Watcher(stack, room, 1)];
  await Promise.all(watchers.map((watcher) => watcher.until(READERS, 15_000)));
  const writers = Array.from({ length: WRITERS }, (_, i) => new Writer(stack, room, `w${i}`));
  const moved = async (more) => {
    const from = Math.max(...readers.map((reader) => reader.lastOffset ?? 0));
    await Promise.all(readers.map((reader) => reader.until(from + more, HEARD_MS)));
  };
  await moved(50);
  return { room, readers, watchers, writers, moved };
}

/** Ends the clients and holds what they heard against what was acknowledged and what is stored. */
async function settle(stack, { room, readers, watchers, writers, moved }, { mayDip = false } = {}) {
  await moved(30);
  await Promise.all(watchers.map((watcher) => watcher.until(READERS, LEASE_MS + SETTLE_MS)));
  await Promise.all(writers.map((writer) => writer.stop()));
  const acknowledged = writers.flatMap((writer) => writer.acknowledged);
  const last = Math.max(...acknowledged.map(({ offset }) => offset));
  await Promise.all(readers.map((reader) => reader.until(last, HEARD_MS)));
  // Watchers first: readers who leave are to be seen by nobody.
  await Promise.all(watchers.map((client) => client.stop()));
  await Promise.all(readers.map((client) => client.stop()));

  const history = await stack.client(0).history(room.slug);
  assert.deepEqual(history.map(({ offset }) => offset), history.map((_, i) => i + 1), 'no hole is stored');
  assert.equal(new Set(history.map(({ body }) => body)).size, history.length, 'nothing is stored twice');
  const stored = new Map(history.map((message) => [message.body, message]));
  for (const { body, id, offset } of acknowledged) {
    assert.deepEqual(
      { id: stored.get(body)?.id, offset: stored.get(body)?.offset },
      { id, offset },
      `${body} was acknowledged`,
    );
  }
  for (const reader of readers) {
    assert.deepEqual(reader.resets, [], 'a cursor stays good');
    assert.deepEqual(
      reader.messages.map(({ offset }) => offset),
      history.slice(reader.first).map(({ offset }) => offset).slice(0, reader.messages.length),
      `${reader.user.name} heard each once and in order`,
    );
    assert.ok(reader.lastOffset >= last);
  }
  if (!mayDip) {
    for (const watcher of watchers) {
      const full = watcher.counts.findIndex(({ count }) => count === READERS);
      const low = watcher.counts.slice(full).filter(({ count }) => count < READERS);
      assert.deepEqual(low, [], `replica ${watcher.at} never says that somebody left who stayed: ${JSON.stringify(watcher.counts.slice(full))}`);
    }
  }
  for (const server of stack.servers) {
    assert.ok(server.running, `${server.args} lives`);
  }
  return {
    acknowledged: acknowledged.length,
    repeated: writers.reduce((sum, writer) => sum + writer.failures, 0),
    reconnects: readers.reduce((sum, reader) => sum + reader.connections - 1, 0),
    longestPauseMs: Math.round(Math.max(...readers.map((reader) => reader.longestPauseMs))),
  };
}

describe('faults of one city over real backends', () => {
  let stack;
  before(async () => { stack = await Stack.open(); });
  after(() => stack?.remove());

  async function trial(t, fault, options) {
    const people = await crowd(stack);
    await fault(people);
    t.diagnostic(JSON.stringify(await settle(stack, people, options)));
  }

  test('nothing breaks', (t) => trial(t, ({ moved }) => moved(200)));

  test('a replica is killed and comes back', (t) => trial(t, async ({ moved }) => {
    await stack.cities[0].kill();
    await moved(50);
    await stack.cities[0].start();
  }));

  test('a person on a killed replica who does not come back is gone when the lease is over', async () => {
    const room = await stack.client(0, makeUser('Власниця')).createRoom('Привид', { slug: `ghost-${process.pid}` });
    const watcher = new Watcher(stack, room, 1);
    const reader = new Reader(stack, room, 'ghost', 0);
    await watcher.until(1, 15_000);
    const [victim] = stack.cities;
    reader.stopping = true; // does not come back
    await victim.kill();
    await watcher.until(0, LEASE_MS + SETTLE_MS);
    await Promise.all([reader.stop(), watcher.stop()]);
    await victim.start();
  });

  test('NATS restarts', (t) => trial(t, async ({ moved }) => {
    await stack.nats.stop('SIGKILL');
    await pause(1500);
    await stack.nats.start();
    await moved(100);
  }));

  test('what JetStream kept is wiped', (t) => trial(t, async ({ moved }) => {
    await stack.nats.wipe();
    await moved(100);
  }));

  test('Redis restarts', (t) => trial(t, async ({ moved }) => {
    await stack.redis.stop('SIGKILL');
    await moved(100);
    await stack.redis.start();
  }));

  test('Redis is flushed', (t) => trial(t, async ({ moved }) => {
    await stack.redis.flush();
    await moved(100);
  }));

  test('PostgreSQL crashes and restarts', (t) => trial(t, async ({ moved }) => {
    await stack.postgres('stop');
    await pause(1000);
    await stack.postgres('start');
    await moved(50);
  }));

  test('a replica is stopped for longer than the lease and goes on', (t) => trial(t, async ({ moved }) => {
    process.kill(stack.cities[0].pid, 'SIGSTOP');
    await pause(LEASE_MS + 2000);
    process.kill(stack.cities[0].pid, 'SIGCONT');
    await moved(50);
  }, { mayDip: true }));

  test('the leading aggregator is killed', (t) => trial(t, async ({ moved }) => {
    const leader = await stack.leader();
    assert.ok(leader, 'somebody leads');
    await leader.kill();
    await moved(200);
    await leader.start();
  }));

  test('the leading aggregator is stopped for longer than its lease and goes on', (t) => trial(t, async ({ moved }) => {
    const leader = await stack.leader();
    process.kill(leader.pid, 'SIGSTOP');
    await pause(LEASE_MS + 6000);
    process.kill(leader.pid, 'SIGCONT');
    await moved(50);
  }));
});

describe('a cluster of three NATS servers', () => {
  let stack;
  before(async () => {
    stack = await Stack.open({
      openNats: () => NatsCluster.open(3),
      env: { NATS_REPLICAS: 3 },
    });
  });
  after(() => stack?.remove());

  // One of the three leads the stream of the chat.
  for (const at of [0, 1, 2]) {
    test(`server ${at + 1} is lost: nobody notices`, async (t) => {
      const people = await crowd(stack);
      await stack.nats.servers[at].stop('SIGKILL');
      await people.moved(200);
      await stack.nats.servers[at].start();
      t.diagnostic(JSON.stringify(await settle(stack, people)));
    });
  }
});

describe('a room that another replica has just made', () => {
  let stack;
  before(async () => { stack = await Stack.open(); });
  after(() => stack?.remove());

  test('is found although the bus has not told of it', async (t) => {
    await stack.nats.stop('SIGKILL');
    const user = makeUser('Швидка');
    const slug = `fresh-${process.pid}`;
    const room = await stack.client(0, user).createRoom('Щойно', { slug });
    const socket = await openRoom(stack.cities[1], slug, makeUser());
    closing(t, socket);
    assert.equal(socket.snapshot.room_id, room.id);
    assert.equal((await stack.client(1).ok('GET', `/api/city/rooms/${room.id}`)).slug, slug);
    const message = await stack.client(1, user).say(slug, 'я вже тут', 'k');
    await socket.nextFrame(({ message: heard }) => heard?.id === message.id);
    await stack.nats.start();
  });
});
