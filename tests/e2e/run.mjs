// Runs the whole suite against the real binary: all files, then the check that every operation and
// every frame of the two documents in schema/ has been seen. With file names, runs only those.
//   DAARION_BIN        the binary (default ../../build/daarion)
//   E2E_CONCURRENCY    files at a time (default 2)
//   E2E_DB=postgres    with TEST_DATABASE_URL: a fresh PostgreSQL database for each server
//   E2E_BACKENDS=real  likewise, and a NATS and a Redis server of its own for each
//   E2E_TOPOLOGY=roles presence is counted by another process than the one that serves, but in the
//                      files that are about `daarion up` and the commands
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const COVERAGE = 'coverage.test.mjs';
const hasRoles = process.env.E2E_TOPOLOGY === 'roles';
const ABOUT_UP = ['cli', 'health', 'matrix-chat', 'matrix-gateway', 'matrix-rooms', 'presence-aggregator', 'static'];
const isAboutUp = (name) => ABOUT_UP.includes(name.replace(/\.test\.mjs$/, ''));
const given = process.argv.slice(2).map((name) => path.resolve(name));
const files = given.length > 0
  ? given
  : fs.readdirSync(here)
    .filter((name) => name.endsWith('.test.mjs') && name !== COVERAGE)
    .sort()
    .map((name) => path.join(here, name));

const ownsDirectory = !process.env.E2E_SEEN_DIR;
process.env.E2E_SEEN_DIR ??= fs.mkdtempSync(path.join(os.tmpdir(), 'daarion-e2e-seen-'));

const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

function runFiles(list, concurrency) {
  return new Promise((resolve, reject) => {
    if (list.length === 0) {
      resolve();
      return;
    }
    const stream = run({ files: list, concurrency, timeout: 300_000 });
    stream.on('test:pass', (event) => {
      if (event.details.type !== 'suite' && !list.includes(event.name)) {
        totals[event.skip ? 'skipped' : 'passed'] += 1;
      }
    });
    stream.on('test:fail', (event) => {
      if (event.details.type === 'suite' && event.details.error.failureType === 'subtestsFailed') {
        return;
      }
      totals.failed += 1;
      failures.push(`${path.basename(event.file ?? '')}: ${event.name}`);
    });
    const output = stream.compose(spec);
    output.pipe(process.stdout, { end: false });
    output.once('end', resolve);
    output.once('error', reject);
  });
}

try {
  const concurrency = Number(process.env.E2E_CONCURRENCY ?? 2);
  const needUp = (file) => !hasRoles || isAboutUp(path.basename(file));
  await runFiles(files.filter((file) => !needUp(file)), concurrency);
  delete process.env.E2E_TOPOLOGY;
  await runFiles(files.filter(needUp), concurrency);
  if (given.length === 0) {
    await runFiles([path.join(here, COVERAGE)], 1);
  }
} finally {
  if (ownsDirectory) {
    fs.rmSync(process.env.E2E_SEEN_DIR, { recursive: true, force: true });
  }
}

console.log(`\n# all files: pass ${totals.passed}, fail ${totals.failed}, skipped ${totals.skipped}`);
for (const failure of failures) {
  console.log(`# failed: ${failure}`);
}
process.exitCode = totals.failed > 0 ? 1 : 0;
