#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Every command that waits ends the same way at a signal, and when no one reads its stdout any more.
load cli_common
setup() {
    cli_setup
    waiter=
}
teardown() {
    [ -z "$waiter" ] || kill -KILL "$waiter" 2>/dev/null || true
    [ -z "${halted:-}" ] || kill -CONT "$halted" 2>/dev/null || true
    cli_teardown
}

# Nothing that is asked for happens while the controller is stopped: all of these wait. `watch` and
# `wait` without a name wait for the VMFile to be applied.
halt_controller() {
    vmfile web
    vmctl up -q
    halted=$(controller_pid)
    kill -STOP "$halted"
}

# begin COMMAND... : in the background with stdout into a FIFO that this shell reads. Background jobs
# have SIGINT ignored, which a terminal's commands have not.
begin() {
    rm -f "$work/pipe"
    mkfifo "$work/pipe"
    env --default-signal=INT,PIPE "$@" >"$work/pipe" 2>"$work/err" 3>&- &
    waiter=$!
    exec {reader}<"$work/pipe"
    await waits
}

# It sleeps in poll(2), with the signals caught: SIGHUP, SIGINT and SIGTERM are bits 0, 1 and 14.
waits() {
    local mask
    mask=$(sed -n 's/^SigBlk:[[:space:]]*//p' "/proc/$waiter/status")
    (((0x${mask:-0} & 0x4003) == 0x4003)) && grep -q '^State:.*S' "/proc/$waiter/status"
}

# ends_with STATUS
ends_with() {
    local ended=0
    wait "$waiter" || ended=$?
    waiter=
    [ "$ended" -eq "$1" ] || { echo "$2: ended with $ended instead of $1"; cat "$work/err"; return 1; }
}

# ends_in_all_ways COMMAND...
ends_in_all_ways() {
    local pair
    for pair in INT:130 TERM:143 HUP:129; do
        begin "$@"
        kill -s "${pair%:*}" "$waiter"
        ends_with "${pair#*:}" "$* at SIG${pair%:*}"
        exec {reader}<&-
    done
    begin "$@"
    exec {reader}<&-
    ends_with 141 "$* without a reader"
}

@test "following VMs ends at a signal and without a reader" {
    halt_controller
    ends_in_all_ways vmctl stop web
    grep -q "interrupted; 'web' continues in the background: vmctl status web" "$work/err"
    ends_in_all_ways vmctl up
    ends_in_all_ways vmctl wait web --ready
}

@test "the interrupted wait for a VM that is off does not say that it continues" {
    vmfile web
    vmctl -q create --name off --backend noop --image "$work/image"
    begin vmctl wait off --for=condition=Orphaned
    kill -INT "$waiter"
    ends_with 130
    grep -qx interrupted "$work/err"
}

@test "get -w and events -f end at a signal and without a reader" {
    halt_controller
    ends_in_all_ways vmctl get -w
    ends_in_all_ways vmctl events -f
}

@test "an image request ends at a signal and without a reader" {
    halt_controller
    ends_in_all_ways vmctl image pull "file://$work/image"
    grep -q "interrupted; what was downloaded is kept: the next pull resumes it" "$work/err"
    ends_in_all_ways vmctl image prune
}

@test "waiting for a watched VMFile ends at a signal and without a reader" {
    vmfile web
    vmctl watch
    halted=$(controller_pid)
    kill -STOP "$halted"
    vmfile web db
    ends_in_all_ways vmctl watch
    ends_in_all_ways vmctl wait
}

@test "the live lines fit the terminal and count the rest; redrawn from the first column" {
    halt_controller
    vmfile a-name-that-is-longer-than-four-and-twenty b c d e f g h i
    run env TERM=xterm script -qec "stty rows 5 cols 60; '$(command -v vmctl)' up --timeout 2s" /dev/null </dev/null
    says "… and 6 more" $'\r\e[4Aa-name-that-is-lon…  ...  '
    [[ $output != *"d            "* ]]
}

