#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# No disk is cut off. A boot sector that only halts does for a guest.
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
    vmctl -q destroy --all --timeout 60s || :
    rm -rf "$PROJECT" && mkdir -p "$PROJECT"
}

vm() { echo "vm \"a\" { $1; network \"none\"; memory 32; stop-timeout 0; ${2:-} }" >VMFile.kdl; }
overlay() { echo "$DATA/vms/a/overlay.qcow2"; }
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
