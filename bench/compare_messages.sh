#!/usr/bin/env bash
# POST message by 100 concurrent writers against pgbench doing the same two inserts in a transaction,
# on the same PostgreSQL (fsync on), one after the other. Nothing but an acknowledged message that is not stored fails.
#   script/with-postgres bench/compare_messages.sh BINARY [SECONDS]
set -euo pipefail
binary=$1
seconds=${2:-10}
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

export DATA_DIR=$work/data HOST=127.0.0.1 PORT=0 INTERNAL_PORT=0 LOG_FORMAT=json LIMIT_MESSAGES_PER_S=0
# The log says when the city serves, and where; it is read to its end so that the server never waits.
mkfifo "$work/log"
DATABASE_URL=$TEST_DATABASE_URL "$binary" up >/dev/null 2>"$work/log" &
server=$!
exec 3<"$work/log"
port=
is_ready=
while [ -z "$is_ready" ] && IFS= read -r line <&3; do
    case $line in
    *'"event":"server.listening"'*'"listener":"public"'*)
        port=$(grep -oE '"port":[0-9]+' <<<"$line" | grep -oE '[0-9]+')
        ;;
    *'"event":"daarion.ready"'*) is_ready=yes ;;
    *'"level":"error"'*) echo "$line" >&2 ;;
    esac
done
if [ -z "$is_ready" ] || [ -z "$port" ]; then
    echo "compare_messages: the server did not start" >&2
    exit 1
fi
cat <&3 >"$work/rest_of_log" &
TOKEN=$("$binary" token --sub=u_1 --name=Писар)
export TOKEN
cpu_of() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
ticks=$(getconf CLK_TCK)
before=$(cpu_of "$server")
wrk -t1 -c100 -d"${seconds}s" -s bench/post_messages.lua "http://127.0.0.1:$port" | tee "$work/wrk" | grep acknowledged
after=$(cpu_of "$server")
kill "$server"
wait "$server" || true
server=
acked=$(grep -oE 'acknowledged [0-9]+' "$work/wrk" | grep -oE '[0-9]+')
took=$(grep -oE 'in [0-9.]+' "$work/wrk" | grep -oE '[0-9.]+')
stored=$(psql -qtA "$TEST_DATABASE_URL" -c "select count(*) from city_room_messages")
tps=$(bench/pgbench_two_inserts.sh "$seconds")
awk -v a="$acked" -v t="$took" -v p="$tps" -v s="$stored" -v c="$((after - before))" -v hz="$ticks" 'BEGIN {
    printf "POST message   %8.0f /s (%d acknowledged, %d stored, %.0f us server CPU each)\n", a / t, a, s, c * 1e6 / hz / a
    printf "pgbench        %8.0f /s\n", p
    printf "ratio          %8.2f   (budget: >= 0.60)\n", a / t / p
    exit s < a ? 1 : 0 }'
