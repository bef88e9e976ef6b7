// Private NATS and Redis servers: on loopback, on free ports that stay the same over restarts, in
// directories of their own, ended by their pid.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const START_TIMEOUT_MS = 30_000;
const MAX_ATTEMPTS = 20;

// Below the range in which the kernel gives ports to clients, so that a server that is started again finds its
// port free; each process of the tests has ports of its own.
const PORTS_FROM = 15_000;
const PORTS_OF_A_PROCESS = 120;
const PROCESSES = 125;
let ports = 0;

/** A port that is free at this moment. Whoever takes it must be ready to find it taken. */
export async function freePort() {
  for (;;) {
    const port = PORTS_FROM + (process.pid % PROCESSES) * PORTS_OF_A_PROCESS + (ports % PORTS_OF_A_PROCESS);
    ports += 1;
    const listener = net.createServer();
    const isFree = await new Promise((resolve) => {
      listener.once('error', () => resolve(false));
      listener.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (isFree) {
      listener.close();
      await once(listener, 'close');
      return port;
    }
    if (ports > PROCESSES * PORTS_OF_A_PROCESS) {
      throw new Error('no free port');
    }
  }
}

/** Ends and removes what did not start whole: how each ends does not matter. */
export async function discardAll(things) {
  for (const thing of things) {
    await (thing.discard ?? thing.remove).call(thing).catch(() => {});
  }
}

/** A server program that says in its output when it is ready. */
export class Backend {
  #child = null;
  #ended = null;

  constructor(name) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), `daarion-${name}-`));
    this.output = '';
  }

  get isRunning() {
    return this.#child !== null;
  }

  async run(command, args, isReady) {
    this.output = '';
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.output += `${error.message}\n`;
        resolve();
      });
      child.once('close', resolve);
    }).then(() => {
      this.#child = null;
    });
    const ready = new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${command} is not ready:\n${this.output}`)),
        START_TIMEOUT_MS,
      );
      const hear = (text) => {
        this.output += text;
        if (isReady(this.output)) {
          clearTimeout(timer);
          resolve();
        }
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      this.#ended.then(() => {
        clearTimeout(timer);
        reject(new Error(`${command} ended:\n${this.output}`));
      });
    });
    await ready;
  }

  /** SIGTERM, SIGKILL; waits for the end. */
  async stop(signal = 'SIGTERM') {
    this.#child?.kill('SIGCONT');
    this.#child?.kill(signal);
    await this.#ended;
  }

  pause() {
    this.#child.kill('SIGSTOP');
  }

  resume() {
    this.#child.kill('SIGCONT');
  }

  async restart(signal = 'SIGKILL') {
    await this.stop(signal);
    await this.start();
  }

  async remove() {
    await this.stop('SIGKILL');
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  /** start() on free ports, again when one of them was taken meanwhile. */
  async startAnywhere(choosePorts) {
    for (let attempt = 1; ; attempt += 1) {
      await choosePorts();
      try {
        await this.start();
        return this;
      } catch (error) {
        if (attempt === MAX_ATTEMPTS || !/in use/i.test(error.message)) {
          throw error;
        }
      }
    }
  }
}

export class Nats extends Backend {
  constructor() {
    super('nats');
    this.password = randomBytes(12).toString('hex');
    this.cluster = null; // {name, server, port, routes}
  }

  static open() {
    const nats = new Nats();
    return nats.startAnywhere(async () => {
      nats.port = await freePort();
    });
  }

  get url() {
    return `nats://daarion:${this.password}@127.0.0.1:${this.port}`;
  }

  async start() {
    const file = path.join(this.dir, 'nats.conf');
    const { cluster } = this;
    fs.writeFileSync(file, `
      listen: "127.0.0.1:${this.port}"
      jetstream { store_dir: "${this.dir}/store" }
      authorization { user: daarion, password: "${this.password}" }
      ${cluster ? `server_name: "${cluster.server}"
      cluster { name: "${cluster.name}", listen: "127.0.0.1:${cluster.port}",
                routes: [${cluster.routes.map((port) => `"nats://127.0.0.1:${port}"`).join(', ')}] }` : ''}
    `, { mode: 0o600 });
    await this.run('nats-server', ['-c', file], (output) => output.includes('Server is ready'));
  }

  /** Everything that JetStream kept is gone. */
  async wipe() {
    await this.stop('SIGKILL');
    fs.rmSync(path.join(this.dir, 'store'), { recursive: true, force: true });
    await this.start();
  }
}

