// Types of the wire from the schemas that the server is tested against, into src/generated.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';
import { parse } from 'yaml';
import { framesSource } from './frames.mjs';

const schemas = new URL('../../schema/', import.meta.url);
const target = new URL('../src/generated/', import.meta.url);
mkdirSync(target, { recursive: true });

const http = astToString(await openapiTS(new URL('openapi.yaml', schemas)));
writeFileSync(
  new URL('http.ts', target),
  `// Made from schema/openapi.yaml by scripts/generate.mjs: edits are lost.\n\n${http}`,
);

const frames = framesSource(parse(readFileSync(new URL('asyncapi.yaml', schemas), 'utf8')));
writeFileSync(new URL('frames.ts', target), frames);
