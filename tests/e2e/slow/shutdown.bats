#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A host with a real systemd: a Debian 12 guest in which vmctl's package is installed, with the host's
# machines under its system manager and a lingering user's under theirs. It sleeps, reboots and loses
# its power. The tests build on each other.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    local root deb
    root=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)
    [ -n "${VMCTL_TEST_HOST:-}" ] || VMCTL_TEST_HOST=$("$root/tests/guest/build-debian" --host | tail -n 1)
    deb=$(BUILD_DIR="$BATS_FILE_TMPDIR/build" "$root/.package/build" deb)
    export VMCTL_TEST_GUEST=$VMCTL_TEST_HOST
    use_data_dir
    cat >VMFile.kdl <<'EOF2'
vm "host" {
    image "guest.qcow2"
    vcpus 2
    memory 1024
    disk 4
    cloud-init {}
    ssh { user "operator"; timeout "10m" }
}
EOF2
    # In both "db" is what others stand on, "hand" does not come back by itself, "off" is stopped by the user.
    # The host's "real" is a QEMU, whose guest has nothing to boot: it is given up in time.
    cat >inner.kdl <<'EOF2'
vm "db" { backend "noop"; image "/srv/blank.img"; }
vm "web" { backend "noop"; image "/srv/blank.img"; depends-on "db"; }
vm "hand" { backend "noop"; image "/srv/blank.img"; autostart #false; }
vm "off" { backend "noop"; image "/srv/blank.img"; }
vm "real" { image "/srv/blank.img"; vcpus 1; memory 32; stop-timeout "3s"; depends-on "db"; }
EOF2
    sed '/"real"/d' inner.kdl >users.kdl
    vmctl -q up --timeout 30m
    vmctl cp "$deb" host:/tmp/vmctl.deb
    vmctl cp inner.kdl host:
    vmctl cp users.kdl host:
    in_guest host 'set -e
        sudo dpkg --install /tmp/vmctl.deb
        sudo truncate -s 1M /srv/blank.img
        sudo loginctl enable-linger "$USER"
        sudo systemctl enable --now vmctld vmctl-machines
        export XDG_RUNTIME_DIR=/run/user/$(id -u)
        systemctl --user enable --now vmctld vmctl-machines' >&2
    in_guest host "$THE_HOSTS up --file inner.kdl --timeout 5m && $THE_HOSTS -q stop off" >&2
    in_guest host "$A_USERS up --file users.kdl --timeout 5m && $A_USERS -q stop off" >&2
}

export THE_HOSTS='sudo vmctl --data-dir /var/lib/vmctl' A_USERS=vmctl

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT" || return; }

# In the host once it answers, which takes its time while it boots machines under emulation.
in_guest() { # VM COMMAND
    vmctl -q wait "$1" --ready --timeout 10m && vmctl ssh "$1" -- "$2"
}

# each COMMAND... : for the host's machines and for the user's
each() {
    "$@" "$THE_HOSTS"
    "$@" "$A_USERS"
}

# words VMCTL : "VM STATE" of each machine, by name
words() { in_guest host "$1 list -o json" | jq -r '.[] | "\(.name) \(.display)"' | sort | tr '\n' ' '; }

# events VMCTL REASON : "VM ..." in the order in which they came, of this one only
events() { in_guest host "$1 events -o json" | jq -r --arg reason "$2" '.[] | select(.reason == $reason).vm'; }

# wishes VMCTL : what the user wants of each machine
wishes() { in_guest host "$1 list -o json" | jq -c 'sort_by(.name)[] | [.name, .desired.power, .desired.generation]'; }

boot_id() { in_guest host 'cat /proc/sys/kernel/random/boot_id' 2>/dev/null; }
has_booted() { local now && now=$(boot_id) && [ "$now" != "$boot" ]; }

keep_wishes() { wishes "$1" >"wishes-${1%% *}"; }

# with VMCTL [TEXT] : the QEMU, of the host's machines only
with() { [[ $1 != "$THE_HOSTS" ]] || echo "$2"; }

are_back() { # VMCTL
    in_guest host "$1 wait --ready db web $(with "$1" real) --timeout 5m"
    in_guest host "$1 list"
    [ "$(words "$1")" = "db Ready hand Stopped off Stopped $(with "$1" 'real Ready ')web Ready " ]
    wishes "$1" | diff "wishes-${1%% *}" -
}

were_shut_down_in_order() { # VMCTL
    events "$1" HostShutdown | tee /dev/stderr >order
    [ "$(sort order | tr '\n' ' ')" = "db hand $(with "$1" 'real ')web " ]
    [ "$(tail -n 1 order)" = db ]
    [ "$(in_guest host "$1 status hand" | grep -c "HostShutdown .*vmctl start hand")" -ge 1 ]
}

slept() { in_guest host 'grep -qx 1 /sys/power/suspend_stats/success' 2>/dev/null; }
has_event() { events "$1" "$2" | grep -qx "$3"; }

