// An HTTP client whose every answer is held against openapi.yaml.
import assert from 'node:assert/strict';
import http from 'node:http';
import { checkErrorResponse, checkResponse } from './contract.mjs';

const ANSWER_TIMEOUT_MS = 60_000;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * One request. options: token, json (body as a value), body (text or bytes), headers, agent.
 * Resolves with {status, headers, text, bytes, json}.
 */
export function request(base, method, target, options = {}) {
  const headers = { ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    body = JSON.stringify(options.json);
    headers['Content-Type'] ??= 'application/json';
  }
  if (options.token) {
    headers.Authorization = `Bearer ${options.token}`;
  }
  if (body !== undefined && headers['Content-Length'] === undefined
      && headers['Transfer-Encoding'] === undefined) {
    headers['Content-Length'] = Buffer.byteLength(body);
  }
  const url = new URL(base);
  return new Promise((resolve, reject) => {
    const outgoing = http.request({
      host: url.hostname,
      port: url.port,
      method,
      path: target,
      headers,
      agent: options.agent ?? agent,
    }, (incoming) => {
      const pieces = [];
      incoming.on('data', (piece) => pieces.push(piece));
      incoming.once('error', reject);
      if (incoming.headers['content-type']?.startsWith('text/event-stream')) {
        // It has no end; see events.mjs for a client that reads it.
        resolve({ status: incoming.statusCode, headers: incoming.headers, text: '', json: undefined });
        outgoing.destroy();
        return;
      }
      incoming.once('end', () => {
        const bytes = Buffer.concat(pieces);
        const text = bytes.toString('utf8');
        const response = {
          status: incoming.statusCode,
          headers: incoming.headers,
          bytes,
          text,
          json: parse(text),
        };
        try {
          checkResponse(method, target.split('?')[0], response);
          resolve(response);
        } catch (error) {
          reject(error);
        }
      });
    });
    outgoing.once('error', (error) => {
      // The server may close an idle connection in the moment in which it is used again.
      if (outgoing.reusedSocket && error.code === 'ECONNRESET' && method === 'GET') {
        request(base, method, target, options).then(resolve, reject);
      } else {
        reject(error);
      }
    });
    outgoing.setTimeout(ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error(`${method} ${target}: no answer`)));
    outgoing.end(body);
  });
}

/** Client of one listener: get, post and the calls that most tests make. */
export class Client {
  constructor(base, user = null) {
    this.base = base;
    this.user = user;
  }

  as(user) {
    return new Client(this.base, user);
  }

  request(method, target, options = {}) {
    return request(this.base, method, target, { token: this.user?.token, ...options });
  }

  get(target, options) {
    return this.request('GET', target, options);
  }

  post(target, json, options = {}) {
    return this.request('POST', target, { json, ...options });
  }

  /** Like request, but the status must be 200; resolves with the body. */
  async ok(method, target, json, options = {}) {
    const response = await this.request(method, target, { json, ...options });
    assert.equal(response.status, 200, `${method} ${target}: ${response.text.slice(0, 500)}`);
    return response.json;
  }

  createRoom(name, more = {}) {
    return this.ok('POST', '/api/city/rooms', { name, ...more });
  }

  say(room, body, key) {
    const headers = key ? { 'Idempotency-Key': key } : {};
    return this.ok('POST', `/api/city/rooms/${room}/messages`, { body }, { headers });
  }

  /** All messages of a room, oldest first, page by page. */
  async history(room) {
    const all = [];
    let query = '?limit=100';
    for (;;) {
      const page = await this.ok('GET', `/api/city/rooms/${room}/messages${query}`);
      all.unshift(...page.items);
      if (!page.has_more) {
        return all;
      }
      query = `?limit=100&before=${page.items[0].id}`;
    }
  }
}

/** The answer must be this error; field and code of 422 if given. */
export function assertError(response, status, error, field, code) {
  assert.equal(response.status, status, `${response.status} ${response.text.slice(0, 400)}`);
  checkErrorResponse('error', response);
  assert.equal(response.json.error, error, response.text);
  if (field) {
    const found = response.json.errors.find((problem) => problem.field === field);
    assert.ok(found, `no problem with ${field}: ${response.text}`);
    if (code) {
      assert.equal(found.code, code, response.text);
    }
  }
}
