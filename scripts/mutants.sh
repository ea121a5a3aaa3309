#!/usr/bin/env bash
# Builds deliberate mistakes into the code, one at a time, and requires that each is found.
#
#   scripts/mutants.sh                       all of them; writes MUTANTS.md
#   scripts/mutants.sh --random K            K of them by chance; writes nothing
#   scripts/mutants.sh [--seeds N] NAME...   these; writes nothing
#
# Exit code 1: one of them survived, by default 10,000 seeds.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Mistakes change what every crate is compiled to, so they get a directory of their own.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutants"
export RUSTFLAGS="${RUSTFLAGS:-} --cfg warlock_mutants"
export CARGO_TERM_PROGRESS_WHEN=never

# What ships must not even compile with them.
if refusal=$(cargo check --quiet --release --package warlock-resp 2>&1) ||
    [[ $refusal != *"warlock_mutants: a build without debug assertions"* ]]; then
    printf '%s\n' "$refusal" "mutants.sh: a release build would take mutants" >&2
    exit 1
fi

cargo build --quiet --profile sim --package warlock-sim --bin warlock-mutants
exec "$CARGO_TARGET_DIR/sim/warlock-mutants" "$@"
