# SPDX-License-Identifier: MPL-2.0
# What the cli_*.bats share. Every test has a data directory of its own and ends the controller it
# started, so all may run at once. VMs are of the noop backend: no hypervisor is needed.

# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE%/*}/common.bash"

cli_setup() {
    command -v vmctl >/dev/null || skip "vmctl is not built: set VMCTL_BIN"
    work=$(mktemp -d "${BATS_TMPDIR:-/tmp}/vmctl-cli.XXXXXX")
    export XDG_DATA_HOME=$work/data HOME=$work/home NO_COLOR=1
    unset VMCTL_FILE VMCTL_PROJECT VMCTL_LOG RUST_LOG
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

# field NAME VM : a field of `vmctl status`
field() {
    vmctl status "$2" | sed -n "s/^$1: *//p"
}
