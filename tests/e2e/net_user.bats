#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# network "user": what a real guest and another user of the host reach, and what they do not. All of it
# is in network namespaces of its own: `host`, and `outside`, which is reached through it. Needs root.

load qemu

IDLE_IMAGE='\372\364\353\374' # cli; hlt; jmp

in_host() { nsenter --target "$HOST_PID" --net --mount --wd="$PWD" -- "$@"; }
vmctl() { in_host vmctl "$@"; }

# serve FILE SOCAT-ADDRESS [NAMESPACE] : prints FILE's name to who connects, and notes them in FILE
serve() {
    nsenter --target "${3:-$HOST_PID}" --net -- \
        socat "$2,fork" SYSTEM:"echo $1; echo >>$BATS_FILE_TMPDIR/$1" >>"$BATS_FILE_TMPDIR/socat.log" 2>&1 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
}

hold_namespace() {
    unshare "$@" -- bash -c 'ip link set lo up; exec sleep infinity' 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
}

make_networks() {
    echo "nameserver 127.0.0.1" >"$BATS_FILE_TMPDIR/resolv.conf"
    hold_namespace --net --mount
    export HOST_PID=$!
    hold_namespace --net
    export OUTSIDE_PID=$!
    await 10 bash -c "nsenter -t $HOST_PID -n ip link show lo | grep -q UP && nsenter -t $OUTSIDE_PID -n ip link show lo | grep -q UP"
    in_host mount --bind "$BATS_FILE_TMPDIR/resolv.conf" /etc/resolv.conf
    in_host ip link add v0 type veth peer name v1 netns "$OUTSIDE_PID"
    in_host ip addr add 10.88.0.1/24 dev v0
    in_host ip link set v0 up
    in_host ip route add default via 10.88.0.2
    nsenter -t "$OUTSIDE_PID" -n ip addr add 10.88.0.2/24 dev v1
    nsenter -t "$OUTSIDE_PID" -n ip link set v1 up
    serve closed TCP-LISTEN:7001,bind=127.0.0.1
    serve open TCP-LISTEN:7002,bind=127.0.0.1
    serve any TCP-LISTEN:7003
    serve udp-closed UDP-LISTEN:7001,bind=127.0.0.1
    serve udp-open UDP-LISTEN:7002,bind=127.0.0.1
    serve resolver UDP-LISTEN:53,bind=127.0.0.1
    serve outside TCP-LISTEN:80 "$OUTSIDE_PID"
}

why_not() {
    [ "$(id -u)" = 0 ] || { echo "network namespaces need root"; return; }
    unshare --net --mount -- ip link add v0 type veth peer name v1 >/dev/null 2>&1 ||
        echo "no network namespaces here"
}

setup_file() {
    [ -z "$(why_not)" ] || return 0
    use_data_dir
    make_networks
    printf "$IDLE_IMAGE" >"$PROJECT/idle.img"
    truncate -s 1M "$PROJECT/idle.img"
    printf '\125\252' | dd of="$PROJECT/idle.img" bs=1 seek=510 conv=notrunc status=none
    echo secret12 >"$PROJECT/password"
    cat >"$PROJECT/VMFile.kdl" <<'END'
vm "web" {
    image "guest.qcow2"
    memory 160
    network "user" { host-services 7002 }
    cloud-init
    ssh { user "worker" }
    forward host=7080 guest=7080
}
vm "screen" {
    image "idle.img"
    memory 32
    stop-timeout 0
    forward host=7081 guest=80
    forward host=81 guest=81
    vnc port=5977 password-file="password"
}
END
    SECRET_OF_CONTROLLER=unheard vmctl up
}

teardown_file() {
    local pids
    [ -n "${HOST_PID:-}" ] || return 0
    leave_data_dir
    mapfile -t pids <"$BATS_FILE_TMPDIR/pids"
    kill "${pids[@]}" || true
}

setup() {
    [ -z "$(why_not)" ] || skip "$(why_not)"
    cd "$PROJECT"
}

