#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# network "tap": two real guests on a bridge with DHCP. All of it, vmctld included, is in a network
# namespace that belongs to dnsmasq's process, so nothing of the host's network is touched. Needs root
# and /dev/net/tun.

load qemu
load tap

condition_of() { status_of "$1" ".. | objects | select(.type? == \"$2\") | .reason"; }

make_project() {
    local vm
    for vm in a b; do
        cat <<END
vm "$vm" {
    image "guest.qcow2"
    memory 160
    network "tap" { bridge "br0" }
    cloud-init { hostname "tap-$vm" }
    ssh { user "worker" }
}
END
    done >"$PROJECT/VMFile.kdl"
    mkdir -p "$PROJECT/lost"
    cat >"$PROJECT/lost/VMFile.kdl" <<'END'
vm "lost" {
    image "../guest.qcow2"
    memory 160
    network "tap" { bridge "br-lost" }
    cloud-init { hostname "tap-lost" }
    ssh { user "worker" }
}
END
}

setup_file() {
    OBSTACLE=$(obstacle)
    export OBSTACLE
    [ -z "$OBSTACLE" ] || return 0
    use_data_dir
    make_network
    make_project
}

teardown_file() {
    if [ -n "${DNSMASQ_PID:-}" ]; then
        leave_data_dir
        kill "$DNSMASQ_PID"
    fi
}

setup() {
    [ -z "$OBSTACLE" ] || skip "$OBSTACLE"
    cd "$PROJECT" || return
}

@test "two VMs on a bridge become Ready at the addresses that DHCP gave them" {
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    local vm
    for vm in a b; do
        [ "$(state_of "$vm")" = Ready ]
        [[ $(leased_to "$vm") == 10.77.0.* ]]
        [ "$(status_of "$vm" .status.sshHost)" = "$(leased_to "$vm")" ]
        [ "$(status_of "$vm" .status.sshPort)" = 22 ]
    done
    has_taps 2
}

@test "they reach each other" {
    run vmctl ssh a -- "hostname; nc -w 10 $(leased_to b) 22 </dev/null | head -c 8"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = $'tap-a\nSSH-2.0-' ]
    run vmctl ssh b -- "hostname; nc -w 10 $(leased_to a) 22 </dev/null | head -c 8"
    [ "$output" = $'tap-b\nSSH-2.0-' ]
}

# What SSH says meanwhile comes on top of what the guest's own card counts.
@test "top has what a guest has received and sent" {
    local counters=/sys/class/net/eth0/statistics card top
    read -r -a card < <(vmctl ssh a -- "cat $counters/rx_bytes $counters/tx_bytes" | paste -sd ' ')
    read -r -a top < <(vmctl top a -i 100ms -o json | jq -r '.[0] | "\(.receivedBytes) \(.sentBytes)"')
    echo "${card[*]} ${top[*]}"
    [ "${top[0]}" -ge "${card[0]}" ]
    [ "${top[0]}" -lt $((card[0] + 20000)) ]
    [ "${top[1]}" -ge "${card[1]}" ]
    [ "${top[1]}" -lt $((card[1] + 20000)) ]
}

@test "a controller that was killed finds them where they are" {
    local pid
    pid=$(pid_of a)
    kill_controller
    has_taps 2
    run vmctl up
    [ "$status" -eq 0 ]
    [ "$(pid_of a)" = "$pid" ]
    [ "$(status_of a .status.sshHost)" = "$(leased_to a)" ]
}

@test "a restarted VM keeps its MAC address and with it its address" {
    local mac ip
    mac=$(status_of a .status.mac)
    ip=$(leased_to a)
    run vmctl restart a
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(status_of a .status.mac)" = "$mac" ]
    [ "$(status_of a .status.sshHost)" = "$ip" ]
    run vmctl ssh a -- hostname
    [ "$output" = tap-a ]
}

@test "a bridge that does not exist is told with the command that makes it" {
    cd lost
    run vmctl up
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"network bridge 'br-lost' does not exist"* ]]
    [[ $output == *"ip link add br-lost type bridge && ip link set br-lost up"* ]]
    has_taps 2
}

@test "once the bridge is there the VM starts by itself and waits for an address" {
    in_net ip link add br-lost type bridge
    in_net ip link set br-lost up
    await 60 has_taps 3
    is_waiting() { [ "$(condition_of lost GuestReachable)" = WaitingForIP ]; }
    await 60 is_waiting
    in_net ip neigh add 10.78.0.5 lladdr "$(status_of lost .status.mac)" dev br-lost nud permanent
    is_found() { [ "$(status_of lost .status.sshHost)" = 10.78.0.5 ]; }
    await 10 is_found
}

# Nothing on the host knows the address: no DHCP server gave it, and nobody has asked for it.
# bats test_tags=long
@test "a guest with a static address is found by what its agent says" {
    mkdir -p "$PROJECT/static"
    cd "$PROJECT/static"
    in_net ip link add br-static type bridge
    in_net ip addr add 10.79.0.1/24 dev br-static
    in_net ip link set br-static up
    ssh-keygen -q -t ed25519 -N '' -f key
    cat >user-data.yaml <<END
#cloud-config
users:
  - name: worker
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    ssh_authorized_keys:
      - $(cat key.pub)
runcmd:
  - ip addr add 10.79.0.7/24 dev eth0
  - /usr/lib/boot/agent
END
    cat >VMFile.kdl <<'END'
vm "static" {
    image "../guest.qcow2"
    memory 160
    network "tap" { bridge "br-static" }
    cloud-init { user-data "user-data.yaml" }
    ssh { user "worker"; private-key "key" }
}
END
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(status_of static .status.sshHost)" = 10.79.0.7 ]
    run vmctl ssh static -- hostname
    [ "$output" = static ]
    kill_controller # the next one asks again, and does not need to: it is recorded
    run vmctl up
    [ "$status" -eq 0 ]
    [ "$(status_of static .status.sshHost)" = 10.79.0.7 ]
}

@test "the tap devices go with their VMs" {
    run vmctl destroy --all
    echo "$output"
    [ "$status" -eq 0 ]
    await 10 has_taps 0
}
