#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Other hosts: `vmctl node`, `--node`, `list -A`. Each has an sshd of its own on loopback.
load nodes
setup() { nodes_setup; }
teardown() { nodes_teardown; }

@test "a node is added, shown, listed and removed" {
    run vmctl node list
    [ "$output" = "no nodes yet: vmctl node add NAME USER@HOST" ]
    node_added b
    run vmctl node list
    [ "$status" -eq 0 ]
    [[ "${lines[1]}" =~ ^b\ +ssh://[^\ ]+\ +[0-9.]+\ +ready$ ]]
    [ "$(vmctl node list -o json | jq -r '.[0].ready')" = true ]
    [ "$(vmctl node list -o name)" = b ]
    run vmctl node show b
    [ "$status" -eq 0 ]
    says "Name:       b" "State:      ready" "nodes.kdl:1"
    fails 6 vmctl node add b x@y
    says "node 'b' exists already" "vmctl node rm b"
    fails 2 vmctl node add local x@y
    fails 2 vmctl node add c -- -oProxyCommand=x
    says "cannot be the address of a node"
    printf '// of mine\nnode "d" "d.lan" {\n data-dir "/x"\n}\n' >>"$XDG_CONFIG_HOME/vmctl/nodes.kdl"
    vmctl node rm b
    [ "$(vmctl node list -o name)" = d ]
    grep -q '^// of mine$' "$XDG_CONFIG_HOME/vmctl/nodes.kdl"
    fails 2 vmctl node rm d
    says "not on a line of its own"
    fails 2 vmctl node rm b
    says "there is no node 'b'"
}

@test "--node runs a command there, and ends as it does" {
    node_added b
    run vmctl --node b create --name web --backend noop --image "$work/image" --start
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
    [ "$(at b vmctl list -o name)" = web ]
    [ "$(vmctl list -o name)" = "" ]
    [ "$(vmctl --node=b list -o name)" = web ]
    [ "$(vmctl --node local list -o name)" = "" ]
    [ "$(vmctl status web --node b -o json | jq -r .name)" = web ]
    fails 3 vmctl --node b stop "it's; none"
    says "there is no vm 'it's; none'"
    fails 2 vmctl --node nope list
    says "there is no node 'nope'" "vmctl node add nope"
    fails 2 vmctl --node b validate
    says "takes no --node"
    kill "$(cat "$work/b/pid")"
    await refute test -e "$work/b/pid"
    fails 5 vmctl --node b list
    says "vmctl::node::unreachable" "node 'b' (ssh://"
    run at b vmctl wait web --ready # it is none of b's business
    [ "$status" -eq 0 ]
}

@test "output of a node that cannot be written is an error" {
    node_added b
    fails 1 bash -c 'vmctl --node b version 2>&1 >/dev/full'
    says "cannot write to the standard output: No space left on device"
    vmctl --node b version >out
    grep '^vmctl ' out
}

@test "list -A shows all nodes; neither a dead one nor one that hangs hides the others" {
    node_added b
    node_added c
    vmfile here
    vmctl up -q
    for node in b c; do
        vmctl -q --node "$node" create --name "on-$node" --backend noop --image "$work/image" --start
    done
    run vmctl list -A
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" =~ ^NODE\ +NAME\ .*\ AGE\ +SEEN$ ]]
    [[ "${lines[1]}" =~ ^local\ +here\ .*\ now$ ]]
    [[ "${lines[2]}" =~ ^b\ +on-b\ .*\ now$ ]]
    [[ "${lines[3]}" =~ ^c\ +on-c\ .*\ now$ ]]
    [ "$(vmctl list -A -o name)" = $'here\nb/on-b\nc/on-c' ]
    [ "$(vmctl list -A -o json | jq -r '[.[] | .node + ":" + .name] | join(" ")')" = "local:here b:on-b c:on-c" ]

    # c accepts and never answers, b is off: together they cost three seconds, and half a second then
    kill "$(cat "$work/b/pid")" "$(cat "$work/c/pid")"
    await refute test -e "$work/b/pid"
    await refute test -e "$work/c/pid"
    python3 -c 'import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(8); open(sys.argv[2], "w").close(); time.sleep(600)' \
        "$node_port" "$work/hangs" 3>&- &
    hung=$!
    await test -e "$work/hangs"
    local begun=${EPOCHREALTIME/./}
    run vmctl list -A
    local first=$((${EPOCHREALTIME/./} - begun))
    [ "$status" -eq 0 ]
    echo "$output"
    says "node 'b' (ssh://" "node 'c' (ssh://" "does not answer"
    grep -Eq '^local +here .* now$' <<<"$output"
    grep -Eq '^b +on-b .*Unknown \(was Ready\).* ago$' <<<"$output"
    grep -Eq '^c +on-c .*Unknown \(was Ready\).* ago$' <<<"$output"
    [ "$first" -ge 2900000 ]
    [ "$first" -lt 9000000 ] # this machine may be busy
    begun=${EPOCHREALTIME/./}
    vmctl list -A >/dev/null
    [ $((${EPOCHREALTIME/./} - begun)) -lt 2900000 ]
    [ "$(vmctl list -A -o json | jq -r '.[] | select(.node == "c") | .display')" = Unknown ]
    # its answer is lost, not its VMs
    kill "$hung"
    wait "$hung" || true
    hung=
    /usr/sbin/sshd -f "$work/c/sshd_config"
    await test -s "$work/c/pid"
    rm "$data/nodes/c.lost"
    run vmctl list -A
    grep -Eq '^c +on-c .*Ready .* now$' <<<"$output"
}

# spread_file VMS... : a VMFile of "NAME" here and "NODE/NAME" there
spread_file() {
    local vm node
    for vm in "$@"; do
        node=${vm%/*}
        [ "$node" != "$vm" ] || node=local
        printf 'vm "%s" {\n    node "%s"\n    image "%s"\n    backend "noop"\n    memory 64\n}\n' \
            "${vm#*/}" "$node" "$work/image"
    done >VMFile.kdl
}

@test "a VMFile of two nodes goes up, is looked at, and goes down with one command each" {
    node_added b
    spread_file db b/web
    run vmctl up
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
    says "db: created" "web: created" "web: ready"
    [ "$(vmctl list -o name)" = db ]
    [ "$(at b vmctl list -o name)" = web ]
    run vmctl up
    says "db: unchanged" "web: unchanged"
    [ "$(vmctl up -o json | jq -r '[.vms[] | .name + ":" + .result] | sort | join(" ")')" = "db:done web:done" ]
    [ "$(vmctl status -o json | jq -r '[.[].name] | sort | join(" ")')" = "db web" ]
    [ "$(vmctl status web -o json | jq -r '.name')" = web ]
    [ "$(vmctl status b/web -o json | jq -r '.name')" = web ]
    [ "$(vmctl get vm b/web -o name)" = web ]
    [ "$(vmctl describe -o json --name web | jq -r '.name')" = web ]
    vmctl wait --ready
    sed -i 's/memory 64/memory 128/' VMFile.kdl
    fails 1 vmctl diff
    says "db" "web" "+memory 128"
    vmctl --node local up -q --restart
    [ "$(at b vmctl get web -o json | jq .desired.spec.memoryMib)" = 64 ]
    vmctl up -q --restart web
    [ "$(at b vmctl get web -o json | jq .desired.spec.memoryMib)" = 128 ]
    vmctl down -q
    [ "$(vmctl status web -o json | jq -r .display)" = Stopped ]
    [ "$(vmctl status db -o json | jq -r .display)" = Stopped ]
    printf 'vm "web" { memory 192 }\nvm "db" { memory 80 }\n' >more.kdl
    vmctl up -q -f VMFile.kdl --file more.kdl --restart # each host has its part of all files
    [ "$(at b vmctl get web -o json | jq .desired.spec.memoryMib)" = 192 ]
    [ "$(vmctl get db -o json | jq .desired.spec.memoryMib)" = 80 ]
    vmctl down -q -f . -f more.kdl
    run vmctl up -df VMFile.kdl
    [[ $output == *"web: started"* && $output != *"ready"* ]] || { echo "$output"; return 1; }
    vmctl wait --ready
    vmctl down -q --destroy
    [ "$(vmctl list -o name)$(at b vmctl list -o name)" = "" ]
}

@test "files beside the VMFile go along to the node" {
    node_added b
    spread_file b/web
    sed -i 's/memory 64/&\n    provision "shell" { script "step one.sh" }\n    provision "file" { source "motd"; destination "\/tmp\/m" }/' VMFile.kdl
    fails 2 vmctl up
    says "no readable file at" "step one.sh" "motd"
    printf '#!/bin/sh\necho one\n' >'step one.sh'
    printf 'hello' >motd
    chmod 640 motd
    vmctl up -q
    sent=$(echo "$work"/b/data/vmctl/sent/*)
    cmp 'step one.sh' "$sent"/*/'step one.sh'
    [ "$(stat -c %a "$sent"/*/motd)" = 640 ]
    [ "$(at b vmctl get web -o json | jq -r '.desired.spec.provision[0].file.path')" = "$(echo "$sent"/*/'step one.sh')" ] ||
        { at b vmctl get web -o json | jq .desired.spec.provision; return 1; }
    run vmctl up
    says "web: unchanged"
    printf 'other' >motd
    printf '#!/bin/sh\necho two\n' >'step one.sh'
    fails 1 vmctl diff
    says "+echo two"
    vmctl up -q
    cmp motd "$sent"/*/motd
    # too much, and what is not ours
    truncate -s 5M motd
    fails 2 vmctl up
    says "too large to send" "copy it to that host"
    printf 'hello' >motd
    for bad in '644 9 ab/x\nshort' '644 1 ../x\ny' '644 1 ab/..\ny' '9644 1 ab/x\ny' 'x' '644 1 ab/c/d\ny'; do
        printf 'vm "z" { backend "noop"; image "%s" }\0' "$work/image" >"$work/part"
        printf '%b' "$bad" >>"$work/part"
        run at b bash -c "VMCTL_FILE=- VMCTL_PROJECT=//h/p vmctl up -q <$work/part"
        [ "$status" -eq 2 ] || { echo "$bad: $output"; return 1; }
        says "is damaged"
    done
    # a day after no VM names them, they go
    for dir in "$sent"/*; do touch -d '2 days ago' "$dir"; done
    at b vmctl list -q
    printf 'vm "z" { backend "noop"; image "%s" }' "$work/image" >"$work/z.kdl"
    at b bash -c "VMCTL_FILE=- VMCTL_PROJECT=//h/p vmctl up -q" <"$work/z.kdl"
    [ -e "$sent"/*/motd ]
    vmctl down -q --destroy
    for dir in "$sent"/*; do touch -d '2 days ago' "$dir"; done
    at b bash -c "VMCTL_FILE=- VMCTL_PROJECT=//h/p vmctl up -q" <"$work/z.kdl"
    [ "$(ls "$sent")" = "" ]
}

@test "-l chooses by labels on each node, and none of the others is touched" {
    node_added b
    spread_file db log b/web b/api
    sed -i -E 's/vm "(web|db)" \{/&label "tier" "one";/; s/vm "(api|log)" \{/&label "tier" "two";/' VMFile.kdl
    vmctl up -q -l tier=one
    [ "$(vmctl list -o name)" = db ]
    [ "$(at b vmctl list -o name)" = web ]
    vmctl up -q
    vmctl stop -q -l tier=two
    [ "$(vmctl status db -o json | jq -r .display) $(vmctl status web -o json | jq -r .display)" = "Ready Ready" ]
    [ "$(vmctl status log -o json | jq -r .display) $(vmctl status api -o json | jq -r .display)" = "Stopped Stopped" ]
    fails 2 vmctl stop -l tier=one b/api
    vmctl down -q --destroy -y -l tier=one
    [ "$(vmctl list -o name)" = log ]
    [ "$(at b vmctl list -o name)" = api ]
}

@test "a dead node fails its VMs alone, and says what to type" {
    node_added b
    node_added c
    spread_file db b/web c/log
    kill "$(cat "$work/b/pid")"
    await refute test -e "$work/b/pid"
    fails 5 vmctl up
    refute at b vmctl status web
    says "db: ready" "log: ready" "vmctl::node::unreachable" "node 'b' (ssh://" "when it answers again: vmctl up web"
    [ "$(vmctl up -o json 2>/dev/null | jq -r '[.vms[] | .name + ":" + .result] | sort | join(" ")')" = \
        "db:done log:done web:failed" ]
    /usr/sbin/sshd -f "$work/b/sshd_config"
    await test -s "$work/b/pid"
    run vmctl up web
    [ "$status" -eq 0 ]
    says "web: ready"
    # one that accepts and never answers costs three seconds
    kill -STOP "$(cat "$work/c/pid")"
    local begun=$SECONDS
    fails 5 vmctl down
    kill -CONT "$(cat "$work/c/pid")"
    [ $((SECONDS - begun)) -lt 9 ] # this machine may be busy
    says "db: stopped" "web: stopped" "node 'c' (ssh://"
}

@test "one VM is reached wherever it runs" {
    node_added b
    spread_file db b/web
    vmctl up -q
    fails 3 vmctl ssh b/none
    says "there is no vm 'none'"
    fails 2 vmctl ssh
    says "for one VM" "such as: db"
    spread_file b/web
    run vmctl describe
    says "web"
    vmctl stop -q web
    [ "$(at b vmctl status web -o json | jq -r .display)" = Stopped ]
    fails 2 vmctl stop x/web
    says "there is no node 'x'"
}

@test "what is wrong with a node is said where it is written" {
    node_added b
    vmfile db
    printf 'vm "web" {\n    node "bb"\n    image "disk.img"\n    backend "noop"\n}\n' >>VMFile.kdl
    fails 2 vmctl validate
    says 'there is no node "bb"' "VMFile.kdl:3:10" "there is: b" '"disk.img" is a path of this host'
    sed -i 's/"bb"/"b"/; s/disk.img/\/disk.img/' VMFile.kdl
    vmctl validate
    [[ "$(vmctl config)" == *'node b'* ]]
    fails 2 vmctl watch
    says "vm 'web' is on node 'b'"
    # two directories of this name are two VMFiles on the other node, too
    mkdir other
    spread_file b/web
    vmctl up -q
    cp VMFile.kdl other
    cd other
    fails 6 vmctl up
    says "belongs to another VMFile"
}

@test "files are copied to a VM of another node by the vmctl there" {
    node_added b
    vmctl -q node rm b
    # its VM is its own user's home: what ssh would do in the guest is done there
    cat >"$work/b/vmctl" <<'END'
#!/bin/sh
[ "$*" = "ssh web --ssh-opt=-s -- sftp" ] || { echo "not $*" >&2; exit 1; }
cd "$HOME" && exec /usr/lib/openssh/sftp-server
END
    chmod +x "$work/b/vmctl"
    vmctl -q node add b "ssh://$(id -un)@127.0.0.1:$node_port" --remote-vmctl "$work/b/vmctl"
    spread_file b/web
    echo "it's here" >"$work/a note"
    run vmctl cp "$work/a note" "web:a b"
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
    [ "$(cat "$work/b/a b")" = "it's here" ]
    cd /
    vmctl cp -q "b/web:a b" "$work/back"
    [ "$(cat "$work/back")" = "it's here" ]
    fails 2 vmctl cp "x/web:a" "$work/back"
    says "there is no node 'x'"
    mkdir "$work/x" # now a path of this host
    cd "$work"
    vmctl cp -q "b/web:a b" x/10:30
    cmp x/10:30 back
    fails 2 vmctl port-forward b/web 8080:80
    says "vm 'web' is on node 'b'" "ssh -t -L 8080:127.0.0.1:10080 ssh://"
    fails 2 vmctl ssh -A b/web
    says "--forward-agent works on this host only, and the VM is on node 'b'" "ssh -t ssh://"
    fails 2 vmctl --node b ssh -NL 8080:localhost:80 web
    says "--local-forward works on this host only"
}

@test "vmctl killed amid, and once more: the same VMs" {
    node_added b
    spread_file db b/web
    vmctl up >/dev/null 2>&1 &
    await eval '[ "$(at b vmctl list -o name)" = web ]'
    kill -KILL $! 2>/dev/null || true
    vmctl up -q
    vmctl wait --ready
    [ "$(vmctl list -A -o name)" = $'db\nb/web' ]
    [ "$(at b vmctl get web -o json | jq .desired.generation)" = 1 ]
}
