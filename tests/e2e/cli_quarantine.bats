#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl quarantine: what is listed and removed, and what is left alone.

bats_require_minimum_version 1.5.0
load cli_common

setup() {
    cli_setup
    chmod 700 "$data"
    q=$data/quarantine
}
teardown() {
    [ -z "${holder:-}" ] || kill "$holder"
    cli_teardown
}

# aside NAME : a directory that vmctld moved aside
aside() {
    mkdir -p "$q/$1/snapshots"
    head -c 100000 /dev/urandom >"$q/$1/overlay.qcow2"
    head -c 100000 /dev/urandom >"$q/$1/snapshots/a.qcow2"
}

names() { vmctl quarantine list -o name | tr '\n' ' '; }

@test "quarantine list: files of VMs and records, with their size" {
    run vmctl quarantine list
    [ "$status" -eq 0 ]
    [[ $output =~ ^NAME\ +VM\ +SIZE\ +AGE$ ]]
    aside web-1700000000
    aside shop+db-1700000000
    echo '{}' >"$q/record-desired-0123456789abcdef"
    [ "$(names)" = "record-desired-0123456789abcdef shop+db-1700000000 web-1700000000 " ]
    run vmctl quarantine list
    [[ $output =~ shop\+db-1700000000\ +shop/db\ +0\.2[0-9]\ MB ]]
    [[ $output =~ web-1700000000\ +web\ +0\.2[0-9]\ MB ]]
    [[ $output =~ record-desired-0123456789abcdef\ +-\  ]]
    [ "$(vmctl quarantine ls -o json | jq -c '[.[] | .vm]')" = '[null,"shop/db","web"]' ]
    [ "$(vmctl quarantine list -o json | jq -r '.[2].path')" = "$q/web-1700000000" ]
    [ -z "$(ls "$data/trash" 2>/dev/null)" ]
    run vmctl doctor
    says "vmctl quarantine list"
}

@test "quarantine prune leaves what is younger than a week, or than it is told" {
    aside web-1700000000
    aside db-1
    run vmctl quarantine prune
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    run vmctl quarantine prune --older-than 0s --dry-run
    says "web-1700000000: would be removed" "db-1: would be removed"
    [ "$(names)" = "db-1 web-1700000000 " ]
    run vmctl quarantine prune --older-than 0s
    [ "$status" -eq 0 ]
    says "web-1700000000: removed" "db-1: removed"
    [ -z "$(names)" ]
    [ -z "$(ls "$data/trash")" ]
    fails 0 vmctl quarantine prune --older-than 0s
}

@test "quarantine rm removes what is named, and nothing that a link leads to" {
    aside web-1
    aside web-2
    mkdir "$work/precious"
    touch "$work/precious/kept"
    ln -s "$work/precious" "$q/link"
    ln -s "$work/precious" "$q/web-1/link"
    mkfifo "$q/web-1/pipe"
    fails 3 vmctl quarantine rm web-1 web-3
    says "there is no 'web-3' in quarantine" "vmctl quarantine list"
    [ "$(names)" = "link web-1 web-2 " ] # all or none
    mkdir -p "$data/vms/live"
    fails 3 vmctl quarantine rm ../vms/live
    fails 3 vmctl quarantine rm ..
    fails 2 vmctl quarantine rm
    fails 0 vmctl quarantine rm web-1 link
    [ "$(names)" = "web-2 " ]
    [ -e "$work/precious/kept" ]
    [ -d "$data/vms/live" ]
    rm -r "$q"
    ln -s "$work/precious" "$q"
    fails 5 vmctl quarantine rm kept
    says "is a symbolic link"
    [ -e "$work/precious/kept" ]
}

@test "quarantine: an option of prune is refused by rm, which would erase" {
    aside web-1
    fails 2 vmctl quarantine rm web-1 --dry-run
    says "options of quarantine prune"
    fails 2 vmctl quarantine rm web-1 --older-than 720h
    fails 2 vmctl quarantine list --dry-run
    [ "$(names)" = "web-1 " ]
}

@test "quarantine: files of another user in one directory do not keep the others" {
    [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null || skip "needs root and setpriv"
    aside web-1
    aside web-2
    chown -R 65534 "$data"
    chown -R 0 "$q/web-1/snapshots"
    chmod 755 "$work" "$q/web-1/snapshots"
    fails 1 setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$(command -v vmctl)" quarantine prune --older-than 0s
    says "web-2: removed"
    [ ! -e "$q/web-2" ]
}

@test "quarantine: a terminal is asked, a pipe is not" {
    aside web-1
    run env script -qefc "vmctl quarantine rm web-1" /dev/null <<<n
    [ "$status" -ne 0 ]
    says "web-1" "It cannot be restored. Erase it? [y/N]" "nothing was changed"
    [ "$(names)" = "web-1 " ]
    run env script -qefc "vmctl quarantine prune --older-than 0s" /dev/null <<<y
    [ "$status" -eq 0 ]
    [ -z "$(names)" ]
    aside web-1
    run env script -qefc "vmctl quarantine rm -y web-1" /dev/null </dev/null
    [ "$status" -eq 0 ]
    [ -z "$(names)" ]
}

@test "quarantine: a directory whose QEMU runs is left, the others are removed" {
    aside web-1
    aside web-2
    aside '~0123abcd-1' # of a template that is being made
    python3 - "$q/web-1/alive.lock" "$q/~0123abcd-1/alive.lock" 3>&- <<'END' &
import fcntl, pathlib, signal, sys
locks = [open(path, "w") for path in sys.argv[1:]]
for lock in locks:
    fcntl.lockf(lock, fcntl.LOCK_EX)
pathlib.Path(sys.argv[1] + ".held").touch()
signal.pause()
END
    holder=$!
    is_held() { [ -e "$q/web-1/alive.lock.held" ]; }
    await is_held
    fails 6 vmctl quarantine prune --older-than 0s
    says "the QEMU of 'web-1' still runs" "web-2: removed"
    [ "$(names)" = "web-1 ~0123abcd-1 " ]
}
