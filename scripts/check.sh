#!/usr/bin/env bash
# The gate: everything that can be judged without running the programs. Changes nothing.
#
#   scripts/check.sh          fmt, clippy, documentation, tidy, dependencies
#   scripts/check.sh --fix    let rustfmt rewrite the sources, then check
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
    "") ;;
    --fix) cargo fmt --all ;;
    *)
        echo "usage: scripts/check.sh [--fix]" >&2
        exit 2
        ;;
esac

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# The advisory database is a git repository; a machine without a way there skips this part
# only, and says so.
advisories() {
    local database=https://github.com/RustSec/advisory-db
    if timeout 20 git ls-remote --quiet --exit-code "$database" HEAD >/dev/null 2>&1; then
        step cargo deny check advisories
    else
        echo "== advisories SKIPPED: $database cannot be reached from here"
    fi
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- --deny warnings
RUSTDOCFLAGS="--deny warnings" step \
    cargo doc --workspace --no-deps --document-private-items --locked
step cargo test --workspace --test it --locked --quiet -- tidy::
if command -v shellcheck >/dev/null; then
    mapfile -t shell < <(grep --files-with-matches --recursive '^#!.*sh$' scripts .ci)
    step shellcheck "${shell[@]}"
fi
if ! command -v cargo-deny >/dev/null; then
    step cargo install --locked cargo-deny
fi
step cargo deny --locked check bans licenses sources
advisories
printf '\ncheck: all good\n'
