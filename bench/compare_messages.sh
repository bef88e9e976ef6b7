#!/usr/bin/env bash
# POST message by 100 concurrent writers against pgbench doing the same two inserts in a transaction,
# on the same PostgreSQL (fsync on), one after the other. Run by script/bench under script/with-postgres.
set -euo pipefail
seconds=${1:-10}
work=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

psql -q "$TEST_DATABASE_URL" <<'SQL'
create table bench_messages (id text primary key, room_id text not null, author_user_id text, author_agent_id text,
  body text not null, created_at timestamptz not null default now());
create index on bench_messages(room_id, created_at desc);
create table bench_events (id text primary key, kind text not null, room_id text, user_id text, agent_id text,
  payload jsonb not null, created_at timestamptz not null default now());
create index on bench_events(created_at desc);
SQL
export DATA_DIR=$work HOST=127.0.0.1 PORT=0 INTERNAL_PORT=0 LOG_FORMAT=json LIMIT_MESSAGES_PER_S=0
DATABASE_URL=$TEST_DATABASE_URL build/daarion up >/dev/null 2>"$work/log" &
server=$!
for _ in $(seq 200); do
    port=$(grep -aoE '"listener":"public".*"port":[0-9]+' "$work/log" | grep -oE '[0-9]+$' || true)
    [ -n "$port" ] && break
    sleep 0.05
done
TOKEN=$(build/daarion token --sub=u_1 --name=Писар)
export TOKEN
cpu_of() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
before=$(cpu_of "$server")
wrk -t1 -c100 -d"${seconds}s" -s bench/post_messages.lua "http://127.0.0.1:$port" | tee "$work/wrk" | grep acknowledged
after=$(cpu_of "$server")
kill "$server"
wait "$server" || true
server=
acked=$(grep -oE 'acknowledged [0-9]+' "$work/wrk" | grep -oE '[0-9]+')
took=$(grep -oE 'in [0-9.]+' "$work/wrk" | grep -oE '[0-9.]+')
stored=$(psql -qtA "$TEST_DATABASE_URL" -c "select count(*) from city_room_messages")
tps=$(pgbench -n -c 100 -j 1 -T "$seconds" -f bench/two_inserts.sql "$TEST_DATABASE_URL" 2>/dev/null |
    grep -oE '^tps = [0-9.]+' | grep -oE '[0-9.]+')
awk -v a="$acked" -v t="$took" -v p="$tps" -v s="$stored" -v c="$((after - before))" 'BEGIN {
    printf "POST message   %8.0f /s (%d acknowledged, %d stored, %.0f us server CPU each)\n", a / t, a, s, c * 10000 / a
    printf "pgbench        %8.0f /s\n", p
    printf "ratio          %8.2f   (budget: >= 0.60)\n", a / t / p
    exit s < a ? 1 : 0 }'
