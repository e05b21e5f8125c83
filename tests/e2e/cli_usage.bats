#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
bats_require_minimum_version 1.5.0
load cli_common
setup() { cli_setup; }
teardown() { cli_teardown; }

@test "list of nothing is a header" {
    run --separate-stderr vmctl list
    [ "$status" -eq 0 ]
    [ "$output" = "NAME   BACKEND   VCPUS   MEM   NETWORK   PID   SSH   STATE   AGE" ]
    [[ $stderr == "no VMs yet: vmctl init"* ]]
    run vmctl list -q
    [ "${#lines[@]}" -eq 1 ]
    run vmctl ps -o json
    [ "$output" = "[]" ]
    run vmctl list -o yaml
    [ "$output" = "[]" ]
}

@test "list has the book's columns" {
    vmfile web
    vmctl up -q
    run vmctl list
    [[ "${lines[1]}" =~ ^web\ +noop\ +1\ +1024\ +user\ +[0-9]+\ +10[01][0-9]{2}\ +Ready\ +[0-9]+s$ ]]
    vmctl down -q
    [ "$(field PID web) $(field SSH web)" = "- -" ]
    run vmctl list
    [[ "${lines[1]}" =~ ^web\ +noop\ +1\ +1024\ +user\ +-\ +-\ +Stopped\ +[0-9]+s$ ]]
    run vmctl list -o wide
    [[ "${lines[0]}" =~ STATE\ +AGE\ +RESTARTS\ +VNC$ ]]
}

@test "list of names, of what failed, and without a name that is not known" {
    vmfile web db
    vmctl up -q
    run vmctl list db -o name
    [ "$output" = db ]
    run vmctl ls --name db
    [ "${#lines[@]}" -eq 2 ]
    [ "$(vmctl list web db -o json | jq -r '.[].name' | tr '\n' ' ')" = "db web " ]
    run vmctl list webb
    [ "$status" -eq 3 ]
    has "  help: did you mean 'web'?"
    run vmctl list --failed -o name
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    script '{"failStep": 1000}'
    printf 'vm "bad" { backend "noop"; image "%s"; provision "shell" { inline "x" } }\n' "$work/image" >bad.kdl
    vmctl up -q --file bad.kdl || true
    run vmctl list --failed
    echo "$output"
    [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[0]}" =~ STATE\ +AGE\ +CAUSE$ ]]
    [[ "${lines[1]}" =~ ^bad\  ]]
}

@test "status has the book's fields" {
    vmfile web
    vmctl up -q
    run vmctl status web
    [ "$status" -eq 0 ]
    has "Name:        web"
    [[ $(field ID web) =~ ^[0-9a-f]{32}$ ]]
    has "State:       running"
    has "Backend:     noop"
    has "vCPUs:       1"
    has "Memory:      1024 MB"
    has "Disk:        as the image"
    has "Network:     user"
    has "Work dir:    $data/vms/web"
    has "Overlay:     -"
    has "Seed ISO:    -"
    has "PID:         $(controller_pid)"
    [[ $(field Started web) =~ ^20[0-9-]{8}T[0-9:]{8}Z\ \([0-9]+s\ ago\)$ ]]
    has "VNC:         -"
    [[ $(field SSH web) =~ ^127\.0\.0\.1:10[01][0-9]{2}$ ]]
    [[ $(field MAC web) =~ ^52:54:00(:[0-9a-f]{2}){3}$ ]]
}

@test "with an error in the VMFile what only needs the names of its VMs goes by those that came from it" {
    local command
    vmfile web
    vmctl up -q
    echo 'nonsense 1' >>VMFile.kdl
    for command in status stop start log; do
        run vmctl $command
        echo "$command: $output"
        [ "$status" -eq 0 ]
        has "note: using the 1 VM that came from '$PWD/VMFile.kdl'"
    done
    cd "$work" || return 1
    mkdir other && cd other || return 1
    echo 'nonsense 1' >VMFile.kdl
    fails 2 vmctl stop
}

