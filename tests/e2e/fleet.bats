#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A fleet on a real etcd: one list, VMs that it places, and its processes.
load fleet
setup() { fleet_setup; }
teardown() { fleet_teardown; }

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
    touch -d '+1 hour' "$XDG_DATA_HOME/vmctl/fleet/contact" # by a clock that was set back since
    fails 5 vmctl fleet status
    says "unknown"
}

@test "a fleet places VMs, and any node changes them" {
    cd "$work"
    of_fleet early
    fails 2 vmctl up
    says 'there is no node "any"'
    rm VMFile.kdl
    joined b
    of_fleet web any:node=b
    printf 'vm "own" {\n    image "%s"\n    backend "noop"\n}\n' "$work/image" >>VMFile.kdl
    run vmctl up
    [ "$status" -eq 0 ]
    says "web: created (node b)" "web: ready (node b)" "own: ready"
    [ "$(at b vmctl list -o name)" = web ]
    run vmctl up
    says "web: unchanged (node b)"
    sed -i '0,/node "any:node=b"/s//&\n    memory 64/' VMFile.kdl
    run vmctl up web
    says "web: configured (node b)" "web: restart required" "vmctl restart web"
    fails 2 vmctl up --recreate
    says "--recreate is not for VMs of the fleet"

    vmctl -q fleet cordon b
    of_fleet second any:node=b
    await bash -c "vmctl fleet status | grep -q 'takes no new VMs'"
    fails 1 vmctl up second
    says "b: takes no new VMs"
    vmctl -q fleet uncordon b
    fails 1 vmctl fleet cordon z
    says "has no node 'z'"
    fails 1 vmctl fleet forget b
    says "has VMs of the fleet"

    # by its name, from a directory without the VMFile, and from its own node
    cd /
    vmctl -q stop web
    await shows 'b +web +noop .* Stopped'
    at b vmctl -q start web
    await shows 'b +web +noop .* Ready'
    run at b vmctl destroy -y nobody
    [ "$status" -eq 3 ]
    vmctl status web | grep -q Ready # over there

    # each is somewhere
    cd "$work"
    rm VMFile.kdl
    of_fleet first
    of_fleet second any $'    depends-on "first"\n'
    fails 2 vmctl up
    says "vm 'second' depends on 'first', which may be on another node" "any:node=b"

    # keys stay here
    cd "$work"
    rm VMFile.kdl
    cp "$work/key" step.sh
    of_fleet filed any $'    cloud-init\n    provision "shell" { script "step.sh" }\n'
    fails 2 vmctl up
    says "contains a private key"

    vmctl -q destroy -y web
    await bash -c '! vmctl list -A | grep -q web'
    [ -z "$(ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --prefix /vmctl/1/home/name --keys-only)" ]
    fails 3 vmctl destroy -y web
}

@test "a fleet: the name of a node is one host's, and taken over only by the user's word" {
    joined b
    cd "$work"
    of_fleet web any:node=b
    vmctl -q up
    rows() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --prefix /vmctl/1/home/node; }
    local before vmctld third
    before=$(rows)
    third=(env XDG_DATA_HOME="$work/third" vmctl)
    fails 6 "${third[@]}" fleet join --as b --etcd "$etcd_url"
    says "another host is node 'b' of fleet 'home': ssh://" "$work/b/data/vmctl" "--as NAME"
    [ ! -e "$work/third/vmctl/fleet/config.json" ]
    fails 6 "${third[@]}" fleet join --as b --etcd "$etcd_url" --force
    says "is online"
    [ "$(rows)" = "$before" ]

    # one with the same machine-id and data directory: as a copy of it would find it online
    at b vmctl -q controller stop
    etcd_put alive/b '{"session":"x","bootId":"another"}'
    fails 6 at b vmctl fleet join --as b --etcd "$etcd_url"
    says "node 'b' is online, on a host with this one's machine-id" "machine-id and --as NAME"
    fails 6 at b vmctl fleet leave
    says "vmctl fleet leave --force"
    [ "$(etcd_get alive/b | jq -r .session)" = x ]
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" del /vmctl/1/home/alive/b >/dev/null
    at b vmctl -q controller start
    await knows b

    # it is cut off, and its VM runs
    vmctld=$(at b vmctl controller status -o json | jq .pid)
    kill -9 "$vmctld"
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" del /vmctl/1/home/alive/b >/dev/null
    fails 6 "${third[@]}" fleet join --as b --etcd "$etcd_url"
    [ "$(rows)" = "$before" ]
    "${third[@]}" -q fleet join --as b --etcd "$etcd_url" --force --accept url,cache,path
    await bash -c "XDG_DATA_HOME=$work/third vmctl list -o name | grep -qx web"

    # the other one comes back: it leaves by itself, and takes nothing along
    run at b vmctl -q fleet join --as b --etcd "$etcd_url"
    [ "$status" -eq 6 ]
    at b vmctl -q fleet leave
    [ "$(at b vmctl list -o name)" = web ]
    "${third[@]}" fleet status | grep -q "^b .* ready"
    XDG_DATA_HOME="$work/third" vmctl -q controller stop
}