# What the guest hears from ADDRESS PORT; nothing when it is refused.
guest_hears() { vmctl ssh web -- "timeout 10 nc -w 5 $1 $2 </dev/null || true"; }
# The guest sends a datagram there.
guest_sends() { vmctl ssh web -- "timeout 3 tftp -g -r x $1 $2 >/dev/null 2>&1; rm -f x; true"; }
screen_socket() { echo "$DATA/vms/screen/vnc.sock"; }

@test "a guest reaches no port of the host but the open one, nor its own forwards" {
    [ "$(guest_hears 10.0.2.2 7001)" = "" ]
    [ "$(guest_hears 10.0.2.2 7003)" = "" ]
    [ "$(guest_hears 10.88.0.1 7003)" = "" ]
    [ "$(guest_hears 10.0.2.3 7003)" = "" ]
    [ "$(guest_hears 10.0.2.2 5977)" = "" ]
    [ "$(guest_hears 10.0.2.2 7081)" = "" ]
    [ "$(guest_hears 10.0.2.2 "$(vmctl status web -o json | jq .status.sshPort)")" = "" ]
    [ "$(guest_hears 10.0.2.2 7002)" = open ]
    [ ! -e "$BATS_FILE_TMPDIR/closed" ]
    [ ! -e "$BATS_FILE_TMPDIR/any" ]
}

@test "a guest reaches what is outside of the host, and the resolver" {
    [ "$(guest_hears 10.88.0.2 80)" = outside ]
    guest_sends 10.0.2.3 53
    [ -e "$BATS_FILE_TMPDIR/resolver" ]
}

@test "datagrams: the open port alone" {
    guest_sends 10.0.2.2 7001
    guest_sends 10.0.2.2 7002
    [ -e "$BATS_FILE_TMPDIR/udp-open" ]
    [ ! -e "$BATS_FILE_TMPDIR/udp-closed" ]
}

@test "a forward leads into the guest, and one that is made while it runs" {
    vmctl ssh web -- 'while :; do echo inside | nc -l -p 7080; done >/dev/null 2>&1 &'
    await 20 bash -c "nsenter -t $HOST_PID -n socat -T 2 - TCP:127.0.0.1:7080 </dev/null | grep -q inside"
    sed -i 's/host=7080/host=7090/' VMFile.kdl
    vmctl up
    await 20 bash -c "nsenter -t $HOST_PID -n socat -T 2 - TCP:127.0.0.1:7090 </dev/null | grep -q inside"
}

@test "another open port needs a restart, and diff says so" {
    sed -i 's/host-services 7002/host-services 7001 7002/' VMFile.kdl
    fails 1 vmctl diff
    says host-services restart
    sed -i 's/host-services 7001 7002/host-services 7002/' VMFile.kdl
}

