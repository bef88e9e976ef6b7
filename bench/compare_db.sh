#!/usr/bin/env bash
# Grouped writes of our driver (bench_db: 100 writers, four statements each) against pgbench doing two inserts in a
# transaction, on the same PostgreSQL (fsync on), one after the other; then the same writers on SQLite.
#   script/with-postgres bench/compare_db.sh BENCH_DB [SECONDS]
set -euo pipefail
bench_db=$(realpath "$1")
seconds=${2:-10}
here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # bench_db puts its SQLite file here
ours=$("$bench_db" "$seconds")
echo "$ours"
theirs=$("$here/pgbench_two_inserts.sh" "$seconds")
awk -v a="$(grep -oE 'tps=[0-9]+' <<<"$ours" | grep -oE '[0-9]+')" -v p="$theirs" 'BEGIN {
    printf "pgbench tps=%.0f\nratio %.2f   (budget: >= 0.60)\n", p, a / p }'
env -u TEST_DATABASE_URL "$bench_db" "$seconds"
