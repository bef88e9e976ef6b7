#!/usr/bin/env bash
# Transactions a second of `pgbench -c 100` doing the two inserts of a message (two_inserts.sql) in a transaction,
# on the PostgreSQL of TEST_DATABASE_URL: what the other figures of PostgreSQL are held against. Prints the number.
#   bench/pgbench_two_inserts.sh SECONDS
set -euo pipefail
psql -q "$TEST_DATABASE_URL" <<'SQL'
create table bench_messages (id text primary key, room_id text not null, author_user_id text, author_agent_id text,
  body text not null, created_at timestamptz not null default now());
create index on bench_messages(room_id, created_at desc);
create table bench_events (id text primary key, kind text not null, room_id text, user_id text, agent_id text,
  payload jsonb not null, created_at timestamptz not null default now());
create index on bench_events(created_at desc);
SQL
pgbench -n -c 100 -j 1 -T "$1" -f "$(dirname "$0")/two_inserts.sql" "$TEST_DATABASE_URL" 2>/dev/null |
    grep -oE '^tps = [0-9.]+' | grep -oE '[0-9.]+'
