#!/bin/sh
# Builds the Debian package and prints its path.
#
#   packaging/build-deb.sh                                  a release build
#   packaging/build-deb.sh --no-build --deb-version 0.2.0-1   of the debug build that is there
#
# More arguments go to cargo-deb, which is installed into target/tools if it is missing there.
set -eu
cd "$(dirname "$0")/.."

cargo_deb_version=3.8.0
target=${CARGO_TARGET_DIR:-target}
tools=$target/tools

if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $cargo_deb_version" ]; then
    echo "installing cargo-deb $cargo_deb_version into $tools" >&2
    cargo install --quiet --locked --debug --version "$cargo_deb_version" --root "$tools" \
        --target-dir "$tools/build" cargo-deb >&2
fi

case "${1:-}" in
--no-build)
    profile=debug
    set -- --profile dev --fast "$@"
    ;;
*)
    profile=release
    BUILD_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
    export BUILD_COMMIT
    cargo build --release --locked >&2
    set -- --no-build "$@"
    ;;
esac

# What the program says about itself goes beside it.
made=packaging/made
mkdir -p $made
program=$target/$profile/willcall
"$program" man >$made/willcall.1
for shell in bash zsh fish; do
    "$program" completions $shell >$made/$shell
done

exec "$tools/bin/cargo-deb" deb --quiet --package willcall --locked --strip "$@"
