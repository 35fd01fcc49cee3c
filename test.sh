#!/bin/sh
# All checks and tests, the same here and on the server. Installs what is missing; needs cargo.
# Prints how long each step took. Fails on the first thing that is wrong.
set -eu
cd "$(dirname "$0")"

step() {
    name=$1
    shift
    began=$(date +%s)
    printf '\n== %s\n' "$name"
    "$@"
    printf -- '-- %s: %s s\n' "$name" "$(($(date +%s) - began))"
}

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo

install() {
    echo "$1 is missing; installing Debian's package $2"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $2 >/dev/null
}

need() {
    # need COMMAND PACKAGE: installs Debian's package if the command is missing.
    command -v "$1" >/dev/null 2>&1 || install "$1" "$2"
}

need_idle() {
    # need_idle PROGRAM PACKAGE: the same for a server that Debian starts when it is installed.
    command -v "$1" >/dev/null 2>&1 && return 0
    policy=/usr/sbin/policy-rc.d
    made=
    if ! [ -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
        $as_root chmod +x $policy
        made=$policy
    fi
    install "$1" "--no-install-recommends $2" || { $as_root rm -f $made; exit 1; }
    $as_root rm -f $made
    # Nor is it to start with the machine.
    [ ! -d /run/systemd/system ] || $as_root systemctl disable --quiet "$2"
}

need_postgresql() {
    [ -x /usr/sbin/pgbouncer ] || install pgbouncer pgbouncer
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && return 0
    # The package makes a server and starts it unless it is told not to. Tests make their own.
    $as_root mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" |
        $as_root tee /etc/postgresql-common/createcluster.d/willcall.conf >/dev/null
    install PostgreSQL postgresql
}

need cc gcc
need git git
need python3 python3
need node nodejs
need npm npm
need php php-cli
need go golang-go
need prlimit util-linux
need ip iproute2
need strace strace
need setpriv util-linux
need zsh zsh
need fish fish
need groff groff
need tinyproxy tinyproxy
need microsocks microsocks
need_idle /usr/sbin/nginx nginx
need_idle caddy caddy
need_idle promtool prometheus
need mmdebstrap mmdebstrap
need systemd-analyze systemd
need dpkg-shlibdeps dpkg-dev
need_postgresql
need chromium chromium
need chromedriver chromium-driver
for part in fmt clippy; do
    cargo $part --version >/dev/null 2>&1 || {
        echo "cargo $part is missing; install it with: rustup component add rustfmt clippy"
        exit 1
    }
done

# The accessibility checker of the browser tests.
step npm npm ci --prefix crates/willcall/tests/browser --no-audit --no-fund --silent
# The libraries with which receivers verify calls, in the versions that the tests are written for.
libraries=crates/willcall/tests/libraries
step "libraries for JavaScript" npm ci --prefix $libraries --no-audit --no-fund --silent
python3 -m venv --help >/dev/null && python3 -c 'import ensurepip' 2>/dev/null ||
    install python3-venv python3-venv
[ -x $libraries/venv/bin/pip ] || python3 -m venv $libraries/venv
step "libraries for Python" $libraries/venv/bin/pip install --quiet --requirement \
    $libraries/requirements.txt
step "libraries for Rust" cargo build --quiet --locked --manifest-path $libraries/rust/Cargo.toml \
    --target-dir $libraries/rust/target
step format cargo fmt --all --check
step lints cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
step tests cargo test --workspace --locked --quiet
# With the program that the tests have built.
step "Debian package" packaging/try-deb.sh
# The simulator, in a build of its own that has the deliberate faults, none of them on by itself.
sim() {
    cargo run --quiet --locked --profile sim -p sim --features mutations -- "$@"
}
step simulation sim --seeds 50
step "simulation of several nodes" sim --cluster --seeds 50
step "seeds that failed once" sim --known
step "fresh seeds" sim --for 30s
step "deliberate faults" sim --mutations
# The demo is the first thing a stranger runs, so it is the last thing that is checked.
step demo cargo run --quiet --locked -- demo --once
