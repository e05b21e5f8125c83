#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Failures in and around a guest: provisioning, keys, its kernel, its own power button, the programs
# that look after it. One VM, built on from test to test.

load qemu

setup_file() {
    use_data_dir
    echo payload >"$PROJECT/payload"
    echo junk >"$PROJECT/junk"
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
}

# vm FIELDS [USER [SSH-FIELDS]]
vm() {
    cat >VMFile.kdl <<END
vm "victim" {
    image "guest.qcow2"
    memory 160
    cloud-init { hostname "victim" }
    ssh { user "${2:-worker}"; ${3:-} }
    $1
}
END
}

# provisions STATUS STEP: with this step only
provisions() {
    vm "$2"
    vmctl -q apply -d
    fails "$1" vmctl provision --timeout 60s
}

has_new_pid() { local now; now=$(pid_of victim); [ "$now" != "$1" ] && [ "$now" != - ]; }
runs_in_guest() { vmctl ssh victim -- "ps -o args | grep -q '[s]leep $1'"; }
not() { ! "$@"; }
is_in_state() { [ "$(state_of victim)" = "$1" ]; }

# A new instance, as after a crash: the guest has to be reached again.
kill_qemu() {
    local pid
    pid=$(pid_of victim)
    kill_hard "$pid"
    await 30 has_new_pid "$pid"
}

# ---- provisioning ----

@test "a script killed by a signal fails up, with the script's name and its output's place" {
    printf '#!/bin/sh\necho before\nkill -9 $$\n' >killed.sh
    vm 'provision "shell" { script "killed.sh" }'
    fails 1 vmctl up --timeout 120s
    says before vmctl::provision::failed "step 1 of 1 (shell script '$PROJECT/killed.sh')" \
        "vmctl log victim --provision" "vmctl provision --name victim"
    [[ $output == *"status 137"* || $output == *"signal KILL"* ]]
    [ "$(state_of victim)" = ProvisionFailed ]
}

@test "a script runs in a guest whose /tmp forbids programs, and where /var/tmp does as well" {
    printf '#!/bin/sh\necho "ran as $0"\n' >plain.sh
    vm 'provision "shell" { inline "sudo mount -t tmpfs -o noexec,mode=1777 none /tmp"; }
        provision "shell" { script "plain.sh"; }
        provision "shell" { inline "sudo mount -t tmpfs -o noexec,mode=1777 none /var/tmp"; }
        provision "shell" { script "plain.sh"; }
        provision "shell" { inline "sudo umount -l /tmp /var/tmp"; }'
    fails 0 vmctl up --timeout 120s
    says "ran as /var/tmp/vmctl-"
    [[ $output =~ "ran as /home/worker/.vmctl-provision-4.sh" ]]
}

@test "a command that ends by a signal is told so" {
    provisions 1 'provision "shell" { inline "kill -SEGV $$" }'
    says "ended by signal SEGV"
}

@test "a step that takes longer than its timeout is ended" {
    provisions 1 'provision "shell" timeout=1 { inline "echo slow; sleep 60" }'
    says slow vmctl::provision::timeout "did not end within 1 s" "timeout"
}

@test "an upload into a directory that is not there, or onto a directory, says so" {
    provisions 1 'provision "file" { source "payload"; destination "/no/such/payload" }'
    says vmctl::provision::failed "directory '/no/such' does not exist in the guest"
    provisions 1 'provision "file" { source "payload"; destination "/tmp" }'
    says "cannot write '/tmp': it is a directory"
}

@test "an upload to where only root may write works" {
    provisions 0 'provision "file" { source "payload"; destination "/root/payload" }'
    run vmctl ssh victim -- 'sudo cat /root/payload; sudo stat -c %u /root/payload'
    [ "$output" = $'payload\n0' ]
    [ "$(state_of victim)" = Ready ]
}

