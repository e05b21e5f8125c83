#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What each released version stored (tests/stored), read and carried on by today's programs.

bats_require_minimum_version 1.5.0
# shellcheck source-path=SCRIPTDIR
source "$BATS_TEST_DIRNAME/common.bash"

stored=$BATS_TEST_DIRNAME/../stored
place=/var/tmp/vmctl-stored # where all of them were made

setup() {
    exec {lock}>/var/tmp/vmctl-stored.lock
    flock "$lock"
    export XDG_DATA_HOME=$place/data HOME=$place NO_COLOR=1
    mkdir "$place"
}

teardown() {
    vmctl controller stop >/dev/null 2>&1 || true
    cd / && rm -rf "$place"
}

state() { vmctl get "$1" -o json | jq -r .display; }
is_state() { [ "$(state "$1")" = "$2" ]; }

# What a user would notice: another machine, another disk, another state, a change that nobody made.
# The host was booted since, and the image is another file. That it has the same bytes is found out
# when "disk" is started; of "solo", which never was, the bytes were not recorded then.
continues() { # ARCHIVE
    tar --zstd -C "$place" -xf "$1"
    cd "$place/project"
    run vmctl list -o json
    jq -e '[.[] | .name] == ["db", "disk", "solo", "web"]' <<<"$output"
    vmctl controller start
    await is_state disk BackingImageChanged
    run vmctl list
    says "its bytes are compared at the next start"
    await is_state solo BackingImageChanged
    is_state db Stopped && is_state web Waiting
    vmctl start -q db && is_state db Ready
    await is_state web Ready

    vmctl diff web db && vmctl diff --file disk.kdl
    run vmctl up web --file VMFile.kdl
    says "web: unchanged"
    [ "$(vmctl get web -o json | jq -r '.status.provision.steps[0].endedAt')" -le "$(stat -c %Y "$1")000" ]
    run vmctl port web
    says 18080
    vmctl get disk -o json | jq -e '.status.snapshots[0].name == "before"'
    run vmctl volume list
    says "files"

    vmctl snapshot restore disk before
    vmctl destroy -q web db disk solo
    [ -z "$(ls "$place/data/vmctl/vms")" ]
}

@test "the data of each released version is carried on: VMs, disks, snapshots, volumes, sources" {
    local archive
    for archive in "$stored"/*.tar.zst; do
        echo "$archive"
        continues "$archive"
        vmctl controller stop
        rm -r "${place:?}"/*
    done
}
