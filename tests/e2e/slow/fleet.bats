#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A fleet on a real etcd whose nodes and etcd go away.
load ../fleet
setup() { fleet_setup; }
teardown() { fleet_teardown; }

@test "a fleet: a node that is lost is unknown, etcd that is gone stops nothing, and one that was wiped freezes it" {
    joined b
    sed -i 's/"ttl": 15/"ttl": 5/' "$work/b/data/vmctl/fleet/config.json"
    at b vmctl controller stop
    at b vmctl -q create --name db --backend noop --image "$work/image" --start
    await shows 'b +db +noop .* Ready'
    at b vmctl controller stop
    await shows 'b +db +noop .* Unknown \(was Ready\)'
    says_status=$(vmctl fleet status)
    [[ "$says_status" =~ b\ .*lost\ [0-9]+s\ ago ]]

    kill -9 "$etcd_pid"
    await bash -c '! vmctl fleet status'
    fails 5 vmctl fleet status
    says "etcd last answered"
    vmctl -q create --name own --backend noop --image "$work/image" --start
    [ "$(vmctl list -o json | jq -r '.[0].display')" = Ready ]
    run vmctl list -A
    [ "$status" -eq 0 ]
    [[ "$output" =~ b\ +db ]]

    rm -rf "$work/etcd"
    etcd_start
    await bash -c 'vmctl fleet status -o json | jq -e ".state == \"frozen\""'
    fails 5 vmctl fleet status
    says "it was emptied"
    [ -z "$(ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --prefix / --keys-only)" ]
    [ "$(vmctl list -o name)" = own ]
    vmctl -q fleet init --as a --etcd "$etcd_url" --ssh me@a.invalid
    await knows a
    at b vmctl -q controller start # which is of the other fleet, and frozen
    fails 1 vmctl fleet forget a
    says "node 'a' is online"
    at b vmctl -q fleet join --as b --etcd "$etcd_url" --ssh me@b.invalid
    await shows 'b +db +noop .* Ready'
    kill -9 "$(at b vmctl controller status -o json | jq .pid)"
    await shows 'b +db +noop .* Unknown'
    vmctl -q fleet forget b
    await bash -c '! vmctl fleet status | grep -q "^b "'
}

@test "what is asked of a node of the fleet that is off waits for it" {
    joined b
    sed -i 's/"ttl": 15/"ttl": 5/' "$work/b/data/vmctl/fleet/config.json"
    at b vmctl controller stop
    at b vmctl -q controller start
    await knows b

    cd "$work"
    of_fleet web any:node=b
    vmctl -q up
    at b vmctl controller stop
    await shows 'b +web +noop .* Unknown'
    run vmctl stop -d web
    [ "$status" -eq 0 ]
    cd "$work"
    rm VMFile.kdl
    of_fleet other any:node=b
    of_fleet large any $'    memory 16777216\n'
    fails 1 vmctl up other
    says "no node can take vm 'other'" "a: not node=b" "b: offline"
    fails 1 vmctl up large
    says "MiB of memory left"
    at b vmctl -q controller start
    await shows 'b +web +noop .* Stopped'
}

@test "a VM of the fleet is stopped on its node without etcd, and that counts when it is back" {
    cd "$work"
    joined
    of_fleet web
    vmctl -q up
    kill -9 "$etcd_pid"
    await bash -c '! vmctl fleet status'
    vmctl -q stop web
    [ "$(vmctl list -o json | jq -r '.[0].display')" = Stopped ]
    fails 5 vmctl destroy -y web
    [ "$(vmctl list -o name)" = web ]
    etcd_start
    await knows a
    await bash -c "ETCDCTL_API=3 etcdctl --endpoints $etcd_url get --print-value-only /vmctl/1/home/vm/a/web | jq -e '.power == \"stopped\"'"
    fails 1 vmctl fleet leave
    says "node 'a' has VMs of the fleet: 'web'"
    kill -9 "$etcd_pid"
    fails 5 vmctl fleet leave
    vmctl -q fleet leave --force
    vmctl -q destroy -y web # this host's own
    [ -z "$(vmctl list -o name)" ]
}

