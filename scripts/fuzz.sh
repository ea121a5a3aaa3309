#!/usr/bin/env bash
# Feeds hostile bytes to the parsers, each target for some seconds.
#
#   scripts/fuzz.sh [--seconds N] [TARGET...]    60 seconds and all targets if not said
#
# A crash leaves its input in fuzz/artifacts/TARGET/ and makes the exit code 1. To repeat it:
# cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run TARGET artifacts/TARGET/FILE
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

usage() {
    echo "usage: scripts/fuzz.sh [--seconds N] [TARGET...]" >&2
    exit 2
}

seconds=60
if [[ "${1:-}" == --seconds ]]; then
    [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || usage
    seconds=$2
    shift 2
fi
[[ "$*" != *-* ]] || usage

# The compiler flags for coverage and sanitizers are hidden in a stable compiler.
export RUSTC_BOOTSTRAP=1
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --locked cargo-fuzz
fi

mapfile -t known < <(cargo fuzz list)
targets=("$@")
if [[ $# == 0 ]]; then
    targets=("${known[@]}")
fi
for target in "${targets[@]}"; do
    if [[ " ${known[*]} " != *" $target "* ]]; then
        echo "no target '$target'; there are: ${known[*]}" >&2
        usage
    fi
done

failed=()
for target in "${targets[@]}"; do
    printf '\n== fuzz %s for %s s\n' "$target" "$seconds"
    mkdir -p "corpus/$target" "corpus-seed/$target"
    # What is new goes to the first directory; the second is committed and only read.
    cargo fuzz run "$target" "corpus/$target" "corpus-seed/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=10 \
        -verbosity=0 -print_final_stats=1 || failed+=("$target")
done
if [[ ${#failed[@]} != 0 ]]; then
    echo "fuzz: failed: ${failed[*]}" >&2
    exit 1
fi
printf '\nfuzz: nothing found\n'
