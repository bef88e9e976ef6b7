# Sourced by the scripts beside it: where things are, and how packages get here.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
NODE_MIN_MAJOR=20
NODE_MIN_MINOR=19
NODE_HOME=$ROOT/build-tools/node # used only where the system's Node is missing or too old

# Prefers the project's own Node once it is there (script/setup may just have installed it).
use_node() {
    local bin=$NODE_HOME/node_modules/node/bin
    if [ -x "$bin/node" ] && [[ ":$PATH:" != *":$bin:"* ]]; then
        export PATH=$bin:$PATH
        hash -r
    fi
}
use_node

say() {
    printf '\033[1m==> %s\033[0m\n' "$*" >&2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Debian packages by name; nothing happens when all are there.
need_packages() {
    local missing=() name
    for name in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ]; then
            missing+=("$name")
        fi
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" >&2
    fi
}

node_is_new_enough() {
    command -v node >/dev/null && command -v npm >/dev/null &&
        node -e "const [a, b] = process.versions.node.split('.').map(Number);
                 process.exit(a > $NODE_MIN_MAJOR || (a === $NODE_MIN_MAJOR && b >= $NODE_MIN_MINOR) ? 0 : 1)"
}

# Node: the system's when it is new enough, else the npm package of that name.
need_node() {
    if node_is_new_enough; then
        return
    fi
    if ! command -v npm >/dev/null; then
        need_packages nodejs npm
    fi
    if ! node_is_new_enough; then
        say "installing a newer Node with npm"
        mkdir -p "$NODE_HOME"
        npm install --loglevel=error --no-fund --no-audit --prefix "$NODE_HOME" node@22 >&2
        use_node
    fi
    node_is_new_enough
}

# npm ci in a folder, unless what is installed is what the lock file says (no lock file: it needs none).
need_modules() {
    local dir=$1
    use_node
    [ -f "$dir/package-lock.json" ] || return 0
    if ! cmp -s "$dir/package-lock.json" "$dir/node_modules/.installed-lock.json"; then
        say "installing the packages of $dir"
        (cd "$dir" && npm ci --no-fund --no-audit --loglevel=error >&2)
        mkdir -p "$dir/node_modules" # npm makes none for a package without dependencies
        cp "$dir/package-lock.json" "$dir/node_modules/.installed-lock.json"
    fi
}

jobs_count() {
    nproc 2>/dev/null || echo 2
}
