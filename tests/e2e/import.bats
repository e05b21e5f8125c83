#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl import of a VM that runs: a real QEMU started the way the original vmctl did (its book, "QEMU
# Backend" and "Work Directory") becomes ours without the guest noticing.

bats_require_minimum_version 1.5.0
load qemu

setup() {
    [ -n "${VMCTL_TEST_GUEST:-}" ] || VMCTL_TEST_GUEST=$("$BATS_TEST_DIRNAME/../guest/build" | tail -n 1)
    export XDG_DATA_HOME=$BATS_TEST_TMPDIR/d HOME=$BATS_TEST_TMPDIR
    DATA=$XDG_DATA_HOME/vmctl
    dir=$DATA/vms/web
    port=$((20000 + RANDOM % 12000))
    mkdir -p "$DATA"
    cd "$BATS_TEST_TMPDIR"
    make_files
}

teardown() {
    vmctl destroy -q web --timeout 60s 2>/dev/null || true
    vmctl controller stop >/dev/null || true
    [ ! -r "$dir/pidfile" ] || kill -9 "$(cat "$dir/pidfile")" 2>/dev/null || true
}

# The files are those that a VM of ours has, under the same names; only the store is not there.
make_files() {
    ssh-keygen -q -t ed25519 -N '' -f key
    vmctl create -q --name web --image "$VMCTL_TEST_GUEST" --memory 160 --user worker --ssh-key key.pub
    vmctl controller stop >/dev/null
    rm -r "$DATA/store"
    cp key "$dir/id_ed25519_generated"
    cp key.pub "$dir/id_ed25519_generated.pub"
}

# start_original [VCPUS]
start_original() {
    qemu-system-x86_64 -name web -machine q35,accel=tcg -m 160 -smp "${1:-1}" \
        -drive "file=$dir/overlay.qcow2,format=qcow2,if=none,id=drive0" -device virtio-blk-pci,drive=drive0 \
        -drive "file=$dir/seed.iso,format=raw,if=virtio,readonly=on" -device virtio-rng-pci \
        -netdev "user,id=user0,hostfwd=tcp::$port-:22" -device virtio-net-pci,netdev=user0,mac=52:54:00:ab:cd:ef \
        -chardev "socket,id=con0,path=$dir/console.sock,server=on,wait=off,logfile=$dir/console.log" -serial chardev:con0 \
        -qmp "unix:$dir/qmp.sock,server=on,wait=off" -vnc 127.0.0.1:0,to=99 \
        -pidfile "$dir/pidfile" -daemonize 3>&-
    pid=$(cat "$dir/pidfile")
    cat >"$DATA/vms.json" <<END
{"web": {"id": "abc123", "name": "web", "backend": "qemu", "work_dir": "$dir",
 "overlay_path": "$dir/overlay.qcow2", "seed_iso_path": "$dir/seed.iso", "pid": $pid,
 "qmp_socket": "$dir/qmp.sock", "console_socket": "$dir/console.sock", "vnc_addr": "127.0.0.1:5900",
 "vcpus": 1, "memory_mb": 160, "disk_gb": null, "network": {"type": "User"},
 "ssh_host_port": $port, "mac_addr": "52:54:00:ab:cd:ef"}}
END
}

has_lock() { ls -l "/proc/$1/fd" | grep -q "$dir/alive.lock"; }
has_new_pid() {
    local now
    now=$(pid_of web)
    [ "$now" -gt 0 ] 2>/dev/null && [ "$now" != "$1" ]
}

