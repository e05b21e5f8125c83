#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl run: VMs of the noop backend, and an ssh that runs the command here.

bats_require_minimum_version 1.5.0
load cli_common

setup() {
    cli_setup
    mkdir "$work/bin"
    cat >"$work/bin/ssh" <<'EOF'
#!/bin/bash
for word; do command=$word; done
echo "$$" >"$SSH_PID"
exec sh -c "$command"
EOF
    chmod +x "$work/bin/ssh"
    PATH=$work/bin:$PATH
    export SSH_PID=$work/ssh.pid
}
teardown() { cli_teardown; }

no_vms() { [ -z "$(vmctl list -o name)" ]; }
ssh_runs() { [ -s "$SSH_PID" ]; }

# begin COMMAND... : in the background; its pid is $job. It may be signalled: bash would start it with
# SIGINT ignored.
begin() {
    env --default-signal=INT "$@" >"$work/out" 2>"$work/err" 3>&- &
    job=$!
}

@test "run gives the command stdin, leaves it stdout, and ends with its status" {
    vmfile web
    vmctl run --rm -- sh -c 'read line; echo "got $line"; echo "it'\''s" "$0"; exit 9' \
        <<<hello >"$work/out" 2>"$work/err" && return 1
    [ $? -eq 9 ]
    [ "$(cat "$work/out")" = $'got hello\nit\'s sh' ]
    grep -Eq '^web-run-[0-9a-f]{4}: created$' "$work/err"
    grep -Eq '^web-run-[0-9a-f]{4}: destroyed$' "$work/err"
    no_vms
}

# An ssh of whose guest the user's home is $GUEST_HOME; its command may be several words.
guest_at_home() {
    export GUEST_HOME=$work/home
    mkdir -p "$GUEST_HOME"
    cat >"$work/bin/ssh" <<'END'
#!/bin/bash
while :; do
    case $1 in
    -F | -o) shift 2 ;;
    -t | --) shift ;;
    *) break ;;
    esac
done
shift # the host
if [ "$1" = -- ]; then shift; fi
cd "$GUEST_HOME" && SHELL=/bin/sh exec sh -c "$*"
END
}

@test "run --sync: the work tree goes in, and what a success changed comes back" {
    guest_at_home
    mkdir "$work/it's a tree" && cd "$work/it's a tree"
    vmfile web
    mkdir src
    echo old >src/a
    echo mine >keep
    echo secret >left-out
    echo "- left-out" >.rsync-filter
    run vmctl run --rm --sync -- sh -c 'test ! -e left-out && echo new >src/a && mkdir out &&
        echo made >"out/a b" && ln -s /etc out/away && rm keep && chmod +x src/a'
    echo "$output"
    [ "$status" -eq 0 ]
    grep -Eq '^web-run-[0-9a-f]{4}: changed: src/a$' <<<"$output"
    grep -Eq '^web-run-[0-9a-f]{4}: new: out/a b$' <<<"$output"
    [ "$(cat src/a keep "out/a b")" = $'new\nmine\nmade' ]
    [ -x src/a ]
    [ ! -L out/away ]
    run vmctl run --rm --sync -- sh -c 'echo worse >src/a; exit 3'
    [ "$status" -eq 3 ]
    [ "$(cat src/a)" = new ]
    run vmctl run --rm --sync -- true
    says "nothing changed in the work tree"
    no_vms
}

@test "run --sync without rsync: here nothing is made, in the guest it is said what to install" {
    guest_at_home
    vmfile web
    sed -i 's/^cd /PATH=; cd /' "$work/bin/ssh"
    run vmctl run --rm --sync -- true
    [ "$status" -eq 1 ]
    says "the guest needs rsync, too"
    no_vms
    rm "$work/bin/ssh"
    PATH=$VMCTL_BIN:$work/bin run vmctl run --rm --sync -- true
    [ "$status" -eq 2 ]
    says "apt-get install rsync"
    no_vms
}