@test "small things that one tries in the first hour are answered" {
    vmfile w-10 w-2
    vmctl up -q
    [ "$(vmctl list -o name)" = $'w-2\nw-10' ]
    [ "$(vmctl get -o name)" = $'w-2\nw-10' ]
    [ "$(vmctl list | sed -n '2s/ .*//p')" = w-2 ]
    fails 2 vmctl list --color bogus
    says "--color: unknown 'bogus'" "use auto, always or never"
    fails 2 vmctl list -w
    says "vmctl get -w"
    run vmctl exec -i /nokey w-2 true
    says "cannot read the key '/nokey'" "--key PATH"
    run vmctl image ls -q
    [ "$status" -eq 0 ]
    [[ $output != *NAME* ]]
}

@test "the next command of a VM that lacks a change is what gives it that" {
    printf 'vm "web" { backend "noop"; image "%s"; memory 512; provision "shell" { inline "a" } }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    sed -i 's/inline "a"/inline "b"/' VMFile.kdl
    vmctl up -q
    await lacks ProvisionOutdated
    run vmctl status web
    [ "${lines[-1]}" = "Next:        vmctl provision --name web" ]
    vmctl -q provision --name web
    sed -i 's/512/768/' VMFile.kdl
    vmctl up -q
    await lacks RestartRequired
    run vmctl status web
    [ "${lines[-1]}" = "Next:        vmctl up --restart" ]
}
lacks() { vmctl status web | grep -q "^  Synced .*$1"; }

@test "where no key of ours is in the guest, no ssh is offered, and its refusal says what to do" {
    vmfile minimal
    run vmctl up
    [ "$status" -eq 0 ]
    has "minimal: ready"
    run vmctl status minimal
    [ "${lines[-1]}" = "Next:        vmctl console minimal" ]
    mkdir "$work/bin"
    printf '#!/bin/sh\necho "vm@127.0.0.1: Permission denied (publickey)." >&2; exit 255\n' >"$work/bin/ssh"
    chmod +x "$work/bin/ssh"
    PATH=$work/bin:$PATH run vmctl ssh minimal
    [ "$status" -eq 255 ]
    has "error[vmctl::ssh::failed]: vm 'minimal' was created without cloud-init, so its guest does not have vmctl's key"
    says "vmctl reload minimal" "--key PATH"
    : >"$work/key"
    PATH=$work/bin:$PATH run vmctl ssh minimal --key "$work/key"
    [ "$status" -eq 255 ]
    [ "$output" = "vm@127.0.0.1: Permission denied (publickey)." ]
}

@test "up of a suspended VM says that it is resumed" {
    vmfile web
    vmctl -q up
    vmctl -q suspend web
    run vmctl up
    has "web: resumed"
}

@test "status ends with the next command, and of several VMs has a row each" {
    vmfile web db
    sed -i '1s/backend/cloud-init; &/' VMFile.kdl
    vmctl up -q
    run vmctl status web
    [ "${lines[-1]}" = "Next:        vmctl ssh web" ]
    vmctl stop -q db
    run vmctl status
    echo "$output"
    [ "${#lines[@]}" -eq 3 ]
    [[ "${lines[2]}" =~ ^db\ .*\ Stopped\  ]]
    run vmctl status db
    [ "${lines[-1]}" = "Next:        vmctl start db" ]
    vmctl -q destroy db
    script '{"failStep": 1000}'
    printf 'vm "web" { backend "noop"; image "%s"; provision "shell" { inline "x" } }\n' "$work/image" >VMFile.kdl
    vmctl -q up || true
    run vmctl status web
    [[ ${lines[-1]} == "Next:        "*"vmctl"* ]]
    [[ $output == *"Trouble:"*"Next:"* ]]
    vmfile db
    vmctl -q apply
    run vmctl status --all
    [ "${lines[-1]%%:*}" = web ]
}

@test "describe shows the probes and how they went" {
    printf 'vm "web" { backend "noop"; image "%s"; ssh; ready period=5 { tcp 80 }; live { exec "true" } }\n' \
        "$work/image" >VMFile.kdl
    vmctl -q up
    run vmctl describe web
    echo "$output"
    has "Probes:"
    has "  ready period=5 { tcp 80 }"
    has "    every 5s, at most 5s each, failed after 3 in a row: passed"
    has '  live { exec "true" }'
    vmctl -q down
    run vmctl describe web
    has "    every 5s, at most 5s each, failed after 3 in a row: it is not running"
}

