#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# fleet.sh [ROUNDS]: a fleet of three nodes with noop VMs, each with a data directory of its own, on
# three real members of etcd with TLS. In each round VMs come and go on all nodes while something
# happens: a node is cut off, a member or a messenger is killed or stopped, a vmctld is killed, etcd
# is compacted; and two VMs of the fleet move to and fro, which never run on two nodes at once. Then all is healed, and within FLEET_SECONDS (10) `list -A` of each node has to say
# of each other one what that says of itself. At the end etcd goes back to a snapshot, which has to
# freeze them all. FLEET_SEED=N repeats a run's choices, FLEET_KINDS="cut nothing" chooses among them.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scenario.bash"
rounds=${1:-20} seconds=${FLEET_SECONDS:-10}
seed=${FLEET_SEED:-$$}
RANDOM=$seed
failures=0
etcd=$here/../../examples/fleet/etcd
nodes=(a b c) vms=(one two three) fleet_vms=(here there)

fail() {
    failures=$((failures + 1))
    echo "FAILED (FLEET_SEED=$seed): $*"
}

pause() { read -rt "$1" <> <(:) || :; }
at() { XDG_DATA_HOME=$work/$1/data HOME=$work/$1 vmctl "${@:2}"; }
vmctld_of() { at "$1" controller status -o json 2>/dev/null | jq -r '.pid // empty'; }
messenger_of() { pgrep -P "$(vmctld_of "$1")" -f -- --fleet 2>/dev/null; }
signal() { [ -z "${2:-}" ] || kill "-$1" "$2" 2>/dev/null; }

# ---- links: one process group a node, which passes on what comes to each member ----

link_port() { echo $((PORT + 10 + 3 * $1 + $2)); } # NODE-NUMBER MEMBER
links_up() {
    local n m
    for n in 0 1 2; do
        setsid bash -c '
            for m in 0 1 2; do socat "TCP-LISTEN:$(($1 + m)),bind=127.0.0.1,fork,reuseaddr" "TCP:127.0.0.1:$(($2 + 2 * m))" & done
            wait' links "$(link_port $n 0)" "$PORT" >/dev/null 2>&1 &
        links[n]=$!
        disown
    done
}
link() { kill "-$2" -- "-${links[$1]}" 2>/dev/null; } # NODE-NUMBER SIGNAL

end_all() {
    local n
    for n in 0 1 2; do
        link $n CONT
        link $n KILL
        signal CONT "$(messenger_of "${nodes[n]}")"
        at "${nodes[n]}" destroy --all -q >/dev/null 2>&1
        at "${nodes[n]}" controller stop >/dev/null 2>&1
    done
    "$etcd" stop "$work/store"
    clean_up
}

# ---- VMs ----

churn() { # NODE
    local vm
    while [ -e "$work/go" ]; do
        vm=${vms[RANDOM % 3]}
        case $((RANDOM % 5)) in
        0 | 1) at "$1" create -q --name "$vm" --backend noop --image "$work/image" --start ;;
        2) at "$1" stop -q "$vm" ;;
        3) at "$1" start -q "$vm" ;;
        4) at "$1" destroy -q "$vm" ;;
        esac >>"$work/out.churn" 2>&1
    done
}

# Moves the VMs of the fleet, asked for on any node, or takes that back
mover() {
    local vm at
    while [ -e "$work/go" ]; do
        vm=${fleet_vms[RANDOM % 2]} at=${nodes[RANDOM % 3]}
        case $((RANDOM % 5)) in
        0) at "$at" move -q --cancel "$vm" ;;
        *) at "$at" move -q "$vm" --to "${nodes[RANDOM % 3]}" --stop --timeout 3s ;;
        esac >>"$work/out.mover" 2>&1
    done
}

# "here b": where the VMs of the fleet run. Two looks in a row: one VM may move during the first
running() {
    local node
    for node in "${nodes[@]}"; do
        at "$node" list -o json 2>/dev/null | jq -r --arg node "$node" '.[] | select(.display == "Ready" or .display == "Running") | "\(.name) \($node)"'
    done | grep -E "^(here|there) " | sort
}
watch_lives() {
    local doubles
    while [ -e "$work/watch" ]; do
        doubles=$(comm -12 <(running) <(running) | cut -d ' ' -f 1 | uniq -d)
        [ -z "$doubles" ] || echo "$doubles" >>"$work/doubles"
    done
}

