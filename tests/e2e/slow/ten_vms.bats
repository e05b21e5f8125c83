#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Ten VMs of one project at once, of the small guest: start-up, names and forwards of all, and what
# each costs the others. The tests run in order and build on each other.

load guest

setup_file() {
    use_data_dir
    cat >"$PROJECT/VMFile.kdl" <<'END'
project "ten"
defaults {
    image "guest.qcow2"
    memory 112
    disk 1
    stop-timeout 5
    cloud-init
    ssh { user "worker" }
}
vm "n${{ index }}" count=10 {
    network "project"
    forward host="187${{ index }}" guest=8080
}
END
}

teardown_file() { leave_data_dir; }

has_no_switch() { [ -z "$(switch_pids)" ]; }

setup() { cd "$PROJECT" || return; }

all() { seq -f 'n%g' 10; }
serves() { [ "$(curl -s --max-time 10 "http://127.0.0.1:187$1/")" = "of n$1" ]; }
switch_pids() { find /proc/[0-9]*/cwd -lname "$DATA/networks/*" 2>/dev/null | cut -d/ -f3; }

@test "ten VMs become Ready with one command" {
    run vmctl up --timeout 20m
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(vmctl list | grep -c " Ready ")" = 10 ]
    [ "$(switch_pids | wc -l)" = 1 ]
}

@test "each has an address and a forward of its own, and serves behind it" {
    local n
    [ "$(for n in $(all); do vmctl get "$n" -o json | jq -r '.. | .address? // empty' | head -n 1; done | sort -u | wc -l)" = 10 ]
    for n in $(seq 10); do
        vmctl ssh "n$n" -- "mkdir -p www && echo of n$n >www/index.html && sudo httpd -p 8080 -h /home/worker/www"
    done
    for n in $(seq 10); do
        await 60 serves "$n"
    done
}

@test "each finds each other by name" {
    local n
    for n in $(all); do
        run vmctl ssh "$n" -- 'for m in 1 2 3 4 5 6 7 8 9 10; do printf "GET / HTTP/1.0\r\n\r\n" | nc -w 20 n$m.ten.internal 8080 | tail -n 1; done'
        echo "$n: $output"
        [ "$output" = "$(seq -f 'of n%g' 10)" ]
    done
}

@test "the switch and vmctld are killed, and no guest notices" {
    local before after n
    before=$(vmctl list -o json | jq -c '[.[] | .pid] | sort')
    kill_hard "$(switch_pids)"
    kill_controller
    vmctl -q wait --ready --timeout 5m
    after=$(vmctl list -o json | jq -c '[.[] | .pid] | sort')
    [ "$before" = "$after" ]
    for n in $(seq 10); do
        await 60 serves "$n"
    done
}

@test "nothing is left of them" {
    vmctl down --destroy -y --timeout 5m
    [ "$(vmctl list -o json | jq length)" = 0 ]
    await 20 has_no_switch
    [ -z "$(ls -A "$DATA/vms")" ]
}
