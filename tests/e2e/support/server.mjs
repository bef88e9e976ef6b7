// Starts the real binary, learns its ports from its log, and stops it so that a crash, a leak or a
// wrong exit code fails the test that caused it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { discardAll, Nats, Redis } from './backends.mjs';
import { createDatabase } from './database.mjs';
import { Replicas } from './replicas.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

export const binary = path.resolve(
  process.env.DAARION_BIN ?? path.join(here, '../../../build/daarion'),
);
export const JWT_SECRET = 'test-secret-0123456789-0123456789-0123456789';
export const INTERNAL_KEY = 'test-internal-key-0123456789-0123456789';
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 30_000;
const SANITIZER_REPORT = /AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:/;

/** The environment of a child: ours without what would change the server, plus the test's. */
export function childEnvironment(extra = {}) {
  const env = {};
  for (const name of ['PATH', 'HOME', 'LANG', 'TMPDIR', 'ASAN_OPTIONS', 'UBSAN_OPTIONS',
    'LSAN_OPTIONS', 'LD_LIBRARY_PATH']) {
    if (process.env[name] !== undefined) {
      env[name] = process.env[name];
    }
  }
  env.UBSAN_OPTIONS ??= 'print_stacktrace=1';
  for (const [name, value] of Object.entries(extra)) {
    if (value === undefined || value === null) {
      delete env[name];
    } else {
      env[name] = String(value);
    }
  }
  return env;
}

export function assertNoSanitizerReport(stderr) {
  const at = stderr.search(SANITIZER_REPORT);
  assert.equal(at, -1, `sanitizer report:\n${stderr.slice(Math.max(0, at - 200), at + 6000)}`);
}