@test "a fleet: destroy --all takes the host's own VMs, and asks the fleet for its own" {
    joined
    cd "$work"
    for name in web db; do of_fleet "$name" any $'    label "tier" "test"\n'; done
    vmctl -q up
    for name in own more; do vmctl -q create --name "$name" --backend noop --image "$work/image"; done
    run vmctl destroy -l tier=test -y
    [ "$status" -eq 0 ]
    [ "$(vmctl list -o name | sort | tr '\n' ' ')" = "more own " ]
    vmctl -q up web
    run vmctl destroy --all -y
    [ "$status" -eq 0 ]
    says "own: destroyed" "more: destroyed" "web: destroyed"
    [ -z "$(vmctl list -o name)" ]
    vmctl -q create --name own --backend noop --image "$work/image"
    run vmctl destroy --al -y # no VM of the fleet is left
    [ "$status" -eq 0 ]
    [ -z "$(vmctl list -o name)" ]
}

@test "a fleet: what etcd has lost runs on, and is the host's own once that is accepted" {
    joined
    cd "$work"
    of_fleet web
    vmctl -q up
    for row in vm/a/web name/web; do
        ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" del "/vmctl/1/home/$row" >/dev/null
    done
    rm VMFile.kdl
    await bash -c 'vmctl destroy -y web 2>&1 | grep -q "belongs to the fleet"'
    vmctl list | grep -q 'web .* Ready'
    run vmctl fleet join --as a --etcd "$etcd_url"
    [ "$status" -eq 0 ]
    says "web: belongs to this host from now on"
    vmctl list | grep -q 'web .* Ready'
    vmctl -q destroy -y web
    [ -z "$(vmctl list -o name)" ]
}

@test "a fleet: down --destroy leaves what another VMFile has made" {
    joined
    cd "$work"
    of_fleet web
    vmctl -q up
    mkdir other
    cp VMFile.kdl other
    cd other
    run vmctl down --destroy -y
    [ "$status" -eq 0 ]
    says "web stays as it is: it belongs to another VMFile" "$work/VMFile.kdl"
    vmctl list | grep -q 'web .* Ready'
    cd ..
    vmctl -q down --destroy -y
    [ -z "$(vmctl list -o name)" ]
}

@test "a fleet: a host's own VM of the name is told from the fleet's" {
    joined b
    cd "$work"
    of_fleet web any:node=b
    vmctl -q up
    cd /
    of_own() { vmctl -q create --name web --backend noop --image "$work/image"; }
    of_own
    fails 2 vmctl destroy -y web
    says "both this host and node 'b' have a vm 'web'" "local/web, b/web"
    vmctl -q destroy -y local/web
    [ -z "$(vmctl list -o name)" ]
    of_own
    cd "$work"
    of_fleet more any:node=a
    vmctl -q up more
    cd /
    vmctl -q destroy --all -y
    [ -z "$(vmctl list -o name)" ]
    [ "$(at b vmctl list -o name)" = web ]
}

@test "a fleet: what a lost node has is made again elsewhere, and set aside when it is back" {
    joined b c
    cd "$work"
    of_fleet web any:node=b
    of_fleet db any:node=b
    vmctl -q up
    fails 2 vmctl move web
    says "no node is given to move it to" "vmctl move VM --to NODE"
    fails 1 vmctl move web --to c --recreate
    says "node 'b' is online"
    vmctl -q create --name own --backend noop --image "$work/image"
    fails 1 vmctl move own --to c --recreate
    says "vm 'own' belongs to this host" "vmctl export own - | ssh HOST vmctl import -"
    fails 3 vmctl move nobody --to c --recreate

    kill -9 "$(at b vmctl controller status -o json | jq .pid)"
    ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" del /vmctl/1/home/alive/b >/dev/null
    await bash -c "vmctl fleet status | grep -q '^b .*lost'"
    fails 1 vmctl move web --to z --recreate --node-is-off
    says "has no node 'z'"
    run vmctl move web --to c --recreate --node-is-off
    [ "$status" -eq 0 ]
    says "web: moved (node c)"
    await shows 'c +web +noop .* Ready'
    run vmctl destroy -y --node-is-off db
    [ "$status" -eq 0 ]
    says "db: destroyed"
    [ -z "$(vmctl list -A -o name | grep db)" ]

    at b vmctl -q controller start
    await bash -c "[ -z \"\$(XDG_DATA_HOME=$work/b/data vmctl list -o name)\" ]"
    await bash -c "ls $work/b/data/vmctl/quarantine | grep -q '^web-'"
    ls "$work/b/data/vmctl/quarantine" | grep -q '^db-'
    [[ "$(at b vmctl events)" =~ web.*MovedAway.*node\ c\ has\ it\ now ]]
    await bash -c "[ -z \"\$(ETCDCTL_API=3 etcdctl --endpoints $etcd_url get --prefix /vmctl/1/home/gone --keys-only)\" ]"
    shows 'c +web +noop .* Ready'
    vmctl -q destroy -y web
}