# on_terminal COMMAND... : with a terminal as its output
on_terminal() {
    python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$@" </dev/null
}

@test "colours only on a terminal, unless they are asked for" {
    vmfile web
    vmctl up -q
    unset NO_COLOR
    export TERM=xterm
    run vmctl list
    [[ $output != *$'\033'* ]]
    local command
    for command in list 'status web' 'describe web' doctor; do
        run vmctl --color always $command
        [[ $output == *$'\033[32m'* ]]
        run vmctl --color never $command
        [[ $output != *$'\033'* ]]
    done
    run vmctl --color always up
    [[ $output == *$'\033[2mweb: unchanged\033[0m'* ]]
    sed -i 's/noop";/noop"; memory 99;/' VMFile.kdl
    run vmctl --color always up
    [[ $output == *$'\033[33mweb: restart required: memory '*$'(vmctl up --restart)\033[0m'* ]]
    run vmctl --color always up --restart
    [[ $output == *$'\033[32mweb: restarted\033[0m'* ]]
    run vmctl --color never up
    [[ $output != *$'\033'* ]]
    run on_terminal vmctl list
    [[ $output == *$'\033[32mReady\033[0m'* ]]
    TERM=dumb run on_terminal vmctl list
    [[ $output == *Ready* && $output != *$'\033'* ]]
    NO_COLOR=1 run on_terminal vmctl list
    [[ $output == *Ready* && $output != *$'\033'* ]]
}

@test "usage errors end with 2 and name the nearest word" {
    run vmctl lst
    [ "$status" -eq 2 ]
    says 'did you mean `vmctl list`?'
    fails 2 vmctl rebot web
    says 'did you mean `vmctl reboot`?'
    fails 2 vmctl destory web # erases: never suggested
    [[ $output != *"did you mean"* ]]
    run vmctl up --tiemout 3
    [ "$status" -eq 2 ]
    says "did you mean --timeout?"
    run vmctl destroy
    [ "$status" -eq 2 ]
    run vmctl wait --ready --stopped
    [ "$status" -eq 2 ]
    fails 2 vmctl port web db
    says "port takes one VM"
    fails 2 vmctl run a.kdl b.kdl -- true
    says 'run needs a command after `--`, and at most one VMFile before it'
    fails 2 vmctl run --file a.kdl b.kdl -- true
    says "the VMFile is given twice: 'a.kdl' and 'b.kdl'"
    run vmctl wait --for=condition=Nothing
    [ "$status" -eq 2 ]
    run vmctl
    [ "$status" -eq 2 ]
    run vmctl --help
    [ "$status" -eq 0 ]
}

@test "explain has every error, by its code or the end of it; help has the commands in groups" {
    run vmctl explain auth_failed
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = vmctl::ssh::auth_failed ]
    [ "${lines[1]}" = "  The guest refuses the user or the keys." ]
    says "help: check" "exit status: 1"
    run vmctl explain vmctl::timeout
    [ "${lines[0]}" = vmctl::timeout ]
    [ "$(vmctl explain ssh::timeout -o json | jq -r '.[].code')" = vmctl::ssh::timeout ]
    run vmctl explain not_found
    has vmctl::vm::not_found
    has vmctl::image::not_found
    run vmctl explain AuthFailed
    [ "$output" = $'AuthFailed\n  The guest refuses the keys.' ]
    [ "$(vmctl explain authfailed -o json | jq -r '.[].state')" = AuthFailed ]
    run vmctl help states
    [ "$(sed -n '/^\.Sh MACHINE STATES/,/^\.Sh ENV/s/^\.It Li //p' "$BATS_TEST_DIRNAME/../../cli/man/vmctl.1" | sort -u)" = \
        "$(grep -v '^ ' <<<"$output" | sort -u)" ]
    [ "$(vmctl help errors)" = "$(vmctl explain)" ]
    [[ $(vmctl help vmfile) == *"man 5 VMFile.kdl"* ]]
    run vmctl explain nonsense
    [ "$status" -eq 2 ]
    says "list them: vmctl explain"
    run vmctl explain
    [ "$(grep -c '^vmctl::' <<<"$output")" -gt 40 ]
    run vmctl --help
    [ "$(grep -cx '[A-Z][A-Za-z ,]*:' <<<"$output")" -ge 6 ]
    run vmctl wait --ready --stopped
    says "see: vmctl wait --help"
    [[ $(vmctl watch --help) == *"[default: 1m]"* ]]
}