@test "a script that vanished is told by its path before anything runs" {
    echo 'echo here' >vanishes.sh
    vm 'provision "shell" { script "vanishes.sh" }'
    vmctl -q apply -d
    rm vanishes.sh
    fails 2 vmctl provision
    says vmctl::vmfile::validation "$PROJECT/vanishes.sh"
}

# ---- the programs ----

@test "Ctrl-C ends the following with 130, the VM goes on" {
    vm 'provision "shell" { inline "echo begun; sleep 2; echo finished >/tmp/finished" }'
    vmctl -q apply -d
    env --default-signal=INT vmctl provision >out 2>&1 3>&- &
    local pid=$! code=0
    await 30 is_in_state Provisioning
    kill -INT "$pid"
    wait "$pid" || code=$?
    cat out
    [ "$code" -eq 130 ]
    grep -q "'victim' continues in the background: vmctl status victim" out
    fails 0 vmctl wait victim --provisioned --timeout 30s
    [ "$(vmctl ssh victim -- cat /tmp/finished)" = finished ]
}

@test "kill -9 of vmctld while up follows: a new one goes on, up succeeds" {
    local old pid code=0
    old=$(controller_pid)
    vmctl provision >out 2>&1 3>&- &
    pid=$!
    await 30 is_in_state Provisioning
    kill_hard "$old"
    wait "$pid" || code=$?
    cat out
    [ "$code" -eq 0 ]
    [ "$(controller_pid)" != "$old" ]
    [ "$(state_of victim)" = Ready ]
}

# bats test_tags=long
@test "two ups at once: both succeed, the steps run once" {
    local first second before
    vm 'provision "shell" { inline "echo run >>/var/tmp/runs || sudo sh -c \"echo run >>/root/runs\"" }'
    vmctl -q down
    before=$(grep -c '^==> step 1/1: shell' "$DATA/vms/victim/provision.log")
    timeout 120 vmctl up >out1 2>&1 3>&- &
    first=$!
    timeout 120 vmctl up >out2 2>&1 3>&- &
    second=$!
    wait "$first"
    wait "$second"
    [ "$(state_of victim)" = Ready ]
    [ "$(grep -c '^==> step 1/1: shell' "$DATA/vms/victim/provision.log")" -eq $((before + 1)) ]
}

# ---- reaching the guest ----

# bats test_tags=long
@test "another host key than the one vmctl gave is not trusted, and told; put back it heals" {
    local own=$DATA/vms/victim/ssh_host_ed25519_key.pub
    [ -e foreign ] || ssh-keygen -q -t ed25519 -N '' -f foreign
    cp "$own" own.pub
    cp foreign.pub "$own"
    kill_qemu
    await 60 is_in_state HostKeyMismatch
    fails 4 vmctl wait victim --ready --timeout 1s
    says "vm 'victim' is not ready yet: HostKeyMismatch" SHA256: "$own"
    cp own.pub "$own"
    fails 0 vmctl wait victim --ready --timeout 60s
}

# bats test_tags=long
@test "a host key that the guest made itself is accepted by ssh-trust, with both fingerprints, and not by erasing" {
    local before
    before=$(ssh-keygen -lf "$DATA/vms/victim/ssh_host_ed25519_key.pub" | cut -d' ' -f2)
    vmctl exec victim -- sudo sh -c 'f=$(ls /etc/dropbear/*ed25519*key); rm -f /etc/dropbear/*key; dropbearkey -t ed25519 -f "$f" >/dev/null 2>&1; sync'
    kill_qemu
    await 120 is_in_state HostKeyMismatch
    fails 2 vmctl ssh-trust victim </dev/null
    says "recorded  $before (ssh-ed25519)" "offered   SHA256:" "--yes"
    fails 0 vmctl wait victim --for condition=Stalled --timeout 90s # it might be cloud-init's to heal
    fails 1 vmctl ssh victim -- true
    fails 0 vmctl ssh-trust victim --yes
    fails 0 vmctl wait victim --ready --timeout 60s
    fails 0 vmctl exec victim -- true
    fails 0 vmctl ssh-trust victim
    says "victim: already trusted: SHA256:"
}