@test "run --sync: a result that cannot be copied back is kept with its VM, and it is said how to get it" {
    guest_at_home
    mkdir tree && cd tree
    vmfile web
    cat >"$work/bin/rsync" <<'END'
#!/bin/bash
if [ -e "$GUEST_HOME/away" ]; then exit 12; fi
exec /usr/bin/rsync "$@"
END
    chmod +x "$work/bin/rsync"
    run vmctl run --rm --sync -- sh -c 'echo hours of work >result; touch ../away'
    echo "$output"
    [ "$status" -eq 1 ]
    [ ! -e result ]
    name=$(vmctl list -o name)
    [[ $name == web-run-???? ]]
    says "the result is still in the guest" "rsync ended with status 12" "$name: kept" \
        "vmctl cp -r $name:work result" "vmctl destroy $name"
    [ "$(cat "$GUEST_HOME/work/result")" = "hours of work" ]
    vmctl -q destroy "$name"
    rm "$GUEST_HOME/away"
    run vmctl run --rm --sync -- sh -c 'touch ../away; exit 3' # nothing is to come back of a failure
    [ "$status" -eq 3 ]
    no_vms
}

@test "run of a VMFile that is named, and quietly" {
    mkdir "$work/ci"
    (cd "$work/ci" && vmfile web)
    run vmctl run --rm -q "$work/ci/VMFile.kdl" -- true
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    run vmctl run --rm -q --file "$work/ci/VMFile.kdl" -- false
    [ "$status" -eq 1 ]
    no_vms
}

@test "without --rm the VM stays, is nobody's, and says how to be rid of it" {
    vmfile web
    run vmctl run -- true
    [ "$status" -eq 0 ]
    local name
    name=$(vmctl list -o name)
    [[ $name == web-run-???? ]]
    has "$name: kept; to destroy it: vmctl destroy $name"
    run vmctl up --prune -q
    [ "$output" = "web: created" ]
    [ "$(field Status "$name")" = Ready ]
}

@test "--keep-on-failure keeps the VM of a command that failed, for good" {
    vmfile web
    run vmctl run --rm --keep-on-failure -- true
    [ "$status" -eq 0 ]
    no_vms
    run vmctl run --rm --keep-on-failure -- sh -c 'exit 3'
    [ "$status" -eq 3 ]
    local name
    name=$(vmctl list -o name)
    has "$name: kept; to destroy it: vmctl destroy $name"
    vmctl controller stop
    run vmctl wait "$name"
    [ "$status" -eq 0 ]
}

@test "what the VM depends on comes along and goes with it" {
    printf 'vm "web" { backend "noop"; image "%s"; depends-on "db" }\n' "$work/image" >VMFile.kdl
    printf 'vm "db" { backend "noop"; image "%s" }\nvm "other" { backend "noop"; image "%s" }\n' \
        "$work/image" "$work/image" >>VMFile.kdl
    run vmctl run --rm --name web -q -- vmctl list -o name
    echo "$output"
    [ "$status" -eq 0 ]
    [[ ${lines[0]} == db-run-???? ]]
    [ "${lines[1]}" = "web${lines[0]#db}" ]
    [ "${#lines[@]}" -eq 2 ]
    no_vms
}

@test "twenty jobs of one VMFile run at once" {
    vmfile web
    local i jobs=()
    for i in {1..20}; do
        vmctl run --rm -q -- sh -c "echo $i; exit $i" >>"$work/out" 2>>"$work/err" 3>&- &
        jobs+=($!)
    done
    for i in {1..20}; do
        local status=0
        wait "${jobs[i - 1]}" || status=$?
        [ "$status" -eq "$i" ] || { cat "$work/err"; return 1; }
    done
    [ "$(sort -n "$work/out" | tr '\n' ' ')" = "$(echo {1..20}) " ]
    no_vms
}