@test "a word of another tool finds its command, and none leads to one that erases a disk" {
    vmfile web
    vmctl up -q
    local word
    run vmctl ls -o name
    [ "$output" = web ]
    vmctl stats web --interval 100ms
    run vmctl inspect web
    [ "$status" -eq 0 ]
    run vmctl reboot web
    [ "$status" -eq 0 ]
    says "web: restarted"
    run vmctl shutdown web
    [ "$status" -eq 0 ]
    for word in kill attach debug config edit pull images rmi prune launch scp; do
        run vmctl "$word" web
        [ "$status" -eq 2 ]
        says "help: "
    done
    for word in relod realod destory destroi reloaf remobe; do
        run vmctl "$word" web
        [ "$status" -eq 2 ]
        run ! grep -E 'vmctl (reload|destroy)' <<<"$output"
    done
    run vmctl delete web
    [ "$status" -eq 2 ]
    says "erases"
    [ "$(vmctl list -o name)" = web ]
}

@test "what fingers know from docker, compose, kubectl and vagrant is understood, or leads to our word for it" {
    local line
    vmfile web db
    vmctl up -q
    [ "$(vmctl ps -q)" = $'db\nweb' ]
    [ "$(vmctl get vms -o name)" = $'db\nweb' ]
    [ "$(vmctl get vm web -o name)" = web ]
    fails 0 vmctl describe vm web
    says "Name:" "web"
    while IFS='|' read -r line expected; do
        fails 2 vmctl $line
        says "error[vmctl::usage]: unknown option" "help: $expected"
    done <<'END'
up -d --build|images are ready-made
up --force-recreate|vmctl restart restarts VMs with their disks
up --remove-orphans|for VMs that the VMFile no longer names: vmctl up --prune=stop
up --wait|vmctl up waits until all are ready
up --provision|to run the provision steps again: vmctl provision
down -v|vmctl down keeps the disks
down --volumes|vmctl down keeps the disks
ssh web -c|a command: vmctl ssh VM -- COMMAND
get vms -A|all VMs are in one place
ps --format=x|for programs: -o json
END
    [ "$(vmctl list -o name)" = $'db\nweb' ]
    vmctl create -q --name vm --backend noop --image "$work/image"
    [ "$(vmctl get vm -o name)" = vm ] # a VM is called so: it is meant
    fails 3 vmctl destroy vms web
    [ "$(vmctl list -o name)" = $'db\nvm\nweb' ]
    fails 0 vmctl rm -f vm
    has "vm: destroyed"
}

@test "a key that cannot be read is found out before a VM is made for the command" {
    vmfile web
    run vmctl run --rm -it -i nowhere -- true
    [ "$status" -eq 1 ]
    says "cannot read the key 'nowhere'"
    run vmctl list -o name
    [ -z "$output" ]
    [ ! -e "$data/vms" ] || [ -z "$(ls "$data/vms")" ]
}

