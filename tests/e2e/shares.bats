#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Folders of the host in a guest. One guest, built on from test to test.

load qemu

setup_file() {
    use_data_dir
    export SRC # of a user who is not root, whoever runs this: the tree is theirs
    SRC=$(mktemp -d /tmp/vmctl-share.XXXXXX)
    mkdir "$SRC/rw" "$SRC/ro, 1"
    echo given >"$SRC/ro, 1/file"
    ((EUID)) || chown -R 65534:65534 "$SRC"
    cat >"$PROJECT/VMFile.kdl" <<EOF
vm "box" {
    image "guest.qcow2"
    memory 160
    stop-timeout 2
    cloud-init { hostname "box" }
    ssh { user "worker" }
    share "$SRC/rw" "/work"
    share "$SRC/ro, 1" "/work/given" readonly=#true tag="given"
    provision "shell" { inline "echo step >>/work/log" }
}
EOF
}

teardown_file() {
    leave_data_dir
    rm -rf "$SRC"
}

setup() { cd "$PROJECT"; }

guest() { vmctl ssh box -- "$@"; }
shared() { vmctl get box -o json | jq -er '.. | objects | select(.type? == "Shared") | .status + " " + .reason' | head -n 1; }
owner() { stat -c %u:%g "$1"; }
servers() { pgrep -P "$(pid_of box)"; }
has_event() { vmctl events box | grep -q "$1"; }
no_server_is_left() { refute pgrep -f "source=$SRC" >/dev/null; }

@test "a folder is there before the first step, and what anybody writes in it is its owner's" {
    vmctl -q up
    [ "$(shared)" = "True Shared" ]
    [ "$(cat "$SRC/rw/log")" = step ]
    guest "mkdir /work/made && echo x >/work/made/file && sudo sh -c 'echo y >/work/by-root'"
    for file in log made made/file by-root; do
        [ "$(owner "$SRC/rw/$file")" = "$(owner "$SRC")" ]
    done
    [ "$(guest 'stat -c %u /work && id -u' | uniq | wc -l)" -eq 1 ]
    echo fresh >"$SRC/rw/from-host"
    [ "$(guest cat /work/from-host)" = fresh ]
    run vmctl describe box
    says "$SRC/rw at /work"
    says "(read-only)"
    vmctl diff
}

@test "a read-only folder is so for the guest's root, too" {
    [ "$(guest cat /work/given/file)" = given ]
    refute guest 'echo x >/work/given/new'
    guest 'sudo umount /work/given && sudo mount -t virtiofs given /work/given'
    refute guest "sudo sh -c 'echo x >/work/given/new' 2>/dev/null"
    [ "$(ls "$SRC/ro, 1")" = file ]
}

@test "a new controller adopts its server, and the guest's own reboot mounts it again" {
    local before
    before=$(servers)
    kill_controller
    vmctl -q controller start
    vmctl -q wait box --ready
    [ "$(servers)" = "$before" ]
    guest 'sudo reboot' || true
    await has_event GuestReset
    vmctl -q wait box --ready
    [ "$(guest cat /work/made/file)" = x ]
    [ "$(servers)" = "$before" ]
}

@test "a server that is killed is seen, the guest gets a new one, and none is left over" {
    local qemu servers
    qemu=$(pid_of box) servers=$(servers)
    kill_hard "$(head -n 1 <<<"$servers")"
    await has_event ShareLost
    vmctl -q wait box --ready --timeout 120
    [ "$(pid_of box)" != "$qemu" ]
    [ "$(guest cat /work/made/file)" = x ]
    for server in $servers; do has_ended "$server"; done
    servers=$(servers)
    kill_hard "$(pid_of box)"
    for server in $servers; do await has_ended "$server"; done
    vmctl -q stop box
    await no_server_is_left
}

@test "the command line names folders, too, and what is none is refused" {
    local create=(vmctl -q create --image guest.qcow2 --name)
    "${create[@]}" hand --backend noop --share "$SRC/rw:/work" --share "$SRC/ro, 1:/srv/given:ro"
    [ "$(vmctl get hand -o json | jq -c '[.. | objects | select(has("readonly")) | .tag, .readonly]')" = '["srv-given",true,"work",false]' ]
    fails 2 "${create[@]}" none --share "$SRC/rw"
    says "is not HOST:GUEST"
    fails 2 "${create[@]}" none --share "$SRC/missing:/work"
    says "cannot read '$SRC/missing'"
    fails 2 "${create[@]}" none --share "$SRC/ro, 1/file:/work"
    says "is not a directory that you can read"
    fails 2 "${create[@]}" none --share "$SRC/rw:/work" --no-cloud-init
    says "--share needs a guest that vmctl reaches over SSH"
    echo 'vm "none" { image "guest.qcow2"; ssh; share "missing" "/work" }' >none.kdl
    fails 2 vmctl validate none.kdl
    says "\`share\`: no readable directory at '$PROJECT/missing'"
}
