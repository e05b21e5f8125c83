#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Unix sockets forwarded over SSH, both ways. The small guest's own dropbear forwards none: its steps
# give it this host's sshd. One guest, built on from test to test.

load qemu

setup_file() {
    use_data_dir
    export BOTH='forward socket="s/in" guest="/run/service.sock"
        forward socket="s/service" guest="/run/host.sock" direction="to-host"'
    export SOCKETS=$BATS_FILE_TMPDIR/s
    mkdir -m 700 "$SOCKETS"
    make_kit "$PROJECT/kit"
    tar -C "$PROJECT" -czf "$PROJECT/kit.tar.gz" kit
    vmfile_with ""
    vmctl -q up
    vmfile_with "$BOTH"
}

# An sshd, the libraries it needs, and a peer for sockets.
make_kit() {
    mkdir -p "$1/lib"
    cp -L /usr/sbin/sshd "$1/sshd"
    ldd /usr/sbin/sshd | awk '$3 ~ /^\// { print $3 }' | xargs cp -L -t "$1/lib"
    cc -static -O1 -o "$1/unix_peer" "$BATS_TEST_DIRNAME/../support/unix_peer.c"
    printf '%s\n' 'HostKey /opt/kit/host_key' 'UsePAM no' 'PidFile none' 'StrictModes no' \
        'Subsystem sftp /usr/lib/sftp-server' >"$1/config"
    printf '%s\n' '#!/bin/sh' 'mkdir -p -m 755 /run/sshd' \
        'LD_LIBRARY_PATH=/opt/kit/lib exec /opt/kit/sshd -r -f /opt/kit/config' >"$1/boot"
    chmod 755 "$1/boot"
    cat >"$1/install" <<'END'
#!/bin/sh -e
mkdir -p /opt
tar -C /opt -xzf /tmp/kit.tar.gz
cd /opt/kit
dropbearconvert dropbear openssh /etc/dropbear/dropbear_ed25519_host_key host_key
chmod 600 host_key
echo 'sshd:x:74:74::/run/sshd:/bin/false' >>/etc/passwd
sed -i 's/^\([^:]*\):!/\1:*/' /etc/shadow
cp boot /usr/lib/boot/sshd
kill "$(cat /run/dropbear.pid)"
exec /opt/kit/boot
END
}

vmfile_with() {
    ln -sfn "$SOCKETS" "$PROJECT/s"
    cat >"$PROJECT/VMFile.kdl" <<END
vm "box" {
    image "guest.qcow2"
    memory 160
    disk 1
    stop-timeout 2
    cloud-init { hostname "box" }
    ssh { user "worker" }
    ${2:-}
    $1
    provision "file" run="once" { source "kit.tar.gz"; destination "/tmp/kit.tar.gz" }
    provision "shell" run="once" { inline "tar -C /tmp -xzf /tmp/kit.tar.gz kit/install && sudo sh /tmp/kit/install" }
}
END
}

teardown_file() {
    leave_data_dir
}

setup() { cd "$PROJECT"; }

guest() { vmctl ssh box -- "$@"; }
in_guest() { socat -T5 -u "UNIX-CONNECT:$SOCKETS/in" -; }
says_guest() { [ "$(in_guest 2>/dev/null)" = "of the guest" ]; }
says_host() { [ "$(guest /opt/kit/unix_peer /run/host.sock 2>/dev/null)" = "of the host" ]; }
both_lead() { says_guest && says_host; }
ssh_pid() { cut -d' ' -f1 "$DATA/vms/box/forward.lock"; }
is_alive() { [ -d "/proc/$1" ] && ! has_ended "$1"; }
forwarded() { vmctl get box -o json | jq -er '.. | objects | select(.type? == "Forwarded") | .status + " " + .reason' | head -n 1; }
serve_in_guest() { guest "sudo sh -c '/opt/kit/unix_peer /run/service.sock \"of the guest\" >/dev/null 2>&1 </dev/null & until [ -S /run/service.sock ]; do :; done; chmod 666 /run/service.sock'"; }
serve_on_host() {
    "$PROJECT/kit/unix_peer" "$SOCKETS/service" "of the host" 3>&- &
    await 20 [ -S "$SOCKETS/service" ]
}