@test "every command has help" {
    local name
    for name in $(vmctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
        run vmctl "$name" --help
        [ "$status" -eq 0 ]
        says "Usage: vmctl $name"
    done
    run vmctl snapshot --help # each verb on a line of its own
    has "Usage: vmctl snapshot create VM [NAME]"
    has "       vmctl snapshot rm VM NAME"
    [ "$(vmctl explain -o name | head -n 1)" = vmctl::io ]
}

@test "a missing VMFile ends with 2" {
    run vmctl up
    [ "$status" -eq 2 ]
    says "error[vmctl::vmfile::not_found]"
    [ -z "$(vmctl list -o name)" ]
}

@test "a VMFile that is there and cannot be read is no missing one" {
    ln -s VMFile.kdl VMFile.kdl
    local command
    for command in "up -d" validate fmt "down --file VMFile.kdl"; do
        run vmctl $command
        [ "$status" -eq 1 ]
        says "error[vmctl::io]"
        says "VMFile.kdl': Too many levels of symbolic links"
    done
}

@test "an invalid VMFile ends with 2, with all its errors and places" {
    printf 'vm "web" {\n    image "/nowhere"\n    memry 3\n    vcpus 0\n}\n' >VMFile.kdl
    run vmctl up
    [ "$status" -eq 2 ]
    says "VMFile.kdl:2:"
    says "VMFile.kdl:3:"
    says "VMFile.kdl:4:"
    says 'did you mean `memory`?'
    [ -z "$(vmctl list -o name)" ]
    run vmctl validate
    [ "$status" -eq 2 ]
}

@test "VMCTL_FILE and --file name the VMFile" {
    vmfile web
    mv VMFile.kdl "$work/mine.kdl"
    VMCTL_FILE=$work/mine.kdl run vmctl validate
    [ "$output" = "$work/mine.kdl: valid: web" ]
    vmfile other # here, and not meant
    run vmctl up -q --file "$work/mine.kdl"
    [ "$status" -eq 0 ]
    [ "$(vmctl list -o name)" = web ]
}

@test "unknown names end with 3 and the nearest one" {
    vmfile web
    vmctl up -q
    run vmctl stop wep
    [ "$status" -eq 3 ]
    says "did you mean 'web'?"
    run vmctl up --name other
    [ "$status" -eq 3 ]
    says "VMFile.kdl"
    run vmctl wait other
    [ "$status" -eq 3 ]
    run vmctl wait other --deleted
    [ "$status" -eq 0 ]
}

@test "one VM is inferred, several are asked about" {
    vmfile web
    vmctl up -q
    run vmctl port
    [ "$status" -eq 0 ]
    says "22/tcp -> 127.0.0.1:"
    vmfile web db
    vmctl up -q
    run vmctl ssh
    [ "$status" -eq 2 ]
    says "web, db"
    run vmctl console
    [ "$status" -eq 2 ]
}

@test "an unusable data directory ends with 5" {
    run vmctl --data-dir "$work/image/x" list
    [ "$status" -eq 5 ]
    says "error[vmctl::store::unusable]"
}

@test "a missing data directory is made, private" {
    run vmctl --data-dir "$work/new/dir" list
    [ "$status" -eq 0 ]
    [ "$(stat -c %a "$work/new/dir")" = 700 ]
}

@test "logs are shown harmless, with their tail" {
    vmfile web
    vmctl up -q
    printf 'one\r\ntwo \033]0;title\007\033[31mred\033[0m\r\nthree\r\n' >"$data/vms/web/console.log"
    printf 'step\n' >"$data/vms/web/provision.log"
    run vmctl log web --console
    [ "$output" = $'one\ntwo red\nthree' ]
    run vmctl log web --console --tail 1
    [ "$output" = "three" ]
    run vmctl logs web
    [ "$output" = $'==> console.log <==\none\ntwo red\nthree\n\n==> provision.log <==\nstep' ]
}

@test "log -f goes on and ends with the VM" {
    vmfile web
    vmctl up -q
    echo first >"$data/vms/web/console.log"
    vmctl log -f web --console >"$work/out" 3>&- &
    local reader=$!
    await grep -q first "$work/out"
    echo second >>"$data/vms/web/console.log"
    await grep -q second "$work/out"
    vmctl destroy web -q
    wait "$reader"
}

@test "log of several VMs says whose each line is, and prints whole lines" {
    vmfile web longer
    vmctl up -q
    printf 'one\ntwo' >"$data/vms/web/console.log"
    printf 'three\n' >"$data/vms/longer/console.log"
    run vmctl log --console
    [ "$output" = $'web    | one\nweb    | two\nlonger | three' ]
    run vmctl log longer web --console --tail 1
    [ "$output" = $'longer | three\nweb    | two' ]
    printf 'step\n' >"$data/vms/web/provision.log"
    run vmctl log
    says "web/console.log      | one" "web/provision.log    | step" "longer/console.log   | three"
    run vmctl --color always log --console
    [[ $output == *$'\033[36mweb    |\033[0m one'* ]]

    vmctl log -f --console >"$work/out" 3>&- &
    local reader=$!
    await grep -q three "$work/out"
    printf 'a half ' >>"$data/vms/longer/console.log"
    printf ' rest\n' >>"$data/vms/web/console.log"
    await grep -qx 'web    | two rest' "$work/out"
    printf 'line\n' >>"$data/vms/longer/console.log"
    await grep -qx 'longer | a half line' "$work/out"
    vmctl destroy web -q
    echo last >>"$data/vms/longer/console.log"
    await grep -qx 'longer | last' "$work/out"
    vmctl destroy longer -q
    wait "$reader"
}

@test "output formats agree" {
    vmfile web
    vmctl up -q
    [ "$(vmctl list -o name)" = web ]
    [ "$(vmctl status -o name)" = web ]
    vmctl status web -o json | python3 -c 'import json,sys; d=json.load(sys.stdin); assert d["name"] == "web" and d["ready"] is True, d' ||
        skip "no python3"
    vmctl status web -o yaml | grep -qx 'name: web'
    [ "$(vmctl version -o json | tr -d ' \n')" = "{\"version\":\"$(vmctl --version | cut -d' ' -f2)\"}" ]
}

@test "nothing is printed into a closed pipe" {
    vmfile web
    vmctl up -q
    run bash -c 'vmctl list | true; vmctl status | head -n 1'
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
}

@test "output that cannot be written is an error with its cause, in every format" {
    vmfile web
    vmctl up -q
    local command format
    for command in list status get events 'describe web' 'port web' version --help 'completion bash' doctor 'diff' 'image list' 'log web' 'ssh-config web'; do
        for format in text json; do
            vmctl $command -o $format >out 2>/dev/null || true
            [ -s out ] || continue
            run bash -c "vmctl $command -o $format 2>&1 >/dev/full"
            [ "$status" -ne 0 ] || { echo "$command -o $format"; return 1; }
            says "cannot write to the standard output"
        done
    done
    run bash -c 'set -o pipefail; (trap "" PIPE; until [ -e gone ]; do :; done; vmctl list) | (exec <&-; : >gone)'
    [ "$status" -eq 141 ]
    [ -z "$output" ]
}

@test "a VM that the VMFile has and no one brought up, one that it has not, and a verb of image" {
    vmfile db web
    fails 3 vmctl status web
    says "there is no vm 'web'" "'$work/project/VMFile.kdl' defines it, but it does not exist yet: vmctl up web"
    fails 3 vmctl up nosuch
    says "there is no vm 'nosuch' in" "it has: db, web"
    fails 2 vmctl image pul
    says 'did you mean `vmctl image pull`?'
    fails 2 vmctl image pruen
    says "see: vmctl image --help"
}

@test "create --arch: another processor, also where the image has a name" {
    vmctl create -q --name arm --arch aarch64 --backend noop --image "$work/image"
    [ "$(vmctl get arm -o json | jq -r '.desired.spec | .image.arch + " " + .firmware')" = "aarch64 uefi" ]
    vmctl create -q --name same --arch "$(uname -m)" --backend noop --image "$work/image"
    [ "$(vmctl get same -o json | jq -r '.desired.spec.image.arch // "-"')" = - ] # as without the option
    vmctl create -q --name named --arch aarch64 --backend noop --image debian:12
    [ "$(vmctl get named -o json | jq -r .desired.spec.image.location)" = debian:12+aarch64 ]
    fails 2 vmctl create --name no --arch sparc --backend noop --image "$work/image"
    says "unknown processor 'sparc'" "one of: x86_64, aarch64, riscv64"
    fails 2 vmctl create --name no --arch "$(uname -m)" --backend noop --image debian:12+aarch64
    says "image 'debian:12+aarch64' is for aarch64" "leave out --arch"
    fails 2 vmctl create --name no --arch aarch64 --backend propolis --image "$work/image"
    says '--arch needs backend "qemu"'
}