@test "a VM that runs is taken over in the same process, and is then as ours are" {
    start_original
    run vmctl import -q --user worker
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "web: imported, running (pid $pid)" ]
    has_lock "$pid"
    vmctl wait web --ready --timeout 90s
    [ "$(pid_of web)" = "$pid" ]
    run vmctl list
    [[ $output == *" $pid "*" $port "* ]]
    run vmctl ssh web -- hostname
    [ "$status" -eq 0 ]
    vmctl status web | grep -Eq '^VNC: +127\.0\.0\.1:59[0-9]+$'
    run vmctl import -q --user worker
    echo "$output"
    [ "${lines[0]}" = "web: imported before" ]

    # neither a killed controller nor one that was away loses it
    kill_controller
    vmctl wait web --ready --timeout 60s
    [ "$(pid_of web)" = "$pid" ]

    vmctl suspend web
    [ "$(state_of web)" = Suspended ]
    vmctl resume web
    vmctl wait web --ready --timeout 60s
    [ "$(pid_of web)" = "$pid" ]

    vmctl stop web --timeout 60s
    [ "$(state_of web)" = Stopped ]
    await 10 has_ended "$pid"
    vmctl start web --timeout 90s
    has_new_pid "$pid"
    grep -qz -- '^-uuid$' "/proc/$(pid_of web)/cmdline"
    run vmctl ssh web -- hostname
    [ "$status" -eq 0 ]
    vmctl destroy web
    [ ! -e "$dir" ]
}

@test "its guest can end by itself or be killed, and what the VMFile changes waits for a restart" {
    cat >VMFile.kdl <<END
vm "web" {
    image "$VMCTL_TEST_GUEST"
    memory 160
    forward host=$((port + 1)) guest=80
    cloud-init { hostname "web" }
    ssh { user "worker" }
}
END
    start_original
    run vmctl import --file VMFile.kdl
    echo "$output"
    [ "$status" -eq 0 ]
    vmctl wait web --ready --allow-drift --timeout 90s
    run vmctl wait web --ready
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"restart required (forward (none) -> 1 entry)"* ]]
    [ "$(pid_of web)" = "$pid" ]
    kill -9 "$pid"
    await 60 has_new_pid "$pid"
    vmctl wait web --ready --timeout 90s
    grep -qz -- '^-uuid$' "/proc/$(pid_of web)/cmdline"
    run vmctl ssh web -- hostname
    [ "$status" -eq 0 ]
}

@test "one whose QMP socket is in use is refused, and nothing has changed" {
    start_original
    coproc socat { exec socat - "UNIX-CONNECT:$dir/qmp.sock" 2>/dev/null; }
    local busy=$socat_PID
    read -r _ <&"${socat[0]}" # QEMU's greeting: it is served
    run vmctl import --user worker
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"error[vmctl::qemu::qmp_connect_failed]: vm 'web': QEMU does not answer on"* ]]
    [[ $output == *"help: it serves one client at a time"* ]]
    [ -z "$(vmctl list -o name)" ]
    ! has_lock "$pid"
    kill "$busy"
    await 10 has_ended "$busy"
    run vmctl import -q --user worker
    echo "$output"
    [ "${lines[0]}" = "web: imported, running (pid $pid)" ]
}

@test "an import that did not come to its end is completed by the next" {
    start_original
    # another VM has its port: that is found out when it holds the lock already
    jq '{other: (.web | .name = "other" | .pid = null | .overlay_path |= sub("/web/"; "/other/"))}' \
        "$DATA/vms.json" >other.json
    mkdir "$DATA/vms/other"
    qemu-img create -q -f qcow2 -F qcow2 -b "$VMCTL_TEST_GUEST" "$DATA/vms/other/overlay.qcow2"
    vmctl import -q other.json
    run vmctl import --user worker
    echo "$output"
    [ "$status" -eq 6 ]
    [[ $output == *"vm 'web' runs with tcp/$port, which another vm has here"* ]]
    has_lock "$pid"
    vmctl destroy other
    run vmctl import -q --user worker
    echo "$output"
    [ "${lines[0]}" = "web: imported, running (pid $pid)" ]
    vmctl wait web --ready --timeout 90s
    [ "$(pid_of web)" = "$pid" ]
}

@test "with --stop it is shut down first" {
    start_original
    run vmctl import --stop --user worker
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"web: imported, stopped"* ]]
    await 10 has_ended "$pid"
}
