#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Provision steps that outlive the controller, the connection and, where they may, the guest. One VM,
# built on from test to test.

load qemu

setup_file() {
    use_data_dir
    echo payload >"$PROJECT/payload"
    echo 'of a file' >"$PROJECT/token"
    vm 'provision "shell" { inline "echo up" }'
    vmctl -q up --timeout 120s
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
    LOG=$DATA/vms/steps/provision.log
}

vm() {
    cat >VMFile.kdl <<END
vm "steps" {
    image "guest.qcow2"
    memory 160
    cloud-init
    ssh { user "worker" }
    $1
}
END
}

in_guest() { vmctl ssh steps -- "$1"; }

# begins STEPS... : the new steps are under way, in an empty log
begins() {
    vm "$1"
    vmctl -q apply -d
    : >"$LOG"
    vmctl -q provision -d
}

has_line() { grep -qxF "$1" "$LOG"; }
has_new_pid() { local now; now=$(pid_of steps); [ "$now" != "$1" ] && [ "$now" != - ]; }

# kill -9; the next command starts another
replace_controller() {
    kill_controller
    vmctl -q apply -d
    await knows_controller
}

ssh_alone() {
    ssh -q -p "$1" -i "$DATA/vms/steps/id_ed25519_generated" -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null worker@127.0.0.1 "$2"
}

is_told() { vmctl status steps | grep -q "$1"; }
state_is() { [ "$(state_of steps)" = "$1" ]; }

# Prints the pid of what keeps the step.
keeper="ps -o pid,args | awk '/[k]eep .var.tmp/ { print \$1; exit }'"

# Counts its runs, tells each line with a number, and waits for the file `gate` in between.
long_step='provision "shell" { inline "echo x >>runs; for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.1; done; until [ -e gate ]; do sleep 0.1; done; echo last" }'

@test "kill -9 of vmctld in the middle of a step: the same process goes on, once, and no line is lost" {
    local process
    in_guest 'rm -f runs gate'
    begins "$long_step"
    await 30 has_line "line 3"
    process=$(in_guest "$keeper")
    [ -n "$process" ]
    replace_controller
    await 30 has_line "line 9"
    [ "$(in_guest "$keeper")" = "$process" ]
    in_guest 'touch gate'
    fails 0 vmctl wait steps --provisioned --timeout 30s
    [ "$(in_guest 'cat runs')" = x ]
    [ "$(grep -v '^==>' "$LOG")" = "$(printf 'line %s\n' 1 2 3 4 5 6 7 8 9; echo last)" ]
    [ "$(grep -c '^==> step 1/1: shell' "$LOG")" -eq 1 ]
    [ "$(grep -c '^==> step 1/1: done' "$LOG")" -eq 1 ]
}

@test "kill -9 of vmctld again and again: still once, and no line lost or doubled" {
    local i
    in_guest 'rm -f runs gate'
    begins "$long_step"
    for i in 1 2 3 4 5 6; do
        replace_controller
        await 30 grep -q line "$LOG"
    done
    await 30 has_line "line 9"
    replace_controller
    in_guest 'touch gate'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    [ "$(in_guest 'cat runs')" = x ]
    [ "$(grep -v '^==>' "$LOG")" = "$(printf 'line %s\n' 1 2 3 4 5 6 7 8 9; echo last)" ]
    [ "$(grep -c '^==> step 1/1: done' "$LOG")" -eq 1 ]
}

@test "a step that ends while there is no vmctld is found with its status and its output" {
    local port
    port=$(vmctl list | awk '$1 == "steps" { print $7 }')
    in_guest 'rm -f gate'
    begins 'provision "shell" { inline "echo begun; until [ -e gate ]; do sleep 0.1; done; echo out; exit 9" }'
    await 30 has_line begun
    kill_controller
    # ssh(1) starts no controller
    ssh_alone "$port" 'touch gate'
    await 30 ssh_alone "$port" 'test -h /var/tmp/vmctl-$(id -u)/*/rc'
    fails 1 vmctl wait steps --provisioned --timeout 30s
    says "exited with status 9"
    [ "$(grep -v '^==>' "$LOG")" = $'begun\nout' ]
}

