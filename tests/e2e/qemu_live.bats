#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A guest that runs: what a changed VMFile brings to it without a restart, and what is done about
# those who meddle with its QEMU behind our back. One VM, built on from test to test.

load qemu

setup_file() {
    use_data_dir
    export SMALL=$BATS_FILE_TMPDIR/small # a file system that is soon full
    cat >"$PROJECT/VMFile.kdl" <<'END'
vm "live" {
    image "guest.qcow2"
    vcpus 1
    memory 160
    max-vcpus 4
    max-memory 416
    disk 1
    cloud-init { hostname "live" }
    ssh { user "worker" }
}
END
}

teardown_file() {
    leave_data_dir
    if mountpoint -q "$SMALL"; then umount "$SMALL"; fi
}

setup() {
    cd "$PROJECT"
}

# change FROM TO: in the VMFile
change() { sed -i "s|$1|$2|" VMFile.kdl; }

# qmp COMMAND [ARGUMENTS]: on the user's socket; prints what is returned, fails when QEMU refuses
qmp() {
    local answer
    answer=$(cd "$DATA/vms/live" && printf '%s\n' '{"execute": "qmp_capabilities"}' \
        "{\"execute\": \"$1\", \"arguments\": ${2:-{\}}, \"id\": 7}" |
        socat -T 5 - UNIX-CONNECT:qmp.sock | grep '"id": 7')
    jq -ce 'if .error then error(.error.desc) else .return end' <<<"$answer"
}
human() { qmp human-monitor-command "{\"command-line\": \"$1\"}"; }

cpus() { qmp query-cpus-fast | jq length; }
memory_mib() { qmp query-memory-size-summary | jq '(."base-memory" + ."plugged-memory") / 1048576'; }
run_state() { qmp query-status | jq -r .status; }
is_run_state() { [ "$(run_state)" = "$1" ]; }
reason() { vmctl status live -o json | jq -r --arg c "$1" '.. | objects | select(.type? == $c) | .reason' | head -n 1; }
is_reason() { [ "$(reason "$1")" = "$2" ]; }
event() { vmctl status live | grep -qF "$1"; }
is_in_state() { [ "$(state_of live)" = "$1" ]; }
is_unchanged() { [ "$(pid_of live)" = "$PID" ] && [ "$(start_ticks "$PID")" = "$TICKS" ]; }

remember() {
    PID=$(pid_of live)
    TICKS=$(start_ticks "$PID")
}

# ---- live changes ----

@test "CPUs and memory are added to the running guest, which can use them" {
    vmctl -q up
    remember
    change ' vcpus 1' ' vcpus 3'
    change ' memory 160' ' memory 288'
    run vmctl diff
    [ "$status" -eq 1 ]
    [ "$(grep -c '^@@.* live$' <<<"$output")" -eq 2 ]
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"live: configured (live): vcpus 1 -> 3, memory 160 -> 288"* ]]
    is_unchanged
    [ "$(reason Synced)" = Synced ]
    [ "$(cpus)" -eq 3 ]
    [ "$(memory_mib)" -eq 288 ]
    # up has waited until the guest uses them, which this one does not do by itself
    run vmctl ssh live -- 'grep -c ^processor /proc/cpuinfo; awk "/MemTotal/ { print (\$2 > 150000) }" /proc/meminfo'
    [ "$output" = $'3\n1' ]
    event "the guest now uses the added resources: 3 CPUs are online, 288 MiB of memory are online"
}

@test "the same again changes nothing, and the difference is gone" {
    run vmctl up
    [[ $output == *"live: unchanged"* ]]
    run vmctl diff
    [ "$status" -eq 0 ]
    [ "$(cpus)" -eq 3 ]
}

# limits: what QEMU has of the disks that the VM may write to
limits() { qmp query-block | jq -c '[.[] | select(.inserted.ro == false).inserted | [.bps_rd, .bps_wr, .iops]] | unique'; }

@test "what the disks may move is limited at once, changed and set free" {
    remember
    [ "$(limits)" = '[[0,0,0]]' ]
    change '^    disk 1$' '    disk 1; io-limit write="256K"'
    run vmctl up
    echo "$output"
    [[ $output == *'live: configured (live): io-limit (not set) -> write="256K"'* ]]
    [ "$(limits)" = '[[0,262144,0]]' ]
    [ "$(reason Synced)" = Synced ]
    local begun_ms
    begun_ms=$(date +%s%3N)
    vmctl ssh live -- 'dd if=/dev/zero of=/var/tmp/x bs=64k count=24 oflag=direct'
    [ $(($(date +%s%3N) - begun_ms)) -ge 4500 ] # 1.5 MiB at 256 KiB a second
    qmp block_set_io_throttle '{"id": "/machine/peripheral/disk/virtio-backend", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}'
    await event 'another program changed the VM; corrected: io-limit write="256K"'
    change 'write="256K"' 'read="100M" write="50M" iops=1000'
    kill_controller
    vmctl -q up
    [ "$(limits)" = '[[104857600,52428800,1000]]' ]
    run vmctl describe live
    [[ $output == *'Limits:      disks read="100M" write="50M" iops=1000'* ]]
    change '; io-limit .*' ''
    vmctl -q up
    [ "$(limits)" = '[[0,0,0]]' ]
    is_unchanged
}

