// Writes .br and .gz next to every compressible file of the build, so that the server never
// compresses a static file itself. Usage: node scripts/compress.mjs <folder>
import { readdirSync, readFileSync, writeFileSync, statSync } from 'node:fs';
import { join, extname } from 'node:path';
import { brotliCompressSync, gzipSync, constants } from 'node:zlib';

const compressible = new Set(['.html', '.js', '.css', '.svg', '.json', '.webmanifest', '.txt']);
const smallest = 256; // below this, headers cost more than compression saves

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.isFile()) yield path;
  }
}

const folder = process.argv[2];
if (!folder || !statSync(folder).isDirectory()) throw new Error('usage: compress.mjs <folder>');

let before = 0;
let after = 0;
for (const path of [...files(folder)]) {
  if (!compressible.has(extname(path))) continue;
  const raw = readFileSync(path);
  if (raw.length < smallest) continue;
  const gz = gzipSync(raw, { level: 9 });
  const br = brotliCompressSync(raw, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
    },
  });
  writeFileSync(`${path}.gz`, gz);
  writeFileSync(`${path}.br`, br);
  before += raw.length;
  after += gz.length;
  console.log(`${path}  ${raw.length} -> gzip ${gz.length}, brotli ${br.length}`);
}
console.log(`all: ${before} -> gzip ${after}`);