@test "jobs of a VMFile that forwards a port run at once, each with a port of its own" {
    printf 'vm "web" { backend "noop"; image "%s"; forward host=18080 guest=80 }\n' "$work/image" \
        >VMFile.kdl
    vmctl up -q
    local i jobs=()
    mkfifo "$work/fifo"
    for i in {1..8}; do
        vmctl run --rm -- sh -c 'echo up; read -r line <"$0"' "$work/fifo" \
            >>"$work/out" 2>"$work/err.$i" 3>&- &
        jobs+=($!)
    done
    all_up() { [ "$(grep -c up "$work/out")" -eq 8 ]; }
    await all_up
    local name
    name=$(vmctl list -o name | sed -n '/run/{p;q}')
    [[ $(vmctl port "$name") =~ 80/tcp\ -\>\ 127.0.0.1:(2|3)[0-9]{4} ]]
    exec 5<>"$work/fifo"
    printf '\n%.0s' {1..8} >&5
    for i in "${jobs[@]}"; do wait "$i"; done
    exec 5>&-
    cat "$work"/err.*
    sed -n 's|^web-run-[0-9a-f]*: 127.0.0.1:\([0-9]*\) -> 80/tcp$|\1|p' "$work"/err.* \
        | sort -u >"$work/ports"
    [ "$(wc -l <"$work/ports")" -eq 8 ]
    [ "$(vmctl list -o name)" = web ]
}

@test "--service-ports takes the VMFile's ports, which only one VM has at a time" {
    printf 'vm "web" { backend "noop"; image "%s"; forward host=18081 guest=80 }\n' "$work/image" \
        >VMFile.kdl
    run vmctl run --rm --service-ports -- true
    [ "$status" -eq 0 ]
    [[ $output == *": 127.0.0.1:18081 -> 80/tcp"* ]]
    vmctl up -q
    run vmctl run --rm --service-ports -- true
    [ "$status" -eq 1 ]
    [[ $output == *"error[vmctl::network::port_taken]"*"is used by vm 'web'"* ]]
}

@test "a signal ends the command and destroys the VM" {
    vmfile web
    local pair
    for pair in INT:130 TERM:143 HUP:129; do
        rm -f "$SSH_PID"
        begin vmctl run --rm -- sleep 1000
        await ssh_runs
        kill -s "${pair%:*}" "$job"
        local status=0
        wait "$job" || status=$?
        cat "$work/err"
        [ "$status" -eq "${pair#*:}" ]
        grep -q ': destroyed$' "$work/err"
        no_vms
        [ ! -e "/proc/$(cat "$SSH_PID")" ] || grep -q '^State:.*Z' "/proc/$(cat "$SSH_PID")/status"
    done
}

@test "a signal ends what exec runs, and what that started" {
    vmfile web
    vmctl up -q
    local pair
    for pair in INT:130 TERM:143 HUP:129; do
        rm -f pids
        begin vmctl exec web -- sh -c 'trap "" HUP; sleep 1000 & echo "$! $$" >pids.new; mv pids.new pids; wait'
        await test -s pids
        kill -s "${pair%:*}" "$job"
        local status=0 pid
        wait "$job" || status=$?
        [ "$status" -eq "${pair#*:}" ]
        for pid in $(cat pids); do await has_ended "$pid"; done
    done
}

@test "a signal while the VM comes up destroys it, too" {
    vmfile web
    script '{"bootMs": 60000}'
    begin vmctl run --rm -- true
    await grep -q created "$work/err"
    kill -TERM "$job"
    local status=0
    wait "$job" || status=$?
    [ "$status" -eq 143 ]
    grep -qx interrupted "$work/err"
    no_vms
}

@test "kill -9 of vmctl: the controller destroys the VM" {
    vmfile web
    begin vmctl run --rm -- sleep 1000
    await ssh_runs
    kill -9 "$job"
    await no_vms
    kill "$(cat "$SSH_PID")"
    [ ! -e "$data/vms/web" ]
    [ -z "$(ls "$data/vms")" ]
}

