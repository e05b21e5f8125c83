#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Several networks of one VM: `front` is on network "user" and two of the project, the VMs of which
# do not see each other. The tests run in order and build on each other.

load qemu

setup_file() {
    use_data_dir
    mkdir -p "$PROJECT/shop"
    cd "$PROJECT/shop"
    cat >VMFile.kdl <<END2
defaults {
    image "$VMCTL_TEST_GUEST"
    memory 128
    cloud-init
    ssh { user "worker" }
}
vm "front" {
    network "user"
    network "project" name="lan" { isolate }
    network "project" name="back" address="10.88.7.20"
}
vm "app" { network "project" name="lan" }
vm "db" { network "project" name="back" mac="52:54:00:aa:bb:cc" }
END2
    vmctl up
    set_up_cards
}

# As a guest does that its cloud-init has configured: no other default route or name server.
set_up_cards() {
    vmctl ssh front -- sh -s <<'END2'
cat >/tmp/script <<'END3'
#!/bin/sh
[ "$1" != deconfig ] || ip link set "$interface" up
[ "$1" = bound ] || exit 0
ip addr replace "$ip/24" dev "$interface"
echo "$interface router=$router dns=$dns" >>/tmp/leases
[ -z "$dns" ] || { echo "search $domain"; echo "nameserver $dns"; } >/run/resolv.conf
END3
chmod +x /tmp/script
sudo sh -c 'for card in eth1 eth2; do ip link set $card up; udhcpc -i $card -s /tmp/script -f -q -n -t 10 -T 1; done'
END2
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT/shop"; }

front() { vmctl status front -o json | jq -r "$1"; }
mac_in_guest() { vmctl ssh front -- cat "/sys/class/net/$1/address"; }
address_of() { vmctl status "$1" -o json | jq -r .status.address; }
switch_of() { # NETWORK: its pid
    local pid
    for pid in $(pgrep -x vmctl-switch); do
        [[ $(readlink "/proc/$pid/cwd") != "$DATA"/networks/shop-*."$1" ]] || echo "$pid"
    done
}
says_hello() { vmctl ssh "$1" -- "timeout 5 nc -w 2 $2 5000 </dev/null" | grep -q "hello of $3"; }
serve_hello() { vmctl ssh "$1" -- "while :; do echo hello of $1 | nc -l -p 5000; done >/dev/null 2>&1 &"; }
opens_7002() { [ "$(jq -c .hostServices "$DATA"/networks/shop-*.back/front.port)" = '[{"port":7002}]' ]; }
runs_another() { local now; now=$(switch_of "$1") && [ -n "$now" ] && [ "$now" != "$2" ]; }

@test "each card has a MAC address and an address of its own, and vmctl names them" {
    local macs i
    macs=$(front '.status.mac, .status.furtherCards[].mac')
    [ "$(sort -u <<<"$macs" | wc -l)" = 3 ]
    i=0
    while read -r mac; do
        [ "$(mac_in_guest "eth$i" </dev/null)" = "$mac" ]
        i=$((i + 1))
    done <<<"$macs"
    [ "$i" = 3 ]
    [ "$(front '.status.furtherCards[1].address')" = 10.88.7.20 ]
    [[ $(address_of db) == 10.88.7.* ]]
    [ "$(vmctl status db -o json | jq -r .status.mac)" = 52:54:00:aa:bb:cc ]
    vmctl ssh front -- ip -4 addr show eth1 | grep -q "inet $(front '.status.furtherCards[0].address')/24 "
    vmctl ssh front -- ip -4 addr show eth2 | grep -q "inet 10.88.7.20/24 "
    run vmctl describe front
    says "Network:     user" "Network:     project (shop-" "NIC 3:" "10.88.7.20"
    vmctl list | grep -E '^front .* user '
}

@test "the way out is that of the first network, names come from the first of the project" {
    run vmctl ssh front -- "ip route show default; cat /tmp/leases"
    says "dev eth0"
    [ "$(grep -c '^default' <<<"$output")" = 1 ]
    [[ $output == *"eth1 router= dns=10."* ]]
    [[ $output == *"eth2 router= dns="* && $output != *"eth2 router= dns=1"* ]]
}

@test "a VM on two networks reaches the VMs of both by name, and those do not reach each other" {
    serve_hello app
    serve_hello db
    serve_hello front
    await 20 says_hello front app app
    await 20 says_hello front db.shop.internal db
    await 20 says_hello app front front
    await 20 says_hello db front front
    run vmctl ssh app -- "nslookup db; timeout 5 nc -w 2 $(address_of db) 5000 </dev/null"
    [[ $output == *NXDOMAIN* && $output != *"hello of db"* ]]
    run vmctl ssh db -- "timeout 5 nc -w 2 $(address_of app) 5000 </dev/null"
    [[ $output != *"hello of app"* ]]
}

@test "a switch that is killed is started again, and the other one is left alone" {
    local lan back
    lan=$(switch_of lan)
    back=$(switch_of back)
    kill -9 "$back"
    await 30 runs_another back "$back"
    await 20 says_hello front db db
    [ "$(switch_of lan)" = "$lan" ]
    vmctl controller stop
    kill -9 "$lan"
    vmctl controller start
    await 30 runs_another lan "$lan"
    await 20 says_hello front app app
    await 20 says_hello front db db
}

@test "a rule of a further network changes at once, a network that goes needs a restart" {
    local first
    sed -i 's/name="back" address="10.88.7.20"/name="back" { address "10.88.7.20"; host-services 7002; }/' VMFile.kdl
    run vmctl up
    [ "$status" = 0 ]
    says "front: " "further network"
    [[ $output != *"restart required"* ]]
    await 20 opens_7002
    sed -i '/name="lan" { isolate }/d' VMFile.kdl
    run vmctl up
    says "restart required: further network"
    first=$(front .status.mac)
    vmctl up --restart
    [ "$(front .status.mac)" = "$first" ]
    [ "$(front '.status.furtherCards | length')" = 1 ]
    vmctl ssh front -- test ! -e /sys/class/net/eth2
    [ ! -e "$(echo "$DATA"/networks/shop-*.lan/front.port)" ]
}