@test "a fleet: a VM moves to another node, or stays if that is cancelled" {
    joined b c
    cd "$work"
    of_fleet web any:node=b
    vmctl -q up
    fails 1 vmctl move web --to c
    says "vm 'web' is running: it can be moved only while it is off" "vmctl move web --to c --stop"
    fails 1 vmctl move web --to z --stop
    says "has no node 'z'"
    fails 1 vmctl move --cancel web
    says "is not moving"
    fails 2 vmctl move --cancel web --to c

    # c is halted: nothing comes of it
    local messenger
    messenger=$(pgrep -P "$(at c vmctl controller status -o json | jq .pid)" -f -- --fleet)
    kill -STOP "$messenger"
    run vmctl move web --to c --stop --detach
    [ "$status" -eq 0 ]
    says "web: moving (node c)"
    await shows 'b +web +noop .* Moving to c 0 %'
    [[ "$(at b vmctl list -A 2>/dev/null)" =~ b\ +web\ +noop.*Moving\ to\ c ]] # also where it is its own
    fails 1 vmctl start web
    says "vm 'web' is already moving to node 'c'" "vmctl move --cancel web"
    fails 1 at b vmctl start web
    says "vm 'web' is already moving to node 'c'"
    fails 6 vmctl move web --to a
    says "vm 'web' is already moving to node 'c'"
    run vmctl move --cancel web
    [ "$status" -eq 0 ]
    says "web: cancelled (node b)"
    kill -CONT "$messenger"
    await shows 'b +web +noop .* Ready'

    run vmctl move web --to c --stop
    [ "$status" -eq 0 ]
    says "web: moved"
    await shows 'c +web +noop .* Ready'
    await bash -c "ls $work/b/data/vmctl/quarantine | grep -q '^web-'"
    await bash -c "[ -z \"\$(XDG_DATA_HOME=$work/b/data vmctl list -o name)\" ]"
    run vmctl up
    says "web: unchanged (node c)"
    vmctl -q stop web
    vmctl -q move web --to a
    [ "$(vmctl list -o json | jq -r '.[0].display')" = Stopped ]
    # back to where its earlier lives are in quarantine
    vmctl -q move web --to b
    vmctl -q start web
    await shows 'b +web +noop .* Ready'
    [ "$(ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get /vmctl/1/home/name/web --print-value-only | jq .epoch)" = 4 ]
    await bash -c "[ -z \"\$(ETCDCTL_API=3 etcdctl --endpoints $etcd_url get --prefix /vmctl/1/home/gone --keys-only)\" ]"
    vmctl -q destroy -y web
}

@test "a fleet: a node is drained of its VMs, which go where they fit" {
    joined b c
    cd "$work"
    for name in one two; do of_fleet "$name" any:node=b; done
    vmctl -q up
    at b vmctl -q create --name own --backend noop --image "$work/image"
    vmctl -q stop two
    await shows 'b +own '
    fails 1 vmctl fleet drain b
    says "vm 'one' is running" "two: moved" "node b keeps 1 VM of its own"
    run vmctl fleet drain b --stop
    [ "$status" -eq 0 ]
    says "one: moved"
    await bash -c "[ \"\$(XDG_DATA_HOME=$work/b/data vmctl list -o name)\" = own ]"
    await bash -c "vmctl fleet status | grep -q '^b .*takes no new VMs'"
    [ "$(vmctl list -A -o json | jq -r '.[] | select(.name == "one") | .display')" = Ready ]
    fails 1 vmctl fleet drain z
    says "has no node 'z'"
    vmctl -q destroy -y one two
}

@test "a fleet: a node is drained to one that has room for just its VMs" {
    joined b c
    cd "$work"
    vmctl -q fleet cordon a
    local mib
    mib=$(vmctl fleet status -o json | jq '.nodes[] | select(.name == "c").memMib')
    for name in one two; do of_fleet "$name" any:node=b "memory $((mib * 2 / 5));"; done
    vmctl -q up
    vmctl -q stop one two
    fails 0 vmctl fleet drain b
    says "one: moved" "two: moved"
    vmctl -q destroy -y one two
}