# The program that is run there: the machine's control group has the numbers and is throttled, also when
# vmctld was killed, and systemd has started another one in the group.
keeps_limits() {
    cat <<'EOF2'
set -eux
V=$1 S=$2 D=$(mktemp -d)
await() { for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.2; done; return 1; }
write() { echo "vm \"capped\" { image \"/srv/blank.img\"; vcpus 1; memory 32; stop-timeout \"3s\"; $1 }" >"$D/VMFile.kdl"; }
pid_of() { $V get capped -o json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | head -n 1; }
has() { [ "$(cat "$group/$1")" = "$2" ]; }
main() { $S show vmctld -p MainPID --value; }
is_replaced() { [ "$(main)" != 0 ] && [ "$(main)" != "$old" ] && [ "$($S is-active vmctld)" = active ]; }
is_gone() { [ ! -e "$group" ]; }
write 'cpu-limit 0.6; memory-limit 320'
$V up --file "$D/VMFile.kdl" --timeout 5m
pid=$(pid_of)
group=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$pid/cgroup")
has cpu.max '60000 100000'
has memory.max 335544320
has memory.oom.group 1
await grep -q 'nr_throttled [1-9]' "$group/cpu.stat"
$V describe capped | grep 'Limited  *True'
$V describe capped | grep -E 'Limits: +0.6 CPUs, 320 MB \(uses [0-9]+ MB\)'
$V top capped --once | grep -E '% / 60% +[0-9]+ / 320 MB'
$V top capped -o json | grep -E '"memoryLimitBytes": 335544320'
$V doctor | grep 'limits  *OK'
write 'cpu-limit 0.8'
$V up --file "$D/VMFile.kdl"
has cpu.max '80000 100000'
has memory.max max
old=$(main)
kill -9 "$old"
await is_replaced
await has cpu.max '80000 100000'
$S restart vmctld
await has cpu.max '80000 100000'
write ''
$V up --file "$D/VMFile.kdl"
has cpu.max 'max 100000'
[ "$(pid_of)" = "$pid" ]
$V destroy -y capped
await is_gone
EOF2
}

# The same of one that needs more than its limit: what the emulated machine needs and nobody counted is
# taken from the group's memory.max. vmctld is halted, killed and replaced between the kill and its look.
says_who_was_killed() {
    cat <<'EOF2'
set -eux
V=$1 S=$2 D=$(mktemp -d)
await() { for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.2; done; return 1; }
pid_of() { $V get greedy -o json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | head -n 1; }
main() { $S show vmctld -p MainPID --value; }
kills() { $V events greedy | awk '$3 == "OOMKilled" { n += $4 } END { print n + 0 }'; } # alike ones are one line
are() { [ "$(kills)" = "$1" ]; }
is_ended() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }
is_new() { local now; now=$(pid_of); [ -n "$now" ] && [ "$now" -gt 0 ] && [ "$now" != "$pid" ]; }
starve() { # the kernel looks for a victim once nothing more can be released
    pid=$(pid_of)
    group=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$pid/cgroup")
    echo 8M >"$group/memory.max" || true
}
echo 'vm "greedy" { image "/srv/blank.img"; vcpus 1; memory 32; memory-limit 320; stop-timeout "3s" }' >"$D/VMFile.kdl"
$V up --file "$D/VMFile.kdl" --timeout 5m
starve
await are 1
await is_new
$V events greedy | grep 'OOMKilled.*memory-limit. of 320 MiB.*vmctl up --name greedy'
$V describe greedy | grep OOMKilled
$V wait greedy --ready --timeout 5m
old=$(main)
kill -STOP "$old"
starve
await is_ended "$pid"
kill -9 "$old"
await are 2
await is_new
$V wait greedy --ready --timeout 5m
pid=$(pid_of)
kill -9 "$pid" # by nobody's memory
await is_new
are 2
$V destroy -y greedy
EOF2
}

@test "a machine that the kernel kills for its memory-limit is OOMKilled, also while no vmctld looks" {
    says_who_was_killed >greedy
    vmctl cp greedy host:
    in_guest host "sudo bash greedy '${THE_HOSTS#sudo }' systemctl" >&2
    in_guest host "export XDG_RUNTIME_DIR=/run/user/\$(id -u); bash greedy '$A_USERS' 'systemctl --user'" >&2
}

@test "limits of a machine hold, change while it runs, and outlive vmctld" {
    keeps_limits >limits
    vmctl cp limits host:
    in_guest host "sudo bash limits '${THE_HOSTS#sudo }' systemctl" >&2
    in_guest host "export XDG_RUNTIME_DIR=/run/user/\$(id -u); bash limits '$A_USERS' 'systemctl --user'" >&2
}

@test "a host that sleeps: its machines run on, and it is told of the one whose clock nobody can set" {
    each keep_wishes
    in_guest host 'sudo sh -c "echo 0 >/sys/class/rtc/rtc0/wakealarm; echo +20 >/sys/class/rtc/rtc0/wakealarm
        systemctl suspend"'
    await 300 slept
    await 60 has_event "$THE_HOSTS" ClockNotSet real
    [ "$(words "$THE_HOSTS")" = "db Ready hand Ready off Stopped real Ready web Ready " ]
}

@test "a host that reboots: shut down in order, and started again as they were wanted" {
    boot=$(boot_id)
    in_guest host 'sudo systemctl reboot' || true
    await 600 has_booted
    each are_back
    each were_shut_down_in_order
}

@test "a host that loses its power: what ran starts again, and what was stopped does not" {
    local command
    for command in "$THE_HOSTS" "$A_USERS"; do in_guest host "$command start hand && sync"; done
    each keep_wishes
    boot=$(boot_id)
    kill_hard "$(pid_of host)"
    await 600 has_booted
    each are_back
}
