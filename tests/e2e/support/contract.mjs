// Holds what the server sends against schema/openapi.yaml and schema/asyncapi.yaml, and remembers
// which operations and frames have been seen, so that run.mjs can tell what no test has touched.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv2020 from 'ajv/dist/2020.js';
import YAML from 'yaml';

const schemaDir = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../schema');

function load(name) {
  const text = fs.readFileSync(path.join(schemaDir, name), 'utf8');
  return YAML.parse(text, { strict: true, uniqueKeys: true });
}

export const openapi = load('openapi.yaml');
export const asyncapi = load('asyncapi.yaml');

const ajv = new Ajv2020({
  strict: true,
  strictTypes: false,
  strictRequired: false,
  allErrors: true,
  validateFormats: false,
});
ajv.addVocabulary(['components', 'example', 'x-statuses']);
ajv.addSchema({ $id: 'http://contract/openapi', components: openapi.components });
ajv.addSchema({ $id: 'http://contract/asyncapi', components: asyncapi.components });

const compiled = new Map();

function validator(file, pointer) {
  const ref = `http://contract/${file}#${pointer}`;
  let found = compiled.get(ref);
  if (!found) {
    found = ajv.compile({ $ref: ref });
    compiled.set(ref, found);
  }
  return found;
}

/** A named schema of one of the two files as a validating function. */
export function namedSchema(file, name) {
  return validator(file, `/components/schemas/${name}`);
}

// --- what has been seen -------------------------------------------------------------------------

const seen = new Set();

function saw(kind, name) {
  const line = `${kind} ${name}`;
  if (seen.has(line)) {
    return;
  }
  seen.add(line);
  const dir = process.env.E2E_SEEN_DIR;
  if (dir) {
    fs.appendFileSync(path.join(dir, `${process.pid}.txt`), `${line}\n`);
  }
}

/** Marks a frame schema as used by a client frame that a test has sent. */
export function sawFrame(name) {
  saw('frame', name);
}

// --- HTTP ---------------------------------------------------------------------------------------

const routes = [];
for (const [template, item] of Object.entries(openapi.paths)) {
  for (const form of [template, ...(item['x-aliases'] ?? [])]) {
    const source = form.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+');
    routes.push({ template, item, literal: !form.includes('{'), regexp: new RegExp(`^${source}$`) });
  }
}
routes.sort((a, b) => Number(b.literal) - Number(a.literal));

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

export function findRoute(pathname) {
  return routes.find((route) => route.regexp.test(pathname));
}

