#!/usr/bin/env bash
# Lets chaos happen to a cluster of real processes and checks everything that clients were told.
#
#   scripts/chaos.sh [--minutes M] [--seed S] [--nodes 3|5|7] [--clients N] [--rate OPS]
#                    [--folder DIR]
#
# Needs root, for networks, disks and clocks of the nodes' own. Exit codes: 0 nothing found,
# 1 something found (a folder with histories, logs and data directories is kept, and its
# README.txt says how to look at it), 2 usage, 3 could not run. Ctrl-C cleans up.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-target}"
# The daemon as it ships. The runner must unwind to clean up, which release builds do not.
build() {
    cargo build --quiet --locked --release --package warlock-server --package warlock-admin &&
        cargo build --quiet --locked --package warlock-tests --bin warlock-chaos
}
if ! build; then
    echo "chaos: cannot be built" >&2
    exit 3
fi
exec "$target/debug/warlock-chaos" --programs "$target/release" "$@"
