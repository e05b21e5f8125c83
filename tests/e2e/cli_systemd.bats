#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The systemd units: installed, understood by systemd, and what their commands rely on.

load cli_common

setup() {
    cli_setup
    build=$(dirname "$(dirname "$(command -v vmctld)")")
}
teardown() { cli_teardown; }

# The programs' build directory may be elsewhere, or be an installation already.
installed() {
    [ -r "$build/CMakeCache.txt" ] || skip "no build directory: $build"
    prefix=$work/prefix
    cmake --install "$build" --prefix "$prefix" >/dev/null
}

@test "cmake --install brings units that systemd understands" {
    command -v systemd-analyze >/dev/null || skip "no systemd-analyze (package systemd)"
    installed
    grep -qx "ExecStart=$prefix/bin/vmctld --foreground" "$prefix/lib/systemd/user/vmctld.service"
    local kind
    for kind in system user; do
        run env XDG_RUNTIME_DIR="$work" systemd-analyze verify --man=no "--$kind" "$prefix/lib/systemd/$kind/vmctld.service"
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output != *vmctld.service* ]]
    done
}

@test "what the units run is there, and the VMs outlive the controller" {
    installed
    local unit line count=0
    for unit in "$prefix"/lib/systemd/*/vmctld.service; do
        grep -qx KillMode=process "$unit"
        while read -r line; do
            [ -x "${line%% *}" ] || { echo "$unit: no ${line%% *}"; return 1; }
            count=$((count + 1))
        done < <(sed -n 's/^Exec[A-Za-z]*=//p' "$unit")
    done
    [ "$count" -eq 4 ]
}

serves() { [ "$(controller_pid)" = "$1" ]; }

@test "a controller that vmctl started makes room for the service, and its VMs stay" {
    vmfile web
    vmctl -q up
    local started
    started=$(vmctl status web -o json | grep '"startedAt"')
    vmctl controller stop # ExecStartPre
    vmctld --foreground 2>/dev/null 3>&- &
    local controller=$!
    await serves "$controller"
    vmctl wait web
    [ "$(vmctl status web -o json | grep '"startedAt"')" = "$started" ]
    [ "$(controller_pid)" = "$controller" ]
}