@test "a socket of the host leads into the guest, and one of the guest to the host" {
    vmctl -q up
    [ "$(forwarded)" = "True Forwarded" ]
    serve_in_guest
    serve_on_host
    both_lead
    [ "$(stat -L -c '%a %F' "$SOCKETS/in")" = "600 socket" ]
    run vmctl port box
    has "/run/service.sock -> $PROJECT/s/in"
    has "/run/host.sock <- $PROJECT/s/service"
    [ "$(vmctl port box -o json | jq -r '.[] | select(.direction == "to-host") | .forwarded')" = true ]
    run vmctl describe box
    says "$PROJECT/s/in -> /run/service.sock"
    vmctl diff
}

@test "an ssh that is killed is started again, and a killed vmctld finds the one that runs" {
    local pid
    pid=$(ssh_pid)
    kill_controller
    both_lead
    vmctl -q wait box --ready
    [ "$(ssh_pid)" = "$pid" ]
    kill_hard "$pid"
    await both_lead
    refute [ "$(ssh_pid)" = "$pid" ]
    pid=$(ssh_pid)
    kill_controller "$pid"
    vmctl -q wait box --ready
    await both_lead
}

@test "a guest that reboots, and one whose QEMU is killed, gets its sockets back" {
    guest sudo reboot || :
    await 90 serve_in_guest
    await 90 both_lead
    kill_hard "$(pid_of box)"
    await 90 serve_in_guest
    await 90 both_lead
    vmctl wait box --ready
}

@test "a change of the VMFile takes effect on the guest that runs" {
    local pid qemu
    pid=$(ssh_pid) qemu=$(pid_of box)
    vmfile_with 'forward socket="s/in" guest="/run/service.sock"'
    vmctl -q up
    await 20 guest "[ ! -L /run/host.sock ]"
    says_guest
    run vmctl port box
    refute grep -q host.sock <<<"$output"
    vmfile_with "$BOTH"
    vmctl -q up
    await 20 both_lead
    [ "$(ssh_pid) $(pid_of box)" = "$pid $qemu" ]
}

@test "what is not vmctl's stays, up says what is in the way, and it is made once that is gone" {
    vmfile_with "$BOTH
    forward socket=\"s/taken\" guest=\"/run/other.sock\""
    echo mine >"$SOCKETS/taken"
    fails 1 vmctl up
    says vmctl::forward::failed "$PROJECT/s/taken"
    [ "$(cat "$SOCKETS/taken")" = mine ]
    [ "$(forwarded)" = "False ForwardFailed" ]
    run vmctl port box
    says "/run/other.sock -> $PROJECT/s/taken (not forwarded now: "
    says_guest
    rm "$SOCKETS/taken"
    await 20 vmctl wait box --ready
    [ -S "$SOCKETS/taken" ]
    vmfile_with "$BOTH"
    vmctl -q up
    await 20 refute [ -e "$SOCKETS/taken" ]
}

@test "two VMs do not get the same socket, and what another stops for is free" {
    mkdir -p other
    sed 's/vm "box"/vm "two"/; /direction/d; s/ provision .*//' VMFile.kdl >other/VMFile.kdl
    sed -i "s,guest.qcow2,../guest.qcow2,; s,\"s/in\",\"../s/in\"," other/VMFile.kdl
    fails 1 vmctl up --file other/VMFile.kdl
    says "$PROJECT/s/in" "vm 'box'"
    says_guest
    vmctl stop box
    await 60 vmctl wait two --ready
    [[ $(readlink "$SOCKETS/in") = */vms/two/* ]]
    vmctl destroy two
    refute [ -L "$SOCKETS/in" ]
}

@test "nothing is left after destroy" {
    local pid
    vmctl start box
    vmctl wait box --ready
    [ -S "$SOCKETS/in" ]
    pid=$(ssh_pid)
    vmctl destroy box
    await 20 has_ended "$pid"
    refute [ -L "$SOCKETS/in" ]
}
