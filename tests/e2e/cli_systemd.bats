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
        run env XDG_RUNTIME_DIR="$work" systemd-analyze verify --man=no "--$kind" \
            "$prefix/lib/systemd/$kind/vmctld.service" "$prefix/lib/systemd/$kind/vmctl-machines.service"
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output != *vmctld.service* && $output != *vmctl-machines.service* ]]
    done
    if command -v vmctl-serve >/dev/null; then
        run env XDG_RUNTIME_DIR="$work" systemd-analyze verify --man=no --user "$prefix/lib/systemd/user/vmctl-serve."{service,socket}
        echo "$output"
        [ "$status" -eq 0 ]
        [[ $output != *vmctl-serve* ]]
    fi
}

@test "what the units run is there, and the VMs outlive the controller" {
    installed
    local unit line count=0
    grep -qx KillMode=process "$prefix"/lib/systemd/system/vmctld.service
    grep -qx KillMode=process "$prefix"/lib/systemd/user/vmctld.service
    for unit in "$prefix"/lib/systemd/*/*.service; do
        while read -r line; do
            [ -x "${line%% *}" ] || { echo "$unit: no ${line%% *}"; return 1; }
            count=$((count + 1))
        done < <(sed -n 's/^Exec[A-Za-z]*=-\?//p' "$unit")
    done
    local expected=10
    if command -v vmctl-serve >/dev/null; then expected=11; fi
    [ "$count" -eq "$expected" ]
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

# fleet : "web" depends on "db", "hand" does not come back by itself, "off" was stopped by the user
fleet() {
    local node
    node="backend \"noop\"; image \"$work/image\""
    printf 'vm "%s" { %s; %s }\n' db "$node" '' web "$node" 'depends-on "db"' hand "$node" \
        'autostart #false' off "$node" '' >VMFile.kdl
    vmctl -q up
    vmctl -q stop off
}
running_reason() { vmctl status "$1" | sed -n 's/^ *Running  *[A-Z][a-z]*  *\([A-Za-z]*\).*/\1/p'; }
order() { vmctl events 2>/dev/null | sed -n 's/.* HostShutdown *[0-9]* *\([a-z]*\) .*/\1/p' | tr '\n' ' '; }

@test "VMs are shut down with the host, dependents first, and started again as they were wanted" {
    fleet
    run vmctl controller stop --shut-down-vms
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"controller: stopped" ]]
    run order
    echo "$output"
    [[ $output == *"web "*"db "* ]]
    [ "$(running_reason web)" = HostShutdown ]
    [ "$(field State off)" = stopped ]
    vmctl list 2>/dev/null | grep -E '^(db|web|hand|off) ' >states
    [ "$(grep -c Stopped states)" -eq 4 ]
    vmctl controller start
    vmctl wait db web
    [ "$(field State hand)" = stopped ]
    [ "$(running_reason hand)" = HostShutdown ]
    [ "$(field State off)" = stopped ]
    vmctl start hand
    [ "$(field State hand)" = running ]
}

is_down() { [ "$(field State "$1")" = stopped ]; }
has_stopped_one() { is_down web; }

# bats test_tags=long
@test "a shutdown that is killed halfway starts what it has stopped" {
    fleet
    script '{"ignorePowerdown": true}' # db takes its 30 s
    printf '{}\n' >"$data/noop/web.json"
    vmctl controller stop --shut-down-vms >/dev/null 2>&1 3>&- &
    local shutdown=$!
    await has_stopped_one
    kill -9 "$shutdown"
    rm "$data/noop/default.json"
    vmctl wait web db
    [ "$(field State off)" = stopped ]
}

@test "a controller that is killed during the shutdown is replaced, and the VMs stay down" {
    fleet
    script '{"powerdownMs": 1500}'
    vmctl controller stop --shut-down-vms >out 2>&1 3>&- &
    local shutdown=$! first
    first=$(controller_pid)
    await stopping web
    kill -9 "$first"
    wait "$shutdown"
    cat out
    grep -q 'controller: stopped' out
    is_down web
    is_down db
}
stopping() { vmctl list 2>/dev/null | grep -q "^$1 .*Stopping"; }

@test "while the host goes down no command starts a VM again; controller start does" {
    fleet
    vmctl -q controller stop --shut-down-vms
    vmctl controller status >/dev/null || true
    fails 1 vmctl up --timeout 30s
    says "the VMs were shut down with the host" "vmctl controller start"
    fails 1 vmctl start web --timeout 30s
    says "vm 'web' stays down"
    vmctl -q start hand -d # a vmctld serves, and is asked to
    is_down web
    is_down db
    is_down hand
    [ "$(running_reason db)" = HostShutdown ]
    [ "$(field State off)" = stopped ] # `up` asked for it
    vmctl controller start
    vmctl wait db web hand --timeout 30s
}

@test "a VM that cannot be ended is given up and named, and the others stay down" {
    local node
    node="backend \"noop\"; image \"$work/image\"; stop-timeout 0"
    printf 'vm "%s" { %s; %s }\n' db "$node" '' stuck "$node" 'depends-on "db"' web "$node" '' >VMFile.kdl
    vmctl -q up
    printf '{"ignorePowerdown": true, "ignoreQuit": true, "ignoreTerminate": true, "ignoreKill": true}\n' \
        >"$data/noop/stuck.json"
    fails 1 vmctl controller stop --shut-down-vms
    says "cannot shut down: vm 'stuck'" "controller: stopped"
    vmctl list -d 2>/dev/null || true
    is_down db
    is_down web
    rm "$data/noop/stuck.json"
    fails 1 vmctl up --name web --timeout 30s
    is_down db
    vmctl controller start
    vmctl wait db web stuck --timeout 60s
}

# bats test_tags=long
@test "a guest that nobody could log in to is shut down with the host, too" {
    script '{"failProbe": 1000000, "refuseLogin": true, "powerdownMs": 1500}'
    printf 'vm "web" { backend "noop"; image "%s"; ssh; }\n' "$work/image" >VMFile.kdl
    fails 1 vmctl up
    [ "$(field Status web)" = AuthFailed ]
    fails 0 vmctl controller stop --shut-down-vms
    is_down web
    [ "$(running_reason web)" = HostShutdown ]
}

@test "controller: --shut-down-vms is for stop" {
    run vmctl controller start --shut-down-vms
    [ "$status" -eq 2 ]
    [[ $output == *"--shut-down-vms"* ]]
}
