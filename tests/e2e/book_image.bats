#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The image command of the original tool's book, on a small image behind a file URL.

load cli_common
setup() {
    cli_setup
    command -v qemu-img >/dev/null || skip "no qemu-img"
    qemu-img create -q -f qcow2 "$work/small.qcow2" 64M
    qemu-img create -q -f raw "$work/raw.img" 1M
}
teardown() { cli_teardown; }

@test "image pull: into the cache, under the URL's name, and its path is printed" {
    run vmctl image pull -q "file://$work/small.qcow2"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == "$data/images/"* ]]
    cmp "$work/small.qcow2" "$output"
    run vmctl image list
    [[ "${lines[1]}" =~ ^small\.qcow2\ +[0-9.]+\ [KMG]B\ +$data/images/ ]]
}

@test "image pull: again it is not downloaded again" {
    vmctl image pull -q "file://$work/small.qcow2"
    mv "$work/small.qcow2" "$work/moved.qcow2"
    run vmctl image pull -q "file://$work/small.qcow2"
    [ "$status" -eq 0 ]
    cmp "$work/moved.qcow2" "${lines[-1]}"
}

@test "image pull: --name says what to call it" {
    run vmctl image pull -q --name mine "file://$work/small.qcow2"
    [ "$status" -eq 0 ]
    run vmctl image list
    [[ "${lines[1]}" =~ ^mine\  ]]
}

@test "image pull: what is not there ends with 1" {
    run vmctl image pull -q "file://$work/nowhere.qcow2"
    [ "$status" -eq 1 ]
    says "error[vmctl::image::"
    run vmctl image list
    [ "${#lines[@]}" -eq 1 ]
}

@test "image list: the book's columns, also of nothing" {
    run vmctl image list
    [ "$status" -eq 0 ]
    [[ "$output" =~ ^NAME\ +SIZE\ +PATH$ ]]
}

@test "image inspect: format and details of a file" {
    run vmctl image inspect "$work/small.qcow2"
    [ "$status" -eq 0 ]
    grep -Eq '^Format: +qcow2$' <<<"$output"
    says "67108864"
    run vmctl image inspect "$work/raw.img"
    [ "$status" -eq 0 ]
    grep -Eq '^Format: +raw$' <<<"$output"
    run vmctl image inspect "$work/nowhere"
    [ "$status" -eq 1 ]
    says "error[vmctl::image::not_found]"
    run vmctl image inspect "$work"
    [ "$status" -eq 1 ]
    says "'$work' is a directory, not a disk image" "vmctl image list"
}
