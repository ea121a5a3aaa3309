#!/usr/bin/env bash
# Line coverage of the crates that must not be wrong, by their own tests; at least 90 % each.
#
#   scripts/coverage.sh              the figures; exit code 1 if one is below the bar
#   scripts/coverage.sh --uncovered  also every line that no test ran, as file:line
#
# Lines of tests do not count: neither folders of tests nor what follows #[cfg(test)] in a source.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CRATES=(warlock-paxos warlock-wal warlock-resp)
readonly PERCENT_MIN=90

uncovered=0
case "${1:-}" in
    "") ;;
    --uncovered) uncovered=1 ;;
    *)
        echo "usage: scripts/coverage.sh [--uncovered]" >&2
        exit 2
        ;;
esac

# The tools must be those of the compiler: formats of profiles change between versions of LLVM.
tools() {
    dirname "$(find "$(rustc --print sysroot)/lib/rustlib" -name llvm-profdata -type f | head -1)"
}
if [[ $(tools) == . ]]; then
    rustup component add llvm-tools
fi
llvm=$(tools)

# A folder of its own: with other flags everything is built anew.
folder="$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/coverage"
rm -rf "$folder/profiles"
mkdir -p "$folder/profiles"
export CARGO_TARGET_DIR=$folder
export RUSTFLAGS="--codegen=instrument-coverage ${RUSTFLAGS:-}"
export LLVM_PROFILE_FILE="$folder/profiles/%p-%12m.profraw"

# Each run of the exploration goes through the same lines: a few of them do.
export WARLOCK_SEEDS="${WARLOCK_SEEDS:-20}"

packages=()
for crate in "${CRATES[@]}"; do packages+=(--package "$crate"); done
binaries=()
while read -r binary; do binaries+=(--object "$binary"); done < <(
    cargo test --locked --tests "${packages[@]}" --no-run --message-format=json |
        grep --only-matching '"executable":"[^"]*"' | cut --delimiter='"' --fields=4
)
cargo test --locked --tests "${packages[@]}" --quiet

"$llvm/llvm-profdata" merge --sparse "$folder"/profiles/*.profraw --output "$folder/all.profdata"
"$llvm/llvm-cov" export --format=lcov --instr-profile="$folder/all.profdata" \
    "${binaries[@]}" --sources "${CRATES[@]/#/$PWD/crates/}" >"$folder/lines.lcov"

awk -v root="$PWD/" -v crates="${CRATES[*]}" -v bar="$PERCENT_MIN" -v uncovered="$uncovered" '
    BEGIN { FS = "[:,]" }
    $1 == "SF" {
        file = substr($0, 4 + length(root))
        counts = split(file, parts, "/") > 3 && parts[1] == "crates" && parts[3] == "src"
        tests = 0
        path = substr($0, 4)
        for (line = 1; counts && (getline text < path) > 0; line++) {
            if (text == "#[cfg(test)]") { tests = line; break }
        }
        close(path)
        if (file ~ /\/tests(\.rs|\/)/) counts = 0
    }
    $1 == "DA" && counts && (!tests || $2 < tests) {
        all[parts[2]]++
        if ($3 > 0) hit[parts[2]]++
        else if (uncovered) print file ":" $2
    }
    END {
        failed = 0
        number = split(crates, names, " ")
        for (i = 1; i <= number; i++) {
            name = names[i]
            if (!all[name]) { print name ": no lines found"; failed = 1; continue }
            percent = 100 * hit[name] / all[name]
            verdict = percent < bar ? "BELOW " bar " %" : "ok"
            if (percent < bar) failed = 1
            printf "%-16s %5.1f %% of %5d lines  %s\n", name, percent, all[name], verdict
        }
        exit failed
    }' "$folder/lines.lcov"