# Each is on one node, and none is on its way any more
are_placed() {
    local rows
    rows=$(at a list -A -o json 2>/dev/null | jq -r '.[] | select(.name == "here" or .name == "there") | "\(.name) \(.display) \(.moving != null)"' | sort)
    [ "$rows" = "here Ready false
there Ready false" ]
}

# What NODE says of its own VMs, and what OTHER has of them: "VM STATE" a line
own() { at "$1" list -o json | jq -r '.[] | "\(.name) \(.display)"' | sort; }
seen() { at "$1" list -A -o json 2>/dev/null | jq -r --arg node "$2" '.[] | select(.node == $node) | "\(.name) \(.display)"' | sort; }

all_true() {
    local node other
    for node in "${nodes[@]}"; do
        own "$node" >"$work/own"
        for other in "${nodes[@]}"; do
            [ "$other" = "$node" ] || seen "$other" "$node" | cmp -s - "$work/own" || return 1
        done
    done
}

show_lies() {
    local node other
    for node in "${nodes[@]}"; do
        for other in "${nodes[@]}"; do
            [ "$other" = "$node" ] || diff <(own "$node") <(seen "$other" "$node") | sed "s/^/$other of $node: /"
        done
        at "$node" fleet status 2>&1 | sed "s/^/$node: /"
        tail -n 5 "$work/$node/data/vmctl/controller.log" | sed "s/^/$node: /"
    done
}

# until SECONDS COMMAND... : the seconds it took, or false
until_true() {
    local begin=$EPOCHREALTIME limit=$1
    shift
    until "$@"; do
        [ "$(awk "BEGIN { print ($EPOCHREALTIME - $begin > $limit) }")" = 0 ] || return 1
        pause 0.1
    done
    awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }"
}

# ---- faults ----

harm() { # KIND NODE-NUMBER MEMBER
    local node=${nodes[$2]}
    case $1 in
    cut)
        link "$2" STOP && pause $((12 + RANDOM % 10))
        [ "$(at "$node" fleet status -o json | jq -r .state)" = down ] || fail "round $round: $node has not noticed that it is cut off"
        ;;
    member-killed) "$etcd" kill "$work/store" "$3" && pause $((RANDOM % 8)) ;;
    member-stopped) "$etcd" pause "$work/store" "$3" && pause $((RANDOM % 10)) ;;
    messenger-killed) signal KILL "$(messenger_of "$node")" ;;
    messenger-stopped) signal STOP "$(messenger_of "$node")"; pause $((RANDOM % 20)) ;;
    vmctld-killed) signal KILL "$(vmctld_of "$node")"; pause $((RANDOM % 3)) ;;
    compacted) "$etcd" ctl "$work/store" compact "$("$etcd" ctl "$work/store" get none -w json | jq .header.revision)" >/dev/null 2>&1 ;; # or it was just before
    nothing) ;;
    esac
}

heal() { # KIND NODE-NUMBER MEMBER
    local node=${nodes[$2]}
    case $1 in
    cut) link "$2" CONT ;;
    member-killed) "$etcd" start "$work/store" >/dev/null ;;
    member-stopped) "$etcd" resume "$work/store" "$3" ;;
    messenger-stopped) signal CONT "$(messenger_of "$node")" ;;
    vmctld-killed) at "$node" controller start >/dev/null 2>&1 ;;
    esac
}

is_frozen() { [ "$(at "$1" fleet status -o json 2>/dev/null | jq -r .state)" = frozen ]; }
all_frozen() { is_frozen a && is_frozen b && is_frozen c; }

# ---- the run ----

