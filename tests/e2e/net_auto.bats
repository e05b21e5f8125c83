#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# forward "auto": the ports that two guests listen on, on this host. `two` is on a project network.

load qemu

setup_file() {
    use_data_dir
    vmfile_with 'forward "auto"'
    vmctl -q up
    local vm
    for vm in box two; do
        guest "$vm" "mkdir www && echo of $vm >www/index.html"
    done
}

vmfile_with() {
    cat >"$PROJECT/VMFile.kdl" <<END
defaults {
    image "guest.qcow2"
    memory 160
    disk 1
    stop-timeout 2
    cloud-init
    ssh { user "worker" }
}
vm "box" {
    $1
}
vm "two" { network "project"; forward "auto"; }
END
}

teardown_file() {
    leave_data_dir
}

setup() { cd "$PROJECT"; }

guest() { vmctl ssh "$1" -- "$2"; }
opens() { guest "$1" "sudo sh -c 'httpd -f -p $2 -h /home/worker/www >/dev/null 2>&1 </dev/null & echo \$! >/run/httpd-$2'"; }
closes() { guest "$1" "sudo sh -c 'kill \$(cat /run/httpd-$2)'"; }
says_of() { [ "$(curl -s --max-time 5 "http://127.0.0.1:$2/")" = "of $1" ]; }
is_closed() { ! ss -Hltn "sport = :$1" | grep -q .; }
port_of() { vmctl port "$1" -o json | jq -er ".[] | select(.auto and .guestPort == $2) | .hostPort"; }
is_said() { vmctl port "$1" | grep -qF "$2"; }
ssh_pid() { cut -d' ' -f1 "$DATA/vms/$1/forward.lock"; }

@test "a port that the guest listens on is one of the host, and goes with it" {
    [ "$(vmctl port box | wc -l)" = 1 ]
    opens box 18771
    await 20 says_of box 18771
    [ "$(ss -Hltn 'sport = :18771' | awk '{ print $4 }')" = 127.0.0.1:18771 ]
    await 20 is_said box "18771/tcp -> 127.0.0.1:18771"
    refute is_said box "not forwarded"
    [ "$(vmctl port box | grep -c ^22/tcp)" = 1 ]
    closes box 18771
    await 20 is_closed 18771
    await 20 refute is_said box 18771
    vmctl -q wait box --ready
}

@test "one that listens within the guest alone is reached, too, and one below 1024 from a free port" {
    local port
    opens box 127.0.0.1:18772
    await 20 says_of box 18772
    opens box 80
    await 20 port_of box 80
    port=$(port_of box 80)
    [ "$port" -ge 1024 ]
    await 20 says_of box "$port"
    [ "$(port_of box 80)" = "$port" ]
    closes box 80
    closes box 127.0.0.1:18772
    await 20 is_closed "$port"
    await 20 is_closed 18772
}

@test "of two VMs the first has the port, and the second another one" {
    local port
    opens box 18771
    await 20 says_of box 18771
    opens two 18771
    await 20 port_of two 18771
    port=$(port_of two 18771)
    refute [ "$port" = 18771 ]
    await 20 says_of two "$port"
    says_of box 18771
    closes box 18771
    await 20 is_closed 18771
    says_of two "$port" # it keeps it
    closes two 18771
    await 20 is_closed "$port"
}

@test "a port of another program stays its own: the guest's gets another one" {
    local port
    socat TCP-LISTEN:18773,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo mine' 3>&- &
    local other=$!
    await 20 refute is_closed 18773
    opens box 18773
    await 20 port_of box 18773
    port=$(port_of box 18773)
    await 20 says_of box "$port"
    [ "$(socat -T5 -u TCP:127.0.0.1:18773 -)" = mine ]
    kill "$other"
    closes box 18773
    await 20 is_closed "$port"
}

@test "a killed vmctld finds what is forwarded" {
    local pid
    opens box 18771
    await 20 says_of box 18771
    pid=$(ssh_pid box)
    kill_controller
    says_of box 18771
    vmctl -q wait box --ready
    [ "$(ssh_pid box)" = "$pid" ]
    opens box 18774
    await 20 says_of box 18774
    says_of box 18771
    closes box 18771
    await 20 is_closed 18771
}

@test "a change of the VMFile takes effect on the guest that runs" {
    local qemu
    qemu=$(pid_of box)
    vmfile_with 'forward "auto"; forward host=18779 guest=18774'
    vmctl -q up
    await 20 is_closed 18774
    await 20 says_of box 18779
    vmfile_with ""
    vmctl -q up
    await 20 is_closed 18779
    is_closed 18774
    [ "$(vmctl port box | wc -l)" = 1 ]
    vmfile_with 'forward "auto"'
    vmctl -q up
    await 20 says_of box 18774
    [ "$(pid_of box)" = "$qemu" ]
}

# bats test_tags=long
@test "a guest that reboots gets its ports back" {
    guest box "sudo reboot" || :
    await 20 is_closed 18774
    await 200 opens box 18774
    await 120 says_of box 18774
}

@test "nothing is left after destroy, and another VM may have the port" {
    local pid
    pid=$(ssh_pid box)
    says_of box 18774
    vmctl destroy box
    await 20 has_ended "$pid"
    is_closed 18774
    opens two 18774
    await 20 says_of two 18774
    vmctl stop two
    await 20 is_closed 18774
    vmctl destroy two
}
