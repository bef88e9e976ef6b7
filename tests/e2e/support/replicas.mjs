// A city of several processes behind nginx, to the tests one server: each role twice, as script/stack starts them.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Backend, discardAll, freePort } from './backends.mjs';

const deploy = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../deploy/nginx');
const READY_TIMEOUT_MS = 30_000;

function fill(name, values) {
  const text = fs.readFileSync(path.join(deploy, `${name}.in`), 'utf8');
  return text.replace(/@([A-Z_]+)@/g, (_, key) => values[key]);
}

/** The nginx of deploy/nginx before given ports. */
export class Nginx extends Backend {
  /** webDir: what it serves of its own; copied, because nginx's workers may not reach it. */
  constructor(webDir) {
    super('nginx');
    fs.chmodSync(this.dir, 0o711); // as root its workers are somebody else
    const web = path.join(this.dir, 'web');
    fs.mkdirSync(web);
    if (webDir) {
      fs.cpSync(webDir, web, { recursive: true, verbatimSymlinks: true });
    }
  }

  configure({ cities, auths }) {
    const servers = (list) => list.map(({ publicPort }) => `server 127.0.0.1:${publicPort} max_fails=1 fail_timeout=2s;`).join(' ');
    const values = {
      DIR: this.dir,
      WEB_DIR: path.join(this.dir, 'web'),
      ACCESS_LOG: path.join(this.dir, 'access.log'),
      LISTEN: `127.0.0.1:${this.port}`,
      CITY_SERVERS: servers(cities),
      AUTH_SERVERS: servers(auths),
    };
    for (const name of ['daarion.conf', 'nginx.conf']) {
      fs.writeFileSync(path.join(this.dir, name), fill(name, values));
    }
  }

  async start() {
    // It listens before it has workers.
    await this.run('nginx', ['-c', path.join(this.dir, 'nginx.conf'), '-p', this.dir], (output) => output.includes('start worker process'));
  }
}

export class Replicas {
  /**
   * The processes are Servers, not started; each role's replicas are in its list. owned: what is removed when they
   * have ended (backends, database).
   */
  constructor({ cities, auths, aggregators }, { owned = [], database = null, webDir = null } = {}) {
    this.replicas = cities;
    this.auths = auths;
    this.processes = [...aggregators, ...auths, ...cities];
    this.owned = owned;
    this.database = database;
    this.nginx = new Nginx(webDir);
  }

  get publicPort() {
    return this.nginx.port;
  }

  get publicUrl() {
    return `http://127.0.0.1:${this.publicPort}`;
  }

  get internalPort() {
    return this.replicas[0].internalPort;
  }

  get internalUrl() {
    return this.replicas[0].internalUrl;
  }

  get stderr() {
    return this.processes.map(({ stderr }) => stderr).join('');
  }

  get running() {
    return this.processes.some(({ running }) => running);
  }

  /** Starts all of it, again on the same ports, and waits until nginx passes on what is ready. */
  async start() {
    for (const server of this.processes) {
      server.publicPort ||= await freePort();
      server.internalPort ||= await freePort();
    }
    await Promise.all(this.processes.map((server) => server.start()));
    await Promise.all(this.replicas.map((server) => server.waitForEvent(({ event }) => event === 'city.ready')));
    if (this.nginx.port) {
      await this.nginx.start();
    } else {
      await this.nginx.startAnywhere(async () => {
        this.nginx.port = await freePort();
        this.nginx.configure({ cities: this.replicas, auths: this.auths });
      });
    }
    for (const deadline = performance.now() + READY_TIMEOUT_MS; ;) {
      const { status } = await fetch(`${this.publicUrl}/readyz`);
      if (status === 200) {
        return this;
      }
      if (performance.now() > deadline) {
        throw new Error(`nginx passes on ${status} from /readyz\n${this.nginx.output}`);
      }
    }
  }

  async #end(how) {
    const ends = await Promise.allSettled(this.processes.filter(({ running }) => running).map((server) => server[how]()));
    await this.nginx.stop();
    const failed = ends.find(({ status }) => status === 'rejected');
    if (failed) {
      throw failed.reason;
    }
  }

  /** SIGTERM to every process; each must end in order (Server.stop). nginx lives until they have ended. */
  stop() {
    return this.#end('stop');
  }

  async discard() {
    await discardAll([...this.processes, this.nginx, ...this.owned]);
  }

  async remove() {
    const problems = [];
    await this.stop().catch((error) => problems.push(error));
    for (const thing of [...this.processes, this.nginx, ...this.owned]) {
      await thing.remove().catch((error) => problems.push(error));
    }
    if (problems.length > 0) {
      throw problems[0];
    }
  }
}
