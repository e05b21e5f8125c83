#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The files that a VMFile names: what cannot be one, and what a guest would not understand.

load cli_common
setup() { cli_setup; }
teardown() {
    [ -z "${server:-}" ] || end_serving
    cli_teardown
}

# names FIELD PATH : a VMFile with this file in this place
names() {
    case $1 in
    image) printf 'vm "web" { backend "noop"; image "%s"; }\n' "$2" ;;
    script) printf 'vm "web" { backend "noop"; image "%s"; cloud-init; provision "shell" { script "%s"; }; }\n' "$work/image" "$2" ;;
    source) printf 'vm "web" { backend "noop"; image "%s"; cloud-init; provision "file" { source "%s"; destination "/x"; }; }\n' "$work/image" "$2" ;;
    private-key) printf 'vm "web" { backend "noop"; image "%s"; ssh { private-key "%s"; }; }\n' "$work/image" "$2" ;;
    *) printf 'vm "web" { backend "noop"; image "%s"; cloud-init { %s "%s"; }; }\n' "$work/image" "$1" "$2" ;;
    esac >VMFile.kdl
}

@test "a pipe, a device, a socket or a directory is refused in every place, with line and caret" {
    local field path
    mkfifo pipe
    mkdir directory
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    for field in image script source private-key ssh-key user-data; do
        for path in pipe directory socket /dev/null; do
            names $field $path
            fails 2 timeout 20 vmctl validate
            says "\`$field\`: a " ", not a file, at '" "VMFile.kdl:1:" ^^
        done
    done
    names image nowhere
    fails 2 vmctl validate
    says "\`image\`: no readable file at '$PWD/nowhere'"
}

@test "a VMFile that is a pipe or a device is refused, and not waited for" {
    mkfifo pipe
    fails 2 timeout 20 vmctl validate pipe
    says "'pipe' is a pipe, not a VMFile" "--file PATH"
    fails 2 timeout 20 vmctl up --file /dev/zero
    says "'/dev/zero' is a device, not a VMFile"
    fails 2 vmctl validate .
    says "there is no VMFile './VMFile.kdl'"
}

@test "a pipe in the place of nodes.kdl or images.kdl is refused, and not waited for" {
    mkdir -p config/vmctl
    mkfifo config/vmctl/nodes.kdl config/vmctl/images.kdl
    XDG_CONFIG_HOME=$PWD/config fails 1 timeout 20 vmctl node list
    says "nodes.kdl', which is not a file"
    mkdir -p home/.config && mv config/vmctl home/.config
    HOME=$PWD/home fails 1 timeout 20 env -u XDG_CONFIG_HOME vmctl image search
    says "images.kdl', which is not a file"
}

@test "user-data that cloud-init would ignore is refused by validate, up and create, with its line" {
    printf '\xef\xbb\xbf#cloud-config\nusers: [default]\n' >user-data
    names user-data user-data
    fails 2 vmctl validate
    says "VMFile.kdl:1:" ^^^ "\`user-data\` '$PWD/user-data': line 1: it begins with a byte order mark" "save it as UTF-8"
    printf '#cloud-config\nusers:\n - a\n  - b: [\n' >user-data
    fails 2 vmctl up
    says "'$PWD/user-data': line 4, column 6: not valid YAML: "
    fails 2 vmctl create --name web --backend noop --image "$work/image" --cloud-init user-data
    says "--cloud-init '$PWD/user-data': line 4, column 6: not valid YAML: "
    printf '#cloud-config\nusers: [default]\n' >user-data
    fails 0 vmctl validate
    fails 0 vmctl create --name web --backend noop --image "$work/image" --cloud-init user-data
}

@test "a script with the line ends of another system is refused by validate, with a way out" {
    printf '#!/bin/sh\r\necho hi\r\n' >setup.sh
    names script setup.sh
    fails 2 vmctl validate
    says "\`script\` '$PWD/setup.sh': line 1 ends with a carriage return" "sed -i"
    sed -i 's/\r$//' setup.sh
    fails 0 vmctl validate
}

