// A private Synapse, started and stopped by script/with-synapse; and the calls that tests make to it directly.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { binary } from '../../e2e/support/server.mjs';
import { until } from './until.mjs';

const script = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../script/with-synapse');
// Prints what it was given and waits until its input ends: so long the homeserver lives.
const HOLD = 'env | sed -n "s/^TEST_SYNAPSE_//p"; echo READY; exec cat >/dev/null';

const LEAVE_BEHIND = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("UPDATE application_services_state SET state = 'up' WHERE state = 'down'").rowcount == 1
db.commit()
print(db.execute("SELECT count(*) FROM application_services_txns").fetchone()[0])
`;

export class Synapse {
  /**
   * extra: further lines of homeserver.yaml, which count more than ours; size: people, for matrix-config;
   * pushUrl: where it pushes events to.
   */
  static async start(extra = '', size = undefined, pushUrl = '') {
    const synapse = new Synapse();
    // The whole run may stand under with-synapse.
    if (extra === '' && size === undefined && pushUrl === '' && process.env.TEST_SYNAPSE_URL) {
      return synapse.#take((name) => process.env[`TEST_SYNAPSE_${name}`]);
    }
    synapse.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'daarion-synapse-test-'));
    const config = path.join(synapse.dir, 'extra.yaml');
    fs.writeFileSync(config, extra === '' ? '{}' : extra);
    synapse.child = spawn(script, ['sh', '-c', HOLD], {
      env: {
        ...process.env,
        DAARION_BIN: binary,
        SYNAPSE_EXTRA_CONFIG: config,
        SYNAPSE_CITY_SIZE: size ?? '',
        SYNAPSE_PUSH_URL: pushUrl,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    synapse.ended = once(synapse.child, 'close');
    let text = '';
    for await (const piece of synapse.child.stdout) {
      text += piece;
      if (/^READY$/m.test(text)) {
        break;
      }
    }
    const env = Object.fromEntries(text.split('\n').filter((line) => line.includes('='))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    assert.ok(env.URL, `with-synapse did not start a homeserver:\n${text}`);
    return synapse.#take((name) => env[name]);
  }

  #take(get) {
    return Object.assign(this, {
      url: get('URL'),
      serverName: get('SERVER_NAME'),
      asToken: get('AS_TOKEN'),
      hsToken: get('HS_TOKEN'),
      adminToken: get('ADMIN_TOKEN'),
      registrationSecret: get('REGISTRATION_SECRET'),
      controlProgram: get('CONTROL'),
      cityDir: get('CITY_DIR'),
    });
  }

  /** stop | start | restart | pause | resume */
  async control(what) {
    await promisify(execFile)(this.controlProgram, [what]);
  }

  /**
   * Restarts it as it is after the rare moment in which it stores a transaction just as it has caught up: the
   * transaction is there, and it believes that there is none. Resolves with how many there are.
   */
  async restartLeavingBehind() {
    await this.control('stop');
    const { stdout } = await promisify(execFile)('python3', ['-c', LEAVE_BEHIND, path.join(this.cityDir, '../data/homeserver.db')]);
    await this.control('start');
    return Number(stdout);
  }

  async remove() {
    if (!this.child) {
      return; // who gave it stops it
    }
    this.child.stdin.end();
    const [code] = await this.ended;
    fs.rmSync(this.dir, { recursive: true, force: true });
    assert.equal(code, 0, 'with-synapse must stop its homeserver');
  }

  /** A call of our own: {status, json}. */
  async call(method, target, { token, json } = {}) {
    const response = await fetch(`${this.url}${target}`, {
      method,
      headers: {
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        ...(json ? { 'Content-Type': 'application/json' } : {}),
      },
      body: json ? JSON.stringify(json) : undefined,
    });
    return { status: response.status, json: await response.json() };
  }

  async ok(method, target, options) {
    const { status, json } = await this.call(method, target, options);
    assert.equal(status, 200, `${method} ${target}: ${JSON.stringify(json)}`);
    return json;
  }

  whoami(token) {
    return this.ok('GET', '/_matrix/client/v3/account/whoami', { token });
  }

  /** The room behind an alias, as its administrator sees it; undefined: none. */
  async roomOf(alias) {
    const found = await this.call('GET', `/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`);
    return found.status === 404
      ? undefined
      : this.ok('GET', `/_synapse/admin/v1/rooms/${encodeURIComponent(found.json.room_id)}`, { token: this.adminToken });
  }

  /** The same once Synapse has written up what the room is (its statistics lag behind its events). */
  describedRoomOf(alias) {
    return until(`all of ${alias}`, () => this.roomOf(alias),
      (room) => room && room.name !== null && room.canonical_alias !== null && room.topic !== null);
  }
}
