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

# ---- get ----

without_ages() { sed -E 's/ +[0-9]+s$//'; }

@test "get prints rows, names and objects of all VMs or those named" {
    vmfile web db
    vmctl up -q
    run vmctl get
    [ "$status" -eq 0 ]
    [ "$(without_ages <<<"$output")" = "$(vmctl list | without_ages)" ] # a second may have passed
    run vmctl get web -o table
    [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[1]}" =~ ^web\ .*\ Ready\ +[0-9]+s$ ]]
    run vmctl get --all -o name
    [ "$output" = $'db\nweb' ]
    [ "$(vmctl get web -o json | jq -r .display)" = Ready ]
    [ "$(vmctl get -o json | jq -r '.[].name' | tr '\n' ' ')" = "db web " ]
    [ "$(vmctl get db web -o json | jq length)" -eq 2 ]
    vmctl get web -o json | jq -e '.desired | (.created / 1000 | floor) == (.createdTime | fromdate)'
    vmctl events web -o json | jq -e 'all(.[]; (.last / 1000 | floor) == (.lastTime | fromdate))'
    run vmctl get web -o yaml
    has "name: web"
    run vmctl get nope
    [ "$status" -eq 3 ]
    says "vmctl::vm::not_found"
    run vmctl get web --all
    [ "$status" -eq 2 ]
}

@test "-l chooses by labels, wherever VMs can be named" {
    cat >VMFile.kdl <<EOF
vm "web" { backend "noop"; image "$work/image"; label "tier" "web"; label "stage" "a"; }
vm "db" { backend "noop"; image "$work/image"; label "tier" "db"; }
vm "bare" { backend "noop"; image "$work/image"; }
EOF
    vmctl up -q -l 'tier in (web, db)'
    [ "$(vmctl list -o name)" = $'db\nweb' ]
    vmctl up -q
    [ "$(vmctl list -l tier=web -o name)" = web ]
    [ "$(vmctl get -l '!tier' -o name)" = bare ]
    [ "$(vmctl get -l tier!=web -o json | jq -c '[.[].name]')" = '["bare","db"]' ]
    [ "$(vmctl get -l tier=nope -o json | jq -c .)" = '[]' ]
    run vmctl list --show-labels
    [[ "${lines[0]}" =~ \ AGE\ +LABELS$ ]]
    [[ "${lines[1]}" =~ ^bare\ .*\ -$ ]]
    [[ "${lines[3]}" =~ ^web\ .*\ stage=a,tier=web$ ]] || [[ "${lines[3]}" =~ ^web\ .*\ tier=web,stage=a$ ]]
    [ "$(vmctl get web -o json | jq -c '.desired.spec.labels[] | select(.key == "stage").value')" = '"a"' ]
    vmctl describe web | grep -q '^Labels: .*tier=web'
    fails 2 vmctl stop web -l tier=web
    fails 2 vmctl stop -l 'tier in web'
    says "selector 'tier in web', character 9: '(' expected"
    fails 3 vmctl stop -l tier=nope
    says "vmctl list --show-labels"
    local pid
    pid=$(vmctl get web -o json | jq .status.instance.iid)
    sed -i 's/label "stage" "a"/label "stage" "b"/' VMFile.kdl # live: nothing restarts
    run vmctl up web
    says 'configured (live): label'
    [ "$(vmctl get web -o json | jq .status.instance.iid)" = "$pid" ]
    [ "$(vmctl list -l stage=b -o name)" = web ]
    cd "$HOME" # no VMFile: of all
    vmctl stop -q -l tier=db
    [ "$(vmctl list -l tier=db -o json | jq -r '.[].state')" = stopped ]
    vmctl destroy -q -y -l '!tier'
    [ "$(vmctl list -o name)" = $'db\nweb' ]
}

