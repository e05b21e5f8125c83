#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl run with real QEMU and the tiny guest: two jobs at once, one of which is killed.

load qemu

setup_file() {
    use_data_dir
    cat >VMFile.kdl <<'EOF'
vm "job" {
    image "guest.qcow2"
    memory 192
    cloud-init { hostname "job" }
    ssh { user "demo" }
}
EOF
}

teardown_file() {
    leave_data_dir
}

no_vms() { [ -z "$(vmctl list -o name)" ]; }

# bats test_tags=long
@test "a job that is killed takes its VM along, and the other ends as its command does" {
    local name pid victim other status=0
    vmctl run --rm -- sh -c 'echo reached; exec sleep 1000' >victim.out 2>victim.err 3>&- &
    victim=$!
    await 120 grep -qx reached victim.out
    name=$(vmctl list -o name)
    pid=$(pid_of "$name")
    [ -d "/proc/$pid" ]

    printf 'one\ntwo\n' | vmctl run --rm -- sh -c 'tac; hostname; exit 42' >other.out 2>other.err 3>&- &
    other=$!
    await 60 grep -q created other.err
    kill_hard "$victim"
    await 60 has_ended "$pid"
    await 60 test ! -e "$DATA/vms/$name"
    wait "$other" || status=$?
    cat other.err
    [ "$status" -eq 42 ]
    [ "$(cat other.out)" = $'two\none\njob' ]
    await 10 no_vms
}
