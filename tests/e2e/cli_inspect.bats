#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What shows VMs and what happened to them: get, describe, events, and -o json of what acts.
load cli_common
setup() {
    cli_setup
    followers=()
}
teardown() {
    local pid
    for pid in ${followers[@]+"${followers[@]}"}; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    cli_teardown
}

# follow FILE COMMAND... : runs it in the background, stdout to FILE; sets `follower`. bats and
# background jobs have SIGINT ignored, which a terminal's commands have not.
follow() {
    local file=$1
    shift
    env --default-signal=INT "$@" >"$file" 2>"$file.err" 3>&- &
    follower=$!
    followers+=("$follower")
}

# ends_with STATUS : the follower ended, and so
ends_with() {
    local ended=0
    wait "$follower" || ended=$?
    followers=()
    [ "$ended" -eq "$1" ] || { echo "ended with $ended"; return 1; }
}

# shows FILE TEXT : the file has it, or will
shows() {
    await grep -Fq -- "$2" "$1" || { echo "no '$2' in:"; cat "$1" "$1.err"; return 1; }
}

kill_controller() {
    local pid
    pid=$(controller_pid)
    kill -KILL "$pid"
    await sh -c '! vmctl controller status >/dev/null'
}

# ---- get ----

@test "get prints rows, names and objects of all VMs or those named" {
    vmfile web db
    vmctl up -q
    run vmctl get
    [ "$status" -eq 0 ]
    [ "$output" = "$(vmctl list)" ]
    run vmctl get web -o table
    [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[1]}" =~ ^web\ .*\ Ready$ ]]
    run vmctl get --all -o name
    [ "$output" = $'db\nweb' ]
    [ "$(vmctl get web -o json | jq -r .display)" = Ready ]
    [ "$(vmctl get -o json | jq -r '.[].name' | tr '\n' ' ')" = "db web " ]
    [ "$(vmctl get db web -o json | jq length)" -eq 2 ]
    run vmctl get web -o yaml
    has "name: web"
    run vmctl get nope
    [ "$status" -eq 3 ]
    says "vmctl::vm::not_found"
    run vmctl get web --all
    [ "$status" -eq 2 ]
}

@test "get of nothing is an empty list, and starts no controller" {
    [ "$(vmctl get -o json)" = "[]" ]
    run vmctl get
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    run vmctl controller status
    [ "$status" -eq 1 ]
}

@test "get -o wide and list -o wide tell age, restarts and VNC" {
    vmfile web
    vmctl up -q
    run vmctl get -o wide
    [[ "${lines[0]}" =~ STATE\ +AGE\ +RESTARTS\ +VNC$ ]]
    [[ "${lines[1]}" =~ Ready\ +[0-9]+s\ +0\ +-$ ]]
}

@test "get -w prints each change, and ends with 130 at Ctrl-C" {
    vmfile web db
    follow out vmctl get -w
    vmctl up -q
    shows out Ready
    vmctl destroy web -q
    await sh -c 'grep -Eq "^web .* Deleted$" out'
    grep -Eq '^db .* Ready$' out
    kill -INT "$follower"
    ends_with 130
    [ "$(grep -c '^NAME' out)" -eq 1 ]
    [ ! -s out.err ]
}

@test "get -w -o json prints an object a line, of the VMs named" {
    vmfile web db
    vmctl up -q
    follow out vmctl get web -w -o json
    shows out '"display":"Ready"'
    vmctl down --destroy -q
    shows out '"display":"Deleted"'
    kill -TERM "$follower"
    ends_with 143
    [ "$(jq -r .name out | sort -u)" = web ]
    [ "$(jq -r .ready out | head -n 1)" = true ]
    [ "$(tail -n 1 out | jq -r .state)" = destroyed ]
    [ "$(wc -l <out)" -eq "$(jq -s length out)" ]
}

@test "get -w goes on when the controller is killed" {
    vmfile web
    vmctl up -q
    follow out vmctl get -w
    shows out Ready
    kill_controller
    vmctl stop web -q
    shows out Stopped
    kill -INT "$follower"
    ends_with 130
}

@test "get -w ends when nobody reads on, also while nothing changes" {
    vmfile web
    vmctl up -q
    run timeout 20 bash -o pipefail -c 'vmctl get -w | head -n 1'
    [ "$status" -eq 141 ]
    [[ "$output" =~ ^NAME ]]
}

@test "up goes from word to word and never back" {
    vmfile web
    run vmctl up
    [ "$status" -eq 0 ]
    local words
    words=$(sed -n 's/^web: \([A-Z][A-Za-z]*\)$/\1/p' <<<"$output")
    [ -n "$words" ]
    [ -z "$(sort <<<"$words" | uniq -d)" ] || { echo "$words"; return 1; }
}
