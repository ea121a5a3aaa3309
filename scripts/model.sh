#!/usr/bin/env bash
# Visits every state of small worlds; with --states N also N states of one with everything in it.
#   scripts/model.sh [--states N]
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet --profile sim --package warlock-sim
exec "${CARGO_TARGET_DIR:-target}/sim/warlock-sim" model "$@"
