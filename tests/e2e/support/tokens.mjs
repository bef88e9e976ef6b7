// Access tokens as the server makes them, and every wrong kind of them.
import { createHmac } from 'node:crypto';
import { JWT_SECRET } from './server.mjs';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
let counter = 0;

/** An id of the right form that no other test of this process uses. */
export function newUserId() {
  counter += 1;
  let tail = '';
  let rest = counter;
  while (tail.length < 16) {
    tail = CROCKFORD[rest % 32] + tail;
    rest = Math.floor(rest / 32);
  }
  return `u_01JD3V5K0Z${tail}`;
}

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** changes replace claims; undefined removes one. */
export function makeToken(changes = {}, { secret = JWT_SECRET, header = {}, hash = 'sha256' } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    sub: newUserId(),
    name: 'Тестова Людина',
    roles: ['guest'],
    type: 'access',
    iss: 'daarion-auth',
    iat: now,
    exp: now + 3600,
    ...changes,
  };
  const head = encode({ alg: 'HS256', typ: 'JWT', ...header });
  const body = encode(claims);
  const signature = secret === null
    ? ''
    : createHmac(hash, secret).update(`${head}.${body}`).digest('base64url');
  return `${head}.${body}.${signature}`;
}

/** {id, name, token} */
export function makeUser(name = 'Тестова Людина', id = newUserId()) {
  return { id, name, token: makeToken({ sub: id, name }) };
}
