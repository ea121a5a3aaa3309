#!/usr/bin/env bash
# Runs seeds of the simulator on all cores, optimised and with every assertion on.
#   scripts/sim.sh [--seeds N] [--from S] [--minutes M] [--nodes N] [--twice] [--json]
#   scripts/sim.sh replay SEED [--lines K] [--nodes N]
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet --profile sim --package warlock-sim
program="${CARGO_TARGET_DIR:-target}/sim/warlock-sim"
if [[ "${1:-}" == replay ]]; then
    exec "$program" "$@"
fi
exec "$program" run --threads "$(nproc)" "$@"
