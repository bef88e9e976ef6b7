// script/stack itself: the city that the files before this one have talked to (run.mjs). The last test ends it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { Client, request } from './support/http.mjs';
import { assertNoSanitizerReport, Server, temporaryDirectory } from './support/server.mjs';
import { closing } from './support/city.mjs';
import { connect } from './support/raw.mjs';
import { openRoom, openSocket } from './support/sockets.mjs';
import { ROLES, root, ScriptStack } from './support/stack.mjs';
import { makeUser } from './support/tokens.mjs';

const stack = new ScriptStack(process.env.E2E_STACK ? JSON.parse(process.env.E2E_STACK).dir : null);
const WAIT_MS = 20_000;
const HTML = { Accept: 'text/html' };

const isAlive = (pid) => {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

async function until(fits, what) {
  for (const end = Date.now() + WAIT_MS; !fits();) {
    assert.ok(Date.now() < end, `${what} in time`);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

/** The replicas that have served requests of a path, by the log of nginx, once there are so many lines of it. */
async function servedBy(target, count) {
  const lines = () => stack.log('nginx-access').split('\n').filter((line) => line.includes(`"path":"${target}"`)).map(JSON.parse);
  await until(() => lines().length >= count, `${count} requests of ${target} are logged`);
  return lines().map(({ upstream }) => upstream);
}

describe('script/stack', () => {
  const address = stack.dir && stack.url('public');
  let status;
  const pidOf = (name) => Number(new RegExp(`^${name} +pid (\\d+)`, 'm').exec(status)[1]);
  before(async () => { status = await stack.run('--status'); });

  test('the city is six processes over real engines, and people of all of them hear each other', async (t) => {
    assert.deepEqual(status.match(/^(auth|presence|city)-\d(?= +pid \d+, ok$)/gm).sort(), [...ROLES].sort());
    assert.equal(new Set(ROLES.map(pidOf)).size, 6);
    for (const engine of ['postgres', 'redis', 'nats', 'nginx']) {
      assert.ok(isAlive(pidOf(engine)), engine);
    }
    const server = { publicPort: stack.port('public') };
    const guest = await new Client(address).ok('POST', '/api/auth/guest', { display_name: 'Гостя' });
    const user = { id: guest.user_id, token: guest.access_token };
    const api = new Client(address, user);
    const room = await api.createRoom('Зі стека', { slug: 'from-the-stack' });
    const replicas = ['city-1', 'city-2'].map((name) => ({ publicPort: stack.port(name) }));
    const sockets = await Promise.all([server, server, ...replicas].map((at) => openRoom(at, room.slug, user)));
    closing(t, ...sockets);
    const message = await api.say(room.slug, 'чути всюди', 'k');
    await Promise.all(sockets.map((socket) => socket.nextFrame(({ message: heard }) => heard?.id === message.id)));
  });

  test('different people are served by different replicas', async () => {
    const target = '/api/city/feed';
    const before = (await servedBy(target, 0)).length;
    await Promise.all(Array.from({ length: 40 }, () => request(address, 'GET', target, { token: makeUser().token })));
    const replicas = (await servedBy(target, before + 40)).slice(before);
    assert.deepEqual([...new Set(replicas)].sort(), ['city-1', 'city-2'].map((name) => `127.0.0.1:${stack.port(name)}`).sort());
  });

  test('a browser meets one replica, also when it reads without its token: what it made is in its list at once', async () => {
    for (let i = 0; i < 12; i += 1) {
      const page = await request(address, 'GET', '/city', { headers: HTML });
      const [route] = page.headers['set-cookie'][0].split(';');
      const headers = { Cookie: route };
      const again = await request(address, 'GET', '/', { headers: { ...HTML, ...headers } });
      assert.equal(again.headers['set-cookie'], undefined);
      const user = makeUser('Браузер');
      const browser = new Client(address, user);
      const room = await browser.ok('POST', '/api/city/rooms', { name: `З браузера ${i}` }, { headers });
      const nobody = new Client(address);
      const rooms = await nobody.ok('GET', '/api/city/rooms?limit=500', undefined, { headers });
      assert.ok(rooms.some(({ id }) => id === room.id), `room ${i}`);
      const target = `/api/city/rooms/${room.slug}`;
      await nobody.ok('GET', target, undefined, { headers });
      await browser.ok('GET', target, undefined, { headers });
      const socketTarget = `/ws/city/rooms/${room.slug}`;
      const server = { publicPort: stack.port('public') };
      await (await openSocket(server, `${socketTarget}?token=${user.token}`, { headers: { ...headers, Origin: address } })).close();
      const replicas = [...await servedBy(target, 2), ...await servedBy(socketTarget, 1)];
      assert.equal(new Set(replicas).size, 1, replicas.join());
    }
    const asset = /"(\/assets\/[^"]+\.js)"/.exec((await request(address, 'GET', '/', { headers: HTML })).text)[1];
    assert.equal((await request(address, 'GET', asset)).headers['set-cookie'], undefined, 'a shared cache keeps this');
  });

  test('others meet one replica by their token, wherever it travels', async () => {
    for (let i = 0; i < 8; i += 1) {
      const user = makeUser();
      const room = await new Client(address, user).createRoom('За жетоном');
      const target = `/api/city/rooms/${room.slug}`;
      const { token } = user;
      const server = { publicPort: stack.port('public') };
      await request(address, 'GET', target, { token });
      await request(address, 'GET', `${target}?token=${token}`);
      await request(address, 'GET', `${target}?access_token=${token}`);
      const socketTarget = `/ws/city/rooms/${room.slug}`;
      await (await openSocket(server, `${socketTarget}?token=${token}`)).close();
      await (await openSocket(server, socketTarget, { protocols: ['bearer', token] })).close();
      await (await openSocket(server, socketTarget, { headers: { Authorization: `Bearer ${token}` } })).close();
      const replicas = [...await servedBy(target, 3), ...await servedBy(socketTarget, 3)];
      assert.equal(new Set(replicas).size, 1, replicas.join());
    }
  });

  test('the city is told by nginx who asks, under which name and number', async () => {
    const raw = await connect(stack.port('public'), { localAddress: '127.0.0.2' });
    raw.send('GET /api/nothing HTTP/1.1\r\nHost: city.example\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n');
    assert.equal((await raw.readResponse()).status, 404);
    raw.destroy();
    await servedBy('/api/nothing', 1);
    const { request_id: id } = stack.log('nginx-access').split('\n').filter((line) => line.includes('"path":"/api/nothing"')).map(JSON.parse).at(-1);
    const line = () => ['city-1', 'city-2'].flatMap((name) => stack.log(name).split('\n')).find((text) => text.includes(id));
    await until(line, 'its line is in the log of a replica');
    assert.equal(JSON.parse(line()).address, '127.0.0.2', 'nobody says for himself where he is');
  });

  test('nginx serves the page as the city itself does', async (t) => {
    const city = new Server({ WEB_DIR: path.join(root, 'web/dist') }, temporaryDirectory('page'), { args: ['up'] });
    t.after(() => city.remove());
    await city.start();
    const asset = /"(\/assets\/[^"]+\.js)"/.exec(await (await fetch(address)).text())[1];
    for (const target of ['/', '/city/some-room', asset, '/favicon.svg']) {
      const [ours, theirs] = await Promise.all([city.publicUrl, address].map((base) => fetch(base + target, { headers: HTML })));
      assert.equal(theirs.status, 200, target);
      assert.equal(await theirs.text(), await ours.text(), target);
      for (const name of ['content-security-policy', 'x-content-type-options', 'referrer-policy', 'cache-control']) {
        assert.ok(ours.headers.get(name), name);
        assert.equal(theirs.headers.get(name), ours.headers.get(name), `${target} ${name}`);
      }
    }
    for (const target of ['/assets/nothing.js', '/internal/city/rooms', '/metrics', '/living-map/snapshot']) {
      assert.equal((await fetch(address + target)).status, 404, target);
    }
  });

  test('the logs of nginx hold requests, and no token', async () => {
    const user = makeUser('Таємна');
    const server = { publicPort: stack.port('public') };
    await (await openRoom(server, 'general', user)).close();
    await (await openSocket(server, `/ws/city/presence?access_token=${user.token}`)).close();
    await fetch(`${address}/api/auth/me?token=${user.token}`);
    await fetch(`${address}/city?token=${user.token}`, { headers: { Referer: `${address}/?token=${user.token}` } });
    const read = () => ['nginx-access', 'nginx'].map((name) => stack.log(name)).join('');
    for (const target of ['/ws/city/rooms/general', '/ws/city/presence', '/api/auth/me', '/city']) {
      // A request is logged when it has ended for nginx too.
      await until(() => read().includes(`"path":"${target}"`), target);
    }
    const [head, body, signature] = user.token.split('.');
    assert.ok(head && [body, signature, 'token='].every((secret) => !read().includes(secret)));
  });

  test('a balancer that asks through nginx sees an outage, and the token of who is turned away is not logged', async () => {
    const targets = ['/livez', '/readyz', '/healthz', '/health'];
    for (const target of targets) {
      const answer = await fetch(address + target);
      assert.equal(answer.status, 200, target);
      assert.match((await answer.json()).status, /^(ok|healthy)$/, target);
    }
    const cities = ['city-1', 'city-2'].map(pidOf);
    cities.forEach((pid) => process.kill(pid, 'SIGKILL'));
    await until(() => !cities.some(isAlive), 'they are gone');
    for (const target of targets) {
      assert.equal((await fetch(address + target)).status, 502, target);
    }
    const user = makeUser('Невчасна');
    assert.equal((await fetch(`${address}/presence/summary?token=${user.token}`)).status, 502);
    await until(() => stack.log('nginx-access').includes('"path":"/presence/summary","protocol":"HTTP/1.1","status":"502"'), 'it is logged');
    for (const name of ['nginx-access', 'nginx']) {
      assert.ok(!stack.log(name).includes(user.token.split('.')[1]), name);
    }
  });

  test('started again it brings back what is missing, and nothing else', async () => {
    await stack.run();
    const now = await stack.run('--status');
    for (const line of status.trim().split('\n').filter((text) => !text.startsWith('city-'))) {
      assert.ok(now.includes(line), `${line}\n${now}`);
    }
    assert.deepEqual(now.match(/^city-\d(?= +pid \d+, ok$)/gm), ['city-1', 'city-2']);
    status = now;
    const room = await new Client(stack.url('city-1')).ok('GET', '/api/city/rooms/from-the-stack');
    assert.deepEqual(room.messages.map(({ body }) => body), ['чути всюди']);
  });

  test('--down ends all of it in order', async () => {
    const pids = [...status.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
    assert.ok(pids.length >= 10, status);
    await stack.run('--down');
    assert.deepEqual(pids.filter(isAlive), []);
    for (const name of ROLES) {
      const log = stack.log(name);
      assertNoSanitizerReport(log);
      const last = JSON.parse(log.trim().split('\n').at(-1));
      assert.deepEqual([last.event, last.exit_code], ['daarion.stopped', 0], name);
    }
  });
});