@test "sshd killed under a step: it is gone on with" {
    in_guest 'rm -f runs gate'
    begins "$long_step"
    await 30 has_line "line 3"
    in_guest 'sudo killall -9 dropbear; sudo /usr/lib/boot/sshd' || true
    await 30 is_told 'connection was lost'
    in_guest 'touch gate'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    [ "$(in_guest 'cat runs')" = x ]
    [ "$(grep -v '^==>' "$LOG")" = "$(printf 'line %s\n' 1 2 3 4 5 6 7 8 9; echo last)" ]
}

# bats test_tags=long
@test "QEMU killed in the middle: the step runs again, and says so" {
    local pid
    in_guest 'rm -f runs gate; sync'
    begins 'provision "shell" { inline "echo x >>runs; sync; echo begun; [ $(wc -l <runs) -gt 1 ] || sleep 600; echo end" }'
    await 30 has_line begun
    pid=$(pid_of steps)
    kill_hard "$pid"
    await 60 has_new_pid "$pid"
    fails 0 vmctl wait steps --provisioned --timeout 120s
    [ "$(grep -c '^==> step 1/1: shell' "$LOG")" -eq 2 ]
    grep -q "^==> step 1/1: failed after .* was interrupted: " "$LOG"
    [ "$(tail -n 2 "$LOG" | head -n 1)" = end ]
    vmctl status steps | grep -q Interrupted
}

# bats test_tags=long
@test "a guest that reboots itself under a step that may run once: Interrupted, for the user to judge" {
    begins 'provision "shell" run="once" { inline "echo rebooting; sudo reboot; sleep 600" }'
    fails 1 vmctl wait steps --provisioned --timeout 120s
    says vmctl::provision::interrupted "step 1 of 1 (shell inline) of vm 'steps' was interrupted" \
        "vmctl log steps --provision"
    [ "$(grep -c '^==> step 1/1: shell' "$LOG")" -eq 1 ]
    await 10 state_is ProvisionFailed
}

@test "log: the lines of provision.log have times, those of the console none" {
    run vmctl log steps --provision -t
    echo "$output"
    [ "${#lines[@]}" -gt 1 ]
    refute grep -vE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z ' <<<"$output"
    [ "$(vmctl log steps --provision --since 1h)" = "$(vmctl log steps --provision)" ]
    [ -z "$(vmctl log steps --provision --since 2100-01-01T00:00:00+01:00)" ]
    run vmctl log steps --since 1h
    says "console.log has no times, as QEMU writes it: its present content is left out" "==> step 1/1"
    fails 2 vmctl log steps --since yesterday
    says "neither a duration nor a time" "10m"
}

@test "a step past its timeout is ended in the guest, with all that it started, also what sudo runs" {
    begins 'provision "shell" timeout=1 { inline "echo slow; sleep 611 & sudo sleep 612; echo never" }'
    fails 1 vmctl wait steps --provisioned --timeout 60s
    says vmctl::provision::timeout "did not end within 1 s" timeout
    vmctl status steps | grep -q StepTimeout
    has_line slow
    refute has_line never
    [ "$(in_guest 'ps -o args | grep -c "[s]leep 61[12]" || true')" -eq 0 ]
}

@test "provision --from: only from that step on, also one that runs once" {
    in_guest 'rm -f ran'
    begins 'provision "shell" { inline "echo 1 >>ran" }
    provision "shell" run="once" { inline "echo 2 >>ran" }
    provision "shell" { inline "echo 3 >>ran" }'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    fails 0 vmctl provision --from 2
    [ "$(in_guest 'cat ran')" = $'1\n2\n3\n2\n3' ]
    fails 0 vmctl provision
    [ "$(in_guest 'cat ran')" = $'1\n2\n3\n2\n3\n1\n3' ]
    fails 2 vmctl provision --from 4
    says "vm 'steps' has 3 provision steps, no step 4"
    fails 0 vmctl describe steps
    says "(in "
    [ "$(vmctl status steps -o json | jq -r '.. | .steps? // empty | map(.outcome) | unique | .[]' | head -n 1)" = Done ]
}