@test "the logs of no VM are nothing" {
    run vmctl log --all
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    fails 2 vmctl log # that of the VMFile, which is not there
    says VMFile.kdl
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
    await sh -c 'grep -Eq "^web .* Deleted +[0-9]+s$" out'
    grep -Eq '^db .* Ready +[0-9]+s$' out
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

# ---- describe ----

# with_steps MEMORY : the VMFile's VM with two provision steps
with_steps() {
    cat >VMFile.kdl <<KDL
vm "web" {
    backend "noop"; image "$work/image"; memory $1
    forward host=18080 guest=80
    provision "shell" { inline "echo one" }
    provision "shell" { inline "echo two" }
}
KDL
}

@test "describe tells what waits, what is done, where the files are" {
    with_steps 1024
    vmctl up -q
    with_steps 2048
    vmctl up -q
    run vmctl describe web
    [ "$status" -eq 0 ]
    [[ "$output" =~ Pending\ changes:$'\n'\ +FIELD\ +NOW\ +WANTED\ +NEEDS$'\n'\ +memory\ +1024\ +2048\ +restart ]]
    has "  2 of 2 steps done"
    says "  2/2 done     shell inline \"echo two\" (in "
    says "127.0.0.1:18080 -> 80/tcp"
    [[ "$output" =~ Directory\ +$data/vms/web ]]
    says "RestartRequired"
    says "started (pid "
    [ "$(vmctl describe web -o json | jq -Sc '.changes[0]')" = '{"disposition":"restart","field":"memory","new":2048,"old":1024}' ]
    [ "$(vmctl describe web -o json | jq -r '.provisioning[].state' | sort -u)" = done ]
    vmctl stop web -q
    run vmctl describe
    [[ "$output" =~ memory\ +1024\ +2048\ +the\ next\ start ]]
    has "Wanted:      stopped"
    run vmctl describe nope
    [ "$status" -eq 3 ]
}

@test "describe tells which step failed, why, and what to do" {
    with_steps 1024
    script '{"failStep": 1000}'
    run vmctl up -q
    [ "$status" -eq 1 ]
    run vmctl describe web
    says "1/2 failed   shell inline \"echo one\""
    says "2/2 pending  shell inline \"echo two\""
    says "vmctl::provision::failed"
    says "  help: "
}

@test "nothing in a name or a path reaches the terminal as it is" {
    local bad=$'\e]0;owned\a\e[2J'
    mkdir "$work/project$bad"
    cd "$work/project$bad"
    cat >VMFile.kdl <<KDL
vm "web" { backend "noop"; image "$work/image"; provision "shell" { inline "echo \\u{1b}[2J"; }; }
KDL
    vmctl up -q
    for command in get "get -o wide" describe status events "list -o wide"; do
        run vmctl $command
        [ "$status" -eq 0 ]
        [[ "$output" == *web* ]]
        [[ "$output" != *$'\e'* && "$output" != *$'\a'* ]] || { echo "$command"; return 1; }
    done
    run vmctl describe web
    says '\x1b]0;owned\x07\x1b[2J'
    vmctl describe web -o json | jq -e .name
}

# ---- events ----

@test "events are the VMs' history, oldest first" {
    vmfile web db
    vmctl up -q
    vmctl stop web -q
    run vmctl events
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" =~ ^AGE\ +TYPE\ +REASON\ +COUNT\ +VM\ +MESSAGE$ ]]
    [[ "${lines[-1]}" =~ ^[0-9]+s\ +Normal\ +Stopped\ +1\ +web\ +stopped ]]
    run vmctl events db
    [[ "$output" == *"started (pid "*")"* && "$output" != *web* ]]
    [[ "$output" != *"?"* ]]
    [ "$(vmctl events web -o json | jq -r '.[-1].reason')" = Stopped ]
    [ "$(vmctl events -n 1 -o json | jq length)" -eq 1 ]
    [ "$(vmctl events --since 1h -o json | jq length)" -eq "$(vmctl events -o json | jq length)" ]
    run vmctl events -o wide
    [[ "${lines[0]}" =~ ^TIME\ +AGE ]]
    [[ "${lines[1]}" =~ ^20[0-9]{2}-[0-9-]+T[0-9:]+Z\  ]]
    run vmctl events nope
    [ "$status" -eq 3 ]
}

@test "events of a VM that is gone are still there" {
    vmfile web
    vmctl up -q
    vmctl destroy web -q
    run vmctl events web
    [ "$status" -eq 0 ]
    says "started (pid "
}

@test "events -f goes on when the controller is killed, and ends with 130 at Ctrl-C" {
    vmfile web
    vmctl up -q
    follow out vmctl events -f
    shows out "started (pid "
    kill_controller
    vmctl stop web -q
    shows out "stopped"
    vmctl start web -q
    await sh -c '[ $(grep -c "started (pid " out) -ge 2 ]'
    kill -INT "$follower"
    ends_with 130
    [ "$(grep -c '^AGE' out)" -eq 1 ]
}

@test "events -f -o json is an object a line, and ends with 143 when terminated" {
    vmfile web db
    vmctl up -q
    follow out vmctl events db -f -o json -n 1
    shows out '"vm":"db"'
    vmctl down -q
    shows out '"reason":"Stopped"'
    kill -TERM "$follower"
    ends_with 143
    [ "$(jq -r .vm out | sort -u)" = db ]
    [ "$(wc -l <out)" -eq "$(jq -s length out)" ]
}

@test "events -f ends when nobody reads on" {
    vmfile web
    vmctl up -q
    run timeout 20 bash -o pipefail -c 'vmctl events -f | head -n 1'
    [ "$status" -eq 141 ]
    run timeout 20 bash -c 'vmctl events -f >/dev/full'
    [ "$status" -eq 1 ]
}

@test "log -f ends when its output cannot be written, and says so" {
    vmfile web
    vmctl up -q
    mkdir -p "$XDG_DATA_HOME/vmctl/vms/web"
    echo hello >>"$XDG_DATA_HOME/vmctl/vms/web/console.log"
    run timeout 20 bash -c 'vmctl log -f web --console 2>&1 >/dev/full'
    [ "$status" -eq 1 ]
    says "cannot write to the standard output"
    [[ $output != *"resumes by itself"* ]]
}

@test "a failure is not told a second time as its own event" {
    with_steps 1024
    script '{"failStep": 1000}'
    run vmctl up -q
    [ "$status" -eq 1 ]
    local message
    message=$(sed -n 's/^error\[[^]]*\]: //p' <<<"$output")
    [ -n "$message" ]
    [ "$(grep -Fc -- "${message#*: }" <<<"$output")" -eq 1 ] || { echo "$output"; return 1; }
}

# ---- -o json of what acts ----

# answer FILTER COMMAND... : what jq finds in the document on stdout; the status is the command's
answer() {
    local filter=$1
    shift
    "$@" -o json >answer.json 2>answer.err
    local status=$?
    jq -ce "$filter" answer.json || return 99
    return $status
}

@test "-o json of what acts is one document, and progress stays on stderr" {
    with_steps 1024
    run answer '.vms[0] | [.name, .outcome, .goal, .result]' vmctl up
    [ "$status" -eq 0 ]
    [ "$output" = '["web","created","ready","done"]' ]
    grep -q '^web: Ready$' answer.err
    [ "$(jq -s length answer.json)" -eq 1 ]
    with_steps 2048
    run answer '.vms[0] | [.outcome, .changes[0].new, .waiting[0].field, .result]' vmctl up
    [ "$output" = '["configured",2048,"memory","done"]' ]
    run answer '.vms[0] | [.outcome, .waiting, .result]' vmctl up --restart --dry-run
    [ "$output" = '["restarted",[],"planned"]' ]
    run answer '.vms[0] | [.outcome, .result, .goal]' vmctl stop web -d
    [ "$output" = '["stopped","pending",null]' ]
    run answer '.vms[0] | [.outcome, .result]' vmctl start web
    [ "$output" = '["started","done"]' ]
    vmfile db
    run answer '[.vms[] | [.name, .outcome, .result]]' vmctl apply --prune
    [ "$output" = '[["web","deleted","pending"],["db","created","done"]]' ]
    run vmctl destroy db -o yaml -q
    has "vms:"
    has '  - changes: []'
    run answer '.vms[0].outcome' vmctl create --name one --backend noop --image "$work/image"
    [ "$output" = '"created"' ]
}

@test "-o json of what acts tells the failure of a VM, with the exit status as ever" {
    with_steps 1024
    script '{"failStep": 1000}'
    run answer '.vms[0] | [.result, .error.code]' vmctl up
    [ "$status" -eq 1 ]
    [ "$output" = '["failed","vmctl::provision::failed"]' ]
    jq -e '.vms[0].error.help' answer.json
    script '{"stepMs": 60000}'
    run answer '.vms[0] | [.result, .error.code]' vmctl provision --timeout 1s
    [ "$status" -eq 4 ]
    [ "$output" = '["pending","vmctl::timeout"]' ]
}

@test "-o json of what acts tells what ended the command before it began" {
    run answer '[.vms, .error.code]' vmctl up
    [ "$status" -eq 2 ]
    [ "$output" = '[[],"vmctl::vmfile::not_found"]' ]
    echo 'vm "web" { imge "x"; }' >VMFile.kdl
    run answer '[.error.code, (.error.diagnostics | length > 0)]' vmctl up
    [ "$status" -eq 2 ]
    [ "$output" = '["vmctl::vmfile::validation",true]' ]
    run answer '.error.code' vmctl start nope
    [ "$status" -eq 3 ]
    [ "$output" = '"vmctl::vm::not_found"' ]
    run vmctl -o json destroy --bogus
    [ "$status" -eq 2 ]
    says '"code": "vmctl::usage"'
}

@test "-o json is printed also when the command is interrupted" {
    vmfile web
    script '{"bootMs": 60000}'
    follow out vmctl up -o json
    shows out.err "web: Starting"
    kill -INT "$follower"
    ends_with 130
    [ "$(jq -r '.vms[0].result' out)" = pending ]
}

# ---- words ----

@test "a VM that stays off takes a change at its next start, and is told so" {
    vmfile web
    vmctl apply -q
    sed -i 's/{/{ memory 2048;/' VMFile.kdl
    run vmctl apply -q
    [ "$output" = "web: configured (at next start): memory 1024 -> 2048" ]
    run vmctl up -q
    [ "$output" = "web: started" ]
}

@test "create takes sizes with a suffix, as a VMFile does" {
    vmctl create --name one --backend noop --image "$work/image" --memory 2G --disk 20G -q
    [ "$(vmctl get one -o json | jq -c '.desired.spec | [.memoryMib, .diskGib]')" = "[2048,20]" ]
    run vmctl create --name one --backend noop --image "$work/image" --memory 2048 --disk 20 -q
    [ "$status" -eq 0 ]
    run vmctl create --name two --backend noop --image "$work/image" --memory 2X
    [ "$status" -eq 2 ]
    says "--memory: '2X' is not a size such as 2048 (MB), 512M or 2G"
}

@test "a halted controller is not told to be running" {
    vmfile web
    vmctl up -q
    local pid
    pid=$(controller_pid)
    kill -STOP "$pid"
    run vmctl controller status
    kill -CONT "$pid"
    [ "$status" -eq 1 ]
    has "controller: halted (SIGSTOP or a debugger)"
    says "kill -CONT $pid"
    [ "$(vmctl controller status -o json | jq -c '[.running, .halted]')" = "[true,false]" ]
    run vmctl controller status
    [ "$status" -eq 0 ]
    has "controller: running"
    has "pid:        $pid"
    has "data dir:   $data"
    has "VMs:        1"
}

@test "what a halted controller told last is not believed" {
    vmfile web
    vmctl up -q
    local pid job
    pid=$(controller_pid)
    kill -STOP "$pid"
    run vmctl wait web --ready --timeout 1s
    kill -CONT "$pid"
    [ "$status" -eq 4 ]
    says "cannot check whether vm 'web' is ready: vmctld is stopped (SIGSTOP)"
    says "kill -CONT $pid"
    kill -STOP "$pid"
    vmctl wait web --ready >"$work/out" 2>&1 3>&- &
    job=$!
    await grep -qF "the controller is stopped (SIGSTOP)" "$work/out"
    kill -CONT "$pid"
    wait "$job"
}

@test "vmctld's errors have the shape of vmctl's" {
    run vmctld --bogus
    [ "$status" -eq 2 ]
    [ "${lines[0]}" = "error[vmctl::usage]: vmctld: unknown option '--bogus'" ]
    [ "${lines[1]}" = "  help: see: vmctld --help" ]
    run vmctld --data-dir
    [ "${lines[0]}" = "error[vmctl::usage]: vmctld: a value is missing after '--data-dir'" ]
    run vmctld word
    [ "${lines[0]}" = "error[vmctl::usage]: vmctld: unexpected argument 'word'" ]
    run vmctld --lift-limits --data-dir "$work/other" word # also in this order
    [ "${lines[0]}" = "error[vmctl::usage]: vmctld: unexpected argument 'word'" ]
    run vmctld --data-dir "$work/image"
    [ "$status" -eq 5 ]
    [[ "${lines[0]}" =~ ^error\[vmctl::[a-z_:]+\]:\ .*$work/image ]]
}

@test "a controller that cannot start passes its reason and its help on" {
    vmfile web
    vmctl up -q
    vmctl controller stop
    mkdir other
    cp "$(command -v vmctl)" other/
    printf '#!/bin/sh\nprintf "INFO before\\nerror[vmctl::store::unusable]: it is full\\n  help: make room\\n" >&2\nexit 5\n' >other/vmctld
    chmod +x other/vmctld
    run other/vmctl stop web
    [ "$status" -eq 5 ]
    has "error[vmctl::controller::unusable]: the controller (vmctld) did not start: it is full"
    has "  help: make room"
    printf '#!/bin/sh\necho "only this" >&2\nexit 5\n' >other/vmctld
    run other/vmctl start web
    says "did not start: only this"
}

@test "a command for one VM does not say that its name may be repeated" {
    local command
    for command in console ssh port; do
        run vmctl $command --help
        says "which VM"
        [[ "$output" != *"may be repeated"* ]]
    done
    run vmctl up --help
    says "may be repeated"
}

@test "with standard output closed nothing is written into the store, and it is a failure" {
    vmfile web
    vmctl up -q
    run bash -c 'vmctl list >&-'
    [ "$status" -eq 1 ]
    run timeout 20 bash -c 'vmctl get -w >&-'
    [ "$status" -eq 1 ]
    run bash -c 'vmctl stop web <&- >&- 2>&-'
    [ "$status" -eq 1 ]
    run grep -ac -e NAME -e stopped "$data/store/lock.mdb"
    [ "$output" = 0 ]
    [ "$(field Status web)" = Stopped ]
}

@test "events of a destroyed VM are not those of the next one of its name" {
    vmfile web
    vmctl up -q
    vmctl down --destroy -q
    vmctl up -q
    run vmctl status web
    [ "$(grep -c 'started (' <<<"$output")" -eq 1 ]
    [[ $output != *"times)"* ]]
    [ "$(vmctl events web | grep -c 'started (')" -eq 2 ]
}

@test "what a running VM has is shown, and what it has not got yet is marked" {
    vmfile web
    vmctl up -q
    sed -i 's/image /vcpus 3; memory 2048; image /' VMFile.kdl
    vmctl up -q
    run vmctl list
    [[ "${lines[1]}" =~ ^web\ +noop\ +1-\>3\ +1024-\>2048\  ]]
    run vmctl status web
    has "vCPUs:       1 (wanted: 3)"
    has "Memory:      1024 MB (wanted: 2048)"
    vmctl up -q --restart
    run vmctl list
    [[ "${lines[1]}" =~ ^web\ +noop\ +3\ +2048\  ]]
}

@test "top: one table without a terminal; what has no process here has dashes" {
    vmfile web db
    vmctl up -q
    run vmctl top --interval 100ms
    has "NAME   CPU   MEM   READ   WRITE   RX   TX   TIME"
    has "db     -     -     -      -       -    -    -"
    run vmctl top -i 100ms web -o json
    [ "$(jq -c . <<<"$output")" = '[{"name":"web"}]' ]
    fails 3 vmctl top wbe
    says "there is no vm 'wbe'"
    fails 2 vmctl top --interval 99ms
    says "at least 100 ms"
}

@test "top: a terminal's table stays until Ctrl-C" {
    vmfile web
    vmctl up -q
    # In script's own place, as SIGINT is for vmctl: not each shell gives its place up by itself.
    TERM=xterm follow drawn script -qefc "exec vmctl top --interval 100ms" /dev/null
    await grep -q "^web " drawn
    pkill -INT -P "$follower"
    ends_with 130
    run env TERM=dumb timeout 30 script -qefc "vmctl top --interval 100ms" /dev/null
    [[ $status -eq 0 && $output == *"web  "* ]]
}