# What the kernel makes of them where vmctld is a unit: the slow suite "shutdown".
@test "limits that this host cannot enforce are reported, changed and removed while the VM runs" {
    remember
    change '^    disk 1$' '    disk 1; cpu-limit 0.9'
    vmctl -q up
    [ "$(reason Limited)" = LimitsNotEnforced ] || skip "vmctld is a unit of systemd's here"
    vmctl describe live | grep -qx 'Limits:      0.9 CPUs (not enforced)'
    [ "$(vmctl top live -i 100ms -o json | jq '.[0].cpuLimitPercent')" = null ]
    local controller
    controller=$(controller_pid)
    change 'cpu-limit 0.9' 'cpu-limit 0.8; memory-limit 700'
    vmctl -q up
    [ "$(reason Limited)" = LimitsNotEnforced ]
    change '; cpu-limit .*' ''
    vmctl -q up
    [ -z "$(reason Limited)" ]
    [ "$(controller_pid)" = "$controller" ]
    is_unchanged
}

@test "kill -9 of vmctld while memory is added: added once" {
    local i
    remember
    for i in 1 2 3; do
        change ' memory [0-9]*$' " memory $((160 + i % 2 * 128 + 128))"
        vmctl -q apply -d
        kill_controller
        run vmctl up --timeout 60s
        echo "$output"
        [ "$status" -eq 0 ]
    done
    is_unchanged
    [ "$(memory_mib)" -eq 416 ]
}

@test "less, and more than there is room for, waits for a restart" {
    remember
    change ' vcpus 3' ' vcpus 2'
    run vmctl up
    [[ $output == *"restart required: vcpus 3 -> 2 (vmctl up --restart)"* ]]
    change ' vcpus 2' ' vcpus 5'
    change 'max-vcpus 4' 'max-vcpus 5'
    run vmctl diff
    [ "$(grep -c '^@@.* restart$' <<<"$output")" -eq 2 ]
    refute grep '^@@.* live$' <<<"$output"
    run vmctl up
    echo "$output"
    [[ $output != *"(live)"* ]]
    [[ $output == *"restart required: vcpus 3 -> 5, max-vcpus 4 -> 5 (vmctl up --restart)"* ]]
    is_unchanged
    [ "$(reason Synced)" = RestartRequired ]
    [ "$(cpus)" -eq 3 ]
    change ' vcpus 5' ' vcpus 3'
    change 'max-vcpus 5' 'max-vcpus 4'
}

@test "a forward, a larger disk and the rest of the live fields need nothing more than up" {
    change 'disk 1' 'disk 2'
    change '^}' '    forward host=18085 guest=22\n    stop-timeout 20\n    restart "always"\n}'
    remember
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"live: configured (live): "*"disk 1 -> 2"* ]]
    [[ $output != *required* ]]
    is_unchanged
    [ "$(reason Synced)" = Synced ]
    [ "$(vmctl ssh live -- cat /sys/block/vda/size)" -eq $((2 << 21)) ]
    # what this guest has no program for is reported, and holds nothing up
    event "the guest does not use all of the added resources: the partition of / is not grown: growpart is not installed"
    vmctl describe live | grep -q "^ *Synced *True .*the guest does not use all of the added resources: the partition of / is not grown"
    socat -T 5 - TCP:127.0.0.1:18085 </dev/null | grep -q SSH-
}

# ---- somebody else at QEMU's socket ----

@test "a guest that somebody paused goes on, and an event tells" {
    remember
    qmp stop
    await 10 event "another program paused the guest"
    await 10 is_run_state running
    is_unchanged
    vmctl wait live --ready --timeout 60s
}

@test "forwards that somebody changed are put right by the next up" {
    remember
    human "hostfwd_remove net0 tcp:127.0.0.1:18085"
    human "hostfwd_add net0 tcp:127.0.0.1:18086-:80"
    up_puts_it_right() {
        [ "$(vmctl up)" = "live: unchanged" ]
        event "forward tcp/18086 removed, forward tcp/18085 added"
    }
    await 30 up_puts_it_right # it looks every ten seconds at most
    socat -T 5 - TCP:127.0.0.1:18085 </dev/null | grep -q SSH-
    refute socat -T 1 - TCP:127.0.0.1:18086 </dev/null
    is_unchanged
}

