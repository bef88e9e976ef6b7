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

/** Every row of every table as text: {table: text}. */
export async function dumpTables(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query("select table_name from information_schema.tables where table_schema = 'public'");
    const found = {};
    for (const { table_name: table } of tables) {
      const { rows } = await client.query(`select t::text as row from "${table}" t`);
      found[table] = rows.map(({ row }) => row).join('\n');
    }
    return found;
  } finally {
    await client.end();
  }
}
