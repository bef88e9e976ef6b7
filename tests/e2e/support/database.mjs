// A fresh PostgreSQL database for each test file, made beside the one that TEST_DATABASE_URL names.
import { randomBytes } from 'node:crypto';
import pg from 'pg';

async function admin(sql) {
  const client = new pg.Client({ connectionString: process.env.TEST_DATABASE_URL });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** {url, remove()} */
export async function createDatabase() {
  if (!process.env.TEST_DATABASE_URL) {
    throw new Error('a PostgreSQL database needs TEST_DATABASE_URL');
  }
  const name = `daarion_e2e_${randomBytes(6).toString('hex')}`;
  await admin(`CREATE DATABASE ${name} ENCODING 'UTF8' TEMPLATE template0`);
  const url = new URL(process.env.TEST_DATABASE_URL);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    remove: () => admin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}
