#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A fleet of this host, a, and two others that are reached by ssh on loopback, on an etcd of one member.
load nodes

setup() {
    command -v etcd etcdctl >/dev/null || skip "no etcd (packages etcd-server etcd-client)"
    nodes_setup
    etcd_start
}

teardown() {
    [ -z "${etcd_pid:-}" ] || kill -9 "$etcd_pid" 2>/dev/null || true
    nodes_teardown
}

etcd_start() {
    etcd_url=${etcd_url:-http://127.0.0.1:$(free_port)}
    peer_url=${peer_url:-http://127.0.0.1:$(free_port)}
    etcd --data-dir "$work/etcd" --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
        --listen-peer-urls "$peer_url" --initial-advertise-peer-urls "$peer_url" \
        --initial-cluster "default=$peer_url" >"$work/etcd.log" 2>&1 3>&- &
    etcd_pid=$!
    await env ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" endpoint health
}

# joined [NODE...] : a makes the fleet, the others are up and join it, with a short lease
joined() {
    local node
    vmctl -q fleet init --as a --etcd "$etcd_url" --ssh me@a.invalid
    for node in "$@"; do
        node_up "$node"
        at "$node" vmctl -q fleet join --as "$node" --etcd "$etcd_url" --ssh "ssh://$(id -un)@127.0.0.1:$node_port"
    done
    for node in "$@"; do await knows "$node"; done
}

knows() { [ "$(vmctl fleet status -o json | jq -r ".nodes[] | select(.name == \"$1\").ready")" = true ]; }
shows() { [[ "$(vmctl list -A 2>&1)" =~ $1 ]]; }

@test "a fleet: one list without asking anybody, and each node is known to the others" {
    fails 2 vmctl fleet status
    says "this host has joined no fleet" "vmctl fleet join"
    fails 2 vmctl fleet join --as a --etcd "$etcd_url"
    says "there is no fleet 'home' in that etcd"
    joined b c
    fails 6 vmctl fleet init --as a --etcd "$etcd_url"
    says "there is a fleet 'home'"
    run vmctl fleet check
    [ "$status" -eq 0 ]
    says "etcd 3." "leader"

    vmctl -q create --name own --backend noop --image "$work/image" --start
    at b vmctl -q create --name db --backend noop --image "$work/image" --start
    await shows 'b +db +noop .* Ready'
    run vmctl list -A
    [[ "$output" =~ a\ +own\ +noop.*Ready ]]
    says "fleet home: etcd ok, 3 nodes"
    await env -C "$work/c" HOME="$work/c" XDG_DATA_HOME="$work/c/data" bash -c 'vmctl list -A | grep -q "a *own"'
    [ "$(vmctl list -A -o name | sort | tr '\n' ' ')" = "a/own b/db " ]

    # by ssh, to the address that it has given
    run vmctl --node b list -o name
    [ "$output" = db ]
    vmctl -q stop b/db
    await shows 'b +db +noop .* Stopped'
    vmctl -q stop a/own
    [ "$(vmctl list -o json | jq -r '.[0].display')" = Stopped ]

    # a VMFile of three nodes, its own among them
    for node in a b c; do
        printf 'vm "web-%s" {\n    node "%s"\n    image "%s"\n    backend "noop"\n}\n' "$node" "$node" "$work/image"
    done >"$work/VMFile.kdl"
    cd "$work"
    vmctl -q up
    for node in a b c; do await shows "$node +web-$node +noop .* Ready"; done
    vmctl -q down --destroy -y
    for node in a b c; do await bash -c "! vmctl list -A | grep -q web-$node"; done

    at c vmctl -q fleet leave
    await bash -c '! vmctl fleet status | grep -q "^c "'
    [ ! -e "$work/c/data/vmctl/fleet/config.json" ]
    fails 3 vmctl --node b status nobody
}

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
    says "etcd was heard of"
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
}

@test "a fleet: a messenger that is killed is started again, and vmctld is unaffected" {
    joined
    local vmctld messenger
    vmctld=$(vmctl controller status -o json | jq .pid)
    messenger=$(pgrep -P "$vmctld" -f -- --fleet)
    kill -9 "$messenger"
    await bash -c "pgrep -P $vmctld -f -- --fleet | grep -vqx $messenger"
    messenger=$(pgrep -P "$vmctld" -f -- --fleet)
    await knows a
    [ "$(vmctl controller status -o json | jq .pid)" = "$vmctld" ]
    kill -9 "$vmctld" # it ends with it
    await bash -c "[ ! -d /proc/$messenger ]"
}