@test "init: every starter is valid and formatted, a file that is there is left alone" {
    local starter
    mkdir "9 Läden" && cd "9 Läden"
    for starter in $(vmctl init --list -o name); do
        fails 0 vmctl init --starter "$starter"
        has "VMFile.kdl: written from '$starter'"
        fails 0 vmctl validate
        says "VMFile.kdl: valid: 9-L--den"
        fails 0 vmctl fmt --check
        sed -i 's/vm /\/\/ mine\nvm /' VMFile.kdl
        cp VMFile.kdl mine
        fails 1 vmctl init --starter "$starter"
        says "'VMFile.kdl' exists already and was not changed" "vmctl up"
        cmp VMFile.kdl mine
        mv VMFile.kdl "$starter.kdl"
    done
    [ "$(stat -c %a mine)" = "$(printf %o $((0666 & ~$(umask))))" ]
    [ "$(vmctl validate multi.kdl -o name)" = $'9-L--den-db\n9-L--den-web' ]
    [ "$(vmctl init --list -o json | jq -r '.[].name')" = "$(vmctl init --list -o name)" ]
}

@test "init: the VM's name, the starter by its name alone, another file" {
    fails 2 vmctl up
    says "vmctl init"
    vmctl init web -f a.kdl
    [ "$(vmctl validate a.kdl -o name)" = web ]
    grep -q 'image "debian:12"' a.kdl
    vmctl init alpine -f b.kdl
    [ "$(vmctl validate b.kdl -o name)" = alpine ]
    grep -q 'image "alpine:3' b.kdl
    VMCTL_FILE=c.kdl vmctl init debian -t ubuntu
    [ "$(vmctl validate c.kdl -o name)" = debian ]
    grep -q 'image "ubuntu:' c.kdl
    cd /
    fails 0 vmctl init -f "$work/d.kdl"
    [ "$(vmctl validate "$work/d.kdl" -o name)" = "$(basename "$work" | tr -c 'a-zA-Z0-9._\n-' -)" ]
    fails 2 vmctl init --starter debain -f "$work/e.kdl"
    says "there is no starter 'debain'" "did you mean 'debian'"
    fails 2 vmctl init hashicorp/bionic64 -f "$work/e.kdl"
    says "'hashicorp/bionic64' cannot be the name of a VM" "vmctl init --list"
    fails 2 vmctl init --template multi "$(printf 'a%.0s' {1..60})" -f "$work/e.kdl"
    [ ! -e "$work/e.kdl" ]
    fails 1 vmctl init -f /nowhere/VMFile.kdl
    says "cannot write '/nowhere/VMFile.kdl': No such file or directory"
}

@test "an ssh-key beside user-data is not ignored silently" {
    echo '#cloud-config' >user-data
    ssh-keygen -q -t ed25519 -N '' -f key
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init { user-data "user-data"; ssh-key "key.pub"; }; }\n' \
        "$work/image" >VMFile.kdl
    fails 0 vmctl validate
    says "note: vm 'web': its \`ssh-key\` is not used: \`user-data\` is passed on as it is"
    fails 0 vmctl apply
    says "its \`ssh-key\` is not used"
    fails 0 vmctl list
    refute grep -q 'not used' <<<"$output"
}

# ---- a file system whose server does not answer ----

# FUSE, as sshfs is it: a call that its server does not answer ends by no signal, SIGKILL neither
serve_silently() {
    [ -w /dev/fuse ] && /usr/bin/python3 -c 'import fusepy' 2>/dev/null || skip "no FUSE, or no python3-fusepy"
    mkdir served mounted
    printf '#cloud-config\n' >served/user-data
    printf 'disk' >served/disk.img
    cp "$work/image" served/image
    "$BATS_TEST_DIRNAME/../support/silent-fs" "$PWD/served" "$PWD/mounted" 3>&- &
    server=$!
    await mountpoint -q mounted || skip "FUSE cannot be mounted here"
}

end_serving() {
    rm -f "$work/project/served.silent"
    vmctl controller stop >/dev/null 2>&1 || true
    umount -l "$work/project/mounted" || true
    kill "$server"
}