function resolve(node) {
  if (!node?.$ref) {
    return node;
  }
  let at = openapi;
  for (const step of node.$ref.slice(2).split('/')) {
    at = at[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return at;
}

export class ContractError extends Error {
  constructor(what, problems, value) {
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    super(`${what}: ${problems}\n${String(shown).slice(0, 1500)}`);
    this.name = 'ContractError';
  }
}

function check(validate, what, value) {
  if (!validate(value)) {
    const problems = validate.errors
      .slice(0, 8)
      .map((e) => `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`)
      .join('; ');
    throw new ContractError(what, problems, value);
  }
}

const validateError = namedSchema('openapi', 'Error');
const validateProblems = namedSchema('openapi', 'ValidationError');
const codeStatuses = openapi.components.schemas.ErrorCode['x-statuses'];

/** An error body of any route: its shape, and that its code belongs to its status. */
export function checkErrorResponse(what, response) {
  const type = response.headers['content-type'] ?? '';
  if (!/^application\/json(;|$)/.test(type)) {
    throw new ContractError(what, `an error must be JSON, not ${type || 'untyped'}`, response.text);
  }
  check(response.status === 422 ? validateProblems : validateError, what, response.json);
  const expected = codeStatuses[response.json.error];
  if (expected !== response.status) {
    throw new ContractError(what, `${response.json.error} belongs to ${expected}`, response.json);
  }
  if (response.json.detail !== response.json.message) {
    throw new ContractError(what, 'message must repeat detail', response.json);
  }
  if ([429, 503].includes(response.status) && !/^[1-9]\d*$/.test(response.headers['retry-after'])) {
    throw new ContractError(what, 'Retry-After in whole seconds is missing', response.headers);
  }
  if (response.status === 405 && !response.headers.allow) {
    throw new ContractError(what, 'Allow is missing', response.headers);
  }
}

/**
 * Holds one response against openapi.yaml. response: {status, headers, text, json}, json undefined
 * when the body is not JSON. Paths that the document does not have must answer with an error, or be
 * files of the web application.
 */
export function checkResponse(method, pathname, response) {
  const what = `${method} ${pathname} -> ${response.status}`;
  if (method === 'OPTIONS') {
    return;
  }
  const route = findRoute(pathname);
  const operation = route?.item[method === 'HEAD' ? 'get' : method.toLowerCase()];
  if (!operation) {
    if (route) {
      if (response.status < 400) {
        throw new ContractError(what, 'the method is not documented', response.text);
      }
    } else if (response.status < 400) {
      return;
    }
    if (method !== 'HEAD') {
      checkErrorResponse(what, response);
    }
    return;
  }
  const documented = resolve(operation.responses[String(response.status)]);
  if (!documented) {
    throw new ContractError(what, 'this status is not documented', response.text);
  }
  if (method === 'HEAD') {
    return;
  }
  for (const [name, header] of Object.entries(documented.headers ?? {})) {
    const value = response.headers[name.toLowerCase()];
    if (value === undefined && header.required) {
      throw new ContractError(what, `header ${name} is missing`, response.headers);
    }
  }
  const content = Object.entries(documented.content ?? {});
  if (content.length > 0) {
    const type = (response.headers['content-type'] ?? '').split(';')[0].trim();
    const media = documented.content[type];
    if (!media) {
      throw new ContractError(what, `content type ${type} is not documented`, response.text);
    }
    if (type === 'application/json') {
      if (response.json === undefined) {
        throw new ContractError(what, 'the body is not JSON', response.text);
      }
      if (response.status >= 400 && media.schema.$ref?.endsWith('rror')) {
        checkErrorResponse(what, response);
      } else {
        check(pointerTo(route.template, method, response.status), what, response.json);
      }
    }
  }
  // What can only refuse has done so.
  if (response.status < 400 || Object.keys(operation.responses).every((status) => status >= '400')) {
    saw('operation', operation.operationId);
  }
}

const responseSchemas = new Map();

function pointerTo(template, method, status) {
  const key = `${template} ${method} ${status}`;
  let found = responseSchemas.get(key);
  if (!found) {
    const operation = openapi.paths[template][method.toLowerCase()];
    const schema = resolve(operation.responses[String(status)]).content['application/json'].schema;
    const absolute = JSON.parse(
      JSON.stringify(schema).replaceAll('"#/components', '"http://contract/openapi#/components'),
    );
    found = ajv.compile(absolute);
    responseSchemas.set(key, found);
  }
  return found;
}

/** A successful handshake counts as the operation that openapi.yaml has for it. */
export function sawHandshake(pathname) {
  const operation = findRoute(pathname)?.item.get;
  if (operation?.responses['101']) {
    saw('operation', operation.operationId);
  }
}

/** All operation ids of openapi.yaml. */
export function operationIds() {
  const ids = [];
  for (const item of Object.values(openapi.paths)) {
    for (const method of METHODS) {
      if (item[method]) {
        ids.push(item[method].operationId);
      }
    }
  }
  return ids;
}

// --- frames -------------------------------------------------------------------------------------

/** Frame names of asyncapi.yaml: {server: {channel: [names]}, client: {channel: [names]}}. */
export const frames = { server: {}, client: {} };
for (const operation of Object.values(asyncapi.operations)) {
  const side = operation.action === 'send' ? 'server' : 'client';
  const channel = operation.channel.$ref.split('/').at(-1);
  frames[side][channel] = operation.messages.map((message) => message.$ref.split('/').at(-1));
}

export function frameNames() {
  return Object.keys(asyncapi.components.messages);
}

function discriminators(side, channel) {
  const table = new Map();
  for (const name of frames[side][channel]) {
    const schema = asyncapi.components.schemas[name];
    for (const key of ['event', 'type']) {
      const value = schema.properties?.[key]?.const;
      if (value !== undefined) {
        table.set(`${key}:${value}`, name);
        break;
      }
    }
  }
  return table;
}

const tables = new Map();

function nameOf(side, channel, frame) {
  const key = `${side} ${channel}`;
  let table = tables.get(key);
  if (!table) {
    table = discriminators(side, channel);
    tables.set(key, table);
  }
  // `event` of a feed frame is an object: only text discriminates.
  if (typeof frame?.event === 'string') {
    return table.get(`event:${frame.event}`);
  }
  return table.get(`type:${frame?.type}`);
}

/** Holds one text frame of the server against asyncapi.yaml; returns {name, frame}. */
export function checkServerFrame(channel, text) {
  if (text === 'pong') {
    sawFrame('TextPong');
    return { name: 'TextPong', frame: text };
  }
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    throw new ContractError(`${channel}: frame`, 'is not JSON', text);
  }
  // JSON.parse keeps the last of two equal keys; other parsers keep the first.
  for (const key of ['epoch', 'offset']) {
    const inMessage = key === 'offset' && typeof frame.message === 'object' ? 1 : 0;
    if (text.split(`"${key}":`).length - 1 > 1 + inMessage) {
      throw new ContractError(`${channel}: frame`, `${key} stands twice`, text);
    }
  }
  const name = nameOf('server', channel, frame);
  if (!name) {
    throw new ContractError(`${channel}: frame`, 'is not documented', frame);
  }
  check(namedSchema('asyncapi', name), `${channel}: ${name}`, frame);
  sawFrame(name);
  return { name, frame };
}

/** Notes a client frame that is right by asyncapi.yaml; wrong ones are the test's own business. */
export function noteClientFrame(channel, text) {
  if (text === 'ping') {
    sawFrame('ClientTextPing');
    return;
  }
  try {
    const frame = JSON.parse(text);
    const name = nameOf('client', channel, frame);
    if (name && namedSchema('asyncapi', name)(frame)) {
      sawFrame(name);
    }
  } catch {
    // Not JSON: sent on purpose.
  }
}

const validatePresenceUpdate = namedSchema('asyncapi', 'PresenceUpdate');

export function checkStreamEvent(value) {
  check(validatePresenceUpdate, 'presenceStream: PresenceUpdate', value);
  sawFrame('PresenceUpdate');
}
