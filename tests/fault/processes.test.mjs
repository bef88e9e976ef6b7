// Several processes as an operator starts them: workers on one port, replicas that share clients,
// backends that come late, settings that are wrong.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Nats, Redis } from '../e2e/support/backends.mjs';
import { createDatabase } from '../e2e/support/database.mjs';
import { Client } from '../e2e/support/http.mjs';
import { JWT_SECRET, runBinary, Server, temporaryDirectory } from '../e2e/support/server.mjs';
import { closing } from '../e2e/support/city.mjs';
import { goOnline, openPresence, openRoom } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import { Stack } from './support/stack.mjs';

const EX_CONFIG = 78;

async function backends() {
  const [database, nats, redis] = await Promise.all([createDatabase(), Nats.open(), Redis.open()]);
  return {
    database,
    nats,
    redis,
    env: { DATABASE_URL: database.url, NATS_URL: nats.url, REDIS_URL: redis.url },
    remove: () => Promise.all([nats.remove(), redis.remove(), database.remove()]),
  };
}

/** Those of our sockets whose other end a process of the city holds, as the kernel knows it. */
function socketsOf(pid, city, sockets) {
  const inodes = new Set(fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch {
      return undefined; // closed meanwhile
    }
  }));
  const portOf = (address) => parseInt(address.split(':')[1], 16);
  const peers = new Set(fs.readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , , , , , , , inode]) => portOf(local) === city.publicPort && inodes.has(inode))
    .map(([, , remote]) => portOf(remote)));
  return new Set(sockets.filter((socket) => peers.has(socket.ws._socket.localPort)));
}

describe('daarion up --workers', () => {
  let real;
  let city;
  const workers = () => city.events.filter(({ event }) => event === 'supervisor.worker_started');
  const ready = () => city.events.filter(({ event }) => event === 'daarion.ready').length;

  before(async () => {
    real = await backends();
    city = new Server(real.env, temporaryDirectory('workers'), { args: ['up', '--workers=3'] });
    await city.start();
    await city.waitForEvent(() => ready() === 3, 60_000);
  });
  after(async () => {
    await city?.remove();
    await real?.remove();
  });

  test('each listens on the one port, and has an internal port of its own', async () => {
    const listeners = city.events.filter(({ event }) => event === 'server.listening');
    const ports = (name) => new Set(listeners.filter(({ listener }) => listener === name).map(({ port }) => port));
    assert.equal(ports('public').size, 1);
    assert.equal(ports('internal').size, 3);
  });

  test('two of the three have an aggregator: one leads, one stands by', async () => {
    const ports = city.events.filter(({ event, listener }) => event === 'server.listening' && listener === 'internal')
      .map(({ port }) => port);
    const roles = async () => {
      const answers = await Promise.all(ports.map((port) => fetch(`http://127.0.0.1:${port}/internal/presence/health`)));
      return Promise.all(answers.map(async (answer) => (answer.status === 404 ? 'none' : (await answer.json()).role)));
    };
    let seen;
    for (const deadline = performance.now() + 30_000; performance.now() < deadline;) {
      seen = (await roles()).sort();
      if (seen.join() === 'leader,none,standby') {
        return;
      }
    }
    assert.fail(`the workers are ${seen}`);
  });

  test('clients of different workers talk, and one that is killed is started again', async () => {
    const user = makeUser('Оля');
    const api = new Client(city.publicUrl, user);
    const room = await api.createRoom('Спільна', { slug: 'workers' });
    // The kernel spreads connections: with sixteen all three workers have some.
    const sockets = await Promise.all(Array.from({ length: 16 }, () => openRoom(city, room.slug, makeUser())));
    const message = await api.say(room.slug, 'усім', 'first');
    await Promise.all(sockets.map((socket) => socket.nextFrame(({ message: heard }) => heard?.id === message.id)));

    const victim = workers().map(({ pid }) => pid)
      .sort((a, b) => socketsOf(b, city, sockets).size - socketsOf(a, city, sockets).size)[0];
    const theirs = socketsOf(victim, city, sockets);
    process.kill(victim, 'SIGKILL');
    await city.waitForEvent(() => workers().length === 4 && ready() === 4, 60_000);
    assert.ok(theirs.size > 0 && theirs.size < sockets.length, `${theirs.size} of ${sockets.length}`);
    await Promise.all([...theirs].map((socket) => socket.waitClosed()));
    const left = sockets.filter((socket) => !theirs.has(socket));
    assert.ok(left.every(({ closed }) => !closed), 'the others lose nothing');
    const second = await api.say(room.slug, 'ще раз', 'second');
    await Promise.all(left.map((socket) => socket.nextFrame(({ message: heard }) => heard?.id === second.id)));
    sockets.forEach((socket) => socket.terminate());
  });
});

