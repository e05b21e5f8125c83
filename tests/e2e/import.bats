#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl import with a real QEMU started the way the original vmctl started it (its book, "QEMU Backend"
# and "Work Directory"): refused while it runs, and ours once it is stopped.

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

answers_ssh() { socat -T 2 - "TCP:127.0.0.1:$port" </dev/null | grep -q SSH-; }

# The way `stop` of the original does it (its book, "vmctl stop": an ACPI power-down by QMP).
stop_original() {
    await 240 answers_ssh
    printf '%s\n' '{"execute": "qmp_capabilities"}' '{"execute": "system_powerdown"}' |
        socat -t 60 - "UNIX-CONNECT:$dir/qmp.sock" >/dev/null
    await 60 has_ended "$pid"
}

# Everything that an import could change, but for what the running QEMU itself writes.
state_of_files() {
    (cd "$DATA" && find vms vms.json ! -name console.log ! -name overlay.qcow2 -printf '%p %i %s %T@\n' | sort)
}

is_refused() {
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"error[vmctl::vm::invalid_state]: vm 'web' is running"* ]]
    [[ $output == *"help: stop it with the vmctl that started it, then import again: vmctl stop web"* ]]
}

@test "a running VM is refused with the command that stops it; stopped, it is taken over and is as ours are" {
    start_original
    local before
    before=$(state_of_files)
    run vmctl import --user worker
    is_refused
    [ "$(state_of_files)" = "$before" ]
    [ -z "$(vmctl list -o name)" ]
    refute has_ended "$pid"

    stop_original
    run vmctl import -q --user worker
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "web: imported, stopped" ]
    run vmctl import -q --user worker
    echo "$output"
    [ "${lines[0]}" = "web: imported before" ]

    vmctl start web --timeout 90s
    run vmctl list
    [[ $output == *" $port "* ]]
    grep -qz 52:54:00:ab:cd:ef "/proc/$(pid_of web)/cmdline"
    grep -qz -- '^-uuid$' "/proc/$(pid_of web)/cmdline"
    run vmctl ssh web -- hostname
    [ "$status" -eq 0 ]

    # neither a killed controller nor one that was away loses it
    pid=$(pid_of web)
    kill_controller
    vmctl wait web --ready --timeout 60s
    [ "$(pid_of web)" = "$pid" ]
    vmctl suspend web
    [ "$(state_of web)" = Suspended ]
    vmctl resume web
    vmctl wait web --ready --timeout 60s
    vmctl stop web --timeout 60s
    [ "$(state_of web)" = Stopped ]
    await 10 has_ended "$pid"
    vmctl destroy web
    [ ! -e "$dir" ]
}

# bats test_tags=long
@test "what a VMFile says of it counts from its first start on" {
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
    is_refused
    stop_original
    run vmctl import --file VMFile.kdl
    echo "$output"
    [ "$status" -eq 0 ]
    run vmctl diff
    echo "$output"
    [ "$status" -eq 0 ]
    vmctl start web --timeout 90s
    vmctl wait web --ready --timeout 90s
    await 10 bash -c ": </dev/tcp/127.0.0.1/$((port + 1))"
    run vmctl ssh web -- hostname
    [ "$status" -eq 0 ]
}

# bats test_tags=long
@test "a refused VM keeps no other from being taken over, and its port is chosen again if that is taken" {
    start_original
    jq '{web, other: (.web | .name = "other" | .pid = null | .overlay_path |= sub("/web/"; "/other/"))}' \
        "$DATA/vms.json" >both.json
    mkdir "$DATA/vms/other"
    qemu-img create -q -f qcow2 -F qcow2 -b "$VMCTL_TEST_GUEST" "$DATA/vms/other/overlay.qcow2"
    run vmctl import both.json
    is_refused
    [[ $output == *"other: imported, stopped"* ]]
    [ "$(vmctl list -o name)" = other ]
    stop_original
    run vmctl import -q --user worker both.json
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "other: imported before" ]
    [ "${lines[1]}" = "web: imported, stopped" ]
    vmctl start web --timeout 90s
    refute grep -qz "hostfwd=tcp:[0-9.]*:$port-:22" "/proc/$(pid_of web)/cmdline"
    vmctl destroy other
}

@test "it is refused by its open disk, also when its QMP socket is in use and its pid is not recorded" {
    start_original
    jq '.web.pid = null' "$DATA/vms.json" >no_pid.json
    coproc socat { exec socat - "UNIX-CONNECT:$dir/qmp.sock" 2>/dev/null; }
    local busy=$socat_PID
    read -r _ <&"${socat[0]}" # QEMU's greeting: it is served
    run vmctl import --user worker no_pid.json
    kill "$busy"
    is_refused
    [ -z "$(vmctl list -o name)" ]
    run vmctl import --stop
    [ "$status" -eq 2 ]
}
