import { expect, test } from 'vitest';
import { framesSource, typeOf } from './frames.mjs';

test('schemas become types', () => {
  expect(typeOf({ type: 'string' })).toBe('string');
  expect(typeOf({ type: 'integer' })).toBe('number');
  expect(typeOf({ type: ['string', 'null'] })).toBe('string | null');
  expect(typeOf({ const: 'room.join' })).toBe('"room.join"');
  expect(typeOf({ enum: ['online', 'away'] })).toBe('"online" | "away"');
  expect(typeOf({ $ref: '#/components/schemas/Room' })).toBe('Room');
  expect(typeOf({ description: 'named', $ref: '#/components/schemas/Room' })).toBe('Room');
  expect(typeOf({ anyOf: [{ type: 'string' }, { type: 'null' }] })).toBe('string | null');
  expect(typeOf({ type: 'array', items: { enum: [1, 2] } })).toBe('(1 | 2)[]');
  expect(typeOf({ type: 'object' })).toBe('Record<string, unknown>');
});

test('what is not required is optional', () => {
  const schema = {
    type: 'object',
    required: ['a'],
    properties: { a: { type: 'string' }, b: { type: 'object', properties: { c: { const: 1 } } } },
  };
  expect(typeOf(schema)).toBe('{\n  a: string;\n  b?: {\n    c?: 1;\n  };\n}');
});

test('what cannot be typed is refused, not guessed', () => {
  expect(() => typeOf({ type: 'tuple' })).toThrow(/unknown type/);
  expect(() => typeOf({ $ref: './other.yaml#/Room' })).toThrow(/cannot follow/);
  expect(() => typeOf({ $ref: '#/components/schemas/Room/properties/id' })).toThrow(/cannot/);
});

test('each side of a channel gets the union of its frames', () => {
  const source = framesSource({
    components: {
      schemas: { Ping: { const: 'ping' }, Pong: { const: 'pong', description: 'Ends a */' } },
      messages: {
        Ping: { payload: { $ref: '#/components/schemas/Ping' } },
        Pong: { payload: { $ref: '#/components/schemas/Pong' } },
      },
    },
    operations: {
      hear: {
        action: 'receive',
        channel: { $ref: '#/channels/roomSocket' },
        messages: [{ $ref: '#/channels/roomSocket/messages/Ping' }],
      },
      speak: {
        action: 'send',
        channel: { $ref: '#/channels/roomSocket' },
        messages: [{ $ref: '#/channels/roomSocket/messages/Pong' }],
      },
    },
  });
  expect(source).toContain('export type RoomSocketClientFrame =\n  | Ping;');
  expect(source).toContain('export type RoomSocketServerFrame =\n  | Pong;');
  expect(source).toContain('Ends a * /');
});
