#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# All of a project's network, shared folders and forwards by a user who is nobody special, when the
# tests are root's. Two guests; the tests run in order and build on each other.

load qemu

USER_NAME=nobody

# As that user, in a login of its own.
vmctl() { runuser -u "$USER_NAME" -- env HOME="$WORK/home" XDG_DATA_HOME="$WORK/data" NO_COLOR=1 PATH="$PATH" vmctl "$@"; }

setup_file() {
    [ -z "$(why_not)" ] || return 0
    use_data_dir
    export WORK
    WORK=$(mktemp -d /tmp/vmctl-user.XXXXXX)
    export DATA=$WORK/data/vmctl PROJECT=$WORK/project
    mkdir "$WORK/home" "$WORK/data" "$PROJECT" "$PROJECT/shared"
    cp --sparse=always "$(readlink -f "$VMCTL_TEST_GUEST")" "$WORK/guest.qcow2"
    cat >"$PROJECT/VMFile.kdl" <<'END'
defaults {
    image "../guest.qcow2"
    memory 128
    stop-timeout 2
    cloud-init
    ssh { user "worker" }
}
vm "a" {
    network "project" { host-services 18795; }
    share "shared" "/work"
    forward "auto"
}
vm "b" { network "project"; }
END
    chown -R "$USER_NAME:" "$WORK"
    cd "$PROJECT" || return
    vmctl -q up
}

why_not() {
    [ "$(id -u)" = 0 ] || { echo "needs root, to become another user"; return; }
    runuser -u "$USER_NAME" -- "$(command -v vmctl)" --version >/dev/null 2>&1 ||
        { echo "$USER_NAME cannot run vmctl where it is"; return; }
    runuser -u "$USER_NAME" -- unshare --user true 2>/dev/null || echo "$USER_NAME may not make user namespaces"
}

teardown_file() {
    local pids=()
    [ -n "${WORK:-}" ] || return 0
    [ ! -e "$BATS_FILE_TMPDIR/pids" ] || mapfile -t pids <"$BATS_FILE_TMPDIR/pids"
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" || true
    cd "$PROJECT" && leave_data_dir
    rm -rf "$WORK"
}

setup() {
    [ -z "$(why_not)" ] || skip "$(why_not)"
    cd "$PROJECT" || return
}

guest() { vmctl ssh "$1" -- "$2"; }
switch_pids() { find /proc/[0-9]*/cwd -lname "$DATA/networks/*" 2>/dev/null | cut -d/ -f3; }
ssh_pid() { cut -d' ' -f1 "$DATA/vms/a/forward.lock"; }
serves() { [ "$(curl -s --max-time 5 "http://127.0.0.1:$1/")" = "$2" ]; }
answers_by_name() { [ "$(guest b 'nc -w 5 a 18796 </dev/null')" = hello ]; }

# bats test_tags=long
@test "every process is that user's, without a capability" {
    local pid n=0
    for pid in $(pgrep -U "$USER_NAME"); do
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$WORK" || [ "$pid" = "$(switch_pids)" ] || continue
        n=$((n + 1))
        grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" ||
            readlink "/proc/$pid/ns/user" | grep -vqF "$(readlink /proc/self/ns/user)"
    done
    [ "$n" -ge 4 ] # vmctld, two QEMUs, the switch
    [ -z "$(find "$DATA" ! -user "$USER_NAME" | head -n 1)" ]
    [ "$(stat -c %U "/proc/$(switch_pids)")" = "$USER_NAME" ]
}

# bats test_tags=long
@test "the guests find each other, and a folder's files are the user's" {
    guest a "sudo sh -c 'while :; do echo hello | nc -l -p 18796; done >/dev/null 2>&1 </dev/null &'"
    await 20 answers_by_name
    guest a "echo x >/work/file && sudo sh -c 'echo y >/work/by-root'"
    [ "$(stat -c %U shared/file shared/by-root | sort -u)" = "$USER_NAME" ]
}

# bats test_tags=long
@test "a port that the guest opens is the host's, with the ssh and the switch killed in between" {
    guest a "mkdir www && echo of a >www/index.html && sudo httpd -p 18797 -h /home/worker/www"
    await 20 serves 18797 "of a"
    kill_hard "$(ssh_pid)"
    await 30 serves 18797 "of a"
    kill_hard "$(switch_pids)"
    await 30 answers_by_name
    await 60 serves 18797 "of a"
}

# bats test_tags=long
@test "no port of the host answers but the open one, and no socket of vmctl's is another's" {
    local gateway
    socat TCP-LISTEN:18794,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo closed' 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
    socat TCP-LISTEN:18795,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo open' 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
    await 20 socat -u TCP:127.0.0.1:18794 - >/dev/null
    await 20 socat -u TCP:127.0.0.1:18795 - >/dev/null
    gateway=$(guest a "ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p'")
    [ "$(guest a "nc -w 5 $gateway 18795 </dev/null")" = open ]
    [ -z "$(guest a "nc -w 5 $gateway 18794 </dev/null" || :)" ]
    [ -z "$(guest b "nc -w 5 $gateway 18794 </dev/null" || :)" ]
    [ -z "$(guest b "nc -w 5 $gateway 18797 </dev/null" || :)" ] # what the other's guest has opened
    [ -z "$(find "$DATA" -type s ! -perm 600 ! -path '*/networks/*' | head -n 1)" ]
    [ "$(stat -c %a "$DATA")" = 700 ]
}
