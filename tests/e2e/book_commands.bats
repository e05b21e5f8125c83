#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The command reference of the original tool's book, option by option, on noop VMs.
# tests/book.tsv says which row of the book is tested where.

load cli_common
setup() { cli_setup; }
teardown() { cli_teardown; }

# spec VM QUERY : a field of what is wanted of the VM
spec() { vmctl status "$1" -o json | jq -r ".desired.spec.$2"; }

# two_vms : web and db, each with a provision step that leaves a line in provision.log
two_vms() {
    local name
    for name in web db; do
        printf 'vm "%s" { backend "noop"; image "%s"; cloud-init; ssh\n provision "shell" { inline "true"; }\n }\n' \
            "$name" "$work/image"
    done >VMFile.kdl
}

# condition VM NAME : its reason
reason() { vmctl status "$1" | awk -v name="$2" '$1 == name { print $3 }'; }

@test "vmctl --help names every command of the book" {
    run vmctl --help
    local name
    for name in create start stop destroy list status console ssh suspend resume up down reload provision log; do
        grep -Eq "^  $name  +[A-Z]" <<<"$output" || { echo "no $name"; return 1; }
    done
}

@test "create: without options the book's defaults" {
    run vmctl create --name one --image "$work/image" --backend noop
    [ "$status" -eq 0 ]
    [ "$(spec one image.kind) $(spec one image.location)" = "file $work/image" ]
    [ "$(spec one vcpus)" = 1 ]
    [ "$(spec one memoryMib)" = 1024 ]
    [ "$(spec one diskGib)" = 0 ]
    [ "$(spec one network.mode)" = user ]
    [ "$(spec one ssh.user)" = vm ]
    [ "$(field State one)" = prepared ]
    [ "$(field Disk one)" = "as the image" ]
}

@test "create: the guest gets a user by cloud-init, unless --no-cloud-init" {
    vmctl create -q --name one --image "$work/image" --backend noop
    [ "$(spec one cloudInit.isSet)" = true ]
    vmctl create -q --name two --image "$work/image" --backend noop --no-cloud-init
    [ "$(spec two cloudInit.isSet)" = false ]
    : >"$work/file"
    run vmctl create --name three --image "$work/image" --backend noop --no-cloud-init --cloud-init "$work/file"
    [ "$status" -eq 2 ]
    says "--cloud-init has no effect with --no-cloud-init"
    run vmctl create --name three --image "$work/image" --backend noop --no-cloud-init --ssh-key "$work/file"
    [ "$status" -eq 2 ]
    says "--ssh-key has no effect with --no-cloud-init"
}

@test "create: every option of the book" {
    echo '#cloud-config' >"$work/user-data"
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
    run vmctl create --name two --image-url https://example.com/image.img --vcpus 4 --memory 4096 \
        --disk 40 --bridge br7 --cloud-init "$work/user-data" --backend noop -q
    [ "$status" -eq 0 ]
    [ "$(spec two image.kind) $(spec two image.location)" = "url https://example.com/image.img" ]
    [ "$(spec two vcpus) $(spec two memoryMib) $(spec two diskGib)" = "4 4096 40" ]
    [ "$(spec two network.mode) $(spec two network.bridge)" = "tap br7" ]
    [ "$(spec two cloudInit.userData.path)" = "$work/user-data" ]
    run vmctl create --name three --image "$work/image" --ssh-key "$work/key.pub" --start --backend noop -q
    [ "$status" -eq 0 ]
    [ "$(spec three cloudInit.sshKey.path)" = "$work/key.pub" ]
    [ "$(spec three ssh.user)" = vm ]
    [ "$(field Status three)" = Ready ]
}

@test "create: a name and exactly one image are required" {
    run vmctl create --image "$work/image"
    [ "$status" -eq 2 ]
    says "--name"
    run vmctl create --name one
    [ "$status" -eq 2 ]
    says "--image and --image-url"
    run vmctl create --name one --image "$work/image" --image-url https://example.com/image.img
    [ "$status" -eq 2 ]
    run vmctl create --name one --image "$work/nowhere"
    [ "$status" -eq 2 ]
    run vmctl create --name one --image "$work/image" --vcpus 0
    [ "$status" -eq 2 ]
    run vmctl create --name one --image "$work/image" --memory 0
    [ "$status" -eq 2 ]
    [ -z "$(vmctl list -o name)" ]
}

