#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl up: which VMs it brings up, and what it would do. VMs of the noop backend.

load cli_common

setup() { cli_setup; }
teardown() { cli_teardown; }

# A web server that needs a database that needs a disk; and one VM that nobody needs.
chain() {
    local image="backend \"noop\"; image \"$work/image\""
    printf 'vm "web" { %s; depends-on "db" }\nvm "db" { %s; depends-on "san" }\n' "$image" "$image"
    printf 'vm "san" { %s }\nvm "other" { %s }\n' "$image" "$image"
}

names() { vmctl list -o name | sort | tr '\n' ' '; }

@test "up of a VM brings up what it depends on, and nothing else" {
    chain >VMFile.kdl
    run vmctl up -q --name web
    [ "$status" -eq 0 ]
    has "web: created"
    has "db: created"
    has "san: created"
    [ "$(names)" = "db san web " ]
    vmctl -q down db
    run vmctl up -q web
    [ "$status" -eq 0 ]
    has "web: unchanged"
    has "db: started"
    [ "$(field Status db)" = Ready ]
}

@test "up --no-deps brings up only what is named" {
    chain >VMFile.kdl
    run vmctl up -q -d --no-deps web
    [ "$status" -eq 0 ]
    [ "$output" = "web: created" ]
    [ "$(names)" = "web " ]
}

@test "what a VM depends on is not restarted with it" {
    chain >VMFile.kdl
    vmctl -q up web
    sed -i 's/image/memory 512; image/' VMFile.kdl
    run vmctl up -q --restart web
    [ "$status" -eq 0 ]
    has "web: restarted"
    has "db: restart required: memory 1024 -> 512 (vmctl up --restart)"
    run vmctl up -q --restart web db
    has "db: restarted"
}

@test "up --dry-run tells what would be done, and does nothing" {
    vmfile web
    run vmctl up --dry-run
    [ "$status" -eq 0 ]
    [ "$output" = "web: created (dry run)" ]
    [ -z "$(names)" ]
    run vmctl controller status
    [ "$status" -eq 1 ]

    vmctl -q up
    run vmctl up --dry-run
    [ "$output" = "web: unchanged (dry run)" ]
    printf 'vm "web" { backend "noop"; image "%s"; memory 2048; stop-timeout 9 }\n' "$work/image" >VMFile.kdl
    run vmctl up --dry-run
    [ "$status" -eq 0 ]
    has "web: configured (live): stop-timeout 30 -> 9 (dry run)"
    has "web: restart required: memory 1024 -> 2048 (vmctl up --restart) (dry run)"
    run vmctl up --dry-run --restart
    has "web: restarted (dry run)"
    run vmctl diff
    [ "$status" -eq 1 ]

    vmctl -q stop web
    run vmctl up --dry-run
    has "web: started (dry run)"
    [ "$(field Status web)" = Stopped ]
}

@test "an unchanged VMFile: up tells again what waits, and with which word it is done" {
    local restart="web: restart required: memory 1024 -> 2048 (vmctl up --restart)"
    local how="(vmctl up --recreate; replaces the disk)"
    vmfile web
    vmctl -q up
    : >"$work/other-image"
    printf 'vm "web" { backend "noop"; image "%s"; memory 2048 }\n' "$work/other-image" >VMFile.kdl
    run vmctl up -q
    has "$restart"
    run vmctl up -q
    [ "$output" = "$restart
web: recreate required: image $work/image -> $work/other-image $how" ]

    # the new machine on the old disk: no comparison of specs tells that any more
    vmctl -q up --restart
    run vmctl up -q
    [ "$output" = "web: recreate required: image or cloud-init changed $how" ]
    [ "$(vmctl up -q -o json | jq -c '.vms[0].waiting')" = \
        '[{"disposition":"recreate","field":null,"message":"image or cloud-init changed"}]' ]
    run vmctl up -q --recreate
    has "web: recreating"
    run vmctl up -q
    [ "$output" = "web: unchanged" ]
}

@test "a VM that never had a disk is not told to erase one" {
    vmfile web
    vmctl -q apply
    : >"$work/other-image"
    printf 'vm "web" { backend "noop"; image "%s" }\n' "$work/other-image" >VMFile.kdl
    run vmctl up
    [ "$status" -eq 0 ]
    has "web: started"
    has "web: configured: image $work/image -> $work/other-image"
    [[ $output != *required* ]]
    run vmctl up -q
    [ "$output" = "web: unchanged" ]
}

@test "up --dry-run tells what --prune and --recreate would erase" {
    vmfile web db
    vmctl -q up
    : >"$work/other-image"
    printf 'vm "web" { backend "noop"; image "%s" }\n' "$work/other-image" >VMFile.kdl
    run vmctl up --dry-run
    has "note: vm 'db' is no longer in VMFile.kdl and is left as it is (vmctl up --prune destroys it)"
    says "web: recreate required: image $work/image -> $work/other-image"
    run vmctl up --dry-run --prune --recreate
    [ "$status" -eq 0 ]
    has "db: destroyed (dry run)"
    has "web: recreating (dry run)"
    [ "$(names)" = "db web " ]
}

@test "up --dry-run fails as up would" {
    vmfile web
    vmctl -q up -d
    mkdir "$work/other"
    cp VMFile.kdl "$work/other"
    run vmctl up --dry-run --file "$work/other/VMFile.kdl"
    [ "$status" -eq 6 ]
    says "vmctl::vm::conflict"
}