type -P etcd etcdctl socat jq >/dev/null || { echo "skipped: etcd-server, etcd-client, socat or jq is not installed"; exit 77; }
scratch "$(scratch_parent)/fleet" noop
export PORT=$((RANDOM % 9000 + 20000))
links=()
trap end_all EXIT
"$etcd" start "$work/store" >/dev/null && "$etcd" user "$work/store" "${nodes[@]}" || exit 1
links_up
join=init
for n in 0 1 2; do
    node=${nodes[n]} urls=()
    mkdir -p "$work/$node"
    for m in 0 1 2; do urls+=(--etcd "https://127.0.0.1:$(link_port $n $m)"); done
    until at "$node" fleet $join -q --as "$node" "${urls[@]}" --ssh "me@$node.invalid" --accept url,cache,path --ca "$work/store/tls/ca.pem" \
        --cert "$work/store/tls/$node.pem" --key "$work/store/tls/$node.key" 2>"$work/out.join"; do
        grep -q 'vmctl::fleet::unreachable' "$work/out.join" || { cat "$work/out.join"; exit 1; }
    done
    join=join
done
read -ra kinds <<<"${FLEET_KINDS:-cut member-killed member-stopped messenger-killed messenger-stopped vmctld-killed compacted nothing}"
slowest=0
for vm in "${fleet_vms[@]}"; do
    printf 'vm "%s" { node "any"; image "%s"; backend "noop" }\n' "$vm" "$work/image"
done >"$work/VMFile.kdl"
at a up -q -f "$work/VMFile.kdl" || { echo "cannot place VMs"; exit 1; }
: >"$work/watch"
watch_lives &
watcher=$!
for ((round = 1; round <= rounds; round++)); do
    kind=${kinds[RANDOM % ${#kinds[@]}]} n=$((RANDOM % 3)) m=$((RANDOM % 3 + 1))
    : >"$work/go"
    churners=()
    for node in "${nodes[@]}"; do
        RANDOM=$((seed + round)) churn "$node" &
        churners+=($!)
    done
    RANDOM=$((seed + round)) mover &
    churners+=($!)
    harm "$kind" $n $m
    pause 1
    rm "$work/go"
    heal "$kind" $n $m
    wait "${churners[@]}"
    if took=$(until_true "$seconds" all_true); then
        slowest=$(printf '%s\n' "$slowest" "$took" | sort -n | tail -n 1)
        [ -z "${FLEET_VERBOSE:-}" ] || echo "round $round: $kind of ${nodes[n]} or member $m: true after $took s"
    else
        fail "round $round: $kind of ${nodes[n]} or member $m: not true after $seconds s"
        show_lies
        break
    fi
done

if [ $failures = 0 ]; then
    until_true 60 are_placed >/dev/null || { fail "a VM of the fleet is nowhere, or on its way for ever"; at a list -A; show_lies; }
fi
moves=-2
for vm in "${fleet_vms[@]}"; do
    moves=$((moves + $("$etcd" ctl "$work/store" get "/vmctl/1/home/name/$vm" --print-value-only 2>/dev/null | jq '.epoch // 1' 2>/dev/null || echo 1)))
done
rm "$work/watch"
wait "$watcher"
[ ! -s "$work/doubles" ] || fail "two lives of one VM: $(sort -u "$work/doubles" | tr '\n' ' ')"
if [ $failures = 0 ]; then
    for node in "${nodes[@]}"; do at "$node" create -q --name keep --backend noop --image "$work/image" --start >/dev/null 2>&1; done
    "$etcd" save "$work/store" "$work/snapshot"
    for node in "${nodes[@]}"; do at "$node" stop -q keep >/dev/null; done
    until_true "$seconds" all_true >/dev/null || fail "not true before the snapshot"
    "$etcd" restore "$work/store" "$work/snapshot"
    until_true 40 all_frozen >/dev/null || { fail "a restored etcd does not freeze all"; show_lies; }
    for node in "${nodes[@]}"; do
        [ "$(own "$node" | grep -c '^keep ')" = 1 ] || fail "$node has lost a VM"
    done
fi
grep -lE 'AddressSanitizer|runtime error|Assertion' "$work"/?/data/vmctl/controller.log && fail "a crash"
echo "fleet: $((round - 1)) rounds (seed $seed), true again after at most $slowest s, $moves moves, $failures failures"
[ $failures = 0 ]