/** Runs the binary to its end: {code, signal, stdout, stderr}. */
export async function runBinary(args, { env = {}, timeoutMs = 30_000, input = '' } = {}) {
  const child = spawn(binary, args, { env: childEnvironment(env), stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  assert.notEqual(signal, 'SIGKILL', `daarion ${args.join(' ')} did not end\n${stderr}`);
  assertNoSanitizerReport(stderr);
  return { code, signal, stdout, stderr };
}

/** The settings of every server here, unless a test says otherwise. */
export const DEFAULTS = {
  HOST: '127.0.0.1',
  LOG_FORMAT: 'json',
  LOG_LEVEL: 'info',
  JWT_SECRET,
  INTERNAL_API_KEY: INTERNAL_KEY,
  // Far above what a test does; limits.test.mjs lowers them.
  LIMIT_MESSAGES_PER_S: 100000,
  LIMIT_MESSAGES_BURST: 100000,
  LIMIT_GUESTS_PER_S: 100000,
  LIMIT_GUESTS_BURST: 100000,
  LIMIT_ROOMS_PER_S: 100000,
  LIMIT_ROOMS_BURST: 100000,
  LIMIT_PRESENCE_PER_S: 100000,
  LIMIT_PRESENCE_BURST: 100000,
};

export class Server {
  #child;
  #closed;
  #waiters = new Set();

  /** args: the command; owned: what is removed with the server (database, backends). */
  constructor(env, dataDir, { args = ['up'], owned = [], database = null } = {}) {
    this.env = env;
    this.args = args;
    this.dataDir = dataDir;
    this.owned = owned;
    this.database = database;
    this.publicPort = 0;
    this.internalPort = 0;
    this.stderr = '';
    this.events = [];
    this.running = false;
  }

  get publicUrl() {
    return `http://127.0.0.1:${this.publicPort}`;
  }

  get internalUrl() {
    return `http://127.0.0.1:${this.internalPort}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** Starts (again, on the same ports) and waits until both listeners have said their port. */
  async start(extraEnv = {}) {
    const env = childEnvironment({
      ...DEFAULTS,
      PORT: this.publicPort,
      INTERNAL_PORT: this.internalPort,
      DATA_DIR: this.dataDir,
      ...this.env,
      ...extraEnv,
    });
    this.events = [];
    this.#child = spawn(binary, this.args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.running = true;
    this.#closed = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.running = false;
        this.stderr += `cannot start ${binary}: ${error.message}\n`;
        resolve({ code: null, signal: null });
        this.#wake();
      });
      this.#child.once('close', (code, signal) => {
        this.running = false;
        resolve({ code, signal });
        this.#wake();
      });
    });
    readline.createInterface({ input: this.#child.stderr }).on('line', (line) => {
      this.stderr += `${line}\n`;
      if (line.startsWith('{')) {
        try {
          this.events.push(JSON.parse(line));
        } catch {
          this.events.push({ event: 'unreadable', line });
        }
        this.#wake();
      }
    });
    const open = (event) => event.event === 'server.listening' && event.listener === 'public';
    const inner = (event) => event.event === 'server.listening' && event.listener === 'internal';
    this.publicPort = (await this.waitForEvent(open, START_TIMEOUT_MS)).port;
    this.internalPort = (await this.waitForEvent(inner, START_TIMEOUT_MS)).port;
    return this;
  }

  #wake() {
    for (const waiter of this.#waiters) {
      waiter();
    }
  }

  /** Resolves with the first logged event that fits, also one that was logged before the call. */
  waitForEvent(fits, timeoutMs = 10_000) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        this.#waiters.delete(look);
        clearTimeout(timer);
        settle(value);
      };
      const look = () => {
        const event = this.events.find(fits);
        if (event) {
          finish(resolve, event);
        } else if (!this.running) {
          finish(reject, new Error(`daarion ended:\n${this.stderr.slice(-6000)}`));
        }
      };
      const timer = setTimeout(() => {
        finish(reject, new Error(`no such event in time:\n${this.stderr.slice(-6000)}`));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  /** SIGTERM; the exit code must be 0 and no sanitizer may have spoken. */
  async stop() {
    if (this.running) {
      this.#child.kill('SIGTERM');
    }
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const { code, signal } = await this.#closed;
    clearTimeout(timer);
    assertNoSanitizerReport(this.stderr);
    assert.deepEqual(
      { code, signal },
      { code: 0, signal: null },
      `daarion must stop in order:\n${this.stderr.slice(-4000)}`,
    );
  }

  /** kill -9: nothing is flushed, nobody says goodbye. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.#closed;
    assertNoSanitizerReport(this.stderr);
  }

  /** After a start that failed: nothing of it is left, and how it ends does not matter. */
  async discard() {
    if (this.running) {
      await this.kill().catch(() => {});
    }
    fs.rmSync(this.dataDir, { recursive: true, force: true });
    await discardAll(this.owned);
  }

  async remove() {
    try {
      if (this.#child) {
        await this.stop();
      }
    } finally {
      fs.rmSync(this.dataDir, { recursive: true, force: true });
      for (const thing of this.owned) { // processes before what they need
        await thing.remove();
      }
    }
  }
}

export function temporaryDirectory(name = 'data') {
  return fs.mkdtempSync(path.join(os.tmpdir(), `daarion-e2e-${name}-`));
}

/**
 * The backends that the suite runs over, each new: {env, owned, database}. Nothing (embedded ones), a database
 * (E2E_DB=postgres), or all of them (E2E_BACKENDS=real).
 */
export async function openBackends() {
  const owned = [];
  const env = {};
  let database = null;
  const isReal = process.env.E2E_BACKENDS === 'real';
  if (isReal || process.env.E2E_DB === 'postgres') {
    database = await createDatabase();
    owned.push(database);
    env.DATABASE_URL = database.url;
  }
  if (isReal) {
    const [nats, redis] = await Promise.all([Nats.open(), Redis.open()]);
    owned.push(nats, redis);
    env.NATS_URL = nats.url;
    env.REDIS_URL = redis.url;
  }
  return { env, owned, database };
}

/** The topology in which this run has its servers: up, roles or stack (run.mjs). */
export const topology = process.env.E2E_TOPOLOGY ?? 'up';
/** Whether there are several replicas of city-service: what one has heard another may hear a moment later. */
export const hasReplicas = topology === 'stack';
/** For the option skip: a test about one process, or about what nginx does itself, with the reason. */
export const notOverStack = (reason) => hasReplicas && reason;

/**
 * The city that script/stack has started (E2E_STACK, see run.mjs): it goes on when the tests have ended. null: there is
 * none.
 */
function runningCity() {
  if (!process.env.E2E_STACK) {
    return null;
  }
  const { url, internalUrl, replicas } = JSON.parse(process.env.E2E_STACK);
  const at = (base) => ({ publicUrl: base, publicPort: Number(new URL(base).port) });
  return { ...at(url), internalUrl, internalPort: Number(new URL(internalUrl).port), replicas: replicas.map(at), remove: async () => {} };
}

/** As many processes as script/stack has, not started. */
function makeStack(settings, owned, database) {
  const all = { TRUSTED_PROXIES: '127.0.0.1', ...settings };
  const twice = (role) => [1, 2].map(() => new Server(all, temporaryDirectory(), { args: [role] }));
  return new Replicas({
    cities: twice('city-service'),
    auths: twice('auth-service'),
    aggregators: twice('matrix-presence-aggregator'),
  }, { owned, database, webDir: settings.WEB_DIR });
}

/**
 * A running city with its own data directories and backends; end it with remove(). What it consists of says
 * E2E_TOPOLOGY (run.mjs): by default it is one process. Over a stack a file that wants no settings gets the one that
 * runs already, unless it is to be its own.
 */
export async function startServer(env = {}, { isOwn = Object.keys(env).length > 0 } = {}) {
  const running = isOwn ? null : runningCity();
  if (running) {
    return running;
  }
  const { env: backends, owned, database } = await openBackends();
  const settings = { ...backends, ...env };
  const hasRoles = topology === 'roles';
  const args = hasRoles ? ['city-service', 'auth-service'] : ['up'];
  const server = hasReplicas
    ? makeStack(settings, owned, database)
    : new Server(settings, temporaryDirectory(), { args, owned, database });
  try {
    if (hasRoles) {
      const aggregator = new Server(settings, temporaryDirectory(), { args: ['matrix-presence-aggregator'] });
      owned.unshift(aggregator);
      await aggregator.start();
    }
    return await server.start();
  } catch (error) {
    await server.discard();
    throw error;
  }
}
