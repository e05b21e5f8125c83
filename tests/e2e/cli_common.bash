# SPDX-License-Identifier: MPL-2.0
# What the cli_*.bats share. Every test has a data directory of its own and ends the controller it
# started, so all may run at once. VMs are of the noop backend: no hypervisor is needed.
# VMCTL_BIN: where vmctl and vmctld are [default: build/bin of the source tree].

cli_setup() {
    PATH=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../build/bin}:$PATH
    command -v vmctl >/dev/null || skip "vmctl is not built: set VMCTL_BIN"
    work=$(mktemp -d "${BATS_TMPDIR:-/tmp}/vmctl-cli.XXXXXX")
    export XDG_DATA_HOME=$work/data HOME=$work/home NO_COLOR=1
    unset VMCTL_FILE VMCTL_LOG RUST_LOG
    data=$XDG_DATA_HOME/vmctl
    mkdir -p "$work/project" "$HOME" "$data/noop"
    : >"$work/image"
    cd "$work/project" || return 1
}

cli_teardown() {
    [ -n "${work:-}" ] || return 0
    vmctl controller stop >/dev/null 2>&1 || true
    cd / && rm -rf "$work"
}

# vmfile NAME... : a VMFile with these VMs
vmfile() {
    local name
    for name in "$@"; do
        printf 'vm "%s" { backend "noop"; image "%s"; }\n' "$name" "$work/image"
    done >VMFile.kdl
}

# script JSON : how the noop backend behaves from now on
script() {
    printf '%s\n' "$1" >"$data/noop/default.json.new"
    mv "$data/noop/default.json.new" "$data/noop/default.json"
}

controller_pid() {
    vmctl controller status -o json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'
}

# knows_controller : it has told its pid; its lock is there a moment before
knows_controller() {
    [ -n "$(controller_pid)" ]
}

# field NAME VM : a field of `vmctl status`
field() {
    vmctl status "$2" | sed -n "s/^$1: *//p"
}

# await COMMAND... : until it succeeds, for at most ten seconds
await() {
    local deadline=$((SECONDS + 10))
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        read -rt 0.05 <> <(:) || :
    done
}

# has LINE : the output of `run` has exactly this line
has() {
    grep -Fxq -- "$1" <<<"$output" || { echo "no line '$1' in:"; echo "$output"; return 1; }
}

# says TEXT : the output of `run` has this text
says() {
    grep -Fq -- "$1" <<<"$output" || { echo "no '$1' in:"; echo "$output"; return 1; }
}
