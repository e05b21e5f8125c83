#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What is no disk is refused by its name, no disk is lost or cut off, and no URL is printed with its
# secrets.
# A boot sector that only halts does for a guest.
bats_require_minimum_version 1.5.0
load qemu

setup_file() {
    export NO_COLOR=1
    unset VMCTL_QEMU VMCTL_FILE
    export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data
    export DATA=$XDG_DATA_HOME/vmctl
    export PROJECT=$BATS_FILE_TMPDIR/project
    mkdir -p "$PROJECT"
}
teardown_file() { leave_data_dir; }
setup() {
    cd "$PROJECT" || return
    printf '\372\364\353\374' >idle.img # cli; hlt; jmp
    truncate -s 1M idle.img
    printf '\125\252' | dd of=idle.img bs=1 seek=510 conv=notrunc status=none
}
teardown() {
    local pid
    for pid in ${servers:-}; do kill "$pid" 2>/dev/null || :; done
    vmctl -q destroy --all --timeout 60s || :
    rm -rf "$PROJECT" && mkdir -p "$PROJECT"
}

vm() { echo "vm \"a\" { $1; network \"none\"; memory 32; stop-timeout 0; ${2:-} }" >VMFile.kdl; }
overlay() { echo "$DATA/vms/a/overlay.qcow2"; }
disk_size() { qemu-img info -U --output=json "$(overlay)" | jq -r '."virtual-size"'; }
is_hashed() { [ "$(vmctl get a -o json | jq -r '.status.prepared.imageSha256 // empty')" ]; }

# FILE : a disk whose GPT has a root partition for a processor that this host does not have
other_machine() {
    python3 - "$1" "$(uname -m)" <<'END'
import struct, sys, uuid
own_arm = sys.argv[2] == "aarch64"
root = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709" if own_arm else "b921b045-1df0-41c3-af44-4c6f280d3fae"
disk = bytearray(4096 * 512)
struct.pack_into("<8s24xQ32xQII", disk, 512, b"EFI PART", 4095, 2, 128, 128)
disk[1024:1040] = uuid.UUID(root).bytes_le
open(sys.argv[1], "wb").write(disk)
END
}

@test "what is no disk is refused at once by up, pull and inspect, and called by its name" {
    truncate -s 4M disk.raw
    tar czf disk.tar.gz disk.raw
    tar cf vm.ova disk.raw
    tar --zstd -cf disk.tar.zst disk.raw
    printf '\n<!DOCTYPE html><html>%4075s' x >page.img
    truncate -s 1M install.iso
    printf CD001 | dd of=install.iso bs=1 seek=32769 conv=notrunc status=none
    printf 'EFI PART' | dd of=disk.raw bs=1 seek=512 conv=notrunc status=none
    printf '\377\377\377' | dd of=disk.raw bs=1 seek=544 conv=notrunc status=none
    printf '\372\364' >cut.img && truncate -s 1M cut.img
    printf '\200\0\0\0\203\0\0\0\0\010\0\0\0\0\020\0' | dd of=cut.img bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of=cut.img bs=1 seek=510 conv=notrunc status=none
    printf 'LUKS\272\276' >luks.img && truncate -s 1M luks.img
    printf '#!/bin/sh\n' >script.img && truncate -s 4096 script.img
    other_machine arm.img && qemu-img convert -f raw -O qcow2 arm.img arm.qcow2
    qemu-img convert -c -f raw -O qcow2 arm.img packed.qcow2
    gzip -k arm.img && xz -k packed.qcow2 && zstd -q arm.img -o arm.img.zst
    local file what
    while read -r file what; do
        fails 1 vmctl image pull "file://$PWD/$file"
        says "$what"
        vm "image \"$file\""
        fails 1 vmctl up
        says "$what" vmctl::image::
        vmctl -q destroy a
    done <<'END'
disk.tar.gz a tar archive
vm.ova a tar archive
disk.tar.zst a tar archive
page.img a web page
install.iso an ISO 9660 image
disk.raw is truncated
cut.img is truncated
luks.img an encrypted LUKS container
script.img a script
arm.img another type of computer
arm.qcow2 another type of computer
packed.qcow2 another type of computer
arm.img.gz another type of computer
arm.img.zst another type of computer
packed.qcow2.xz another type of computer
END
    qemu-img create -q --object secret,id=s,data=x -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s \
        locked.qcow2 1M
    qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M
    qemu-img create -q -f qcow2 whole.qcow2 4M && qemu-io -c 'write -P 7 0 1M' whole.qcow2 >/dev/null
    head -c 700000 whole.qcow2 >short.qcow2
    qemu-img create -q -f qcow2 -o data_file=other.raw,data_file_raw=on far.qcow2 1M
    for file in vm.ova page.img install.iso disk.raw cut.img luks.img script.img arm.img arm.qcow2 \
        packed.qcow2 arm.img.gz arm.img.zst packed.qcow2.xz \
        disk.tar.gz disk.tar.zst locked.qcow2 flat.vmdk short.qcow2 far.qcow2; do
        fails 1 vmctl image inspect "$PWD/$file"
        says vmctl::image::
        fails 1 vmctl image inspect "$file"
        vm "image \"$file\""
        fails 1 vmctl validate
        says "vm 'a'" vmctl::image::
    done
    vm 'image "whole.qcow2"'
    vmctl validate
    qemu-img create -q -f qcow2 -o data_file=ext.raw,data_file_raw=on x.qcow2 1M
    vm 'image "x.qcow2"'
    fails 1 vmctl up
    says vmctl::image:: "its data is in another file" "flatten it"
    cp /etc/os-release host-file && qemu-img create -q -f qcow2 -u -b /etc/os-release -F raw y.qcow2 1M
    vm 'image "y.qcow2"'
    fails 1 vmctl up
    says vmctl::image::
}

