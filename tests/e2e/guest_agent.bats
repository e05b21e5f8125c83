#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The agent in a guest, Debian's qemu-guest-agent, with real QEMU. One VM without a network, whose
# runcmd starts the agent.

bats_require_minimum_version 1.5.0
load qemu

setup_file() {
    use_data_dir
    cat >user-data.yaml <<'END'
#cloud-config
runcmd:
  - /usr/lib/boot/agent
END
    cat >VMFile.kdl <<'END'
vm "alone" {
    image "guest.qcow2"
    memory 128
    network "none"
    stop-timeout "60s"
    cloud-init { user-data "user-data.yaml" }
}
vm "plain" {
    image "guest.qcow2"
    memory 128
    network "none"
}
END
    vmctl -q up --name alone
}

teardown_file() { leave_data_dir; }

in_guest() { vmctl -q exec --agent alone -- "$@"; }
agent_of() { vmctl get "$1" -o json | jq -r '.status.agent // "none"'; }
has_agent() { [ "$(agent_of "$1")" != none ]; }
has_no_agent() { [ "$(agent_of "$1")" = none ]; }

@test "exec --agent runs a command without a network, and ends with its exit status" {
    run --separate-stderr in_guest sh -c 'cat /proc/sys/kernel/hostname; echo "a  b" >&2; exit 7'
    [ "$status" -eq 7 ]
    [ "$output" = alone ]
    [ "$stderr" = "a  b" ]
    [[ $(agent_of alone) =~ ^[0-9]+\.[0-9]+ ]]
    vmctl status alone | grep -q '^Agent: *qemu-guest-agent [0-9]'
    [ "$(printf 'x y\n' | in_guest tr x z)" = "" ] # no input, unless it is asked for
    [ "$(printf 'x y\n' | vmctl exec --agent --stdin alone -- tr x z)" = "z y" ]
    fails 137 in_guest sh -c 'kill -9 $$'
    fails 255 in_guest no-such-command
    says "No such file"
    fails 2 vmctl exec --agent --tty alone -- true
}

@test "a signal ends the command in the guest" {
    vmctl -q exec --agent alone -- sleep 1234 3>&- &
    local pid=$! status=0
    await in_guest pidof sleep
    kill "$pid"
    wait "$pid" || status=$?
    [ "$status" -eq 143 ]
    await refute in_guest pidof sleep
}

@test "a guest without an agent is Ready as ever, and exec --agent says what to install" {
    vmctl -q up --name plain
    [ "$(state_of plain)" = Ready ]
    SECONDS=0
    vmctl -q stop plain --timeout 60s # nothing waits for an agent
    fails 1 vmctl exec --agent plain -- true
    says "vm 'plain' is not running"
    vmctl destroy -q plain
}

@test "an agent that ends is gone from status, and one that starts again is back" {
    fails 0 in_guest sh -c '(sleep 1; /usr/lib/boot/agent stop; sleep 9; /usr/lib/boot/agent) >/dev/null 2>&1 </dev/null &'
    await has_no_agent alone
    [ "$(state_of alone)" = Ready ]
    await has_agent alone
}

@test "an agent is found again by another vmctld, and by a machine that continues from its saved memory" {
    kill_controller
    vmctl -q start alone
    await has_agent alone
    vmctl -q suspend --disk alone
    has_no_agent alone
    vmctl -q resume alone
    await has_agent alone
    [ "$(in_guest cat /proc/sys/kernel/hostname)" = alone ]
}
