# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash disable=SC2034 # some results are for the caller
# One virtual machine at a time, for the self-test: QEMU is a coprocess whose
# standard input and output are its QMP monitor.

# milliseconds: since some fixed moment.
milliseconds() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# vm_start DISK QEMU-ARGUMENT...: sets vm_pid and vm_port (the guest's ssh).
vm_start() {
    local disk=$1
    shift
    vm_started=$(milliseconds)
    coproc VM {
        exec qemu-system-x86_64 -machine "${machine:-q35}" -accel tcg -m 128 \
            -nodefaults -no-user-config -display none -vga std \
            -chardev stdio,id=qmp,signal=off -mon chardev=qmp,mode=control \
            -chardev file,id=console,path="$work/console.log",append=on \
            -device isa-serial,chardev=console \
            -drive "if=none,id=root,file=$disk,format=qcow2" \
            -device virtio-blk-pci,drive=root,bootindex=1 \
            -netdev user,id=net,hostfwd=tcp:127.0.0.1:0-:22 \
            -device virtio-net-pci,netdev=net,romfile= \
            -device virtio-rng-pci -device pvpanic-pci \
            "$@" 2>>"$work/qemu.log"
    }
    # shellcheck disable=SC2153 # set by coproc
    vm_pid=$VM_PID
    exec {vm_out}<&"${VM[0]}" {vm_in}>&"${VM[1]}"
    : >"$work/events"
    qmp '{"execute":"qmp_capabilities"}'
    qmp '{"execute":"human-monitor-command","arguments":{"command-line":"info usernet"}}'
    # The port that "hostfwd" has got from the kernel: ... 127.0.0.1 PORT 10.0.2.15 22
    [[ $reply =~ HOST_FORWARD\]\ +[0-9]+\ +127\.0\.0\.1\ +([0-9]+) ]] || return
    vm_port=${BASH_REMATCH[1]}
}

# qmp COMMAND: sets reply; events that come before it go to a file.
qmp() {
    reply=
    echo "$1" >&"$vm_in"
    while read -r -t 20 -u "$vm_out" reply; do
        case $reply in
        '{"return"'*) return 0 ;;
        '{"error"'*) return 1 ;;
        *) echo "$reply" >>"$work/events" ;;
        esac
    done
    return 1
}

# vm_wait_event TEXT SECONDS
vm_wait_event() {
    local deadline=$((SECONDS + $2))
    until grep -q "$1" "$work/events"; do
        ((SECONDS < deadline)) || return 1
        read -r -t "$2" -u "$vm_out" reply && echo "$reply" >>"$work/events"
    done
}

# vm_wait_exit SECONDS: until QEMU closes its monitor; sets vm_status.
vm_wait_exit() {
    local deadline=$((SECONDS + $1)) status=0
    while ((SECONDS < deadline)); do
        read -r -t "$1" -u "$vm_out" reply || status=$?
        case $status in
        0) echo "$reply" >>"$work/events" ;;
        1) vm_reap && return ;; # end of file
        *) return 1 ;;          # time is up
        esac
    done
    return 1
}

vm_kill() {
    kill -KILL "$vm_pid"
    vm_reap
}

# A killed coprocess is a zombie until here, and looks alive to "kill -0".
vm_reap() {
    vm_status=0
    { wait "$vm_pid" || vm_status=$?; } 2>/dev/null
    vm_pid=
    exec {vm_out}<&- {vm_in}>&-
}

# vm_banner SECONDS: until sshd answers; sets vm_boot_ms. QEMU takes connections
# long before the guest listens, so only the banner tells.
vm_banner() {
    local deadline=$((SECONDS + $1)) banner socket
    while ((SECONDS < deadline)); do
        banner=
        if { exec {socket}<>"/dev/tcp/127.0.0.1/$vm_port"; } 2>/dev/null; then
            read -r -t 0.5 -u "$socket" banner || true
            exec {socket}>&-
        fi
        if [[ $banner = SSH-* ]]; then
            vm_boot_ms=$(($(milliseconds) - vm_started))
            return 0
        fi
        [[ $(<"/proc/$vm_pid/stat") != *') Z '* ]] || return 1 # QEMU has died
        sleep 0.25
    done
    return 1
}

ssh_options=(
    -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes
    -o HostKeyAlias=guest -o ConnectTimeout=20 -o ServerAliveInterval=5 -o LogLevel=ERROR
)

# offered_keys: the host keys that sshd has, "TYPE KEY" each. Asked for one
# after the other: dropbear drops a sixth connection that has not logged in.
offered_keys() {
    local type
    for type in ed25519 ecdsa rsa; do
        ssh-keyscan -T 20 -t "$type" -p "$vm_port" 127.0.0.1 2>/dev/null
    done | cut -d' ' -f2,3
}

pin_preset_key() {
    echo "guest $(cut -d' ' -f1,2 "$work/host_key.pub")" >"$work/known_hosts"
}

pin_offered_key() {
    echo "guest $(offered_keys)" >"$work/known_hosts"
}

# guest COMMAND: as the seed's user, with the seed's host key and no other.
guest() {
    timeout 60 ssh "${ssh_options[@]}" -o UserKnownHostsFile="$work/known_hosts" \
        -i "$work/user_key" -p "$vm_port" "${user:-vm}@127.0.0.1" "$@" </dev/null
}

# guest_sftp: batch commands from standard input.
guest_sftp() {
    timeout 120 sftp "${ssh_options[@]}" -o UserKnownHostsFile="$work/known_hosts" \
        -i "$work/user_key" -P "$vm_port" -b - vm@127.0.0.1 >/dev/null
}
