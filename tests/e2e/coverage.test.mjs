// Runs last (run.mjs): what the other files have seen must be everything the documents promise.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import {
  asyncapi, frameNames, namedSchema, openapi, operationIds,
} from './support/contract.mjs';

function seen(kind) {
  const found = new Set();
  const dir = process.env.E2E_SEEN_DIR;
  for (const file of fs.readdirSync(dir)) {
    for (const line of fs.readFileSync(path.join(dir, file), 'utf8').split('\n')) {
      const [of, name] = line.split(' ');
      if (of === kind) {
        found.add(name);
      }
    }
  }
  return found;
}

const skip = process.env.E2E_SEEN_DIR ? false : 'run by run.mjs after the other files';

test('every operation of openapi.yaml has succeeded at least once', { skip }, () => {
  const found = seen('operation');
  assert.deepEqual(operationIds().filter((id) => !found.has(id)), []);
});

test('every frame of asyncapi.yaml has been sent or received at least once', { skip }, () => {
  const found = seen('frame');
  assert.deepEqual(frameNames().filter((name) => !found.has(name)), []);
});

test('every example in the two documents fits its own schema', () => {
  for (const [file, document] of [['openapi', openapi], ['asyncapi', asyncapi]]) {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      const validate = namedSchema(file, name);
      for (const example of schema.examples ?? []) {
        assert.ok(validate(example), `${file} ${name}: ${JSON.stringify(validate.errors)}`);
      }
    }
  }
});

test('schemas that both documents have are the same', () => {
  const mine = openapi.components.schemas;
  const theirs = asyncapi.components.schemas;
  const shared = Object.keys(mine).filter((name) => name in theirs);
  assert.ok(['Room', 'Message', 'FeedEvent', 'PresenceUpdate'].every((n) => shared.includes(n)));
  for (const name of shared) {
    assert.deepEqual(mine[name], theirs[name], name);
  }
});

test('every schema of a server frame refuses fields that it does not name', () => {
  for (const operation of Object.values(asyncapi.operations)) {
    if (operation.action === 'send') {
      for (const message of operation.messages) {
        const schema = asyncapi.components.schemas[message.$ref.split('/').at(-1)];
        assert.ok(schema.const !== undefined || schema.additionalProperties === false, message.$ref);
      }
    }
  }
});