@test "no URL is printed with its password or its signature" {
    python3 -u -m http.server -b 127.0.0.1 -d "$PROJECT" 0 >http.log 2>&1 3>&- &
    servers=$!
    await grep -q port http.log
    local port command
    port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' http.log)
    secret_vm() {
        echo "vm \"a\" { backend \"noop\"; image-url \"http://bot:$1@127.0.0.1:$port/idle.img?sig=$2\" }" >VMFile.kdl
    }
    secret_vm s3cret aaa
    run vmctl up
    [[ $output != *s3cret* && $output != *sig=* ]]
    secret_vm s3cret bbb
    run vmctl diff
    [[ $output != *s3cret* && $output != *sig=* ]]
    run vmctl up
    [[ $output != *s3cret* && $output != *sig=* ]]
    vmctl image pull "http://bot:s3cret@127.0.0.1:$port/idle.img?sig=ccc" >pull.out 2>&1
    for command in "status a" "describe a" "describe a -o json" "get -o json" "get -o yaml" \
        "image list -o json" "image list -o wide" "events a" "log a"; do
        run vmctl $command
        [[ $output != *s3cret* && $output != *sig=* ]] || { echo "$command: $output"; return 1; }
    done
    refute grep -q 's3cret\|sig=' pull.out "$DATA/controller.log"
}

@test "nor is it by an error about the VMFile, a watched one's included" {
    echo 'vm "a" { backend "noop"; image "idle.img" }' >VMFile.kdl
    vmctl up -q
    vmctl watch VMFile.kdl
    echo 'vm "a" { backend "noop"; image-url "ftp://bot:s3cret@h/x.qcow2?sig=aaa"; vcpus "z" }' >VMFile.kdl
    await eval 'vmctl watch --list | grep -q ParseFailed'
    for command in validate "watch --list" "watch --list -o json" "status a" events "events -o json" list \
        "--set u=http://bot:s3cret@h/?sig=a validate" \
        "image rm http://bot:s3cret@h/x?sig=aaa" "image inspect http://bot:s3cret@h/x?sig=aaa"; do
        run vmctl $command
        [[ $output != *s3cret* && $output != *sig=* ]] || { echo "$command: $output"; return 1; }
    done
    refute grep -q 's3cret\|sig=' "$DATA/controller.log"
    vmctl unwatch VMFile.kdl
}

disk_size() { qemu-img info -U --output=json "$(overlay)" | jq -r '."virtual-size"'; }

@test "the recorded size of a disk is its own, whatever the VMFile names" {
    vm 'image "idle.img"' 'disk 3'
    vmctl -q up
    vm 'image "idle.img"'
    vmctl -q up
    run vmctl status a
    [[ $output =~ Disk:\ +3\ GB ]]
    vmctl get a -o json | jq -e '.status.prepared.diskBytes == 3 * 1073741824'
    vm 'image "idle.img"' 'disk 2'
    fails 1 vmctl up
    says vmctl::disk::shrink_forbidden "from 3 to 2 GB"
    [ "$(disk_size)" = $((3 << 30)) ]
}

@test "a recreation whose image cannot be had leaves the guest and its disk alone" {
    vm 'image "idle.img"'
    vmctl -q up
    local inode pid sum
    inode=$(stat -c %i "$(overlay)")
    pid=$(pid_of a)
    vm 'image-url "http://127.0.0.1:1/typo.qcow2"'
    fails 1 vmctl up --recreate
    says "its disk is kept" "http://127.0.0.1:1/typo.qcow2" "vmctl up --name a"
    sum=$(printf '%064d' 7)
    vm "image-url \"file://$PWD/idle.img\" sha256=\"$sum\""
    fails 1 vmctl up --recreate
    says "its disk is kept" vmctl::image::checksum
    [ "$(pid_of a)" = "$pid" ]
    fails 0 vmctl restart a # on the disk that it has; a new one stays requested
    says "a: warning: its disk is kept" "vmctl status a"
    [ "$(state_of a)" = Ready ]
    [ "$(pid_of a)" != "$pid" ]
    fails 1 vmctl wait a --ready
    says "its disk is kept"
    [ "$(stat -c %i "$(overlay)")" = "$inode" ]
    vm 'image "idle.img"' # as it was: nothing is erased for it
    fails 0 vmctl up
    [ "$(stat -c %i "$(overlay)")" = "$inode" ]
    vm 'image "idle.img"' 'disk 1'
    fails 0 vmctl reload a
    refute [ "$(stat -c %i "$(overlay)")" = "$inode" ]
    [ "$(disk_size)" = $((1 << 30)) ]
    vm 'image "idle.img"' 'disk 1; cloud-init { hostname "another" }'
    fails 0 vmctl up --recreate # the seed goes with its disk
    bsdtar -xOf "$DATA/vms/a/seed.iso" meta-data | grep -q another
    [ "$(ls "$DATA/vms/a" | grep -c next)" = 0 ]
}

