#!/bin/sh
# What takes a night: an hour of each kind of trouble, drawn anew. Prints how to repeat what fails.
# The first argument is a time such as 1h or 10m instead of the hour.
set -eu
cd "$(dirname "$0")"
time=${1:-1h}

echo "== the simulator"
cargo run --quiet --locked --profile sim -p sim -- --for "$time"

echo "== the simulator, with several nodes"
cargo run --quiet --locked --profile sim -p sim -- --cluster --for "$time"

for kind in kill full damage power; do
    echo "== histories of the program: $kind"
    HISTORIES_FOR=$time HISTORY=$kind cargo test --locked -p willcall --test it \
        every_kind_for_as_long -- --nocapture
done

echo "== both engines"
ORACLE_FOR=$time cargo test --locked -p store --test it histories_of_fresh_seeds -- --nocapture

# Servers of the latest release and of this commit on one database.
if release=$(git describe --tags --abbrev=0 2>/dev/null); then
    echo "== an upgrade from $release"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"; git worktree prune' EXIT
    git worktree add --quiet --detach "$folder/source" "$release"
    (cd "$folder/source" && cargo build --quiet --locked -p willcall --target-dir "$folder/target")
    WILLCALL_PREVIOUS=$folder/target/debug/willcall \
        cargo test --locked -p willcall --test it upgrades
fi

echo "== parsers"
WILLCALL_TEST_FUZZ_FOR=$time cargo test --locked --workspace fuzz

echo "== property tests from a fresh seed"
seed=$(date +%s)
echo "PROPTEST_RNG_SEED=$seed"
PROPTEST_RNG_SEED=$seed cargo test --locked --workspace
