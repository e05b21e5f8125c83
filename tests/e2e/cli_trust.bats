#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Directories, locks and processes of others; a controller that ends or cannot be reached. VMs are
# real QEMUs with a disk that only halts.
load cli_common

setup() {
    cli_setup
    printf '\372\364\353\374' >"$work/image" # cli; hlt; jmp
    truncate -s 1M "$work/image"
    printf '\125\252' | dd of="$work/image" bs=1 seek=510 conv=notrunc status=none
    other=
}

teardown() {
    local pid
    for pid in $other; do kill -KILL "$pid" 2>/dev/null || true; done
    timeout 60 vmctl -q destroy --all >/dev/null 2>&1 || true
    vmctl controller stop >/dev/null 2>&1 || true
    if mountpoint -q "$work/small"; then umount -l "$work/small"; fi
    cli_teardown
}

idle() { # NAME...
    command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
    local name
    for name; do
        printf 'vm "%s" { image "%s"; network "none"; memory 32; stop-timeout 1; }\n' "$name" "$work/image"
    done >VMFile.kdl
    vmctl -q up
}

qemu_pid() { # NAME [OPTION...]
    vmctl status "$@" -o json | jq -r '.status.instance.pid // empty | select(. > 0)'
}
is_gone() { ! [ -e "/proc/$1/exe" ] || has_ended "$1"; }

@test "a controller that is killed does not count: who starts one gets one, who asks for a stop gets it" {
    idle a
    local round
    for round in 1 2 3; do
        kill -9 "$(controller_pid)"
        fails 0 vmctl controller start
        fails 0 vmctl controller status
    done
    for round in 1 2 3; do
        kill -9 "$(controller_pid)"
        fails 0 vmctl stop a --detach
        await 20 has_no_qemu a
        fails 0 vmctl start a
    done
}
has_no_qemu() { [ -z "$(qemu_pid "$1")" ]; }

@test "a controller that was asked to end does not count either" {
    vmfile web
    vmctl -q up
    local round
    for round in 1 2 3; do
        kill -TERM "$(controller_pid)"
        fails 0 vmctl stop web --detach
        await 20 is_stopped web
        kill -INT "$(controller_pid)"
        fails 0 vmctl start web
    done
}
is_stopped() { vmctl status "$1" | grep -q Stopped; }

@test "stopping a halted controller says that it is halted" {
    vmfile web
    vmctl -q up
    local pid
    pid=$(controller_pid)
    kill -STOP "$pid"
    run timeout 20 vmctl controller stop
    kill -CONT "$pid"
    [ "$status" -eq 5 ]
    says "the controller (process $pid) is halted by SIGSTOP" "kill -CONT $pid"
    fails 0 vmctl controller stop
}

@test "the lock of a living QEMU may be removed: it is found, stopped and never doubled" {
    idle a
    local pid
    pid=$(qemu_pid a)
    [ -n "$pid" ]
    rm "$data/vms/a/alive.lock"
    kill_controller
    fails 0 vmctl start a
    [ "$(qemu_pid a)" = "$pid" ]
    kill_controller
    fails 0 vmctl destroy a
    await is_gone "$pid"
}

@test "a deleted data directory ends its controller and its QEMUs" {
    idle a b
    local pids
    pids="$(controller_pid) $(qemu_pid a) $(qemu_pid b)"
    await 10 rm -rf "$data" # what vmctld writes meanwhile may keep a directory from going at once
    local pid
    for pid in $pids; do await 30 is_gone "$pid"; done
    mkdir -p "$data/noop"
    vmfile web
    fails 0 vmctl up # as on the first day
}

@test "a moved data directory is served at its new path, and its QEMU is adopted" {
    idle a
    local pid controller
    pid=$(qemu_pid a)
    [ -n "$pid" ]
    controller=$(controller_pid)
    mv "$data" "$work/moved"
    await is_gone "$controller"
    fails 0 vmctl --data-dir "$work/moved" start a
    [ "$(qemu_pid a --data-dir "$work/moved")" = "$pid" ]
    fails 0 vmctl --data-dir "$work/moved" destroy a
    await is_gone "$pid"
    vmctl --data-dir "$work/moved" controller stop
}

@test "a controller in another PID namespace is named, and nothing waits for ever" {
    unshare --pid --fork --mount-proc true 2>/dev/null || skip "cannot make a PID namespace"
    vmfile web
    unshare --pid --fork --mount-proc --kill-child bash -c 'vmctl -q up && exec sleep 1000' 3>&- &
    other=$!
    await is_up_elsewhere
    local command
    for command in "up" "stop web --detach" "wait web" "controller start" "controller stop"; do
        # shellcheck disable=SC2086
        fails 5 timeout 60 vmctl $command
        says "runs in another PID namespace (pid:[" "--data-dir DIR"
    done
    fails 0 vmctl list
    run vmctl doctor
    says "runs in another PID namespace"
    kill -KILL "$(pgrep -P "$other")"
    await is_free
    fails 0 vmctl up
}
is_up_elsewhere() { vmctl list 2>/dev/null | grep -q Ready; }
is_free() { vmctl controller status | grep -q "not running"; }