test('a page that is closed is let go by whichever replica holds its sockets', async (t) => {
  const stack = await Stack.open({ env: { PRESENCE_LEASE_MS: 60_000 } }); // nothing else ends them in time
  t.after(() => stack.remove());
  const user = makeUser('Ліна');
  const page = await goOnline(stack.cities[0], user, { parameters: { page: 'tab' } });
  const watcher = await openPresence(stack.cities[1], makeUser(), { mode: 'heartbeat' });
  closing(t, page, watcher);
  const heard = (status) => (frame) => (frame.event === 'presence.update' && frame.user_id === user.id && frame.status === status)
    || frame.users?.some((entry) => entry.user_id === user.id && entry.status === status);
  await watcher.nextFrame(heard('online'));
  await stack.client(1, user).ok('POST', '/api/city/presence/leave', { page: 'tab' });
  await watcher.nextFrame(heard('offline'));
});

describe('what comes late', () => {
  test('a city that is started before its engines waits for them, and serves when they are there', async (t) => {
    const real = await backends();
    t.after(real.remove);
    await Promise.all([real.nats.stop(), real.redis.stop()]);
    const city = new Server(real.env, temporaryDirectory('late'), { args: ['up'] });
    t.after(() => city.remove());
    await city.start();
    const health = await (await fetch(`${city.internalUrl}/readyz`)).json();
    assert.equal(health.status, 'degraded');
    assert.notEqual(health.checks.bus.status, 'ok');
    assert.notEqual(health.checks.kv.status, 'ok');
    const user = makeUser('Рання');
    const api = new Client(city.publicUrl, user);
    const early = await api.say('general', 'ще без шини', 'early');
    const reader = await openRoom(city, 'general', makeUser(), { offset: 0, epoch: (await api.ok('GET', '/api/city/rooms/general')).epoch });
    await reader.nextFrame(({ message }) => message?.id === early.id);
    await Promise.all([real.nats.start(), real.redis.start()]);
    const isWell = async () => (await (await fetch(`${city.internalUrl}/readyz`)).json()).status === 'ok';
    for (const end = Date.now() + 20_000; !(await isWell());) {
      assert.ok(Date.now() < end, 'ready in time');
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
    const late = await api.say('general', 'вже з шиною', 'late');
    await reader.nextFrame(({ message }) => message?.id === late.id);
    await reader.close();
  });
});

describe('two processes over one PostgreSQL', () => {
  let real;
  const island = { REDIS_URL: undefined, NATS_URL: undefined };
  before(async () => { real = await backends(); });
  after(() => real?.remove());

  function start(t, env = {}) {
    const city = new Server({ ...real.env, ...env }, temporaryDirectory('pair'), { args: ['up'] });
    t.after(() => city.remove());
    return city.start();
  }

  async function refused(env = {}) {
    const result = await runBinary(['up'], {
      env: { ...real.env, JWT_SECRET, DATA_DIR: temporaryDirectory('pair'), PORT: 0, INTERNAL_PORT: 0, ...env },
    });
    assert.equal(result.code, EX_CONFIG, result.stderr);
    const lines = result.stderr.split('\n').filter((line) => line.startsWith('daarion: '));
    assert.equal(lines.length, 1, result.stderr);
    assert.match(lines[0], /NATS_URL/);
  }

  test('without a bus the second is refused, and its messages are in nobody\'s way', async (t) => {
    const first = await start(t, island);
    await refused(island);
    await refused(); // one that has the bus does not share it with one that has not
    const user = makeUser('Оля');
    await new Client(first.publicUrl, user).say('general', 'я тут одна', 'alone');
  });

  test('over one bus they are neighbours; one that lacks the bus is refused', async (t) => {
    const first = await start(t);
    const second = await start(t);
    await refused(island);
    const reader = await openRoom(first, 'general', makeUser());
    const message = await new Client(second.publicUrl, makeUser('Тарас')).say('general', 'чути всюди', 'both');
    await reader.nextFrame(({ message: heard }) => heard?.id === message.id);
    await reader.close();
  });

  test('one that is killed leaves its place at once', async (t) => {
    const first = await start(t, island);
    await first.kill();
    await first.start();
    assert.equal((await fetch(`${first.internalUrl}/readyz`)).status, 200);
  });

  test('a city that runs stays when its database is not to be found for a while', async (t) => {
    const first = await start(t, island);
    const { default: pg } = await import('../e2e/node_modules/pg/lib/index.js');
    const admin = new pg.Client({ connectionString: process.env.TEST_DATABASE_URL });
    await admin.connect();
    const name = new URL(real.database.url).pathname.slice(1);
    await admin.query(`alter database ${name} with allow_connections false`);
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    await admin.query(`alter database ${name} rename to ${name}_away`);
    await first.waitForEvent(({ event, code }) => event === 'db.lock_later' && code === 'configuration', 30_000);
    await admin.query(`alter database ${name}_away rename to ${name}`);
    await admin.query(`alter database ${name} with allow_connections true`);
    await admin.end();
    await first.waitForEvent(() => first.events.filter(({ event }) => event === 'db.lock_held').length === 2, 30_000);
  });

  test('a connection that is cut does not open the door: the place is taken again', async (t) => {
    const first = await start(t, island);
    const { default: pg } = await import('../e2e/node_modules/pg/lib/index.js');
    const client = new pg.Client({ connectionString: real.database.url });
    await client.connect();
    const held = () => first.events.filter(({ event }) => event === 'db.lock_held').length;
    assert.equal(held(), 1);
    await client.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'daarion-lock'");
    await client.end();
    await first.waitForEvent(() => held() === 2);
    await refused(island);
  });
});

describe('Redis over TLS', () => {
  let real;
  let redis;
  let env;
  before(async () => {
    [real, redis] = await Promise.all([backends(), Redis.open({ tls: true })]);
    env = { ...real.env, REDIS_URL: redis.url, REDIS_TLS_CA_FILE: redis.caFile };
  });
  after(async () => {
    await redis?.remove();
    await real?.remove();
  });

  test('a city serves over it, and over a server that was restarted', async (t) => {
    const city = new Server(env, temporaryDirectory('redis-tls'));
    t.after(() => city.remove());
    await city.start();
    const connected = () => city.events.filter(({ event }) => event === 'kv.connected').length;
    await city.waitForEvent(() => connected() === 1);
    // Whoever leads holds a lease that stands there.
    for (const deadline = performance.now() + 30_000; !(await redis.command('KEYS', 'daarion:kv:lease:*')).includes('lease');) {
      assert.ok(performance.now() < deadline, 'nobody leads');
    }
    const room = await new Client(city.publicUrl, makeUser('Оля')).createRoom('Таємна', { slug: 'tls' });
    assert.equal(room.slug, 'tls');
    await redis.restart();
    await city.waitForEvent(() => connected() === 2, 30_000);
  });

  async function refused(settings, name) {
    const result = await runBinary(['up'], {
      env: { ...env, JWT_SECRET, DATA_DIR: temporaryDirectory('refused'), PORT: 0, INTERNAL_PORT: 0, ...settings },
    });
    assert.equal(result.code, EX_CONFIG, result.stderr);
    const lines = result.stderr.split('\n').filter((line) => line.startsWith('daarion: '));
    assert.equal(lines.length, 1, result.stderr);
    assert.match(lines[0], name);
    assert.ok(!result.stderr.includes(redis.password), 'no secret is told');
  }

  test('an authority that nobody trusts ends the start', () => refused({ REDIS_TLS_CA_FILE: undefined }, /REDIS_TLS_CA_FILE is not set/));
  test('so does another one than the server has', async (t) => {
    const other = await Redis.open({ tls: true });
    t.after(() => other.remove());
    await refused({ REDIS_TLS_CA_FILE: other.caFile }, /REDIS_TLS_CA_FILE does not vouch for the certificate of localhost/);
  });
  test('and another name', () => refused({ REDIS_URL: redis.url.replace('localhost', '127.0.0.1') }, /REDIS_URL: .* is not for 127\.0\.0\.1/));
});

describe('what is wrong ends the start with 78 and one line that names the setting', () => {
  let real;
  before(async () => { real = await backends(); });
  after(() => real?.remove());

  async function refused(args, env, name) {
    const result = await runBinary(args, {
      env: { ...real.env, JWT_SECRET, DATA_DIR: temporaryDirectory('refused'), PORT: 0, INTERNAL_PORT: 0, ...env },
    });
    assert.equal(result.code, EX_CONFIG, result.stderr);
    const lines = result.stderr.split('\n').filter((line) => line.startsWith('daarion: '));
    assert.equal(lines.length, 1, result.stderr);
    assert.match(lines[0], new RegExp(name));
    assert.ok(!result.stderr.includes(real.redis.password) && !result.stderr.includes(real.nats.password), 'no secret is told');
    return lines[0];
  }

  for (const [name, missing] of [['DATABASE_URL', 'DATABASE_URL'], ['REDIS_URL', 'REDIS_URL'], ['NATS_URL', 'NATS_URL'], ['JWT_SECRET', 'JWT_SECRET']]) {
    test(`city-service alone without ${name}`, () => refused(['city-service'], { [missing]: undefined }, name));
  }
  test('two workers without a shared bus', () => refused(['up', '--workers=2'], { NATS_URL: undefined }, 'NATS_URL'));
  test('a wrong password of Redis', () => refused(['up'], { REDIS_URL: `redis://:wrong@127.0.0.1:${real.redis.port}/0` }, 'REDIS_URL'));
  test('a database number that Redis does not have', () => refused(['up'], { REDIS_URL: real.redis.url.replace(/0$/, '999') }, 'REDIS_URL'));
  test('a wrong password of NATS', () => refused(['up'], { NATS_URL: `nats://daarion:wrong@127.0.0.1:${real.nats.port}` }, 'NATS_URL'));
  test('a wrong password of PostgreSQL', () => {
    const url = new URL(real.database.url);
    url.password = 'wrong';
    return refused(['up'], { DATABASE_URL: url.href }, 'DATABASE_URL');
  });
  test('a port of PostgreSQL that is none', () => refused(['up'], { DATABASE_URL: 'postgresql://h:99999/db' }, 'DATABASE_URL'));
  test('an sslmode that is none', () => refused(['up'], { DATABASE_URL: 'postgresql://h/db?sslmode=perhaps' }, 'DATABASE_URL'));
  test('a database that PostgreSQL does not have', () => {
    const url = new URL(real.database.url);
    url.pathname = '/no_such_database';
    return refused(['up'], { DATABASE_URL: url.href }, 'DATABASE_URL');
  });
  test('a shared bus without a shared Redis', () => refused(['up'], { REDIS_URL: undefined }, 'REDIS_URL'));
  test('no scheme', () => refused(['up'], { NATS_URL: 'localhost:4222' }, 'NATS_URL'));
  test('an authority for Redis over a URL without TLS', () => refused(['up'], { REDIS_TLS_CA_FILE: '/dev/null' }, 'REDIS_TLS_CA_FILE'));
  test('an authority for Redis that holds none', () => refused(['up'], { REDIS_URL: 'rediss://127.0.0.1/0', REDIS_TLS_CA_FILE: '/dev/null' }, 'REDIS_TLS_CA_FILE'));

  test('a database that is newer than the program', async () => {
    const migrated = await runBinary(['migrate'], { env: { ...real.env, DATA_DIR: temporaryDirectory('newer') } });
    assert.equal(migrated.code, 0, migrated.stderr);
    const { default: pg } = await import('../e2e/node_modules/pg/lib/index.js');
    const client = new pg.Client({ connectionString: real.database.url });
    await client.connect();
    await client.query("insert into schema_migrations select 999, 'from_the_future', checksum, applied_at from schema_migrations limit 1");
    await client.end();
    const line = await refused(['up'], {}, 'DATABASE_URL');
    assert.match(line, /999/);
    assert.match(line, /newer/);
  });
});