# first_state COMMAND... : the first state of web that it prints
first_state() { vmctl "$@" 2>&1 | sed -n 's/^web: \([A-Z][A-Za-z]*\)$/\1/p' | head -n 1; }

@test "no state from before a request is printed after it" {
    vmfile web
    sed -i 's/}$/provision "shell" { inline "true"; } }/' VMFile.kdl
    script '{"powerdownMs": 300, "bootMs": 300, "stepMs": 300}'
    vmctl -q up
    [ "$(first_state restart web)" = Stopping ]
    [ "$(first_state stop web)" = Stopping ]
    script '{"failStep": 1000}'
    fails 1 vmctl -q up
    script '{"stepMs": 300}'
    [ "$(first_state provision --name web)" = Provisioning ]
}

@test "a VM that waits says for whom" {
    printf 'vm "db" { backend "noop"; image "%s"; }\nvm "web" { backend "noop"; image "%s"; depends-on "db"; }\n' \
        "$work/image" "$work/image" >VMFile.kdl
    script '{"bootMs": 60000}'
    fails 4 vmctl up --timeout 1s
    says "vm 'web' is not ready yet: Waiting: for db"
    has "web: Waiting for db"
    [[ $(vmctl status web) == *"for db"* ]]
}

@test "what waits for a VM that needs a command fails at once with its reason" {
    local node
    node="backend \"noop\"; image \"$work/image\""
    printf 'vm "%s" { %s; %s }\n' db "$node" '' web "$node" 'depends-on "db"' api "$node" 'depends-on "web"' \
        >VMFile.kdl
    vmctl -q up
    vmctl -q stop db web api
    fails 1 vmctl start web --timeout 60s
    says "vm 'web': it waits for 'db', which is stopped" "vmctl start db"
    fails 1 vmctl start api --timeout 60s
    says "vm 'api': it waits for 'web', which is stalled: it waits for 'db', which is stopped"
    vmctl start -d db # before the controller looks at those that waited for it
    vmctl wait api --timeout 60s
    [[ $(vmctl get api -o json | jq -c '[.status.conditions[] | select(.type == "Stalled")]') == "[]" ]]
    vmctl -q stop web
    vmctl -q destroy db
    fails 1 vmctl start web --timeout 60s
    says "vm 'web': it waits for 'db', which does not exist" "vmctl up --name db"
}

@test "without a terminal a line says every ten seconds what is waited for" {
    vmfile web db
    script '{"bootMs": 60000}'
    fails 4 vmctl up --timeout 11s
    has "web: Starting for 10 s (and 1 more)"
    fails 4 vmctl -q up --timeout 1s
    refute has "web: Starting"
}

@test "what a ready VM still waits for is told" {
    printf 'vm "web" { backend "noop"; image "%s"; disk 1; ssh; }\n' "$work/image" >VMFile.kdl
    script '{"growMs": 60000}'
    vmctl -q up
    sed -i 's/disk 1/disk 2/' VMFile.kdl
    fails 4 vmctl up --timeout 2s
    says "vm 'web' is not ready yet: Ready: the guest is being made to use the added resources"
}

@test "a step that failed shows the end of its output where that was not followed" {
    vmfile web
    sed -i 's/}$/provision "shell" { inline "true"; } }/' VMFile.kdl
    script '{"failStep": 1000}'
    mkdir -p "$data/vms/web"
    seq 1 12 >"$data/vms/web/provision.log"
    fails 1 vmctl -q up
    says "vmctl::provision::failed" "the end of its output:" $'\n  | 3\n' $'\n  | 12\n'
    refute has "  | 2"
    seq -f '%.0f of the wide lines' 1 12 | sed "s/\$/ $(printf '%03000d' 0) whole/" >"$data/vms/web/provision.log" # of more than one read
    fails 1 vmctl -q provision web
    says $'\n  | 3 of the wide lines' $'\n  | 12 of the wide lines'
    [ "$(grep -c ' whole$' <<<"$output")" -eq 10 ]
}
