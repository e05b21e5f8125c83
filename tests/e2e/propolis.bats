#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The Propolis backend with the whole program, on fake tools of illumos and a small propolis-server.

load cli_common

setup() {
    local support=$BATS_TEST_DIRNAME/../support
    cli_setup
    illumos=$work/illumos
    "$support/illumos-tools" "$illumos"
    PATH=$illumos/bin:$PATH
    "$support/propolis-server" "$illumos" 3>&- &
    server=$!
    await test -e "$illumos/address"
    VMCTL_PROPOLIS_ADDRESS=$(<"$illumos/address")
    export VMCTL_PROPOLIS_ADDRESS
    unset VMCTL_ZFS_POOL VMCTL_PROPOLIS_TIMEOUT
    echo installed >"$illumos/zones/web"
    echo rpool/images/web@latest >"$illumos/datasets"
    propolis_file 'network "vnic" { name "vnic0"; }'
}

teardown() {
    [ -z "${server:-}" ] || kill "$server" || true
    cli_teardown
}

propolis_file() {
    printf 'vm "web" { backend "propolis"; image "%s"; %s; }\n' "$work/image" "$1" >VMFile.kdl
}

zone() {
    cat "$illumos/zones/web"
}

@test "up, status, console, stop, start and destroy" {
    vmctl up -q
    [ "$(zone)" = running ]
    grep -Fx rpool/vms/web "$illumos/datasets"
    run vmctl status web
    has "Backend:     propolis"
    has "State:       running"
    has "Zone ID:     7"
    has "Console:     ws://$VMCTL_PROPOLIS_ADDRESS/instance/serial"
    run vmctl console web
    [ "$status" -eq 1 ]
    says "error[vmctl::vm::invalid_state]"
    says "ws://$VMCTL_PROPOLIS_ADDRESS/instance/serial"
    vmctl stop -q web
    [ "$(zone)" = installed ]
    vmctl start -q web
    [ "$(zone)" = running ]
    vmctl destroy -q web
    [ ! -e "$illumos/zones/web" ]
    [ "$(<"$illumos/datasets")" = rpool/images/web@latest ]
    [ ! -e "$data/vms/web" ]
    run grep -c boot "$illumos/log"
    [ "$output" -eq 2 ]
}

@test "a killed controller finds the zone again and starts nothing twice" {
    vmctl up -q
    kill_controller
    vmctl controller start
    vmctl up -q
    run grep -c boot "$illumos/log"
    [ "$output" -eq 1 ]
    run vmctl status web
    has "State:       running"
}

@test "suspend is refused, and the VM runs on" {
    vmctl up -q
    run vmctl suspend web
    [ "$status" -eq 1 ]
    says "error[vmctl::backend::not_available]"
    says "vmctl resume web"
    [ "$(zone)" = running ]
    vmctl resume -q web
    run vmctl status web
    has "State:       running"
}

@test "recreate clones the disk anew and keeps the zone" {
    vmctl up -q
    propolis_file 'network "vnic" { name "vnic0"; }; firmware "uefi"'
    vmctl up -q --recreate
    [ "$(zone)" = running ]
    run grep -c clone "$illumos/log"
    [ "$output" -eq 2 ]
}

@test "a server that does not answer is told" {
    export VMCTL_PROPOLIS_ADDRESS=127.0.0.1:1 VMCTL_PROPOLIS_TIMEOUT=1
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "error[vmctl::propolis::unreachable]"
    says "nsure propolis-server is running"
}

@test "what propolis does not have is refused" {
    propolis_file 'network "user"'
    run vmctl up -q
    [ "$status" -eq 1 ]
    says 'network "user", which backend "propolis" does not support'
    propolis_file 'network "vnic" { name "vnic0"; }; ssh { }'
    run vmctl up -q
    [ "$status" -eq 1 ]
    says 'cloud-init or SSH, which backend "propolis" does not support'
}
