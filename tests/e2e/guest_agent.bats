#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The agent in a guest, Debian's qemu-guest-agent, with real QEMU. One VM without a network, whose
# runcmd starts the agent.

bats_require_minimum_version 1.5.0
load qemu

in_guest() { vmctl -q exec --agent alone -- "$@"; }
agent_of() { vmctl get "$1" -o json | jq -r '.status.agent // "none"'; }
has_agent() { [ "$(agent_of "$1")" != none ]; }
has_no_agent() { [ "$(agent_of "$1")" = none ]; }

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
    await 180 has_agent alone
}

teardown_file() { leave_data_dir; }


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

@test "a volume that the guest has mounted is unmounted by the agent before it is detached" {
    vmctl -q volume attach alone data --size 1
    in_guest sh -c 'for s in /sys/block/*/serial; do [ "$(cat $s)" = data ] && d=${s%/serial}; done
        (mkfs.ext4 -q -F /dev/${d##*/} || mke2fs /dev/${d##*/}) >/dev/null 2>&1
        mkdir -p /byhand && mount /dev/${d##*/} /byhand && echo kept >/byhand/file
        cd /byhand && { setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >/tmp/holder; }'
    fails 1 vmctl volume detach alone data --timeout 60
    says "volume 'data' stays in vm 'alone': it cannot be unmounted from /byhand"
    in_guest grep -q byhand /proc/mounts
    in_guest sh -c 'kill $(cat /tmp/holder)'
    vmctl -q volume detach alone data
    refute in_guest grep -q byhand /proc/mounts
    vmctl -q volume attach alone data
    in_guest sh -c 'for s in /sys/block/*/serial; do [ "$(cat $s)" = data ] && d=${s%/serial}; done
        mount /dev/${d##*/} /byhand && grep -qx kept /byhand/file && umount /byhand'
    vmctl -q volume detach alone data
    vmctl volume rm data
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

has_snapshot() { vmctl snapshot list alone -o name | grep -Fxq "$1"; }

@test "a snapshot of the running guest has its file systems frozen, for a moment" {
    in_guest sh -c 'echo before >/root/moment; : >/run/fsfreeze.log'
    vmctl snapshot create alone whole
    vmctl events alone | grep -q "snapshot 'whole' made (filesystem-consistent: "
    vmctl snapshot list alone | grep -q ' filesystem$'
    [ "$(vmctl snapshot list alone -o json | jq -r '.[0] | .filesystemConsistent, .crashConsistent')" = $'true\nnull' ]
    [ "$(in_guest cat /run/fsfreeze.log)" = $'freeze\nthaw' ]
    in_guest sh -c 'echo after >/root/moment; sync'
    [ "$(vmctl get alone -o json | jq '.status | has("frozenIid")')" = false ]
}

# agent_says COMMAND : what it answers to us, as QEMU's only client
agent_says() {
    python3 - "$DATA/vms/alone/agent.sock" "$1" <<'END'
import json, os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect("agent.sock")
s.sendall(b'\xff{"execute":"guest-sync-delimited","arguments":{"id":4242}}\n')
f = s.makefile("rb")
while b"4242" not in f.readline():
    pass
s.sendall(json.dumps({"execute": sys.argv[2]}).encode() + b"\n")
print(json.loads(f.readline())["return"])
END
}
is_freezing() { vmctl get alone -o json | jq -e '.status | has("frozenIid")' >/dev/null; }
freezes_again() { [ "$(grep -c 'fsfreeze: freeze' "$DATA/vms/alone/console.log")" -eq 2 ]; }
is_not_freezing() { ! is_freezing; }

@test "file systems that are frozen when vmctld is killed are thawed by the next one" {
    in_guest sh -c 'echo 4 >/run/fsfreeze-seconds; : >/run/fsfreeze.log'
    vmctl snapshot create -d alone cut
    await is_freezing
    await freezes_again # which its console says: to ask the agent would be to wait for it
    kill_controller
    [ "$(agent_says guest-fsfreeze-status)" = frozen ]
    vmctl -q start alone # another controller
    await is_not_freezing
    await has_snapshot cut
    [ "$(agent_says guest-fsfreeze-status)" = thawed ]
    in_guest sh -c 'rm /run/fsfreeze-seconds; echo again >/root/moment; sync'
    vmctl -q snapshot rm alone cut
}

clock_was_set() { vmctl events alone | grep -Eq "clock was [0-9.]+ s behind and was set to the host's"; }

@test "without SSH the agent sets the clock of a guest that stood still" {
    vmctl -q suspend alone
    read -rt 3 <> <(:) || :
    vmctl -q resume alone
    await clock_was_set
    local off=$(($(in_guest date +%s) - $(date +%s)))
    ((off >= -2 && off <= 2))
}

@test "a guest that ignores the power button is shut down by its agent" {
    in_guest killall acpid
    vmctl -q stop alone --timeout 90s
    vmctl events alone | grep -q 'the guest shut down'
    vmctl -q start alone
}
