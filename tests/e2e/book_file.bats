#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The VMFile reference, the places and the environment of the original tool's book, on noop VMs.

load cli_common
setup() { cli_setup; }
teardown() { cli_teardown; }

spec() { vmctl status "$1" -o json | jq -r ".desired.spec.$2"; }

@test "a minimal VM has the book's defaults" {
    vmfile minimal
    vmctl apply -q
    [ "$(spec minimal vcpus)" = 1 ]
    [ "$(spec minimal memoryMib)" = 1024 ]
    [ "$(spec minimal diskGib)" = 0 ]
    [ "$(spec minimal network.mode)" = user ]
    [ "$(spec minimal cloudInit.isSet)" = false ]
    [ "$(spec minimal ssh.user)" = vm ]
    [ "$(spec minimal stopTimeoutSeconds)" = 30 ]
    [ "$(spec minimal 'provision | length')" = 0 ]
}

@test "an ssh block without a user means vm, a tap network without a bridge br0" {
    printf 'vm "web" { backend "noop"; image "%s"; network "tap"; ssh { }; }\n' "$work/image" >VMFile.kdl
    vmctl apply -q
    [ "$(spec web ssh.user)" = vm ]
    [ "$(spec web network.bridge)" = br0 ]
}

@test "VMFile.kdl is found in the current directory, else above, as far as it is ours" {
    fails 2 vmctl up
    says "error[vmctl::vmfile::not_found]" "--file"
    vmfile web
    run vmctl validate
    [ "$output" = "$PWD/VMFile.kdl: valid: web" ]
    mkdir -p sub/deep
    cd sub/deep
    fails 0 vmctl up
    has "note: the VMFile is $work/project/VMFile.kdl"
    [ "$(vmctl -q up)" = "web: unchanged" ]
    vmfile here
    [ "$(vmctl validate -o name)" = here ]
    printf 'vm "web" {\n' >"$work/project/VMFile.kdl"
    cd ..
    fails 2 vmctl validate
    says "--> ../VMFile.kdl:1:"
}

@test "VMFile.kdl is not found in a directory of another user, nor past one that is gone and has VMs" {
    mkdir sub other other/sub
    vmfile above
    (cd sub && vmfile below && vmctl up -q && rm VMFile.kdl)
    cd sub
    fails 2 vmctl reload
    says "there is no VMFile 'VMFile.kdl'"
    fails 0 vmctl down --destroy
    has "below: destroyed"
    fails 0 vmctl up # its VMs are gone, too
    has "above: created"
    [ "$EUID" -eq 0 ] || return 0 # none other can be had
    cd ../other/sub
    chown 12345 ..
    fails 2 vmctl down
    says "there is no VMFile 'VMFile.kdl'"
    vmfile foreign && mv VMFile.kdl ..
    fails 2 vmctl up
    says "'$work/project/other/VMFile.kdl' or its directory belongs to another user" "--file $work/project/other/VMFile.kdl"
    chown 0 .. && chown 12345 ../VMFile.kdl
    fails 2 vmctl up
    says "belongs to another user"
}

@test "relative paths start at the VMFile's directory, ~ is the home directory" {
    mkdir -p "$work/elsewhere/images" "$HOME/.ssh"
    : >"$work/elsewhere/images/disk.qcow2"
    ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
    cat >"$work/elsewhere/My.kdl" <<'END'
vm "web" {
    backend "noop"
    image "images/disk.qcow2"
    cloud-init { ssh-key "~/.ssh/id_ed25519.pub" }
    ssh { user "ubuntu"; private-key "~/.ssh/id_ed25519" }
}
END
    run vmctl apply -q --file ../elsewhere/My.kdl
    [ "$status" -eq 0 ]
    [ "$(spec web image.location)" = "$work/elsewhere/images/disk.qcow2" ]
    [ "$(spec web cloudInit.sshKey.path)" = "$HOME/.ssh/id_ed25519.pub" ]
    [ "$(spec web ssh.privateKey)" = "$HOME/.ssh/id_ed25519" ]
}