@test "a data directory that others own, can write or have planted links in is refused" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    vmfile web
    vmctl -q up
    vmctl controller stop
    local vms=$data/vms
    mkdir -p "$work/precious/web"
    echo x >"$work/precious/web/thesis"
    mv "$vms" "$vms.aside"
    ln -s "$work/precious" "$vms"
    fails 5 vmctl destroy web
    says vmctl::store "'$vms' is a symbolic link" "rm '$vms'"
    fails 5 vmctld --data-dir "$data"
    [ -e "$work/precious/web/thesis" ]
    rm "$vms"
    mv "$vms.aside" "$vms"
    chmod 770 "$data"
    fails 5 vmctl list
    says "can be written by other users" "chmod -R go-w '$data'"
    chmod 700 "$data"
    chown nobody "$data"
    fails 5 vmctl list
    says "belongs to nobody, and vmctl runs as root" "sudo -u nobody vmctl"
    run vmctl doctor
    [ "$status" -eq 1 ]
    says "belongs to nobody"
    chown root "$data"
    fails 0 vmctl destroy web
}

@test "what root left in a user's directory is told with the owner and the command" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    chmod 755 "$work"
    mkdir -m 700 "$work/users"
    chown nobody "$work/users"
    cp "$(command -v vmctl)" "$(command -v vmctld)" "$work/"
    chmod 755 "$work/vmctl" "$work/vmctld"
    chmod 755 "$work/project"
    vmfile web
    chmod 644 VMFile.kdl "$work/image"
    as_nobody up -q
    as_nobody controller stop
    fails 5 vmctl --data-dir "$work/users/d" up
    says "belongs to nobody, and vmctl runs as root"
    chown -R root "$work/users/d/vms/web"
    fails 1 as_nobody doctor
    says "'$work/users/d/vms/web' belongs to root" "sudo chown -R"
    fails 1 as_nobody destroy web
    says "belongs to root"
    chown -R nobody "$work/users/d/vms/web"
    await 30 nobody_has_none # vmctld tries again by itself
    as_nobody controller stop
}
nobody_has_none() { [ -z "$(as_nobody list -o name)" ]; }
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups env -u XDG_DATA_HOME HOME="$work/users" \
        ASAN_OPTIONS=detect_leaks=0 "$work/vmctl" --data-dir "$work/users/d" "$@"
}

# Changes bytes of the store's file, of the same length, in every copy of a page.
change_store() { # OLD NEW
    OLD=$1 NEW=$2 perl -0777 -pi -e '$n = s/\Q$ENV{OLD}\E/$ENV{NEW}/g; END { exit !$n }' "$data/store/data.mdb"
}

@test "a record that was changed on the disk is named, and its VM is left alone" {
    vmfile web db
    vmctl -q up
    vmctl controller stop
    change_store '"name":"web"' '"name":"wex"'
    change_store '"pidNamespace":' '"pidNamespaze":'
    fails 1 vmctl doctor
    says "records that cannot be read: web (desired)" "controller (meta)" "mv '$data/store' '$data/store.broken'"
    fails 0 vmctl up db # starts a controller, which writes its own record again
    fails 5 vmctl status web
    says "record 'web' of table 'desired'" "checksum is wrong" "store.broken"
    run vmctl list
    [[ $output == *Damaged* && $output == *Ready* ]]
    fails 1 vmctl doctor
    [[ $output != *"controller (meta)"* ]]
    vmctl controller stop
    mv "$data/store" "$data/store.broken"
    fails 0 vmctl up # the way out that is offered
    [ "$(vmctl list -o name | wc -l)" = 2 ]
}

# A file system of its own for the data directory, filled to its last byte.
mount_small() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    truncate -s 96M "$work/disk.img"
    mkfs.ext4 -q -F -m 0 "$work/disk.img"
    mkdir "$work/small"
    mount -o loop "$work/disk.img" "$work/small" || skip "cannot mount"
    export XDG_DATA_HOME=$work/small
    data=$work/small/vmctl
}
fill() { dd if=/dev/zero of="$work/small/fill" bs=4k status=none 2>/dev/null || true; }

@test "a full disk is freed by vmctl itself: stop, destroy and image rm need no room" {
    mount_small
    idle a b
    vmctl image pull "file://$work/image" >/dev/null 2>&1 || true
    [ -e "$data/reserve" ]
    fill
    run df --output=avail "$work/small"
    [ "${lines[1]// /}" -lt 16 ]
    fails 0 timeout 60 vmctl stop a
    fails 0 timeout 60 vmctl destroy a
    fill
    fails 0 timeout 60 vmctl down --destroy
    vmctl controller stop
    umount "$work/small"
}

@test "a full disk is freed also while no controller runs" {
    mount_small
    idle a
    vmctl controller stop
    fill
    fails 0 timeout 60 vmctl destroy a
    vmctl controller stop
    umount "$work/small"
}

@test "a pipe in the place of one of vmctl's files is refused, and nobody waits for it" {
    local file
    vmfile web
    vmctl -q up
    vmctl -q controller stop
    for file in controller.lock controller.log desired.kick owners.lock store/data.mdb; do
        [ ! -e "$data/$file" ] || mv "$data/$file" kept
        mkfifo -m 600 "$data/$file"
        fails 5 timeout 20 vmctl list
        says "'$data/$file' is a named pipe" "rm '$data/$file'"
        rm "$data/$file"
        [ ! -e kept ] || mv kept "$data/$file"
    done
    fails 0 vmctl up
}
