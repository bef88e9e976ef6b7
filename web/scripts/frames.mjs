/**
 * TypeScript from the JSON Schemas of an AsyncAPI 3 document: one type for each schema, and for each
 * channel the union of the frames that each side sends. Knows the part of JSON Schema that wire
 * documents use (object, array, enum, const, $ref, oneOf/anyOf, type lists) and refuses the rest, so
 * that nothing is silently typed as `any`.
 */
const LOCAL = '#/components/schemas/';

function refName(ref) {
  const name = ref.slice(LOCAL.length);
  if (!ref.startsWith(LOCAL) || name.includes('/')) throw new Error(`cannot follow $ref ${ref}`);
  return name;
}

function literal(value) {
  return JSON.stringify(value);
}

function primitive(type, schema) {
  switch (type) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `${parenthesised(typeOf(schema.items ?? {}))}[]`;
    case 'object':
      return objectType(schema);
    default:
      throw new Error(`unknown type ${type}`);
  }
}

function parenthesised(type) {
  return type.includes('|') ? `(${type})` : type;
}

function objectType(schema) {
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) return 'Record<string, unknown>';
  const required = new Set(schema.required ?? []);
  const lines = properties.map(([name, property]) => {
    const mark = required.has(name) ? '' : '?';
    return `  ${name}${mark}: ${typeOf(property).replaceAll('\n', '\n  ')};`;
  });
  return `{\n${lines.join('\n')}\n}`;
}

export function typeOf(schema) {
  if (schema.$ref !== undefined) return refName(schema.$ref);
  if (schema.const !== undefined) return literal(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(literal).join(' | ');
  if (schema.type === undefined) {
    const choices = schema.oneOf ?? schema.anyOf;
    if (choices !== undefined) return choices.map(typeOf).join(' | ');
    return 'unknown';
  }
  if (Array.isArray(schema.type)) {
    return schema.type.map((type) => primitive(type, schema)).join(' | ');
  }
  return primitive(schema.type, schema);
}

function comment(schema) {
  if (typeof schema.description !== 'string') return '';
  const text = schema.description.trim().replaceAll('*/', '* /').split('\n');
  return `/**\n${text.map((line) => ` * ${line}`.trimEnd()).join('\n')}\n */\n`;
}

function capitalised(name) {
  return name[0].toUpperCase() + name.slice(1);
}

/** Which schema a message of an operation carries. */
function schemaOfMessage(document, ref) {
  const name = ref.$ref.split('/').at(-1);
  const message = document.components.messages[name];
  if (message === undefined) throw new Error(`no message ${name}`);
  return refName(message.payload.$ref);
}

export function framesSource(document) {
  const parts = ['// Made from schema/asyncapi.yaml by scripts/generate.mjs: edits are lost.\n'];
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    parts.push(`${comment(schema)}export type ${name} = ${typeOf(schema)};\n`);
  }
  for (const operation of Object.values(document.operations)) {
    const channel = capitalised(operation.channel.$ref.split('/').at(-1));
    const side = operation.action === 'send' ? 'ServerFrame' : 'ClientFrame';
    const frames = operation.messages.map((ref) => schemaOfMessage(document, ref));
    parts.push(`export type ${channel}${side} =\n${frames.map((f) => `  | ${f}`).join('\n')};\n`);
  }
  return parts.join('\n');
}