@test "the book's rules, each broken once, are all told" {
    cat >VMFile.kdl <<END
vm "twice" { image "$work/image"; }
vm "twice" { image "$work/image"; }
vm "both" { image "$work/image"; image-url "https://example.com/i"; }
vm "neither" { vcpus 1; }
vm "zero" { image "$work/image"; vcpus 0; memory 0; }
vm "missing" { image "nowhere.qcow2"; }
vm "net" { image "$work/image"; network "wifi"; }
vm "shell" { image "$work/image"; provision "shell"; }
vm "shell2" { image "$work/image"; provision "shell" { inline "a"; script "VMFile.kdl"; }; }
vm "file" { image "$work/image"; provision "file" { source "VMFile.kdl"; }; }
vm "" { image "$work/image"; }
END
    run vmctl validate
    [ "$status" -eq 2 ]
    says 'VM "twice" is defined twice'
    says 'has both `image` and `image-url`'
    says 'has no image source'
    says '`vcpus` must be'
    says '`memory` must be'
    says "no readable file at '$work/project/nowhere.qcow2'"
    says '`network` must be'
    says 'needs `inline` or `script`'
    says 'not both'
    says 'provision "file" needs both'
    says '`name` is empty'
    [ "$(grep -c '^error\[vmctl::vmfile::validation\]' <<<"$output")" -ge 11 ]
    [ "$(grep -c '^ *|  *\^' <<<"$output")" -ge 11 ]
}

@test "a syntax error says where, and names kdl.dev" {
    printf 'vm "web" {\n    image "a" "\n}\n' >VMFile.kdl
    run vmctl up
    [ "$status" -eq 2 ]
    says "error[vmctl::vmfile::parse_failed]"
    says "VMFile.kdl:2:" "https://kdl.dev"
}

@test "several VMs come up in the order of the file, each on its own" {
    vmfile web db cache
    run vmctl up -q
    [ "$output" = $'web: created\ndb: created\ncache: created' ]
    local name
    for name in web db cache; do [ "$(field Status $name)" = Ready ]; done
    run vmctl up -q --name db
    [ "$output" = "db: unchanged" ]
}

@test "without XDG_DATA_HOME the data is in ~/.local/share/vmctl" {
    vmfile web
    unset XDG_DATA_HOME
    vmctl apply -q
    [ -d "$HOME/.local/share/vmctl/store" ]
    [ "$(stat -c %a "$HOME/.local/share/vmctl")" = 700 ]
    vmctl destroy -q web
    vmctl controller stop
    export XDG_DATA_HOME=$work/data
    [ -z "$(vmctl list -o name)" ]
}

@test "RUST_LOG sets what is logged, unless VMCTL_LOG does" {
    vmfile web
    RUST_LOG=error vmctl up -q
    [ ! -s "$data/controller.log" ]
    vmctl controller stop
    RUST_LOG=error VMCTL_LOG=trace vmctl controller start
    await grep -q serves "$data/controller.log"
}

@test "a log level that has no effect is noted" {
    vmfile web
    RUST_LOG=debug run vmctl up
    refute says "runs already"
    RUST_LOG=debug run vmctl up
    says "the controller runs already" "for RUST_LOG=debug" "vmctl controller stop" "$data/controller.log"
    VMCTL_LOG=warn,qmp=loud,nonsense run vmctl list
    says "VMCTL_LOG: 'qmp=loud' is not a level" "VMCTL_LOG: 'nonsense' is not a level: write error, warn"
    [ "$(grep -c 'is not a level' <<<"$output")" -eq 2 ]
    RUST_LOG=other_program=off run vmctl list
    refute says "level"
}

@test "RUST_LOG names modules" {
    RUST_LOG=error,controller=info vmctl controller start
    await grep -q 'controller.*serves' "$data/controller.log"
    vmctl controller stop
    rm "$data/controller.log"
    RUST_LOG=info,controller=error vmctl controller start
    vmfile web
    vmctl up -q
    run grep serves "$data/controller.log"
    [ "$status" -eq 1 ]
}

@test "a backend of another platform is told" {
    printf 'vm "web" { backend "propolis"; image "%s"; network "vnic" { name "vnic0"; }; }\n' "$work/image" >VMFile.kdl
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "error[vmctl::backend::not_available]"
    run vmctl list
    [[ "${lines[1]}" =~ ^web\ +propolis\ +1\ +1024\ +vnic\  ]]
}

@test "status has the book's fields for every network" {
    vmfile web
    vmctl up -q
    run vmctl status web
    has "Name:        web"
    has "Backend:     noop"
    has "State:       running"
    has "vCPUs:       1"
    has "Memory:      1024 MB"
    has "Network:     user"
    has "Work dir:    $data/vms/web"
    [[ $(field MAC web) =~ ^52:54:00(:[0-9a-f]{2}){3}$ ]]
    [[ $(field SSH web) =~ ^127\.0\.0\.1:10[01][0-9]{2}$ ]]
}