@test "an interrupted exec ends the command in the guest, with what it started and by sudo too" {
    local pair
    for pair in INT:130 TERM:143; do
        env --default-signal=INT vmctl exec victim -- sh -c 'sleep 4321 & sudo sleep 4321; wait' 3>&- &
        local job=$!
        await runs_in_guest 4321
        kill -s "${pair%:*}" "$job"
        local status=0
        wait "$job" || status=$?
        [ "$status" -eq "${pair#*:}" ]
        await 20 not runs_in_guest 4321
    done
}

# completes_to WORD EXPECTED : what bash makes of `vmctl cp victim:WORD` at a press of TAB
completes_to() {
    [ "$(bash -c 'source <(vmctl completion bash)
        COMP_WORDS=(vmctl cp victim : "$1") COMP_CWORD=4
        _vmctl
        printf "%s\n" "${COMPREPLY[@]}"' bash "$1" 2>/dev/null)" = "$2" ]
}

# bats test_tags=long
@test "cp copies names of every form, both ways" {
    local name
    mkdir -p names
    vmctl exec victim -- mkdir -p names
    for name in 'a b' "it's" 'q"q' $'new\nline' -dash co:lon 'ünï' 'st*r' star 'br[1]' br1 'q?' qq 'back\slash' '$HOME' ' blanks '; do
        printf '%s' "$name" >names/file
        mv names/file "names/./$name"
        vmctl cp -q "names/$name" victim:names/
        vmctl cp -q "victim:names/$name" copy
        [ "$(cat copy)" = "$name" ]
    done
    [ "$(vmctl exec victim -- sh -c 'cd names && set -- * && echo $#')" -eq 16 ]
    await 30 completes_to names/a 'names/a\ b' # a guest that is slow to answer completes nothing
    await 30 completes_to nam names/
}

@test "a user the guest does not know: AuthFailed with user and keys; corrected it heals" {
    vm '' stranger
    vmctl -q apply -d
    kill_qemu
    await 60 is_in_state AuthFailed
    fails 4 vmctl up --timeout 1s
    says "vm 'victim' is not ready yet: AuthFailed" stranger id_ed25519_generated
    vm ''
    fails 0 vmctl up --timeout 60s
}

# ---- the guest's own doing ----

@test "a guest that panics is restarted" {
    local pid
    pid=$(pid_of victim)
    vmctl ssh victim -- 'sudo sh -c "echo c >/proc/sysrq-trigger"' || true
    await 30 has_new_pid "$pid"
    vmctl status victim | grep -q GuestPanicked
    fails 0 vmctl wait victim --ready --timeout 60s
}

@test "a guest that powers itself off stays off, and waiting for it fails at once" {
    vmctl ssh victim -- sudo poweroff || true
    await 30 is_in_state Stopped
    fails 1 vmctl wait victim --ready --timeout 60s
    says "vm 'victim'" GuestShutdown "does not restart it" "vmctl up --name victim"
    fails 0 vmctl wait victim --stopped --timeout 5s
    [ "$(pid_of victim)" = - ]
}

# bats test_tags=long
@test "restart always: it comes back when it powers itself off" {
    local pid
    vm 'restart "always"'
    fails 0 vmctl up --timeout 60s
    pid=$(pid_of victim)
    vmctl ssh victim -- sudo poweroff || true
    await 30 has_new_pid "$pid"
    fails 0 vmctl wait victim --ready --timeout 60s
}

# ---- at any moment ----

# bats test_tags=long
@test "up right after down -d: the guest is shut down and comes up again" {
    local pid
    pid=$(pid_of victim)
    vmctl -q down -d
    fails 0 vmctl up --timeout 90s
    [ "$(state_of victim)" = Ready ]
    [ "$(pid_of victim)" != "$pid" ]
}

@test "destroy during provisioning: the one who follows is told, nothing is left" {
    local pid code=0
    vm 'provision "shell" { inline "sleep 60" }'
    vmctl -q apply -d
    vmctl provision >out 2>&1 3>&- &
    pid=$!
    await 30 is_in_state Provisioning
    fails 0 vmctl destroy victim --timeout 30s
    wait "$pid" || code=$?
    cat out
    [[ $code -eq 6 || $code -eq 3 ]] # it is being deleted, or was
    grep -q "victim" out
    [ ! -e "$DATA/vms/victim" ]
}

@test "destroy during a boot leaves nothing" {
    local pid
    vm ''
    vmctl -q up -d
    await 30 is_in_state Booting
    pid=$(pid_of victim)
    fails 0 vmctl destroy victim --timeout 30s
    has_ended "$pid"
    [ ! -e "$DATA/vms/victim" ]
}

# own_users PUBLIC-KEY: user-data of the user's own, so that vmctl has no key of its own in the guest
own_users() {
    printf '#cloud-config\nusers:\n  - name: worker\n    shell: /bin/sh\n    ssh_authorized_keys:\n      - "%s"\n' \
        "$(cat "$1")" >user-data
}

# victim CLOUD-INIT PRIVATE-KEY
victim() {
    cat >VMFile.kdl <<END
vm "victim" {
    image "guest.qcow2"
    memory 160
    cloud-init { $1 }
    ssh { user "worker"; private-key "$2" }
}
END
}

# bats test_tags=long
@test "a private key that is none fails up at once by its path; corrected it heals" {
    ssh-keygen -q -t ed25519 -N '' -f pair
    own_users pair.pub
    victim 'user-data "user-data"' junk
    fails 1 vmctl up --timeout 120s
    says vmctl::ssh::key_unreadable "vm 'victim'" "$PROJECT/junk" "not a private key" "VMFile"
    sed -i 's/"junk"/"pair"/' VMFile.kdl
    fails 0 vmctl up --timeout 60s
    [ "$(state_of victim)" = Ready ]
    vmctl destroy -q victim
}

# bats test_tags=long
@test "with a passphrase on the user's key the VM is Ready by its own key, and ssh by an agent where it has none" {
    ssh-keygen -q -t ed25519 -N secret -f locked
    victim 'ssh-key "locked.pub"' locked
    fails 0 vmctl up --timeout 120s
    [ "$(state_of victim)" = Ready ]
    [ "$(vmctl ssh victim -- cat .ssh/authorized_keys | grep -c ssh-ed25519)" -eq 2 ]
    vmctl destroy -q victim

    own_users locked.pub
    victim 'user-data "user-data"' locked
    fails 1 vmctl up --timeout 120s
    says vmctl::ssh::key_unreadable "$PROJECT/locked" passphrase "vmctl ssh victim"
    eval "$(ssh-agent -s)"
    printf '#!/bin/sh\necho secret\n' >askpass
    chmod +x askpass
    SSH_ASKPASS=$PWD/askpass SSH_ASKPASS_REQUIRE=force ssh-add -q locked
    run vmctl ssh victim -- whoami
    local by_agent=$status:$output
    run vmctl exec victim -- whoami
    kill "$SSH_AGENT_PID"
    unset SSH_AUTH_SOCK
    echo "$by_agent $status:$output"
    [ "$by_agent" = 0:worker ]
    [ "$status:$output" = 0:worker ]
    vmctl destroy -q victim
}

# bats test_tags=long
@test "create without a key: its guest answers before it is Ready, and vmctl ssh gets in" {
    fails 0 vmctl create --name victim --image guest.qcow2 --memory 160 --start --timeout 120s
    says "victim: ready"
    run vmctl ssh victim -- whoami
    [ "$status:$output" = 0:vm ]
    vmctl destroy -q victim
}
