// Runs the whole suite against the real binary: all files, then the check that every operation and
// every frame of the two documents in schema/ has been seen. With file names, runs only those.
//   DAARION_BIN        the binary (default ../../build/daarion)
//   E2E_CONCURRENCY    files at a time (default 2)
//   E2E_DB=postgres    with TEST_DATABASE_URL: a fresh PostgreSQL database for each server
//   E2E_BACKENDS=real  likewise, and a NATS and a Redis server of its own for each
//   E2E_TOPOLOGY=roles with it: presence is counted by another process than the one that serves, but
//                      in the files that are about `daarion up` and the commands
//   E2E_TOPOLOGY=stack with it: the files that talk to a city as clients, over what script/stack
//                      starts; those that want settings over as many processes of their own
//   E2E_SEEN_DIR       a directory that several runs share: a file that one of them has run with
//                      nothing left out is not run again, and what is seen is seen for all of them
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const topology = process.env.E2E_TOPOLOGY ?? 'up';
const COVERAGE = 'coverage';
const ABOUT_UP = ['cli', 'health', 'matrix-chat', 'matrix-gateway', 'matrix-order', 'matrix-presence', 'matrix-rooms', 'presence-aggregator', 'static'];
// One after the other: the first wants a new city, feed wants to be alone in it, and stack ends it.
const OVER_SCRIPT_STACK = ['rooms', 'feed', 'messages', 'auth', 'health', 'native', 'stack'];
const OVER_OWN_STACK = ['room-socket', 'presence', 'presence-stream', 'http', 'websocket', 'limits', 'static'];
const NEED_STACK = ['stack'];

const OVER_STACK = [...OVER_SCRIPT_STACK, ...OVER_OWN_STACK];

const nameOf = (file) => path.basename(file).replace(/\.test\.mjs$/, '');
const fileOf = (name) => path.join(here, `${name}.test.mjs`);
const files = topology === 'stack'
  ? OVER_STACK
  : fs.readdirSync(here).filter((file) => file.endsWith('.test.mjs')).map(nameOf).sort()
    .filter((name) => name !== COVERAGE && !NEED_STACK.includes(name));
const given = process.argv.slice(2).map(nameOf);
const unknown = given.filter((name) => !files.includes(name));
if (unknown.length > 0) {
  console.error(`not a file of this topology (${topology}): ${unknown.join(', ')}`);
  process.exit(64);
}
const concurrency = Number(process.env.E2E_CONCURRENCY ?? 2);

const ownsDirectory = !process.env.E2E_SEEN_DIR;
process.env.E2E_SEEN_DIR ??= fs.mkdtempSync(path.join(os.tmpdir(), 'daarion-e2e-seen-'));
const wholeFile = path.join(process.env.E2E_SEEN_DIR, 'whole');
const whole = new Set(fs.existsSync(wholeFile) ? fs.readFileSync(wholeFile, 'utf8').split('\n') : []);

const totals = { passed: 0, failed: 0, skipped: 0 };
const passedOf = new Map(); // by file
const failures = [];

/** Whether a file is to run at all; those named on the command line are. */
function isWanted(name) {
  return given.length > 0 ? given.includes(name) : !whole.has(name);
}

function runFiles(names, atATime, output = process.stdout) {
  const list = names.map(fileOf);
  const broken = new Set(); // or something is left out
  return new Promise((resolve, reject) => {
    if (list.length === 0) {
      resolve();
      return;
    }
    const stream = run({ files: list, concurrency: atATime, timeout: 300_000 });
    stream.on('test:pass', (event) => {
      if (event.skip !== undefined) {
        broken.add(nameOf(event.file));
      }
      if (event.details.type !== 'suite' && !list.includes(event.name)) {
        if (event.skip !== undefined) {
          totals.skipped += 1;
        } else {
          totals.passed += 1;
          passedOf.set(nameOf(event.file), (passedOf.get(nameOf(event.file)) ?? 0) + 1);
        }
      }
    });
    stream.on('test:fail', (event) => {
      broken.add(nameOf(event.file ?? ''));
      if (event.details.type === 'suite' && event.details.error.failureType === 'subtestsFailed') {
        return;
      }
      totals.failed += 1;
      failures.push(`${path.basename(event.file ?? '')}: ${event.name}`);
    });
    const report = stream.compose(spec);
    report.on('data', (text) => output.write(text));
    report.once('end', () => {
      fs.appendFileSync(wholeFile, names.filter((name) => !broken.has(name)).map((name) => `${name}\n`).join(''));
      resolve();
    });
    report.once('error', reject);
  });
}

/** The files over script/stack, and beside them those that have stacks of their own. */
async function runOverStack() {
  const { ScriptStack } = await import('./support/stack.mjs');
  const stack = await ScriptStack.open();
  const later = [];
  try {
    process.env.E2E_STACK = stack.describe();
    await Promise.all([
      runFiles(OVER_SCRIPT_STACK.filter(isWanted), 1),
      runFiles(OVER_OWN_STACK.filter(isWanted), Math.max(1, concurrency - 1), { write: (text) => later.push(text) }),
    ]);
  } finally {
    later.forEach((text) => process.stdout.write(text));
    await stack.wipe();
  }
}

async function runApart() {
  const all = files.filter(isWanted);
  const needUp = (name) => topology !== 'roles' || ABOUT_UP.includes(name);
  await runFiles(all.filter((name) => !needUp(name)), concurrency);
  delete process.env.E2E_TOPOLOGY;
  await runFiles(all.filter(needUp), concurrency);
  if (given.length === 0) {
    await runFiles([COVERAGE], 1);
  }
}

try {
  if (topology === 'stack') {
    await runOverStack();
  } else {
    await runApart();
  }
} finally {
  if (ownsDirectory) {
    fs.rmSync(process.env.E2E_SEEN_DIR, { recursive: true, force: true });
  }
}

const perFile = [...passedOf].map(([name, passed]) => `${name} ${passed}`).sort();
console.log(`\n# passed in ${perFile.join(', ')}`);
console.log(`# all files: pass ${totals.passed}, fail ${totals.failed}, skipped ${totals.skipped}`);
for (const failure of failures) {
  console.log(`# failed: ${failure}`);
}
process.exitCode = totals.failed > 0 ? 1 : 0;
