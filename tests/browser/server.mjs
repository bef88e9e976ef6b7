/**
 * The real server, run as a person would run it: `daarion up` on a free port with its own data.
 * It can be killed without warning and started again on the same port and the same data.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY =
  process.env.DAARION_BIN ?? fileURLToPath(new URL('../../build/daarion', import.meta.url));
const WEB_DIR = process.env.WEB_DIR ?? fileURLToPath(new URL('../../web/dist', import.meta.url));
const START_MS = 20_000;
const INTERNAL_KEY = 'the-operator-of-the-browser-tests';

export class Server {
  #process = null;
  #port = 0;
  #internalPort = 0;
  #log = [];

  static async start(environment = {}) {
    const server = new Server();
    server.data = await mkdtemp(join(tmpdir(), 'daarion-browser-'));
    server.environment = environment;
    await server.up();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What the server logged, for a failing test to show. */
  get log() {
    return this.#log.join('\n');
  }

  async up() {
    const child = spawn(BINARY, ['up'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOST: '127.0.0.1',
        PORT: String(this.#port),
        INTERNAL_PORT: '0',
        DATA_DIR: this.data,
        WEB_DIR,
        INTERNAL_API_KEY: INTERNAL_KEY,
        LOG_FORMAT: 'json',
        // All the people of a test come from one address, faster than people do.
        LIMIT_GUESTS_PER_S: '0',
        LIMIT_MESSAGES_PER_S: '0',
        LIMIT_ROOMS_PER_S: '0',
        ...this.environment,
      },
    });
    this.#process = child;
    this.#port = await new Promise((resolve, reject) => {
      const deadline = setTimeout(
        () => reject(new Error(`the server does not listen\n${this.log}`)),
        START_MS,
      );
      const end = (action, value) => {
        clearTimeout(deadline);
        action(value);
      };
      child.once('error', (error) => end(reject, error));
      child.once('exit', (code) =>
        end(reject, new Error(`the server ended with ${code}\n${this.log}`)),
      );
      createInterface({ input: child.stderr }).on('line', (line) => {
        this.#log.push(line);
        let entry;
        try {
          entry = JSON.parse(line);
        } catch {
          return; // not every line of a crash is JSON; it is in the log
        }
        if (entry.event !== 'server.listening') return;
        if (entry.listener === 'internal') this.#internalPort = entry.port;
        if (entry.listener === 'public') end(resolve, entry.port);
      });
    });
  }

  /** kill -9: no goodbye to anybody. */
  async kill() {
    const child = this.#process;
    this.#process = null;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Ends it as an operator would; true if it ended well. */
  async stop() {
    const child = this.#process;
    this.#process = null;
    let code = 0;
    if (child !== null) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      [code] = await ended;
    }
    await rm(this.data, { recursive: true, force: true });
    return code === 0;
  }

  async request(path, { token, ...body } = {}) {
    const post = Object.keys(body).length > 0;
    const response = await fetch(this.url + path, {
      method: post ? 'POST' : 'GET',
      headers: {
        ...(post ? { 'Content-Type': 'application/json' } : {}),
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...(post ? { body: JSON.stringify(body) } : {}),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async guest(name) {
    const answer = await this.request('/api/auth/guest', { display_name: name });
    return { token: answer.access_token, id: answer.user.id, name };
  }

  say(guest, room, body) {
    return this.request(`/api/city/rooms/${room}/messages`, { token: guest.token, body });
  }

  /** What only the operator may do. */
  async operate(path) {
    const response = await fetch(`http://127.0.0.1:${this.#internalPort}${path}`, {
      method: 'POST',
      headers: { 'X-Internal-API-Key': INTERNAL_KEY },
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Every message of a room of up to 100. */
  async history(room) {
    const page = await this.request(`/api/city/rooms/${room}/messages?limit=100`);
    if (page.has_more) throw new Error(`${room} has more than 100 messages`);
    return page.items;
  }
}
