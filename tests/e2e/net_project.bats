#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# network "project": three real guests on one switch, in a network namespace with another one outside
# of it. The tests run in order and build on each other. Needs root.

load qemu

in_host() { nsenter --target "$HOST_PID" --net --wd="$PWD" -- "$@"; }
vmctl() { in_host vmctl "$@"; }

hold_namespace() {
    unshare --net -- bash -c 'ip link set lo up; exec sleep infinity' 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
}

serve() { # NAME SOCAT-ADDRESS [NAMESPACE]
    nsenter --target "${3:-$HOST_PID}" --net -- \
        socat "$2,fork" SYSTEM:"echo $1" >>"$BATS_FILE_TMPDIR/socat.log" 2>&1 3>&- &
    echo $! >>"$BATS_FILE_TMPDIR/pids"
}

is_up() { nsenter -t "$1" -n ip link show lo | grep -q UP; }

make_networks() {
    hold_namespace
    export HOST_PID=$!
    hold_namespace
    export OUTSIDE_PID=$!
    await 10 is_up "$HOST_PID"
    await 10 is_up "$OUTSIDE_PID"
    in_host ip link add v0 type veth peer name v1 netns "$OUTSIDE_PID"
    in_host ip addr add 192.0.2.1/24 dev v0
    in_host ip link set v0 up
    nsenter -t "$OUTSIDE_PID" -n ip addr add 192.0.2.2/24 dev v1
    nsenter -t "$OUTSIDE_PID" -n ip addr add 192.0.2.3/24 dev v1
    nsenter -t "$OUTSIDE_PID" -n ip link set v1 up
    serve closed TCP-LISTEN:7001
    serve open TCP-LISTEN:7002,bind=127.0.0.1
    serve outside TCP-LISTEN:80 "$OUTSIDE_PID"
}

why_not() {
    [ "$(id -u)" = 0 ] || { echo "network namespaces need root"; return; }
    unshare --net -- ip link add v0 type veth peer name v1 >/dev/null 2>&1 ||
        echo "no network namespaces here"
}

setup_file() {
    [ -z "$(why_not)" ] || return 0
    use_data_dir
    mkdir -p "$PROJECT/shop"
    cd "$PROJECT/shop"
    make_networks
    cat >VMFile.kdl <<END
defaults {
    image "$VMCTL_TEST_GUEST"
    memory 128
    cloud-init
    ssh { user "worker" }
}
vm "web" { network "project" { host-services 7002 }; forward host=7080 guest=7080; }
vm "db" { network "project"; }
vm "lone" { network "project" { isolate; }; }
END
    vmctl up
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
    cd "$PROJECT/shop"
}