# placed NODE NAME... : `up` there of VMs that each take 40 % of a's memory
placed() {
    local node=$1 name
    shift
    mkdir -p "$work/of-$node"
    for name in "$@"; do
        printf 'vm "%s" { node "any:node=a"; image "%s"; backend "noop"; memory %d }\n' "$name" "$work/image" $((memory * 2 / 5))
    done >"$work/of-$node/VMFile.kdl"
    at "$node" vmctl up -d -f "$work/of-$node/VMFile.kdl" >"$work/of-$node/out" 2>&1 || true
}

@test "of those who place VMs at once on a node none is promised memory that it does not have" {
    local memory round beside
    joined b c
    memory=$(vmctl fleet status -o json | jq '.nodes[] | select(.name == "a").memMib')
    for round in 1 2 3 4 5; do
        placed b b1 b2 &
        beside=$!
        placed c c1 c2
        wait "$beside"
        of_a=$(etcd_get hold/a)
        [ "$(jq .vms <<<"$of_a")" = 2 ]
        [ "$(jq .memMib <<<"$of_a")" -le "$memory" ]
        [ "$(etcd_rows vm/a/ | wc -l)" = 2 ]
        grep -hE "MiB of memory left" "$work"/of-?/out
        vmctl -q destroy -y $(etcd_rows vm/a/)
        [ "$(etcd_get hold/a | jq .vms)" = 0 ]
    done
}

@test "a node takes no paths of its own from the fleet unless it says so" {
    cd "$work"
    joined b
    at b vmctl -q fleet join --as b --etcd "$etcd_url" --ssh "ssh://$(id -un)@127.0.0.1:$node_port"
    await knows b
    of_fleet web any:node=b
    fails 1 vmctl up
    says "b: does not accept paths such as '$work/image'"
    of_fleet db any:node=a
    vmctl -q up db
    # by somebody who writes to etcd
    etcd_get vm/a/db | jq -c '.spec.name = "web" | .spec.image.url = null | .uid = "0123456789abcdef"' >"$work/row"
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" put /vmctl/1/home/vm/b/web <"$work/row"
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" put /vmctl/1/home/name/web '{"node":"b","uid":"0123456789abcdef","epoch":1}'
    await shows 'b +web +noop .* NotAccepted'
    [ -z "$(at b vmctl list -o name)" ]
    fails 1 vmctl start web
    says "node 'b'" "accepts no paths from the fleet"
    vmctl -q destroy -y web
    [ -z "$(etcd_rows st/b/)" ]
}

@test "files beside the VMFile go along with a VM of the fleet, but for keys, secrets and what is too large" {
    cd "$work"
    joined b
    printf 'echo hello\n' >set-up.sh
    chmod 755 set-up.sh
    of_fleet web any:node=b $'    cloud-init\n    provision "shell" { script "set-up.sh" }\n'
    vmctl apply
    find "$work/b/data/vmctl/fleet/files" -name set-up.sh -perm 700 -exec cat {} + | grep -qx "echo hello"
    [ "$(etcd_files web | wc -l)" = 1 ]
    vmctl apply | grep -q unchanged
    printf 'echo again\n' >set-up.sh
    vmctl apply
    [ "$(etcd_files web | wc -l)" = 1 ]
    [ "$(find "$work/b/data/vmctl/fleet/files" -name set-up.sh | wc -l)" = 2 ] # the old one stays a day

    head -c 262145 /dev/zero | tr '\0' '#' >set-up.sh
    fails 2 vmctl apply
    says "'$work/set-up.sh' is too large" "at most 256 KiB a file, 1 MiB a VM"
    cp "$work/key" set-up.sh
    fails 2 vmctl apply
    says "'$work/set-up.sh' contains a private key"
    printf 'vm "db" { node "any"; image "%s"; backend "noop"; cloud-init; provision "shell" { inline "true"; secret "TOKEN" from-command="echo x" } }\n' \
        "$work/image" >VMFile.kdl
    fails 2 vmctl apply
    says "'TOKEN'" "keys and secrets are not sent through etcd"
    vmctl -q destroy -y web
    [ -z "$(etcd_files web)" ]
}