@test "the book's life of a VM: prepared, running, suspended, running, stopped, running, destroyed" {
    vmctl create --name tutorial --image "$work/image" --backend noop -q
    [ "$(field State tutorial)" = prepared ]
    vmctl start tutorial -q
    [ "$(field State tutorial)" = running ]
    vmctl suspend tutorial -q
    [ "$(field State tutorial)" = suspended ]
    vmctl resume tutorial -q
    [ "$(field State tutorial)" = running ]
    vmctl stop tutorial --timeout 60 -q
    [ "$(field State tutorial)" = stopped ]
    vmctl start tutorial -q
    [ "$(field State tutorial)" = running ]
    vmctl destroy tutorial -q
    run vmctl status tutorial
    [ "$status" -eq 3 ]
    says "error[vmctl::vm::not_found]"
    says 'run `vmctl list`'
}

@test "a failed start is the state failed" {
    vmfile web
    script '{"failLaunch": 1000}'
    run vmctl up -q
    [ "$status" -eq 1 ]
    [ "$(field State web)" = failed ]
    run vmctl status web
    echo "$output"
    says "  vmctl::qemu::spawn_failed: noop: failure" "  help: ensure qemu"
    [ "$(field PID web) $(field SSH web)" = "- -" ]
}

@test "start, stop, suspend, resume, destroy, status, console and log of a name that is not there" {
    local command
    for command in start stop suspend resume destroy status console log "ssh"; do
        run vmctl "$command" nobody
        [ "$status" -eq 3 ] || { echo "$command: $status"; return 1; }
        says "error[vmctl::vm::not_found]"
    done
}

@test "stop: --timeout is the guest's time before its power is cut" {
    vmfile web
    script '{"ignorePowerdown": true}'
    vmctl up -q
    SECONDS=0
    run vmctl stop web --timeout 1 -q
    [ "$status" -eq 0 ]
    [ $SECONDS -lt 15 ] # the default would be 30
    [ "$(field State web)" = stopped ]
    fails 0 vmctl stop web --timeout 24h
    fails 2 vmctl stop web --timeout 86401s
    says "at most a day"
}

@test "list: '-' without a process, without an SSH port; the network's mode" {
    cat >VMFile.kdl <<END
vm "a-user" { backend "noop"; image "$work/image"; vcpus 2; memory 2048; }
vm "b-tap" { backend "noop"; image "$work/image"; vcpus 4; memory 4096; network "tap"; }
vm "c-none" { backend "noop"; image "$work/image"; network "none"; }
END
    vmctl up -q --no-provision
    run vmctl list
    [[ "${lines[0]}" =~ ^NAME\ +BACKEND\ +VCPUS\ +MEM\ +NETWORK\ +PID\ +SSH ]]
    [[ "${lines[1]}" =~ ^a-user\ +noop\ +2\ +2048\ +user\ +[0-9]+\ +10[01][0-9]{2}\  ]]
    [[ "${lines[2]}" =~ ^b-tap\ +noop\ +4\ +4096\ +tap\ +[0-9]+\ +-\  ]]
    [[ "${lines[3]}" =~ ^c-none\ +noop\ +1\ +1024\ +none\ +[0-9]+\ +-\  ]]
    run vmctl status b-tap
    has "Network:     tap (br0)"
}

@test "up, down, reload, provision: --file from anywhere, --name chooses" {
    two_vms
    local file=$PWD/VMFile.kdl
    cd /
    run vmctl up -q --file "$file" --name web
    [ "$output" = "web: created" ]
    run vmctl up -q --file "$file"
    [ "$output" = $'web: unchanged\ndb: created' ]
    run vmctl provision -q --file "$file" --name db
    [ "$status" -eq 0 ]
    [ "$output" = $'db: provisioning again\ndb: provisioned' ]
    run vmctl reload -q --file "$file" --name web
    [ "$output" = "web: recreating" ]
    run vmctl down -q --file "$file" --name web
    [ "$output" = "web: stopped" ]
    [ "$(field State web) $(field State db)" = "stopped running" ]
    run vmctl up --file "$file" --name nobody
    [ "$status" -eq 3 ]
}