# ---- appended steps ----

first='provision "shell" { inline "echo 1 >>order" }'

# goes_on STEPS... : the VMFile has them behind the first, which was run
goes_on() {
    vm "$first
    $*"
}

provisioned_with_the_first() {
    in_guest 'rm -f order runs gate'
    begins "$first"
    fails 0 vmctl wait steps --provisioned --timeout 60s
    : >"$LOG"
}

is_running_step() { vmctl status steps | grep -q 'RunningStep.*step 2 of 2'; }

@test "appended steps alone run on the running guest, in order, and up shows what they print" {
    local pid
    provisioned_with_the_first
    pid=$(pid_of steps)
    goes_on 'provision "shell" { inline "echo two; echo 2 >>order" }
    provision "shell" run="once" { inline "echo three; echo 3 >>order" }'
    fails 1 vmctl diff
    says "@@ -0,0 +1,2 @@ live"
    fails 0 vmctl up --dry-run
    says "steps: configured (live): provision 1 step -> 3 steps (dry run)"
    fails 0 vmctl up
    says "steps: configured (live): provision 1 step -> 3 steps" "==> step 2/3: shell inline" \
        $'\ntwo\n' $'\nthree\n' "==> step 3/3: done in" "steps: ready"
    [ "$(in_guest 'cat order')" = $'1\n2\n3' ]
    [ "$(pid_of steps)" = "$pid" ]
    refute grep -q 'step 1/' "$LOG"
    fails 0 vmctl up
    says "steps: unchanged"
    [ "$(in_guest 'cat order')" = $'1\n2\n3' ]
}

@test "--no-provision leaves appended steps out; apply without it runs them" {
    provisioned_with_the_first
    goes_on 'provision "shell" { inline "echo 2 >>order" }'
    fails 0 vmctl up --no-provision
    says "steps: provision steps from step 2 on were left out (run them: vmctl up --name steps)" \
        "steps: ready"
    vmctl status steps | grep -q 'Provisioned .*Skipped'
    fails 0 vmctl wait steps --ready --timeout 10s
    kill_controller
    fails 0 vmctl apply --no-provision
    [ "$(in_guest 'cat order')" = 1 ]
    fails 0 vmctl apply
    says "steps: running the steps that were left out" "==> step 2/2: done in"
    [ "$(in_guest 'cat order')" = $'1\n2' ]
}

@test "kill -9 of vmctld before and amid an appended step: it runs once, and no line is lost" {
    provisioned_with_the_first
    goes_on "$long_step"
    fails 0 vmctl apply -d
    kill_controller
    fails 0 vmctl apply -d
    await 30 has_line "line 3"
    replace_controller
    await 10 is_running_step
    in_guest 'touch gate'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    [ "$(in_guest 'cat runs order')" = $'x\n1' ]
    [ "$(grep -v '^==>' "$LOG")" = "$(printf 'line %s\n' 1 2 3 4 5 6 7 8 9; echo last)" ]
    [ "$(grep -c '^==> step' "$LOG")" -eq 2 ]
}

@test "an appended step that fails fails the command, and up continues with it" {
    provisioned_with_the_first
    goes_on 'provision "shell" { inline "echo 2 >>order; exit $(wc -l <order)" }'
    fails 1 vmctl apply
    says vmctl::provision::failed "step 2 of 2 (shell inline) of vm 'steps' exited with status 2"
    await 10 state_is ProvisionFailed
    fails 0 vmctl apply
    says "warning: not ready: its provisioning failed earlier"
    [ "$(in_guest 'cat order')" = $'1\n2' ]
    fails 1 vmctl up
    says "steps: provisioning again" "exited with status 3"
    [ "$(in_guest 'cat order')" = $'1\n2\n2' ]
    fails 1 vmctl provision --from 2
    says "exited with status 4"
    goes_on 'provision "shell" { inline "echo 2 >>order" }
    provision "shell" { inline "echo 3 >>order" }'
    fails 0 vmctl up
    [ "$(in_guest 'cat order')" = $'1\n2\n2\n2\n2\n3' ]
}

