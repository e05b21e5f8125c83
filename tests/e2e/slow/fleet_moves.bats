#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A guest that moves between nodes of a fleet with its disk, whatever is killed meanwhile.
load ../fleet
setup() { fleet_setup; }
teardown() { fleet_teardown; }

messenger_of() { pgrep -P "$(at "$1" vmctl controller status -o json | jq .pid)" -f -- --fleet; }
state_of() { vmctl list -A -o json | jq -r --arg name "$1" '.[] | select(.name == $name) | "\(.node) \(.display)"'; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }
has_snapshots() { etcd_get "st/b/$1" | jq -e .snapshots >/dev/null; }
has_no_snapshots() { ! has_snapshots "$1"; }
has_left() { [ -z "$(at "$1" vmctl list -o name)" ] && [ -n "$(ls "$work/$1/data/vmctl/quarantine" | grep "^$2-")" ]; }
is_dead() { [ ! -e "/proc/$1" ] || grep -q '^State:.*zombie' "/proc/$1/status"; } # nobody may reap it
has_no() { ! ls "$work/$1/data/vmctl/imports" 2>/dev/null | grep -q .; }

# guest NAME NODE : a VM with a login, on that node
guest() {
    [ -n "${VMCTL_TEST_GUEST:-}" ] || VMCTL_TEST_GUEST=$("$BATS_TEST_DIRNAME/../../guest/build" | tail -n 1)
    printf 'vm "%s" {\n    node "any:node=%s"\n    image "%s"\n    memory 160\n    cloud-init\n}\n' "$1" "$2" "$VMCTL_TEST_GUEST" >>"$work/VMFile.kdl"
}

@test "what a guest has written is there on its new node" {
    joined b c
    cd "$work"
    guest web b
    vmctl -q up
    vmctl -q reload web # its disk, made again once, is not made again where it goes
    at b vmctl ssh web -- 'echo kept >file; sync'
    local uid mac
    uid=$(etcd_get vm/b/web | jq -r .uid)
    mac=$(at b vmctl describe web -o json | jq -r '.. | .mac? // empty' | head -n 1)
    await has_snapshots web
    fails 1 vmctl move web --to c --stop
    says "vm 'web' has snapshots, which a move leaves behind: " "vmctl move web --to c --stop --without-snapshots"
    run vmctl move web --to c --stop --without-snapshots
    [ "$status" -eq 0 ]
    says "web: moving (node c)" "web: moved"
    await is_state web "c Ready"
    [ "$(at c vmctl ssh web -- cat file)" = kept ]
    [ "$(etcd_get vm/c/web | jq -r .uid)" = "$uid" ]
    [ "$(at c vmctl describe web -o json | jq -r '.. | .mac? // empty' | head -n 1)" = "$mac" ]
    await has_left b web
    await has_no c
    await bash -c '! vmctl list -A | grep -q "^b *web"'

    # another time, from the node that has it by a move, and off
    vmctl -q stop web
    vmctl -q move web --to b
    await is_state web "b Stopped"
    await has_left c web
    await has_no b
    vmctl -q start web
    [ "$(at b vmctl ssh web -- cat file)" = kept ]

    # a new disk, while its node is off
    kill -9 "$(at b vmctl controller status -o json | jq .pid)"
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" del /vmctl/1/home/alive/b >/dev/null
    await bash -c "vmctl fleet status | grep -q '^b .*lost'"
    fails 1 vmctl move web --to c
    says "node 'b', which has the disk of vm 'web', is offline" "vmctl move web --to c --recreate"
    local old
    old=$(at b vmctl list -o json | jq -r '.[0].status.instance.pid')
    vmctl -q move web --to c --recreate --node-is-off
    await is_state web "c Ready"
    run at c vmctl ssh web -- cat file
    [ "$status" -ne 0 ]
    refute is_dead "$old" # which is not off: it was said
    at b vmctl -q controller start
    await has_left b web
    is_dead "$old" || { ps -fp "$old"; false; }
    [ "$(ls "$work/b/data/vmctl/quarantine" | grep -c '^web-')" = 2 ]
    vmctl -q destroy -y web
}

@test "a move goes on, or stays undone, whatever is killed" {
    joined b c
    cd "$work"
    guest web b
    sed -i 's/    memory 160/    memory 160\n    disk 2/' VMFile.kdl
    vmctl -q up
    at b vmctl ssh web -- 'echo kept >file; sync'
    vmctl -q stop web

    # no way from c to b: b has it until there is one
    mv "$work/bin/ssh" "$work/bin/ssh.off"
    printf '#!/bin/sh\necho no route >&2\nexit 255\n' >"$work/bin/ssh"
    chmod +x "$work/bin/ssh"
    vmctl -q move web --to c --detach
    await shows 'b +web .* Moving to c: cannot reach node .b. by ssh'
    [ "$(etcd_get name/web | jq -r .node)" = b ]
    vmctl -q move --cancel web
    await is_state web "b Stopped"
    [ -z "$(etcd_rows in/)" ]

    # a snapshot that is there when its disk is to be sent, and of which the request says nothing
    at b vmctl -q snapshot create web before
    await has_snapshots web
    vmctl -q move web --to c --detach --without-snapshots
    await shows 'b +web .* Moving to c: cannot reach node .b. by ssh'
    etcd_put in/c/web "$(etcd_get in/c/web | jq -c 'del(.leavesSnapshots)')"
    printf '#!/bin/sh\nexec "%s.off" "$@"\n' "$work/bin/ssh" >"$work/bin/ssh"
    await shows 'b +web .* Moving to c: it has snapshots, which would stay behind: vmctl move --cancel web'
    vmctl -q move --cancel web
    await is_state web "b Stopped"
    at b vmctl -q snapshot rm web before
    await has_no_snapshots web

    # killed while it sends, unpacks, and is done with that: 15 times
    printf '#!/bin/sh\n[ ! -e "%s" ] || sleep 0.3\nexec "%s.off" "$@"\n' "$work/slow" "$work/bin/ssh" >"$work/bin/ssh"
    touch "$work/slow"
    vmctl -q move web --to c --detach
    for i in 1 2 3 4 5; do
        kill -9 "$(messenger_of c)" 2>/dev/null || true
        read -rt "0.$((i * 17))" <> <(:) || true
        kill -9 "$(at c vmctl controller status -o json | jq .pid)" 2>/dev/null || true
        at c vmctl -q controller start
        read -rt "0.$((i * 13))" <> <(:) || true
        kill -9 "$(messenger_of b)" 2>/dev/null || true
    done
    rm "$work/slow"
    await is_state web "c Stopped"
    await has_left b web
    await has_no c
    vmctl -q start web
    [ "$(at c vmctl ssh web -- cat file)" = kept ]

    vmctl -q stop web
    vmctl -q move web --to b
    await is_state web "b Stopped"
    vmctl -q destroy -y web
    [ -z "$(etcd_rows name/)" ]
}
