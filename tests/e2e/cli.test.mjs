// The command line: help, configuration, tokens, migrations, health check, refusals.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { describe, test } from 'node:test';
import { useCity } from './support/city.mjs';
import { Client } from './support/http.mjs';
import {
  assertNoSanitizerReport, INTERNAL_KEY, JWT_SECRET, runBinary, startServer, temporaryDirectory,
} from './support/server.mjs';
import { openRoom } from './support/sockets.mjs';
import { makeUser } from './support/tokens.mjs';

const EX_CONFIG = 78;

function dataDir(t) {
  const dir = temporaryDirectory('cli');
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function base(t, more = {}) {
  return { HOST: '127.0.0.1', PORT: 0, INTERNAL_PORT: 0, DATA_DIR: dataDir(t), LOG_FORMAT: 'json', JWT_SECRET, ...more };
}

describe('help', () => {
  for (const args of [['--help'], ['help'], ['up', '--help'], ['city-service', '--help']]) {
    test(`daarion ${args.join(' ')} prints to stdout and exits 0`, async () => {
      const { code, stdout, stderr } = await runBinary(args);
      assert.equal(code, 0, stderr);
      assert.ok(stdout.length > 100);
      assert.equal(stderr, '');
    });
  }

  test('the help of up names the settings that operators rely on', async () => {
    const { stdout } = await runBinary(['up', '--help']);
    for (const name of ['HOST', 'PORT', 'INTERNAL_PORT', 'DATA_DIR', 'DATABASE_URL', 'JWT_SECRET',
      'INTERNAL_API_KEY', 'LOG_FORMAT', 'CITY_DEFAULT_ROOMS', 'ROOM_PRESENCE_THROTTLE_MS',
      'PRESENCE_LEASE_MS', 'LIMIT_MESSAGES_PER_S', 'AUTH_MODE']) {
      assert.match(stdout, new RegExp(`\\b${name}\\b`), name);
    }
  });

  test('--version prints one line', async () => {
    const { code, stdout } = await runBinary(['--version']);
    assert.equal(code, 0);
    assert.match(stdout, /^\S.*\d+\.\d+.*\n$/);
  });

  test('without a role the usage goes to stderr and the exit code is not 0', async () => {
    const { code, stdout, stderr } = await runBinary([]);
    assert.ok([2, 64, EX_CONFIG].includes(code), `${code}`);
    assert.equal(stdout, '');
    assert.ok(stderr.length > 0);
  });
});

describe('refusals', () => {
  for (const args of [['dance'], ['up', '--no-such-option'], ['--no-such-option'], ['up', '--port'], ['up', 'dance']]) {
    test(`daarion ${args.join(' ')} is refused with a word about it`, async (t) => {
      const { code, stderr } = await runBinary(args, { env: base(t) });
      assert.ok([2, 64, EX_CONFIG].includes(code), `${code} ${stderr}`);
      assert.ok(stderr.includes(args[0] === 'up' ? args.at(-1).replace(/^--|^dance$/, '') : args[0]), stderr);
    });
  }

  for (const [name, value] of [
    ['PORT', 'eighty'], ['PORT', '-1'], ['PORT', '65536'], ['PORT', '8080x'],
    ['HOST', 'not an address'], ['LOG_FORMAT', 'xml'], ['LOG_LEVEL', 'loud'], ['AUTH_MODE', 'maybe'],
    ['ROOM_PRESENCE_THROTTLE_MS', 'soon'], ['PRESENCE_LEASE_MS', '-5'], ['LIMIT_MESSAGES_PER_S', '1.5'],
    ['MAX_BODY_BYTES', '9999999999999999999999'], ['JWT_SECRET', 'short'],
    ['CITY_DEFAULT_ROOMS', 'general,Not A Slug'], ['DATABASE_URL', 'mysql://localhost/x'],
    ['AUTH_OPEN_ON_PUBLIC', 'perhaps'],
  ]) {
    test(`${name}=${value} stops the start with exit code 78 and the name`, async (t) => {
      const { code, stderr } = await runBinary(['up'], { env: base(t, { [name]: value }) });
      assert.equal(code, EX_CONFIG, stderr);
      assert.ok(stderr.includes(name), stderr);
      if (name === 'JWT_SECRET') {
        assert.ok(!stderr.includes('short ') && !stderr.includes('"short"'));
      }
    });
  }

  for (const url of ['postgresql://h:99999/db', 'postgresql://h:0/db', 'postgresql://h/db?sslmode=perhaps', 'postgresql://u:hunter2@[::1/db']) {
    test(`DATABASE_URL=${url} is refused by name, also by migrate`, async (t) => {
      for (const command of ['up', 'migrate']) {
        const { code, stderr } = await runBinary([command], { env: base(t, { DATABASE_URL: url }) });
        assert.equal(code, EX_CONFIG, stderr);
        assert.match(stderr, /^daarion: DATABASE_URL\b/m);
        assert.ok(!stderr.includes('hunter2'), stderr);
      }
    });
  }

  test('a shared bus without a shared Redis is refused: each process would lead', async (t) => {
    const { code, stderr } = await runBinary(['up'], { env: base(t, { NATS_URL: 'nats://127.0.0.1:1' }) });
    assert.equal(code, EX_CONFIG, stderr);
    assert.match(stderr, /^daarion: .*REDIS_URL/m);
  });

  test('a data directory serves one process, and the next once that one has gone, however it went', async (t) => {
    const server = await startServer({ DATABASE_URL: undefined, NATS_URL: undefined, REDIS_URL: undefined });
    t.after(() => server.remove());
    const second = await runBinary(['up'], { env: base(t, { DATA_DIR: server.dataDir }) });
    assert.equal(second.code, EX_CONFIG, second.stderr);
    assert.equal(second.stderr.split('\n').filter((line) => /^daarion: DATA_DIR: .*NATS_URL/.test(line)).length, 1, second.stderr);
    await server.kill();
    await server.start();
    await server.stop();
    await server.start();
  });

  test('an option on the command line is stronger than the environment', async (t) => {
    const { code, stderr } = await runBinary(['up', '--port=eighty'], { env: base(t) });
    assert.equal(code, EX_CONFIG, stderr);
  });

  test('a port that is taken is named, and the exit code is not 0', async (t) => {
    const holder = net.createServer();
    await new Promise((resolve) => { holder.listen(0, '127.0.0.1', resolve); });
    t.after(() => holder.close());
    const { port } = holder.address();
    for (const name of ['PORT', 'INTERNAL_PORT']) {
      const { code, stderr } = await runBinary(['up'], { env: base(t, { [name]: port }) });
      assert.notEqual(code, 0);
      assert.ok(stderr.includes(String(port)), stderr);
    }
  });

  test('a data directory that cannot be is refused', async (t) => {
    const file = `${dataDir(t)}/file`;
    fs.writeFileSync(file, '');
    const { code, stderr } = await runBinary(['up'], { env: base(t, { DATA_DIR: `${file}/below` }) });
    assert.notEqual(code, 0);
    assert.ok(stderr.includes('file/below') || stderr.includes('DATA_DIR'), stderr);
  });

  test('a misspelt name is warned about with the right one', async (t) => {
    const server = await startServer({ ROOM_PRESENCE_THROTTLE: 5, DAARION_NONSENSE: 1, JWT_SECRETS: 'x' });
    t.after(() => server.remove());
    assert.match(server.stderr, /DAARION_NONSENSE/);
    assert.match(server.stderr, /JWT_SECRETS/);
  });
});

describe('daarion config', () => {
  test('it prints each setting with its source and hides the secrets', async (t) => {
    const secret = 'very-secret-0123456789-0123456789';
    const env = base(t, {
      JWT_SECRET: secret,
      INTERNAL_API_KEY: `${secret}-key`,
      DATABASE_URL: `postgresql://user:${secret}@db.example/daarion`,
      ROOM_PRESENCE_THROTTLE_MS: '1234',
    });
    const { code, stdout, stderr } = await runBinary(['config'], { env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /ROOM_PRESENCE_THROTTLE_MS\s*=\s*1234/);
    assert.match(stdout, /JWT_SECRET\s*=\s*\(set\)/);
    assert.ok(!stdout.includes(secret) && !stderr.includes(secret));
  });

  test('NAME_FILE reads a secret from a file', async (t) => {
    const dir = dataDir(t);
    fs.writeFileSync(`${dir}/secret`, `${JWT_SECRET}\n`, { mode: 0o600 });
    const env = base(t, { JWT_SECRET: undefined, JWT_SECRET_FILE: `${dir}/secret` });
    const { code, stdout } = await runBinary(['config'], { env });
    assert.equal(code, 0);
    assert.match(stdout, /JWT_SECRET\s*=\s*\(set\)/);
    const missing = await runBinary(['config'], { env: { ...env, JWT_SECRET_FILE: `${dir}/nothing` } });
    assert.equal(missing.code, EX_CONFIG);
    assert.match(missing.stderr, /JWT_SECRET_FILE/);
  });
});

describe('against a running city', () => {
  const city = useCity();

  test('daarion token makes a token that the city takes', async () => {
    const { code, stdout, stderr } = await runBinary(['token', '--sub', 'u_operator', '--name', 'Оператор'], {
      env: { JWT_SECRET, DATA_DIR: city.server.dataDir },
    });
    assert.equal(code, 0, stderr);
    const me = await city.api.ok('GET', '/api/auth/me', undefined, { token: stdout.trim() });
    assert.equal(me.id, 'u_operator');
    assert.equal(me.display_name, 'Оператор');
  });

  test('daarion healthcheck exits 0 while the city is ready and not 0 after', async () => {
    const env = { HOST: '127.0.0.1', PORT: city.server.publicPort, INTERNAL_PORT: city.server.internalPort };
    const healthy = await runBinary(['healthcheck'], { env });
    assert.equal(healthy.code, 0, healthy.stderr);
    await city.server.stop();
    const gone = await runBinary(['healthcheck'], { env });
    assert.notEqual(gone.code, 0);
    await city.server.start();
  });
});

describe('daarion migrate', () => {
  test('--check tells of missing migrations, migrate applies them, --check is content', async (t) => {
    const env = base(t);
    const before = await runBinary(['migrate', '--check'], { env });
    assert.notEqual(before.code, 0, 'an empty directory has not been migrated');
    const applied = await runBinary(['migrate'], { env });
    assert.equal(applied.code, 0, applied.stderr);
    const after = await runBinary(['migrate', '--check'], { env });
    assert.equal(after.code, 0, after.stderr);
    const again = await runBinary(['migrate'], { env });
    assert.equal(again.code, 0, again.stderr);
  });
});

describe('the log', () => {
  test('each line is one JSON object with time, level and event, and no secret stands in it', async (t) => {
    const server = await startServer({ LOG_LEVEL: 'debug' });
    t.after(() => server.remove());
    const api = new Client(server.publicUrl);
    const guest = await api.ok('POST', '/api/auth/guest', { display_name: 'Гостя' });
    const user = { id: guest.user_id, token: guest.access_token };
    const forged = `${makeUser('Чужа').token.slice(0, -8)}AAAAAAAA`;
    const words = 'слова, яких у журналі немає';
    // Tokens where they may travel: the header, the query, the subprotocol; good ones and forged ones.
    await api.ok('GET', '/api/auth/me', undefined, { token: user.token });
    assert.equal((await fetch(`${server.publicUrl}/api/auth/me?token=${user.token}`)).status, 200);
    for (const headers of [{ Authorization: `Bearer ${forged}` }, { Authorization: forged }]) {
      assert.equal((await fetch(`${server.publicUrl}/api/auth/me`, { headers })).status, 401);
    }
    assert.equal((await fetch(`${server.publicUrl}/api/auth/me?access_token=${forged}`)).status, 401);
    assert.equal((await fetch(`${server.publicUrl}/nowhere?token=${forged}`)).status, 404);
    assert.equal((await fetch(`${server.internalUrl}/internal/city/rooms/general/archive`, {
      method: 'POST', headers: { 'X-Internal-API-Key': `${INTERNAL_KEY}-not` },
    })).status, 401);
    const socket = await openRoom(server, 'general', user);
    await api.as(user).say('general', words, 'one');
    await socket.nextFrame(({ message }) => message?.body === words);
    await socket.close();
    await assert.rejects(openRoom(server, 'general', { token: forged }), /4401/);
    await server.stop();
    const lines = server.stderr.trim().split('\n');
    for (const line of lines) {
      const entry = JSON.parse(line);
      assert.ok(entry.event && entry.level, line);
    }
    assert.ok(lines.filter((line) => line.includes('"http.request"')).length >= 6, 'the requests are logged');
    for (const secret of [JWT_SECRET, INTERNAL_KEY, user.token, forged, words]) {
      assert.ok(!server.stderr.includes(secret), server.stderr.split('\n').find((line) => line.includes(secret)));
    }
    assertNoSanitizerReport(server.stderr);
    await server.start();
  });
});
