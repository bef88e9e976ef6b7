// script/stack as an operator runs it, in a directory of its own.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { binary, childEnvironment, DEFAULTS, INTERNAL_KEY, JWT_SECRET } from './server.mjs';

const run = promisify(execFile);
export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const script = path.join(root, 'script/stack');
export const ROLES = ['auth-1', 'auth-2', 'presence-1', 'presence-2', 'city-1', 'city-2'];

export class ScriptStack {
  constructor(dir) {
    this.dir = dir;
  }

  /** Starts one, with the secrets of the tests, and limits that no test reaches. */
  static async open() {
    // Not below os.tmpdir(): as root the engines have users of their own, who must reach it.
    const stack = new ScriptStack(fs.mkdtempSync('/var/tmp/daarion-stack-test-'));
    const limits = Object.entries(DEFAULTS).filter(([name]) => name.startsWith('LIMIT_'));
    fs.writeFileSync(path.join(stack.dir, 'settings.env'), limits.map(([name, value]) => `${name}=${value}\n`).join(''));
    fs.mkdirSync(path.join(stack.dir, 'secret'), { mode: 0o700 });
    fs.writeFileSync(path.join(stack.dir, 'secret/jwt'), JWT_SECRET, { mode: 0o600 });
    fs.writeFileSync(path.join(stack.dir, 'secret/internal'), INTERNAL_KEY, { mode: 0o600 });
    try {
      await stack.run();
    } catch (error) {
      await stack.wipe().catch(() => {});
      throw error;
    }
    return stack;
  }

  /** What it says, on both channels. */
  async run(...args) {
    const env = { ...childEnvironment(), STACK_DIR: this.dir, DAARION_BIN: binary };
    try {
      const { stdout, stderr } = await run(script, args, { env, maxBuffer: 1 << 26 });
      return stdout + stderr;
    } catch (error) {
      throw new Error(`script/stack ${args.join(' ')}: exit ${error.code}\n${error.stdout}${error.stderr}`);
    }
  }

  wipe() {
    return this.run('--wipe');
  }

  port(name) {
    const ports = fs.readFileSync(path.join(this.dir, 'ports'), 'utf8');
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(ports)[1]);
  }

  url(name) {
    return `http://127.0.0.1:${this.port(name)}`;
  }

  log(name) {
    return fs.readFileSync(path.join(this.dir, 'log', `${name}.log`), 'utf8');
  }

  /** For E2E_STACK. */
  describe() {
    return JSON.stringify({
      dir: this.dir,
      url: this.url('public'),
      internalUrl: this.url('city-1-internal'),
      replicas: [this.url('city-1'), this.url('city-2')],
    });
  }
}