/** Three servers, one JetStream. */
export class NatsCluster {
  static async open(size = 3) {
    for (let attempt = 1; ; attempt += 1) {
      const cluster = new NatsCluster();
      const password = randomBytes(12).toString('hex');
      const routes = [];
      for (let i = 0; i < size; i += 1) {
        routes.push(await freePort());
      }
      cluster.servers = [];
      for (let i = 0; i < size; i += 1) {
        const server = new Nats();
        server.password = password;
        server.port = await freePort();
        server.cluster = { name: 'city', server: `n${i + 1}`, port: routes[i], routes };
        cluster.servers.push(server);
      }
      try {
        await Promise.all(cluster.servers.map((server) => server.start()));
        return cluster;
      } catch (error) {
        await cluster.remove();
        if (attempt === MAX_ATTEMPTS || !/in use/i.test(error.message)) {
          throw error;
        }
      }
    }
  }

  get url() {
    return this.servers.map((server) => server.url).join(',');
  }

  async remove() {
    await Promise.all(this.servers.map((server) => server.remove()));
  }
}

export class Redis extends Backend {
  constructor() {
    super('redis');
    this.password = randomBytes(12).toString('hex');
  }

  /** tls: url is rediss://, for who trusts caFile; command() still goes without. */
  static async open({ tls = false } = {}) {
    const redis = new Redis();
    if (tls) {
      await redis.#makeCertificates();
    }
    return redis.startAnywhere(async () => {
      redis.port = await freePort();
      redis.tlsPort = tls ? await freePort() : null;
    });
  }

  get url() {
    return this.tlsPort
      ? `rediss://:${this.password}@localhost:${this.tlsPort}/0`
      : `redis://:${this.password}@127.0.0.1:${this.port}/0`;
  }

  get caFile() {
    return path.join(this.dir, 'ca.pem');
  }

  /** An authority, and a certificate of it for localhost. */
  async #makeCertificates() {
    const openssl = (...args) => promisify(execFile)('openssl', args, { cwd: this.dir });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await openssl('req', '-x509', ...key, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=redis-test');
    await openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost');
    fs.writeFileSync(path.join(this.dir, 'names'), 'subjectAltName=DNS:localhost');
    await openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
      '-days', '2', '-out', 'server.pem', '-extfile', 'names');
  }

  async start() {
    const file = path.join(this.dir, 'redis.conf');
    fs.writeFileSync(file, [
      'bind 127.0.0.1', `port ${this.port}`, `dir ${this.dir}`, 'save ""', 'appendonly no',
      `requirepass ${this.password}`,
      ...(this.tlsPort ? [
        `tls-port ${this.tlsPort}`, `tls-cert-file ${this.dir}/server.pem`, `tls-key-file ${this.dir}/server.key`,
        `tls-ca-cert-file ${this.caFile}`, 'tls-auth-clients no',
      ] : []),
    ].join('\n'), { mode: 0o600 });
    await this.run('redis-server', [file], (output) => output.includes('Ready to accept'));
  }

  /** One command and its answer as text, over a connection of its own. */
  async command(...words) {
    const socket = net.connect(this.port, '127.0.0.1');
    socket.setEncoding('utf8');
    const encode = (parts) => `*${parts.length}\r\n${parts
      .map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`;
    socket.end(encode(['AUTH', this.password]) + encode(words) + encode(['QUIT']));
    let answer = '';
    for await (const text of socket) {
      answer += text;
    }
    return answer.replace(/^\+OK\r\n/, '').replace(/\+OK\r\n$/, '');
  }

  async flush() {
    const answer = await this.command('FLUSHALL');
    if (!answer.startsWith('+OK')) {
      throw new Error(`FLUSHALL: ${answer}`);
    }
  }
}