@test "the same sha256 at another URL is no difference, and the new URL is the one that is recorded" {
    local sum
    sum=$(sha256sum <idle.img | cut -d' ' -f1)
    cp idle.img two.img
    vm "image-url \"file://$PWD/idle.img\" sha256=\"$sum\""
    vmctl -q up
    vm "image-url \"file://$PWD/two.img\" sha256=\"$sum\""
    run vmctl diff
    [ -z "$output" ]
    local i
    for i in 1 2; do
        fails 0 vmctl up
        has "a: unchanged"
    done
    [ "$(vmctl get a -o json | jq -r .desired.spec.image.location)" = "file://$PWD/two.img" ]
    vmctl -q restart a
    fails 0 vmctl up
    has "a: unchanged"
    vm "image-url \"file://$PWD/two.img\" sha256=\"$(printf %064d 7)\""
    run vmctl diff
    [[ $output == *recreate* ]]
}

@test "a base image that was copied back, touched or moved with its project is the same image" {
    vm 'image "idle.img"'
    vmctl -q up
    local inode
    inode=$(stat -c %i "$(overlay)")
    await is_hashed
    vmctl -q stop a
    cp -p idle.img copy && mv copy idle.img
    fails 0 vmctl start a
    vmctl -q stop a
    vmctl controller stop # the next one knows it by the record
    touch idle.img
    fails 0 vmctl start a
    vmctl -q stop a
    mkdir ../moved && cp idle.img VMFile.kdl ../moved && rm idle.img VMFile.kdl && cd ../moved
    fails 0 vmctl up --adopt
    [[ $output != *recreate* ]]
    [ "$(stat -c %i "$(overlay)")" = "$inode" ]
    qemu-img info -U "$(overlay)" | grep -q "backing file: $PWD/idle.img"
    fails 0 vmctl up
    [[ $output != *recreate* ]]
    vmctl -q stop a
    printf x | dd of=idle.img bs=1 seek=4096 conv=notrunc status=none
    fails 1 vmctl start a
    says vmctl::image::backing_changed
    cd "$PROJECT"
    rm -rf ../moved
}

@test "a base image touched before the first start is told by its bytes, too" {
    fails 0 vmctl create --name a --image "$PWD/idle.img" --memory 32 --no-cloud-init
    await is_hashed
    vmctl controller stop
    cp idle.img copy && mv copy idle.img
    fails 0 vmctl start a --detach
    await 30 bash -c '[ "$(vmctl get a -o json | jq -r .status.instance.pid)" -gt 0 ]'
    vmctl -q destroy -y a
    fails 0 vmctl create --name a --image "$PWD/idle.img" --memory 32 --no-cloud-init
    await is_hashed
    printf x | dd of=idle.img bs=1 seek=4096 conv=notrunc status=none
    fails 1 vmctl start a
    says vmctl::image::backing_changed "is not the one its disk was made on" "vmctl destroy a"
    refute grep -F 'vmctl reload' <<<"$output" # it has no VMFile
}

@test "a disk that is gone, cut off or another file is reported, and never an empty machine" {
    vm 'image "idle.img"' 'disk 1'
    vmctl -q up
    vmctl -q stop a
    qemu-io -c 'write -P 7 0 8M' "$(overlay)" >/dev/null
    vmctl -q start a && vmctl -q stop a
    cp "$(overlay)" kept
    rm "$(overlay)"
    fails 1 vmctl start a
    says "is gone" "vmctl reload --name a"
    [ ! -e "$(overlay)" ]
    head -c 4M kept >"$(overlay)"
    fails 1 vmctl start a
    says "is cut off" "truncate -s"
    echo junk >"$(overlay)"
    fails 1 vmctl start a
    says "not a qcow2 file"
    qemu-img create -q -f qcow2 -F raw -b "$PWD/idle.img" other 1G && mv other "$(overlay)"
    fails 1 vmctl start a
    says "was replaced: it is empty"
    cp kept "$(overlay)"
    fails 0 vmctl start a
    echo changed >>idle.img # under the guest: not the next start is the first to say so
    is_reported() { vmctl events a | grep -q "BackingImageChanged.*not the one its disk was made on"; }
    await is_reported
    [ "$(state_of a)" = Ready ]
}
