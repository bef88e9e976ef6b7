// The web application's files: types, validators, compressed twins, fallback, and no way out.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import zlib from 'node:zlib';
import { useCity } from './support/city.mjs';
import { exchange } from './support/raw.mjs';
import { notOverStack, temporaryDirectory } from './support/server.mjs';

const INDEX = '<!doctype html><html lang="uk"><title>Місто</title><body>index</body></html>';
const SCRIPT = `export const words = ${JSON.stringify('слово '.repeat(500))};\n`;
const ASSET = '/assets/app-B7xQ2k9Z.js';

const root = temporaryDirectory('web');
const web = path.join(root, 'dist');
fs.mkdirSync(path.join(web, 'assets'), { recursive: true });
fs.writeFileSync(path.join(root, 'secret.txt'), 'outside');
fs.writeFileSync(path.join(web, 'index.html'), INDEX);
fs.writeFileSync(path.join(web, ASSET), SCRIPT);
fs.writeFileSync(path.join(web, `${ASSET}.br`), zlib.brotliCompressSync(SCRIPT));
fs.writeFileSync(path.join(web, `${ASSET}.gz`), zlib.gzipSync(SCRIPT));
fs.writeFileSync(path.join(web, 'robots.txt'), 'User-agent: *\n');
fs.writeFileSync(path.join(web, 'empty.txt'), '');
fs.writeFileSync(path.join(web, 'logo.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>');
fs.symlinkSync(path.join(root, 'secret.txt'), path.join(web, 'link.txt'));
after(() => fs.rmSync(root, { recursive: true, force: true }));

const city = useCity({ WEB_DIR: web });
const nginxs = notOverStack('nginx has answers of its own');
const HTML = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

describe('files', () => {
  for (const [name, type, body] of [
    ['/', /^text\/html/, INDEX],
    ['/index.html', /^text\/html/, INDEX],
    [ASSET, /^(text|application)\/javascript/, SCRIPT],
    ['/robots.txt', /^text\/plain/, 'User-agent: *\n'],
    ['/logo.svg', /^image\/svg\+xml/, '<svg xmlns="http://www.w3.org/2000/svg"/>'],
    ['/empty.txt', /^text\/plain/, ''],
  ]) {
    test(`${name} is served with its type`, async () => {
      const response = await city.api.get(name, { headers: HTML });
      assert.equal(response.status, 200);
      assert.match(response.headers['content-type'], type);
      assert.equal(response.text, body);
      assert.equal(response.headers['x-content-type-options'], 'nosniff');
    });
  }

  test('a page carries a content security policy and a referrer policy', async () => {
    const { headers } = await city.api.get('/', { headers: HTML });
    assert.match(headers['content-security-policy'], /default-src|script-src/);
    assert.ok(headers['referrer-policy']);
  });

  test('hashed assets may be kept for a year, the page must be asked for', async () => {
    const asset = await city.api.get(ASSET);
    assert.match(asset.headers['cache-control'], /max-age=31536000/);
    assert.match(asset.headers['cache-control'], /immutable/);
    const page = await city.api.get('/', { headers: HTML });
    assert.match(page.headers['cache-control'], /no-cache/);
  });

  test('HEAD has the length and no body', async () => {
    const response = await city.api.request('HEAD', ASSET);
    assert.equal(response.status, 200);
    assert.equal(Number(response.headers['content-length']), Buffer.byteLength(SCRIPT));
  });

  test('OPTIONS of a page is answered, and what depends on Accept says so', { skip: nginxs }, async () => {
    const options = await city.api.request('OPTIONS', '/');
    assert.equal(options.status, 204);
    assert.equal(options.headers.allow, 'GET, HEAD, OPTIONS');
    const page = await city.api.get('/city/anything', { headers: HTML });
    assert.match(page.headers.vary, /\baccept\b(?!-)/i);
  });

  test('POST to a file is not allowed', { skip: nginxs }, async () => {
    const response = await city.api.post('/robots.txt', {});
    assert.ok([404, 405].includes(response.status));
  });
});

describe('validators', () => {
  test('a file has an ETag, and asking with it is answered with 304', async () => {
    const first = await city.api.get(ASSET);
    const etag = first.headers.etag;
    assert.match(etag, /^(W\/)?"[^"]+"$/);
    for (const value of [etag, `"other", ${etag}`, `W/${etag.replace(/^W\//, '')}`, '*']) {
      const response = await city.api.get(ASSET, { headers: { 'If-None-Match': value } });
      assert.equal(response.status, 304, value);
      assert.equal(response.text, '');
      assert.equal(response.headers.etag, etag);
    }
  });

  test('another ETag gets the file', async () => {
    const response = await city.api.get(ASSET, { headers: { 'If-None-Match': '"other"' } });
    assert.equal(response.status, 200);
    assert.equal(response.text, SCRIPT);
  });

  test('a connection goes on after 304', async () => {
    const { headers } = await city.api.get(ASSET);
    const request = `GET ${ASSET} HTTP/1.1\r\nHost: x\r\nIf-None-Match: ${headers.etag}\r\n\r\n`;
    const response = await exchange(city.server.publicPort, request + request);
    assert.equal(response.status, 304);
  });
});

describe('compressed twins', () => {
  for (const [accepted, encoding] of [
    ['br', 'br'], ['gzip', 'gzip'], ['gzip, deflate, br', 'br'], ['br;q=0, gzip', 'gzip'],
    ['gzip;q=0', undefined], ['identity', undefined], ['', undefined], ['zstd', undefined],
    ['GZIP', 'gzip'], ['br;q=0.5, gzip;q=0.5', 'br'],
  ]) {
    const skip = encoding === 'br' && notOverStack('nginx has no Brotli');
    test(`Accept-Encoding: ${accepted || '(empty)'} gets ${encoding ?? 'the file as it is'}`, { skip }, async () => {
      const response = await city.api.get(ASSET, { headers: { 'Accept-Encoding': accepted } });
      assert.equal(response.status, 200);
      assert.equal(response.headers['content-encoding'], encoding);
      assert.match(response.headers.vary ?? '', /accept-encoding/i);
      const plain = encoding === 'br' ? zlib.brotliDecompressSync(response.bytes)
        : encoding === 'gzip' ? zlib.gunzipSync(response.bytes) : response.bytes;
      assert.equal(plain.toString(), SCRIPT);
    });
  }

  test('each encoding has its own ETag', { skip: nginxs }, async () => {
    const tags = [];
    for (const accepted of ['br', 'gzip', 'identity']) {
      tags.push((await city.api.get(ASSET, { headers: { 'Accept-Encoding': accepted } })).headers.etag);
    }
    assert.equal(new Set(tags).size, 3);
  });

  test('a twin is no page of its own', async () => {
    const { status } = await city.api.get(`${ASSET}.br`);
    assert.ok([200, 404].includes(status));
    const file = await city.api.get('/robots.txt', { headers: { 'Accept-Encoding': 'br, gzip' } });
    assert.equal(file.headers['content-encoding'], undefined);
  });
});

describe('pages of the application', () => {
  for (const page of ['/city', '/city/general', '/city/кімната', '/login', '/map?at=now', '/a/b/c']) {
    test(`${page} is the index page`, async () => {
      const response = await city.api.get(encodeURI(page), { headers: HTML });
      assert.equal(response.status, 200);
      assert.match(response.headers['content-type'], /^text\/html/);
      assert.equal(response.text, INDEX);
    });
  }

  test('a file that is missing is not found and not the index page', { skip: nginxs }, async () => {
    for (const name of ['/assets/gone-12345678.js', '/missing.png', '/city/app.css']) {
      assert.equal((await city.api.get(name, { headers: HTML })).status, 404, name);
    }
  });

  test('a page is not given to who does not want HTML', { skip: nginxs }, async () => {
    const { status } = await city.api.get('/city', { headers: { Accept: 'application/json' } });
    assert.equal(status, 404);
  });

  test('the interface is never covered by the index page', { skip: nginxs }, async () => {
    for (const name of ['/api/nothing', '/ws/nothing', '/presence/nothing', '/internal/nothing']) {
      const response = await city.api.get(name, { headers: HTML });
      assert.equal(response.status, 404, name);
      assert.match(response.headers['content-type'], /^application\/json/);
    }
  });
});

describe('ways out of the directory', { skip: nginxs }, () => {
  for (const target of ['/../secret.txt', '/assets/../../secret.txt', '/%2e%2e/secret.txt',
    '/..%2fsecret.txt', '/%2e%2e%2fsecret.txt', '/assets/..%5c..%5csecret.txt', '/....//secret.txt',
    '//etc/passwd', '/%2fetc/passwd', '/link.txt', '/secret.txt%00.html', '/.%00./secret.txt',
    '/..;/secret.txt', '/%c0%ae%c0%ae/secret.txt', '/assets/%2e%2e/%2e%2e/secret.txt']) {
    test(`${target} does not lead out`, async () => {
      const response = await exchange(city.server.publicPort, `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      assert.ok([400, 404].includes(response.status), `${response.status}`);
      assert.ok(!response.text.includes('outside') && !response.text.includes('root:'));
    });
  }
});