# The switches of this data directory.
switches() {
    local pid
    for pid in $(pgrep -x vmctl-switch); do
        [[ $(readlink "/proc/$pid/cwd") != "$DATA"/networks/* ]] || echo "$pid"
    done
}
runs_another() { local now; now=$(switches) && [ -n "$now" ] && [ "$now" != "$1" ]; }
address_of() { vmctl status "$1" -o json | jq -r .status.address; }
# What a guest hears at each ADDRESS:PORT, with commas between them; nothing where it is refused.
hears() {
    local guest=$1
    shift
    vmctl ssh "$guest" -- "for at in $*; do timeout 5 nc -w 1 \${at%:*} \${at#*:} </dev/null; echo ,; done | tr -d '\n'"
}
hears_this() { [ "$(hears "${@:2}")" = "$1" ]; }

@test "guests find each other by name, and each has the address that vmctl names" {
    local network
    network=$(basename "$DATA"/networks/*)
    [[ $network == shop-???????? ]]
    vmctl ssh db -- "ip -4 addr show eth0" | grep -q "inet $(address_of db)/24 "
    run vmctl ssh web -- "nslookup db; nslookup lone.shop.internal; nslookup gone.shop.internal"
    says "$(address_of db)" "$(address_of lone)" NXDOMAIN
    vmctl ssh db -- 'while :; do echo hello of db | nc -l -p 5000; done >/dev/null 2>&1 &'
    await 20 hears_this "hello of db," web db:5000
    await 20 hears_this "hello of db," lone db.shop.internal:5000
    vmctl describe web | grep -q "^Network: *project ($network)"
    vmctl describe web | grep -q "^Address: *$(address_of web)\$"
}

@test "the world is open, the host is closed but for its open port, and isolate closes all" {
    local gateway
    gateway=$(address_of web | sed 's/[0-9]*$/2/')
    hears_this "outside,open,,," web 192.0.2.2:80 "$gateway:7002" "$gateway:7001" 192.0.2.1:7001
    hears_this ",,," lone 192.0.2.2:80 "$gateway:7002" 192.0.2.1:7001
    vmctl ssh web -- 'while :; do echo inside | nc -l -p 7080; done >/dev/null 2>&1 &'
    await 20 bash -c "nsenter -t $HOST_PID -n socat -T 2 - TCP:127.0.0.1:7080 </dev/null | grep -q inside"
    vmctl port web | grep -Fx '7080/tcp -> 127.0.0.1:7080'
}

# 3 MB in frames of 1514 bytes have 4 % of headers; the rest is what SSH says meanwhile, as also after the
# guest has told what its own card counts.
@test "top and metrics have what a guest has received and sent" {
    local top before after card server
    vmctl ssh web -- 'sleep 300 | nc -l -p 5001 >/tmp/zeros 2>/dev/null & exit 0'
    before=$(vmctl top db -i 100ms -o json | jq '.[0].sentBytes')
    vmctl ssh db -- 'until head -c 3000000 /dev/zero | nc web 5001 2>/dev/null; do sleep 0.1; done'
    await 20 bash -c "nsenter -t $HOST_PID -n vmctl ssh web -- wc -c /tmp/zeros | grep -q ^3000000"
    card=$(vmctl ssh db -- cat /sys/class/net/eth0/statistics/tx_bytes)
    top=$(vmctl top db -i 100ms -o json | jq -c '.[0]')
    echo "$before $card $top"
    after=$(jq .sentBytes <<<"$top")
    [ $((after - before)) -gt 3000000 ]
    [ $((after - before)) -lt 3500000 ]
    [ "$after" -ge "$card" ]
    [ "$after" -lt $((card + 20000)) ]
    [ "$(jq '.receivedBytes > 1000 and .receivedPackets > 10 and .sentPackets > 100' <<<"$top")" = true ]
    env vmctl serve 2>"$BATS_TEST_TMPDIR/serve.log" 3>&- &
    server=$!
    echo "$server" >>"$BATS_FILE_TMPDIR/pids"
    await 10 grep -q '^listening: ' "$BATS_TEST_TMPDIR/serve.log"
    cd "$DATA" # for the length of the socket's path
    curl -sS --unix-socket serve.sock http://localhost/metrics >"$BATS_TEST_TMPDIR/metrics"
    kill "$server"
    awk -v at_least="$after" '$1 == "vmctl_vm_network_transmit_bytes_total{vm=\"db\"}" { is_there = $2 >= at_least }
        END { exit !is_there }' "$BATS_TEST_TMPDIR/metrics"
    [ "$(grep -c '^vmctl_vm_network_.*{vm="web"} [1-9]' "$BATS_TEST_TMPDIR/metrics")" = 4 ]
}

@test "what egress allows changes while the guest runs" {
    sed -i 's/vm "db" { network "project";/vm "db" { network "project" { egress { allow "192.0.2.3"; }; };/' VMFile.kdl
    run vmctl up
    refute grep -q "restart required" <<<"$output"
    await 20 hears_this ",outside,inside," db 192.0.2.2:80 192.0.2.3:80 web:7080
}

@test "the switch is killed: a connection between guests goes on, and nothing else restarts" {
    local before pids
    before=$(switches)
    pids="$(pid_of web) $(pid_of db)"
    [ "$(awk '/^Uid:/ { print $2 != 0 }' "/proc/$before/status")" = 1 ]
    [ "$(awk '/^Cap(Inh|Prm|Eff|Amb):/ { n += $2 != "0000000000000000" } END { print n }' "/proc/$before/status")" = 0 ]
    vmctl ssh db -- 'sleep 300 | nc -l -p 9000 >/tmp/got 2>/dev/null & exit 0' # or it would close its half
    vmctl ssh web -- '(echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two) | nc db 9000 >/dev/null 2>&1 & exit 0'
    await 20 bash -c "nsenter -t $HOST_PID -n vmctl ssh db -- grep -q one /tmp/got"
    kill_hard "$before"
    await 20 runs_another "$before"
    await 20 bash -c "nsenter -t $HOST_PID -n vmctl ssh web -- touch /tmp/go"
    await 30 bash -c "nsenter -t $HOST_PID -n vmctl ssh db -- grep -q two /tmp/got"
    [ "$(pid_of web) $(pid_of db)" = "$pids" ]
    vmctl events | grep "NetworkRestored" | grep -q "was restarted"
    refute grep -q DriftCorrected <<<"$(vmctl events)"
    vmctl wait web db lone --ready --timeout 30s
}

@test "vmctld is killed, then the switch: the next vmctld starts it again" {
    local before
    before=$(switches)
    kill_controller
    [ "$(switches)" = "$before" ]
    kill_hard "$before"
    vmctl controller start
    await 20 runs_another "$before"
    await 20 hears_this "hello of db," web db:5000
}

@test "addresses that the VMFile names are the guest's after a restart, and the network moves with them" {
    sed -i 's/vm "web" { network "project" {/& address "10.99.7.40"; mac "52:54:00:99:07:40";/' VMFile.kdl
    run vmctl up
    grep -q "restart required" <<<"$output"
    [[ $(address_of web) != 10.99.7.* ]]
    vmctl restart web db lone
    [ "$(address_of web)" = 10.99.7.40 ]
    [[ $(address_of db) == 10.99.7.* ]]
    run vmctl ssh web -- "ip addr show eth0"
    says 52:54:00:99:07:40 "inet 10.99.7.40/24"
    hears_this "outside," web 192.0.2.2:80
    run vmctl ssh db -- "nslookup web"
    says 10.99.7.40
}

@test "a VM that stops leaves the network, and the switch ends with the last" {
    vmctl stop db
    run vmctl ssh web -- "nslookup db.shop.internal"
    says NXDOMAIN
    vmctl stop web lone
    [ -z "$(in_host ss -Hltn 'sport = :7080')" ]
    no_switch() { [ -z "$(switches)" ]; }
    await 20 no_switch
}