@test "a file system that stops answering, at whichever call, holds up no command and no vmctld" {
    serve_silently
    printf 'vm "web" { backend "noop"; image "mounted/image"; cloud-init { user-data "mounted/user-data"; }; }\n' >mounted.kdl
    cp mounted.kdl served/VMFile.kdl
    printf 'vm "other" { backend "noop"; image "%s"; }\n' "$work/image" >VMFile.kdl
    vmctl up -q --file mounted.kdl
    vmctl watch -q mounted.kdl
    local call before
    for call in getattr open read; do
        vmctl up -q
        echo $call >served.silent
        run timeout -s KILL 20 vmctl validate mounted.kdl
        [ "$status" -ne 137 ]
        [ $call != getattr ] || says "no answer from the file system of '$PWD/mounted/"
        fails 1 timeout -s KILL 20 vmctl validate mounted/VMFile.kdl
        says "Connection timed out"
        [ $call != getattr ] || fails 1 timeout -s KILL 20 vmctl init --file mounted/new.kdl
        fails 1 timeout -s KILL 20 vmctl image inspect mounted/disk.img
        run timeout -s KILL 20 vmctl create --name new --image "$PWD/mounted/disk.img" --start --timeout 5s
        [ "$status" -ne 0 ]
        [ "$status" -ne 137 ]
        vmctl destroy -q -y new || true
        timeout -s KILL 20 vmctl restart -q other
        before=$(controller_pid)
        kill "$before"
        await 10 has_ended "$before"
        timeout -s KILL 20 vmctl controller start
        timeout -s KILL 20 vmctl restart -q other
        rm served.silent
        await vmctl validate mounted.kdl
    done
}

# an image of 1 MiB whose header leads to tables in the third MiB of its file
qcow2_with_late_tables() {
    /usr/bin/python3 - "$1" <<'P'
import struct, sys
with open(sys.argv[1], "wb") as image:
    image.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1, 2 << 20, 1 << 16, 1, 0, 0, 0, 0, 0, 4, 104))
    image.truncate(4 << 20)
P
}

has_event() {
    vmctl events | grep -F -- "$1" >/dev/null
}

# the third MiB is not answered: the file opens, begins, and then its reader waits for ever
@test "a file system that falls silent amid an image holds up its own VM, no other and no vmctld" {
    serve_silently
    command -v qemu-system-x86_64 >/dev/null || skip "needs QEMU"
    local before image=$PWD/mounted/image.raw pinned
    head -c 4M /dev/urandom >served/image.raw
    pinned=$(sha256sum <served/image.raw | cut -d' ' -f1)
    printf 'vm "other" { backend "noop"; image "%s"; }\n' "$work/image" >VMFile.kdl
    printf 'vm "pinned" { image "%s" sha256="%s"; }\n' "$image" "$pinned" >pinned.kdl
    vmctl up -q
    echo middle >served.silent
    run timeout -s KILL 40 vmctl up --file pinned.kdl --timeout 15s
    [ "$status" -ne 0 ]
    says "cannot read '$image': Connection timed out" "findmnt -T"
    fails 1 timeout -s KILL 40 vmctl image pull "file://$image"
    says "the file system of image '$image' does not answer" "findmnt -T"
    timeout -s KILL 20 vmctl restart -q other
    timeout -s KILL 20 vmctl destroy -q -y pinned
    before=$(controller_pid)
    kill "$before"
    await 10 has_ended "$before"
    rm served.silent
    await vmctl image pull -q "file://$image"
    # its tables, which are read here and there, of more VMs than the pool has threads
    qcow2_with_late_tables served/tables.qcow2
    echo middle >served.silent
    for i in 1 2 3 4 5 6; do
        vmctl create -q --name "tables$i" --image "$PWD/mounted/tables.qcow2" --start --detach
    done
    await 20 has_event "cannot read its tables: Connection timed out"
    timeout -s KILL 20 vmctl restart -q other
    timeout -s KILL 20 vmctl destroy -q -y tables{1..6}
}