@test "up: a running VM is skipped, a stopped one restarted and provisioned again" {
    two_vms
    vmctl up -q
    run vmctl up -q
    [ "$output" = $'web: unchanged\ndb: unchanged' ]
    vmctl stop db -q
    run vmctl up -q
    [ "$output" = $'web: unchanged\ndb: started' ]
    [ "$(vmctl status db | grep -c 'provision step.* done')" -ge 1 ]
    [ "$(reason db Provisioned)" = Provisioned ]
}

@test "up and reload: --no-provision skips the steps" {
    two_vms
    script '{"failStep": 1000}'
    run vmctl up -q --no-provision
    [ "$status" -eq 0 ]
    [ "$(reason web Provisioned)" = Skipped ]
    run vmctl reload -q --no-provision
    [ "$status" -eq 0 ]
    [ "$(reason web Provisioned)" = Skipped ]
    [ "$(field Status web)" = Ready ]
    run vmctl provision -q --name web
    [ "$status" -eq 1 ]
    says "error[vmctl::provision::failed]"
}

@test "provision: on VMs that run, without recreating them" {
    two_vms
    vmctl up -q
    local started
    started=$(vmctl status web -o json | jq .status.instance.startedAt)
    run vmctl provision -q
    [ "$status" -eq 0 ]
    has "web: provisioned"
    has "db: provisioned"
    [ "$(vmctl status web -o json | jq .status.instance.startedAt)" = "$started" ]
    vmctl stop web -q
    run vmctl provision --name web
    [ "$status" -eq 1 ]
    says "error[vmctl::vm::invalid_state]"
}

@test "down: stops, --destroy removes" {
    two_vms
    vmctl up -q
    run vmctl down -q
    [ "$output" = $'web: stopped\ndb: stopped' ]
    run vmctl down -q --destroy
    [ "$output" = $'web: destroyed\ndb: destroyed' ]
    [ -z "$(vmctl list -o name)" ]
    [ -z "$(ls -A "$data/vms")" ]
}

@test "destroy of a running VM removes its directory and its record" {
    vmfile web db
    vmctl up -q
    [ -d "$data/vms/web" ]
    run vmctl destroy web -q
    [ "$status" -eq 0 ]
    [ ! -e "$data/vms/web" ]
    [ "$(vmctl list -o name)" = db ]
}

@test "log: both by default, --console, --provision, --tail and -n, 0 is all" {
    vmfile web
    vmctl up -q
    seq 1 60 >"$data/vms/web/console.log"
    seq 101 160 >"$data/vms/web/provision.log"
    run vmctl log web
    [ "${#lines[@]}" -eq 122 ]
    run vmctl log web --console
    [ "$output" = "$(seq 1 60)" ]
    run vmctl log web --provision
    [ "$output" = "$(seq 101 160)" ]
    run vmctl log web --console --tail 50
    [ "$output" = "$(seq 11 60)" ]
    run vmctl log web --provision -n 2
    [ "$output" = "$(seq 159 160)" ]
    run vmctl log web --console --tail 0
    [ "$output" = "$(seq 1 60)" ]
    run vmctl log --provision -n 1
    [ "$output" = 160 ]
}

@test "ssh: --user, --key and --file; --name where there are several" {
    two_vms
    mkdir "$work/bin"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' >"$work/bin/ssh"
    chmod +x "$work/bin/ssh"
    PATH=$work/bin:$PATH
    (umask 077 && : >"$work/key")
    vmctl up -q
    run vmctl ssh
    [ "$status" -eq 2 ]
    says "web, db"
    run vmctl ssh --name web --user root --key "$work/key"
    has "User=root"
    [ "$(grep -m 1 '^IdentityFile=' <<<"$output")" = "IdentityFile=\"$work/key\"" ]
    has "Port=$(field SSH web | cut -d: -f2)"
    vmfile only
    sed -i 's/{/{ ssh { user "ubuntu"; };/' VMFile.kdl
    mv VMFile.kdl "$work/other.kdl"
    vmctl up -q --file "$work/other.kdl"
    run vmctl ssh --file "$work/other.kdl"
    has "User=ubuntu"
    has "Port=$(field SSH only | cut -d: -f2)"
}
