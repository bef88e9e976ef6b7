// A homeserver that does what a test tells it to. By itself it behaves as far as the gateway can see: rooms
// with aliases and creators, accounts, tokens, presence. `script` replaces the answer to a call; `mode` makes
// the whole server fail.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';

export const SERVER_NAME = 'fake.test';
export const AS_TOKEN = 'as-token-0123456789abcdef-SECRET';
export const HS_TOKEN = 'hs-token-0123456789abcdef-SECRET';
export const ADMIN_TOKEN = 'admin-token-0123456789abcdef-SECRET';
export const REGISTRATION_SECRET = 'registration-0123456789abcdef-SECRET';
export const SENDER = `@daarion-city:${SERVER_NAME}`;
export const ADMIN = `@admin:${SERVER_NAME}`;

const HTML = '<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>';
const error = (status, errcode, more = {}) => [status, { errcode, error: `text of ${errcode}`, ...more }];

export class FakeHomeserver {
  #server;
  #sockets = new Set();
  #held = new Set();

  constructor() {
    this.requests = [];
    this.waiters = new Set();
    this.reset();
  }

  /** Everything as it was at the start. */
  reset() {
    this.mode = 'ok'; // ok | hang | html502 | html200 | badJson | error500
    this.script = []; // [{match: /POST .*createRoom/, answer: [status, body, headers] | function, times}]
    this.rooms = new Map(); // id -> {creator, name, topic}
    this.aliases = new Map();
    this.users = new Map(); // id -> {displayname, deactivated}
    this.tokens = new Map([[AS_TOKEN, { user: SENDER, isAs: true }], [ADMIN_TOKEN, { user: ADMIN, isAdmin: true }]]);
    this.users.set(ADMIN, {});
    this.requests.length = 0;
    this.nonces = new Set();
    this.events = new Map(); // room -> [{event_id, sender, content}], oldest first
    this.transactions = new Map(); // as Synapse keeps them: in memory
    this.pushUrl = null; // where the application service is reached
    this.nextTransaction = 1;
    this.release();
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async listen() {
    this.#server = http.createServer((request, response) => this.#take(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.listen(this.port ?? 0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = this.#server.address().port;
    return this;
  }

  /** Connections are refused until listen(). */
  async close() {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
  }

  /** Answers what hangs. */
  release() {
    for (const go of this.#held) {
      go();
    }
    this.#held.clear();
  }

  /** The next `times` calls that match get this answer. */
  answer(match, answer, times = 1) {
    this.script.push({ match, answer, times });
  }

  /** Requests so far that match "METHOD /path". */
  asked(match) {
    return this.requests.filter((request) => match.test(request.line));
  }

  /** Resolves with the first request that matches (of so many), also an earlier one. */
  waitFor(match, count = 1) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.asked(match)[count - 1];
        if (found) {
          this.waiters.delete(look);
          resolve(found);
        }
      };
      this.waiters.add(look);
      look();
    });
  }

  addRoom(alias, creator) {
    const id = `!${randomBytes(9).toString('hex')}:${SERVER_NAME}`;
    this.rooms.set(id, { creator, name: `name of ${alias}`, topic: null, members: new Set([creator]) });
    this.aliases.set(alias, id);
    return id;
  }

  /** What has been said in a room, as [sender, body]. */
  said(room) {
    return (this.events.get(room) ?? []).filter((event) => event.type === 'm.room.message')
      .map((event) => [event.sender, event.content.body]);
  }

  /** A member of a room with a name. */
  addMember(room, id, displayname) {
    this.users.set(id, { displayname });
    this.rooms.get(room).members.add(id);
  }

  makeEvent(room_id, sender, content, more = {}) {
    return {
      event_id: `$${randomBytes(24).toString('base64url')}`, room_id, sender, content, type: 'm.room.message',
      origin_server_ts: Date.now(), unsigned: { age: 5 }, ...more,
    };
  }

  addUser(id, more = {}) {
    this.users.set(id, more);
  }

  #newToken(user, device) {
    const token = `syt_${randomBytes(12).toString('hex')}`;
    this.tokens.set(token, { user, device });
    return token;
  }

  async #take(request, response) {
    const pieces = [];
    for await (const piece of request) {
      pieces.push(piece);
    }
    const text = Buffer.concat(pieces).toString('utf8');
    const [path, query = ''] = request.url.split('?');
    const call = {
      line: `${request.method} ${path}`,
      method: request.method,
      parts: path.split('/').map(decodeURIComponent),
      query: new URLSearchParams(query),
      token: (request.headers.authorization ?? '').replace(/^Bearer /, ''),
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.requests.push(call);
    for (const waiter of [...this.waiters]) {
      waiter();
    }
    const scripted = this.script.find((entry) => entry.times > 0 && entry.match.test(call.line));
    if (scripted) {
      scripted.times -= 1;
    } else if (this.mode !== 'ok') {
      await this.#misbehave(call, response);
      return;
    }
    let answer = scripted?.answer;
    if (answer === 'hang') {
      await new Promise((go) => { this.#held.add(go); });
      answer = undefined;
    }
    if (typeof answer === 'function') {
      answer = answer(call);
    }
    this.#say(response, ...(answer ?? await this.#behave(call)));
  }

  #say(response, status, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, {
      'Content-Type': typeof body === 'string' ? 'text/html' : 'application/json',
      ...headers,
    });
    response.end(text);
  }

  async #misbehave(call, response) {
    switch (this.mode) {
      case 'hang':
        await new Promise((go) => { this.#held.add(go); });
        this.#say(response, ...await this.#behave(call));
        break;
      case 'html502': this.#say(response, 502, HTML); break;
      case 'html200': this.#say(response, 200, '<html>It works!</html>'); break;
      case 'badJson': this.#say(response, 200, '{"room_id": ', { 'Content-Type': 'application/json' }); break;
      default: this.#say(response, ...error(500, 'M_UNKNOWN'));
    }
  }

  #behave(call) {
    const [, , , version, ...rest] = call.parts;
    const line = `${call.method} ${rest.map((part) => (/^[!@#]/.test(part) ? '*' : part)).join('/')}`;
    const who = this.tokens.get(call.token);
    if (call.line === 'GET /_matrix/client/versions') {
      return [200, { versions: ['v1.12'] }];
    }
    if (call.parts[1] === '_synapse') {
      return this.#admin(call, `${version} ${line}`, rest, who);
    }
    if (line === 'POST login' && call.body.type === 'm.login.password') {
      const id = `@${call.body.identifier.user}:${SERVER_NAME}`;
      const user = this.users.get(id);
      if (!user || user.password !== call.body.password) {
        return error(403, 'M_FORBIDDEN');
      }
      return this.#login(id, call.body.device_id, { isAdmin: user.isAdmin });
    }
    if (!who) {
      return call.token === '' ? error(401, 'M_MISSING_TOKEN') : error(401, 'M_UNKNOWN_TOKEN');
    }
    return this.#client(call, line, rest, who);
  }

  #login(id, device, more = {}) {
    const name = device ?? randomBytes(5).toString('hex').toUpperCase();
    for (const [token, owner] of this.tokens) {
      if (owner.user === id && owner.device === name) {
        this.tokens.delete(token);
      }
    }
    const token = this.#newToken(id, name);
    Object.assign(this.tokens.get(token), more);
    return [200, { user_id: id, access_token: token, device_id: name, home_server: SERVER_NAME }];
  }

  #admin(call, line, rest, who) {
    if (line === 'v1 GET register') {
      const nonce = randomBytes(16).toString('hex');
      this.nonces.add(nonce);
      return [200, { nonce }];
    }
    if (line === 'v1 POST register') {
      const id = `@${call.body.username}:${SERVER_NAME}`;
      if (this.users.has(id)) {
        return error(400, 'M_USER_IN_USE');
      }
      if (!this.nonces.delete(call.body.nonce)) {
        return error(400, 'M_UNKNOWN');
      }
      this.users.set(id, { password: call.body.password, isAdmin: call.body.admin });
      return this.#login(id, undefined, { isAdmin: call.body.admin });
    }
    if (!who) {
      return error(401, 'M_UNKNOWN_TOKEN');
    }
    if (!who.isAdmin) {
      return error(403, 'M_FORBIDDEN');
    }
    const user = this.users.get(rest[1]);
    switch (line) {
      case 'v1 GET users/*/admin':
        return [200, { admin: true }];
      case 'v1 GET rooms/*': {
        const room = this.rooms.get(rest[1]);
        return room ? [200, { room_id: rest[1], ...room, members: undefined }] : error(404, 'M_NOT_FOUND');
      }
      case 'v2 PUT users/*':
        this.users.set(rest[1], user ?? {});
        return [user ? 200 : 201, { name: rest[1] }];
      case 'v1 POST users/*/login':
        return user ? [200, { access_token: this.#newToken(rest[1]) }] : error(404, 'M_NOT_FOUND');
      default:
        return error(404, 'M_UNRECOGNIZED');
    }
  }

  #client(call, line, rest, who) {
    const self = call.query.get('user_id') ?? who.user;
    const user = this.users.get(rest[1]);
    switch (line) {
      case 'GET account/whoami':
        return [200, { user_id: who.user, is_guest: false }];
      case 'POST logout':
        this.tokens.delete(call.token);
        return [200, {}];
      case 'POST createRoom': {
        const alias = `#${call.body.room_alias_name}:${SERVER_NAME}`;
        return this.aliases.has(alias)
          ? error(400, 'M_ROOM_IN_USE')
          : [200, { room_id: this.addRoom(alias, self) }];
      }
      case 'GET directory/room/*': {
        const id = this.aliases.get(rest[2]);
        return id ? [200, { room_id: id, servers: [SERVER_NAME] }] : error(404, 'M_NOT_FOUND');
      }
      case 'DELETE directory/room/*':
        return this.aliases.delete(rest[2]) ? [200, {}] : error(404, 'M_NOT_FOUND');
      case 'POST rooms/*/leave':
        this.rooms.get(rest[1])?.members.delete(self);
        return [200, {}];
      case 'GET rooms/*/state/m.room.join_rules/': {
        const room = this.rooms.get(rest[1]);
        if (!room?.members.has(self)) {
          return error(403, 'M_FORBIDDEN');
        }
        return room.isHalfMade ? error(404, 'M_NOT_FOUND') : [200, { join_rule: 'public' }];
      }
      case 'GET rooms/*/state/m.room.create/':
      case 'GET rooms/*/state/m.room.name/':
      case 'GET rooms/*/state/m.room.topic/': {
        const room = this.rooms.get(rest[1]);
        if (!room?.members.has(self)) {
          return error(403, 'M_FORBIDDEN');
        }
        const key = rest[3].slice('m.room.'.length);
        if (key === 'create') {
          const { creator: sender, origin_server_ts = Date.now() } = room;
          return [200, { type: rest[3], sender, origin_server_ts, content: { room_version: '11' } }];
        }
        return room[key] === null ? error(404, 'M_NOT_FOUND') : [200, { [key]: room[key] }];
      }
      case 'POST join/*': {
        const room = this.rooms.get(rest[1]);
        if (!this.users.has(self) || room?.banned?.has(self)) {
          return error(403, 'M_FORBIDDEN');
        }
        if (!room) {
          return error(404, 'M_UNKNOWN'); // no other server is known to ask
        }
        room.members.add(self);
        return [200, { room_id: rest[1] }];
      }
      case 'POST appservice/daarion/ping':
        return this.#ping();
      case 'GET rooms/*/messages': {
        if (!this.rooms.get(rest[1])?.members.has(self)) {
          return error(403, 'M_FORBIDDEN');
        }
        const { senders } = JSON.parse(call.query.get('filter'));
        const found = (this.events.get(rest[1]) ?? []).filter((event) => senders.includes(event.sender));
        return [200, { chunk: found.reverse().slice(0, Number(call.query.get('limit'))), start: 's' }];
      }
      case 'POST register': {
        const id = `@${call.body.username}:${SERVER_NAME}`;
        if (this.users.has(id)) {
          return error(400, 'M_USER_IN_USE');
        }
        this.users.set(id, {});
        return [200, { user_id: id, home_server: SERVER_NAME }];
      }
      case 'POST login': {
        const id = call.body.identifier.user;
        if (!this.users.has(id)) {
          return error(403, 'M_FORBIDDEN');
        }
        return this.users.get(id).deactivated ? error(403, 'M_USER_DEACTIVATED') : this.#login(id, call.body.device_id);
      }
      case 'GET profile/*':
        return user ? [200, { displayname: user.displayname }] : error(404, 'M_UNKNOWN');
      case 'PUT profile/*/displayname':
        user.displayname = call.body.displayname;
        return [200, {}];
      case 'PUT presence/*/status':
        if (self !== rest[1]) {
          return error(403, 'M_FORBIDDEN');
        }
        user.presence = call.body;
        return [200, {}];
      default:
        if (/^PUT rooms\/\*\/send\//.test(line)) {
          return this.#send(call, rest, self);
        }
        if (/^GET rooms\/\*\/state\/m.room.member\//.test(line)) {
          const room = this.rooms.get(rest[1]);
          return room?.members.has(self) && room.members.has(rest[4])
            ? [200, { membership: 'join', displayname: this.users.get(rest[4])?.displayname }]
            : error(403, 'M_FORBIDDEN');
        }
        return error(404, 'M_UNRECOGNIZED');
    }
  }

  #send(call, rest, self) {
    const [, room, , type, txn] = rest;
    const key = `${room} ${txn}`;
    if (!this.rooms.get(room)?.members.has(self)) {
      return error(403, 'M_FORBIDDEN');
    }
    if (!this.transactions.has(key)) {
      const event = this.makeEvent(room, self, call.body, { type });
      this.events.set(room, [...(this.events.get(room) ?? []), event]);
      this.transactions.set(key, event.event_id);
    }
    return [200, { event_id: this.transactions.get(key) }];
  }

  /** Asks the application service whether it is there. */
  async #ping() {
    if (!this.pushUrl) {
      return error(400, 'M_URL_NOT_SET');
    }
    try {
      const { status } = await fetch(`${this.pushUrl}/_matrix/app/v1/ping`, {
        method: 'POST', headers: { Authorization: `Bearer ${HS_TOKEN}` },
      });
      return status === 200 ? [200, { duration_ms: 1 }] : error(502, 'M_BAD_STATUS', { status });
    } catch {
      return error(502, 'M_CONNECTION_FAILED');
    }
  }
}
