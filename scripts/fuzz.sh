#!/usr/bin/env bash
# Feeds hostile bytes to whatever reads bytes from outside, each target for some seconds.
#
#   scripts/fuzz.sh [--seconds N] [--jobs N] [--address-sanitizer] [TARGET...]
#
# Without arguments: 60 seconds for each target, as many at a time as there are processors.
# A finding leaves its input in fuzz/artifacts/TARGET/ and makes the exit code 1.
#
# Needs a stable compiler and nothing else. The code is safe Rust with assertions on, so coverage
# is all that is built in; --address-sanitizer is for the unsafe code of dependencies, takes a
# build of its own, and is several times slower.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

usage() {
    echo "usage: scripts/fuzz.sh [--seconds N] [--jobs N] [--address-sanitizer] [TARGET...]" >&2
    exit 2
}

positive() {
    [[ "${1:-}" =~ ^[1-9][0-9]*$ ]] || usage
    echo "$1"
}

seconds=60
jobs=$(nproc)
sanitizer=none
while [[ "${1:-}" == --* ]]; do
    case "$1" in
        --seconds) seconds=$(positive "${2:-}") && shift ;;
        --jobs) jobs=$(positive "${2:-}") && shift ;;
        --address-sanitizer) sanitizer=address ;;
        *) usage ;;
    esac
    shift
done

mapfile -t known < <(cd fuzz_targets && basename --suffix=.rs -- *.rs)
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

# What `cargo fuzz` passes. The target is named so that build scripts do without these flags.
coverage=(level=4 inline-8bit-counters pc-table trace-compares stack-depth)
flags=(--cfg=fuzzing --codegen=passes=sancov-module --codegen=debug-assertions)
flags+=(--codegen=codegen-units=1 "${coverage[@]/#/--codegen=llvm-args=-sanitizer-coverage-}")
folder="$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/fuzz-$sanitizer"
if [[ $sanitizer != none ]]; then
    # Sanitizers are hidden in a stable compiler.
    export RUSTC_BOOTSTRAP=1
    flags+=("-Zsanitizer=$sanitizer")
fi
host=$(rustc --version --verbose | sed --quiet 's/^host: //p')
began=$SECONDS
RUSTFLAGS="${flags[*]}" cargo build --locked --release --target "$host" --target-dir "$folder" \
    "${targets[@]/#/--bin=}"
echo "fuzz: built in $((SECONDS - began)) s"

logs=$folder/logs
mkdir -p "$logs"

# One target. Its log is shown only if something was found.
run() { # target
    local target=$1 verdict=ok executions input
    mkdir -p "corpus/$target" "corpus-seed/$target" "artifacts/$target"
    # What is new goes to the first folder; the second is committed and only read.
    # A backtrace would hide what was wrong behind thirty frames.
    RUST_BACKTRACE=0 "$folder/$host/release/$target" "corpus/$target" "corpus-seed/$target" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -max_len=4096 \
        -rss_limit_mb=2048 -timeout=60 -verbosity=0 -print_final_stats=1 \
        >"$logs/$target" 2>&1 || verdict=FOUND
    executions=$(sed --quiet 's/^stat::number_of_executed_units: *//p' "$logs/$target")
    printf '%-16s %12d executions  %s\n' "$target" "${executions:-0}" "$verdict"
    if [[ $verdict != ok ]]; then
        tail --lines=40 "$logs/$target"
        input=$(sed --quiet 's/.*Test unit written to //p' "$logs/$target" | tail --lines=1)
        printf 'to repeat it:\n  cd fuzz && base64 --decode >INPUT <<<%s && %q INPUT\n' \
            "$(base64 --wrap=0 "${input:-/dev/null}")" "$folder/$host/release/$target"
        return 1
    fi
}

failed=0
running=0
printf '\n'
for target in "${targets[@]}"; do
    if ((running == jobs)); then
        wait -n || failed=1
        running=$((running - 1))
    fi
    run "$target" &
    running=$((running + 1))
done
while ((running > 0)); do
    wait -n || failed=1
    running=$((running - 1))
done

total=0
for target in "${targets[@]}"; do
    executions=$(sed --quiet 's/^stat::number_of_executed_units: *//p' "$logs/$target")
    total=$((total + ${executions:-0}))
done
printf '\nfuzz: %d executions in %d s\n' "$total" $((SECONDS - began))
if ((failed)); then
    echo "fuzz: found something, see above and fuzz/artifacts/" >&2
    exit 1
fi
echo "fuzz: nothing found"