@test "a save of a watched VMFile runs what was appended, and nothing after another change" {
    provisioned_with_the_first
    vmctl -q watch
    goes_on 'provision "shell" { inline "echo 2 >>order" }'
    await 30 has_order $'1\n2'
    vm 'provision "shell" { inline "echo other >>order" }'
    await 30 is_told ProvisionOutdated
    fails 1 vmctl wait steps --ready --timeout 10s
    says "does not match its spec" "vmctl provision --name steps"
    vmctl -q unwatch
    [ "$(in_guest 'cat order')" = $'1\n2' ]
}
has_order() { [ "$(in_guest 'cat order')" = "$1" ]; }

@test "after a success nothing but the result is left in the guest" {
    begins 'provision "shell" { inline "echo one" }
    provision "shell" { inline "echo two" }'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    run in_guest 'cd /var/tmp/vmctl-$(id -u) && ls -A * && stat -c %a .'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == $'claim\nrc\n700' ]]
}

@test "a guest without a writable /var/tmp is provisioned all the same" {
    in_guest 'sudo chmod 755 /var/tmp && sudo rm -rf /var/tmp/vmctl-*'
    begins 'provision "shell" { inline "echo attached" }'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    has_line attached
    in_guest 'sudo chmod 1777 /var/tmp'
}

@test "a secret is in the step's environment, and nowhere else" {
    TOKEN=s3cret-value begins 'provision "shell" {
        inline "echo \"<$TOKEN>\"; printf s3cret; sleep 1; echo -value; printf %s \"$TOKEN\" | md5sum; printf %s \"$FILE\" | md5sum; sudo find /var /home /tmp /etc -type f -exec grep -l s3cret[-]value {} + | grep . || echo nowhere"
        secret "TOKEN" from-env="TOKEN"
        secret "FILE" from-file="token"
    }'
    fails 0 vmctl wait steps --provisioned --timeout 60s
    has_line "<************>"
    has_line "************"
    has_line "$(printf s3cret-value | md5sum)"
    has_line "$(printf 'of a file' | md5sum)"
    has_line nowhere
    refute grep -rqF -e s3cret-value -e 'of a file' "$DATA"
    run bash -c 'vmctl get steps -o json; vmctl config; vmctl log steps'
    [[ $output == *'"from": "TOKEN"'* ]]
    [[ $output != *s3cret-value* ]]
}

@test "a secret that cannot be had: nothing changes; one that got lost: the step waits for it" {
    vm 'provision "shell" { inline "echo $TOKEN"; secret "TOKEN" from-command="echo asked >>asked; cat none" }'
    fails 0 vmctl validate
    fails 1 vmctl provision
    [[ $output == *'runs "echo asked >>asked; cat none"'*'"TOKEN": "echo asked >>asked; cat none" exited with status 1'* ]]
    [ "$(cat asked)" = asked ]
    echo secret-four >none
    vmctl -q apply -d # not provisioned: nothing is asked for
    [ "$(cat asked)" = asked ]
    vm 'provision "shell" { inline "sleep 2" }
    provision "shell" { inline "echo done $TOKEN"; secret "TOKEN" from-command="cat none" }'
    vmctl -q provision -d
    kill_controller
    fails 1 vmctl wait steps --provisioned --timeout 60s
    [[ $output == *provision::secret_missing* ]]
    vmctl get steps -o json | grep -qF '"reason": "SecretMissing"'
    fails 0 vmctl up --timeout 60s
    has_line "done ***********"
}