# bats test_tags=long
@test "a guest that somebody reset is reached again" {
    remember
    qmp system_reset
    await 10 event "the guest was reset"
    vmctl wait live --ready --timeout 90s
    is_unchanged
    run vmctl ssh live -- 'read -r up _ </proc/uptime; echo "${up%.*}"'
    [ "$output" -lt 60 ]
}

# bats test_tags=long
@test "a QEMU that somebody quit is started again, with the new values from the start" {
    remember
    qmp quit || true
    has_new_pid() { local now; now=$(pid_of live); [ "$now" != "$PID" ] && [ "$now" != - ]; }
    await 30 has_new_pid
    vmctl wait live --ready --timeout 90s
    tr '\0' ' ' <"/proc/$(pid_of live)/cmdline" | grep -q -- '-smp cpus=3,maxcpus=4 -m 416M'
    event "the QEMU process died"
}

# ---- identity ----

@test "the identity helper gives a guest a clock, random numbers, names and keys of its own" {
    local helper=$VMCTL_BIN/vmctl-identity entropy
    [ -x "$helper" ] || skip "it is built on x86"
    vmctl -q up
    entropy=$(head -c 64 /dev/urandom | od -An -vtx1 | tr -d ' \n')
    vmctl ssh live -- 'cat >/tmp/identity && chmod +x /tmp/identity && mkdir -p /tmp/own' <"$helper"
    records() {
        printf 'T 1000000000 0\nX date +%%s >/tmp/then\nT %s 0\nE %s\n' "$(date +%s)" "$entropy"
        printf 'H other\nX hostname >/tmp/name\nH live\nF 600 4 /tmp/own/key\nkey\n'
        printf 'F 444 3 /etc/of-root\nid\n.\n'
    }
    run vmctl ssh live -- sudo /tmp/identity < <(records)
    echo "$output"
    [ "$output" = "ready"$'\n'"ok 0" ]
    run vmctl ssh live -- 'cat /tmp/then /tmp/name; stat -c "%U %a" /tmp/own/key /etc/of-root; date +%s'
    echo "$output"
    [[ ${lines[0]} == 100000000[0-9] ]]
    [ "${lines[1]}" = other ]
    [ "${lines[2]}" = "worker 600" ]
    [ "${lines[3]}" = "root 444" ]
    ((lines[4] >= $(date +%s) - 5 && lines[4] <= $(date +%s) + 1))
    run vmctl ssh live -- sudo /tmp/identity <<<'no record'
    [ "$status" -eq 2 ]
    [ "$output" = "ready"$'\n'"bad" ]
}

# ---- trouble ----

@test "a QEMU that hangs is shown, and healed when it goes on; nobody kills it" {
    remember
    kill -STOP "$PID"
    await 40 is_in_state Unknown
    [ "$(reason Running)" = QmpUnresponsive ]
    fails_to_wait() { run vmctl wait live --ready --timeout 1s; [ "$status" -eq 4 ]; }
    fails_to_wait
    kill -CONT "$PID"
    vmctl wait live --ready --timeout 60s
    is_unchanged
}

@test "a guest whose disk finds no room is paused with that reason, and goes on when there is some" {
    local disk=$DATA/vms/live/overlay.qcow2
    vmctl -q up
    vmctl -q down
    mkdir "$SMALL"
    mount -t tmpfs -o size=120m tmpfs "$SMALL" || skip "no right to mount"
    mv "$disk" "$SMALL/overlay.qcow2"
    ln -s "$SMALL/overlay.qcow2" "$disk"
    vmctl -q up
    remember
    head -c 200M /dev/zero >"$SMALL/filler" 2>/dev/null || true
    # the guest may be paused before it has answered: nothing waits for the login here
    vmctl ssh live -- 'sudo dd if=/dev/zero of=/root/much bs=1M count=60 conv=fsync' \
        </dev/null >/dev/null 2>&1 3>&- &
    local writer=$!
    await 60 is_in_state NoSpace
    [ "$(run_state)" = io-error ]
    run vmctl wait live --ready --timeout 30s
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"vmctl::io::no_space"*"no space left for its disk '$disk'"*"resumes by itself"* ]]
    rm "$SMALL/filler"
    await 30 is_in_state Ready
    wait "$writer"
    [ "$(run_state)" = running ]
    is_unchanged
}

@test "down tells how the guest was stopped" {
    run vmctl down
    [ "$status" -eq 0 ]
    event "stopped: the guest shut down"
    [ "$(vmctl status live -o json | jq -r .status.restart.lastMessage)" = "the guest shut down" ]
}