@test "kill -9 of vmctl and of the controller: the next one destroys the VM" {
    vmfile web
    begin vmctl run --rm -- sleep 1000
    await ssh_runs
    kill_controller "$job"
    kill "$(cat "$SSH_PID")"
    vmctl controller start
    await no_vms
}

@test "a controller that is restarted leaves a running job alone" {
    vmfile web
    begin vmctl run --rm -- sh -c 'read -r line <"$0"; exit 5' "$work/fifo"
    mkfifo "$work/fifo"
    await ssh_runs
    kill_controller
    vmctl controller start
    local name
    name=$(vmctl list -o name)
    vmctl wait "$name"
    [ -n "$name" ]
    echo go >"$work/fifo"
    local status=0
    wait "$job" || status=$?
    [ "$status" -eq 5 ]
    no_vms
}

@test "a VM that cannot come up is destroyed, and its failure is told" {
    vmfile web
    script '{"failLaunch": 1000}'
    run vmctl run --rm -- true
    echo "$output"
    [ "$status" -eq 1 ]
    says "error[vmctl::qemu::spawn_failed]"
    no_vms
    script '{"bootMs": 60000}'
    run vmctl run --rm --timeout 1s -- true
    [ "$status" -eq 4 ]
    no_vms
}

@test "a VM that somebody else destroyed meanwhile is no failure" {
    vmfile web
    run vmctl run --rm -- sh -c 'vmctl -q destroy $(vmctl list -o name)'
    [ "$status" -eq 0 ]
}

@test "run --matrix and --junit: once with each value, and what became of each is in the file" {
    printf 'var "tag"\nvar "size" default="1"\nvm "web" { backend "noop"; image "%s"; cloud-init { hostname "h${{ tag }}-${{ size }}"; }; provision "shell" { inline "true"; }; }\n' "$work/image" >VMFile.kdl
    run --separate-stderr vmctl run --rm --matrix tag=12,13 --matrix size=1,2 --junit result.xml -- sh -c 'test -e once || { touch once; exit 7; }'
    [ "$status" -eq 7 ]
    [ "$(grep -c ': destroyed$' <<<"$stderr")" -eq 4 ]
    [[ $stderr == *"tag=12 size=1: failed with 7"*"tag=12 size=2: done, exit status 0"*"tag=13 size=1: done"*"tag=13 size=2: done"* ]]
    no_vms
    /usr/bin/python3 - <<'P'
import xml.etree.ElementTree as tree
suites = tree.parse("result.xml").getroot().findall("testsuite")
assert [suite.get("name") for suite in suites] == ["web tag=12 size=1", "web tag=12 size=2", "web tag=13 size=1", "web tag=13 size=2"]
assert [suite.get("failures") for suite in suites] == ["1", "0", "0", "0"]
assert [suite.get("tests") for suite in suites] == ["3"] * 4
failure = suites[0].findall("testcase")[2].find("failure")
assert failure.get("message") == "exit status 7", failure
P
    fails 2 vmctl run --rm --matrix tag -- true
    says "has no values"
    fails 1 vmctl run --rm --junit "$work/nowhere/x" --matrix tag=1 -- true
    no_vms
}

@test "wrong usage is told, and nothing is made" {
    vmfile web db
    run vmctl run --rm -- true
    [ "$status" -eq 2 ]
    says "has 2 VMs"
    says "--name web"
    run vmctl run --rm
    [ "$status" -eq 2 ]
    says "run needs a command after \`--\`"
    run vmctl run --rm web -- true
    [ "$status" -eq 2 ]
    says "select its VM with --name"
    run vmctl run --rm --name nope -- true
    [ "$status" -eq 3 ]
    run vmctl run VMFile.kdl -f VMFile.kdl --name web -- true
    [ "$status" -eq 2 ]
    no_vms
}