@test "an etcd that was emptied is filled again from the nodes, and one that was restored is accepted" {
    cd "$work"
    joined b
    of_fleet web any:node=b
    of_fleet db any:node=a
    vmctl -q up
    uid=$(etcd_get vm/b/web | jq -r .uid)
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" snapshot save "$work/snapshot"
    of_fleet late any:node=a
    vmctl -q up late
    kill -9 "$etcd_pid"
    rm -rf "$work/etcd"
    etcd_start
    await bash -c 'vmctl fleet status -o json | jq -e ".state == \"frozen\""'
    fails 5 vmctl fleet status
    says "on each node: vmctl fleet rebuild"
    vmctl fleet rebuild
    at b vmctl fleet rebuild
    await knows b
    [ "$(etcd_get vm/b/web | jq -r .uid)" = "$uid" ]
    [ "$(etcd_get hold/a | jq .vms)" = 2 ]
    await shows 'b +web +noop .* Ready'
    vmctl -q stop web
    [ "$(vmctl fleet republish 2>&1)" = "etcd has all VMs of the fleet on this host" ]

    kill -9 "$etcd_pid"
    rm -rf "$work/etcd"
    ETCDCTL_API=3 etcdctl snapshot restore "$work/snapshot" --data-dir "$work/etcd" --initial-cluster "default=$peer_url" \
        --initial-advertise-peer-urls "$peer_url" --name default
    etcd_start
    await bash -c 'vmctl fleet status -o json | jq -e ".state == \"frozen\""'
    fails 2 vmctl fleet resume
    vmctl fleet resume --accept etcd
    at b vmctl fleet resume --accept etcd
    await knows b
    [[ "$(vmctl events)" =~ late.*FleetRecordMissing ]]
    vmctl fleet republish late
    [ "$(etcd_rows vm/a/ | sort | xargs)" = "db late" ]
}

@test "wait for a VM on another node goes by what that publishes, and ends when the node is lost" {
    cd "$work"
    joined b
    of_fleet web any:node=b
    vmctl -q up -d
    mkdir -p "$work/no-ssh" elsewhere
    printf '#!/bin/sh\nexit 77\n' >"$work/no-ssh/ssh"
    chmod +x "$work/no-ssh/ssh"
    cd elsewhere
    PATH=$work/no-ssh:$PATH vmctl wait web --ready
    [ "$(PATH=$work/no-ssh:$PATH vmctl wait web --running -o json | jq -r '.[0].reached')" = true ]
    fails 4 env PATH="$work/no-ssh:$PATH" vmctl wait web --stopped --timeout 2s
    says "vm 'web' is not stopped"
    vmctl -q stop web
    PATH=$work/no-ssh:$PATH vmctl wait web --stopped
    fails 1 env PATH="$work/no-ssh:$PATH" vmctl wait web --ready
    says "is not meant to run"
    (sleep 1; vmctl -q destroy -y web) &
    PATH=$work/no-ssh:$PATH vmctl wait web --deleted
    cd ..
    vmctl -q up -d
    at b vmctl controller stop
    fails 1 vmctl wait web --ready --timeout 2m
    says "node 'b' is offline"
}

@test "reload gives a VM of the fleet a new disk on its node" {
    cd "$work"
    joined b
    of_fleet web any:node=b
    vmctl -q up
    before=$(etcd_get vm/b/web)
    vmctl reload -y
    [ "$(etcd_get vm/b/web | jq -r .uid)" = "$(jq -r .uid <<<"$before")" ]
    [ "$(etcd_get vm/b/web | jq -r .recreateToken)" != "$(jq -r .recreateToken <<<"$before")" ]
    await shows 'b +web +noop .* Ready'
    fails 2 vmctl reload -y --cold
    says "--cold is not for VMs of the fleet"
}