@test "the screen is a socket of its user's own, and a port asks for the password" {
    local greeting types
    [ "$(stat -c %a "$(screen_socket)")" = 600 ]
    greeting=$(cd "$DATA/vms/screen" && timeout 10 socat -u UNIX-CONNECT:vnc.sock - | head -c 12)
    [[ "$greeting" == "RFB "* ]]
    cd "$DATA/vms/screen"
    run setpriv --reuid=65534 --regid=65534 --clear-groups socat -u UNIX-CONNECT:vnc.sock -
    [ "$status" -ne 0 ]
    cd "$PROJECT"
    [ "$(vmctl status screen | sed -n 's/^VNC: *//p')" = 127.0.0.1:5977 ]
    types=$(in_host timeout 10 bash -c 'exec 7<>/dev/tcp/127.0.0.1/5977; head -c 12 <&7 >/dev/null
        printf "RFB 003.008\n" >&7; head -c 2 <&7 | od -An -tu1')
    [ "$(tr -d ' ' <<<"$types")" = 12 ] # one type: 2, VNC authentication (RFC 6143, 7.1.2)
    refute grep -q secret12 "/proc/$(pid_of screen)/cmdline"
    [ "$(vmctl status web | sed -n 's/^VNC: *//p')" = "$DATA/vms/web/vnc.sock" ]
    [ -z "$(in_host ss -Hltnp | grep "pid=$(pid_of web)," | grep -v -e ":7090 " -e ":$(vmctl status web -o json | jq .status.sshPort) ")" ]
}

@test "vmctl vnc prints the ways, or opens a viewer on the socket" {
    run vmctl vnc screen --print
    says "$(screen_socket)" "ssh -L" socat 127.0.0.1:5977
    printf '#!/bin/sh\ntest -S "$1" && echo viewer of "$(realpath "$1")"\n' >viewer
    chmod +x viewer
    VMCTL_VNC_VIEWER=$PWD/viewer run vmctl vnc screen
    [ "$output" = "viewer of $(realpath "$(screen_socket)")" ]
    vmctl stop screen
    fails 1 vmctl vnc screen
    says "vmctl start screen"
}

@test "QEMU is not root's, has no capability, and nothing of the controller's environment" {
    local status=/proc/$(pid_of web)/status
    [ "$(awk '/^Uid:/ { print ($2 != 0) && ($3 != 0) && ($4 != 0) }' "$status")" = 1 ]
    [ "$(awk '/^Cap(Inh|Prm|Eff|Amb):/ { n += $2 != "0000000000000000" } END { print n }' "$status")" = 0 ]
    [ "$(awk '/^NoNewPrivs:/ { print $2 }' "$status")" = 1 ]
    [ "$(awk '/^Groups:/ { print $2 != 0, NF }' "$status")" = "1 2" ] # its own, and no other
    local task # the threads that were there before it changed its user are not forgotten
    for task in "/proc/$(pid_of web)/task"/*; do
        [ -z "$(awk '/^[UG]id:/ && ($2 * $3 * $4 * $5 == 0)' "$task/status")" ]
        [ -z "$(awk '/^Cap(Inh|Prm|Eff|Amb):/ && $2 != "0000000000000000"' "$task/status")" ]
    done
    refute grep -q SECRET_OF_CONTROLLER "/proc/$(pid_of web)/environ"
    grep -qz '^PATH=' "/proc/$(pid_of web)/environ"
}

@test "a port that only root may listen on is forwarded by root's QEMU, and is told where it cannot be" {
    vmctl start screen
    in_host ss -Hltnp 'sport = :81' | grep -q "127.0.0.1:81 .*pid=$(pid_of screen),"
    sed -i 's/    forward host=81 guest=81/&\n    forward host=82 guest=82/' VMFile.kdl
    fails 1 vmctl up --name screen
    says "tcp port 82 of 127.0.0.1 is reserved for root" "vmctl restart screen"
    vmctl restart screen
    in_host ss -Hltnp 'sport = :82' | grep -q "127.0.0.1:82 .*pid=$(pid_of screen),"
    sed -i '/host=82/d' VMFile.kdl
    vmctl up --name screen
    [ -z "$(in_host ss -Hltn 'sport = :82')" ]
}

@test "the hardware is recorded at the first start, and a QEMU without it is a clear error" {
    local type
    type=$(vmctl status web -o json | jq -r .status.machine)
    [[ "$type" =~ ^pc-q35-[0-9] ]]
    vmctl restart web
    tr '\0' '\n' <"/proc/$(pid_of web)/cmdline" | grep -q "^$type"
    sed -i 's/    memory 32/    memory 32; machine "pc-q35-0.1"/' VMFile.kdl
    fails 1 vmctl up --restart --name screen
    says "does not have the VM's machine type" 'machine "q35"'
}

@test "a QEMU that does not load the guard is refused" {
    mkdir alone
    printf '#!/bin/sh\nunset LD_PRELOAD\nexec qemu-system-x86_64 "$@"\n' >alone/qemu
    chmod +x alone/qemu
    echo 'vm "alone" { image "../idle.img"; memory 32; stop-timeout 0; }' >alone/VMFile.kdl
    vmctl controller stop
    VMCTL_QEMU=$PWD/alone/qemu fails 1 vmctl up --file alone/VMFile.kdl
    says "did not load the guard"
    vmctl destroy alone
    vmctl controller stop
}
