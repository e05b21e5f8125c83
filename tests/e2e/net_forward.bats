#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A forward of a port that another program holds, on a machine that runs: a boot sector that halts is
# guest enough for that.

load qemu

setup_file() {
    use_data_dir
    printf '\372\364\353\374' >"$PROJECT/idle.img" # cli; hlt; jmp
    truncate -s 1M "$PROJECT/idle.img"
    printf '\125\252' | dd of="$PROJECT/idle.img" bs=1 seek=510 conv=notrunc status=none
    vmfile_with ""
    vmctl up
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
}

vmfile_with() {
    echo "vm \"web\" { image \"idle.img\"; memory 32; stop-timeout 0; $1 }" >"$PROJECT/VMFile.kdl"
}

is_listening() { ss -Hltn "sport = :18700" | grep -q .; }

@test "a forward that cannot be made fails up, apply and wait, and is made once its port is free" {
    socat TCP-LISTEN:18700,bind=127.0.0.1,fork SYSTEM:true 3>&- &
    local other=$!
    await 20 is_listening
    vmfile_with "forward host=18700 guest=80"
    fails 1 vmctl up
    says vmctl::network::port_taken 18700
    fails 1 vmctl apply
    fails 1 vmctl wait web --ready
    run vmctl port web
    has "80/tcp -> 127.0.0.1:18700 (not forwarded now)"
    kill "$other"
    await vmctl wait web --ready
    run vmctl port web
    has "80/tcp -> 127.0.0.1:18700"
}

@test "a forward that went leaves its port to another VM, also one that was never made" {
    vmfile_with ""
    vmctl up
    socat TCP-LISTEN:18700,bind=127.0.0.1,fork SYSTEM:true 3>&- &
    local other=$!
    await 20 is_listening
    vmfile_with "forward host=18700 guest=80"
    fails 1 vmctl up
    vmfile_with ""
    vmctl up
    kill "$other"
    mkdir -p other
    echo 'vm "other" { image "../idle.img"; memory 32; stop-timeout 0; forward host=18700 guest=80; }' >other/VMFile.kdl
    vmctl up --file other/VMFile.kdl
}

@test "a range is forwarded port by port, on the address that it names, and follows a change" {
    vmfile_with 'forward host="0.0.0.0:18710-18712" guest="80-82"'
    run vmctl up
    says "web: other hosts can connect to port 18710 and 2 more (0.0.0.0)"
    run vmctl port web
    has "82/tcp -> 0.0.0.0:18712"
    [ "$(ss -Hltn 'sport >= :18710 and sport <= :18713' | awk '{ print $4 }' | sort | xargs)" = "0.0.0.0:18710 0.0.0.0:18711 0.0.0.0:18712" ]
    vmfile_with 'forward host="127.0.0.2:18711-18712" guest="81-82"'
    run vmctl up
    refute grep -q "other hosts" <<<"$output"
    [ "$(ss -Hltn 'sport >= :18710 and sport <= :18713' | awk '{ print $4 }' | sort | xargs)" = "127.0.0.2:18711 127.0.0.2:18712" ]
}
