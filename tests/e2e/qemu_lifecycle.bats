#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The main job on a real guest: up to Ready, used, killed, changed, stopped, started, destroyed.

bats_require_minimum_version 1.5.0
load qemu

setup_file() {
    use_data_dir
    echo "uploaded" >"$PROJECT/payload"
    printf '#!/bin/sh\necho "script as $(id -un)"\necho 2 >>/tmp/order\n' >"$PROJECT/setup.sh"
    cat >"$PROJECT/VMFile.kdl" <<'END'
vm "web" {
    image "guest.qcow2"
    memory 160
    cloud-init { hostname "web-host" }
    ssh { user "worker" }
    forward host=18080 guest=80
    provision "shell" { inline "echo first; echo 1 >>/tmp/order" }
    provision "shell" { script "setup.sh" }
    provision "file" { source "payload"; destination "/tmp/payload" }
    provision "shell" { inline "sudo id -un; echo 4 >>/tmp/order" }
}
END
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
}

# snapshot_file NAME: of web, without its ending
snapshot_file() {
    vmctl get web -o json | jq -r --arg name "$1" '.. | .snapshots? // empty | .[] | select(.name == $name).file'
}

@test "up brings a VMFile to Ready and shows the provisioning output" {
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"web: created"* ]]
    [[ $output == *"first"*"script as worker"*"root"* ]]
    [ "$(state_of web)" = Ready ]
}

@test "provisioning ran in order and uploaded the file" {
    run vmctl ssh web -- 'cat /tmp/order /tmp/payload; hostname'
    [ "$status" -eq 0 ]
    [ "$output" = $'1\n2\n4\nuploaded\nweb-host' ]
}

@test "ssh passes on the guest's exit code" {
    run vmctl ssh web -- exit 7
    [ "$status" -eq 7 ]
}

@test "ssh is pinned to the host key that vmctl gave the guest" {
    local own=$DATA/vms/web/ssh_host_ed25519_key.pub
    grep -q "$(cut -d' ' -f2 "$own")" "$DATA/vms/web/known_hosts"
    run vmctl ssh web -- true
    [ "$status" -eq 0 ]
}

@test "with ssh-config --install the guest is known to ssh by its name" {
    export HOME=$PROJECT/home
    mkdir -p "$HOME"
    vmctl ssh-config --install
    [ "$(ssh -F "$HOME/.ssh/config" web hostname)" = web-host ]
}

@test "up again changes nothing" {
    local pid before
    pid=$(pid_of web)
    before=$(vmctl status web -o json | jq -S 'del(.. | .lastTransition?)')
    run vmctl up
    [ "$status" -eq 0 ]
    [[ $output == *"web: unchanged"* ]]
    [ "$(pid_of web)" = "$pid" ]
    [ "$(vmctl status web -o json | jq -S 'del(.. | .lastTransition?)')" = "$before" ]
}

@test "the book's files are there, private" {
    local f
    for f in overlay.qcow2 seed.iso qmp.sock console.sock console.log provision.log pidfile \
        id_ed25519_generated id_ed25519_generated.pub; do
        [ -e "$DATA/vms/web/$f" ] || { echo "no $f"; false; }
    done
    [ "$(cat "$DATA/vms/web/pidfile")" = "$(pid_of web)" ]
    [ "$(stat -c %a "$DATA/vms/web")" = 700 ]
    [ "$(stat -c %a "$DATA/vms/web/id_ed25519_generated")" = 600 ]
}

@test "the user's QMP socket answers" {
    cd "$DATA/vms/web"
    run socat -T 5 - UNIX-CONNECT:qmp.sock <<'END'
{"execute": "qmp_capabilities"}
{"execute": "query-status"}
END
    [[ $output == *'"status": "running"'* ]]
}

# What vmctl says that the machine takes, as a number.
taken() { vmctl top web -i 300ms -o json | jq ".[0].$1 | floor"; }
is_busy() { (($(taken cpuPercent) > 20)); }
@test "top: what QEMU's process takes, and the CPU's share while the guest is busy" {
    [ "$(taken pid)" = "$(pid_of web)" ]
    (($(taken residentBytes) > 50000000 && $(taken cpuMs) > 500))
    vmctl ssh web -- 'yes >/dev/null & echo $!' >busy
    await is_busy
    vmctl ssh web -- kill "$(cat busy)"
    run vmctl stats web --once -i 300ms
    says "web" "%" " MB"
}

@test "the forward reaches the guest on loopback only" {
    vmctl ssh web -- 'while :; do echo hi-from-guest | sudo nc -l -p 80; done >/dev/null 2>&1 &'
    await 20 bash -c 'socat -T 2 - TCP:127.0.0.1:18080 </dev/null | grep -q hi-from-guest'
    [ -z "$(ss -Hltn 'sport = :18080' | grep -v '127.0.0.1:18080')" ]
    local ssh
    ssh=$(vmctl status web | sed -n 's/^SSH: *//p')
    [[ $ssh =~ ^127\.0\.0\.1:10[01][0-9]{2}$ ]]
    [ "$(ss -Hltn "sport = :${ssh#*:}" | awk '{ print $4 }')" = "$ssh" ]
}

@test "a unix socket of the host leads into the guest, for its owner alone" {
    local dir tunnel
    dir=$(mktemp -d /tmp/vmctl-socket.XXXXXX) # a path that fits into an address
    vmctl ssh -N -L "$dir/ssh.sock:127.0.0.1:22" web 3>&- &
    tunnel=$!
    await 30 test -S "$dir/ssh.sock"
    [ "$(stat -c %a "$dir/ssh.sock")" = 600 ]
    socat -t 20 -T 20 - "UNIX-CONNECT:$dir/ssh.sock" </dev/null >"$dir/banner"
    kill "$tunnel"
    grep -aq '^SSH-2.0' "$dir/banner"
    rm -r "$dir"
}

@test "QEMU holds only the descriptors it needs" {
    local pid bad
    pid=$(pid_of web)
    bad=$(find "/proc/$pid/fd" -lname '*/store/*' -o -lname '*controller.lock' -o -lname '*.kick' -o -lname '*.bell')
    [ -z "$bad" ]
    readlink "/proc/$pid/fd/"* | grep -q alive.lock
}

@test "kill -9 of vmctld: the guest runs on, the next command adopts it" {
    local pid ticks old
    pid=$(pid_of web)
    ticks=$(start_ticks "$pid")
    old=$(controller_pid)
    kill_hard "$old"
    run vmctl up
    [ "$status" -eq 0 ]
    [ "$(controller_pid)" != "$old" ]
    [ "$(pid_of web)" = "$pid" ]
    [ "$(start_ticks "$pid")" = "$ticks" ]
    run vmctl wait web --ready --timeout 30s
    [ "$status" -eq 0 ]
}

@test "kill -9 of QEMU: a new one is Ready again without provisioning" {
    local pid
    pid=$(pid_of web)
    kill_hard "$pid"
    has_new_pid() { local now; now=$(pid_of web); [ "$now" != "$pid" ] && [ "$now" != - ]; }
    await 30 has_new_pid
    run vmctl wait web --ready --timeout 60s
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(vmctl ssh web -- cat /tmp/order 2>/dev/null || echo gone)" = gone ] # /tmp is a tmpfs
    [ "$(grep -c '^==> step 1/4: shell' "$DATA/vms/web/provision.log")" = 1 ]
}

@test "vmctld and then QEMU killed: nobody saw it, and yet no command believes the old status" {
    local pid
    pid=$(pid_of web)
    kill_controller
    kill_hard "$pid"
    run --separate-stderr vmctl list
    [[ $stderr = *"no controller runs"* ]]
    run vmctl wait web --ready --timeout 60s
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(pid_of web)" != "$pid" ]
    vmctl ssh web -- true
}

# a process of the guest's, and its memory, are told by its pid and the boot's id
life_of_guest() {
    vmctl ssh web -- 'cat /proc/sys/kernel/random/boot_id; kill -0 $(cat /tmp/sleeper) && cat /tmp/sleeper'
}

@test "suspended to disk nothing is left of QEMU, and the guest continues with its clock right" {
    local pid before
    vmctl ssh web -- 'sleep 100000 >/dev/null 2>&1 & echo $! >/tmp/sleeper'
    before=$(life_of_guest)
    pid=$(pid_of web)
    vmctl suspend -q web --disk
    [ "$(state_of web)" = Suspended ]
    await 10 has_ended "$pid"
    [ "$(stat -c %a "$DATA/vms/web/saved-memory")" = 600 ]
    run vmctl snapshot create web early
    [ "$status" -eq 1 ]
    says "suspended to disk" "vmctl resume web"
    kill_controller
    vmctl resume -q web
    vmctl wait web --ready
    [ "$(life_of_guest)" = "$before" ]
    local off=$(($(vmctl ssh web -- date +%s) - $(date +%s)))
    [ "${off#-}" -le 2 ]
    [ ! -e "$DATA/vms/web/saved-memory" ]
}

@test "killed amid saving or loading, vmctld leaves the guest whole, and it continues once" {
    local before when
    before=$(life_of_guest)
    for when in true "await 5 test -s $DATA/vms/web/saved-memory"; do # at once, and when it writes or reads
        vmctl suspend -q web --disk --detach
        $when
        kill_controller
        vmctl wait web --suspended
        vmctl resume -q web --detach
        $when
        kill_controller
        vmctl wait web --ready
        [ "$(life_of_guest)" = "$before" ]
    done
    vmctl suspend -q web --disk --detach # and called off
    vmctl resume -q web
    vmctl wait web --ready
    [ "$(life_of_guest)" = "$before" ]
}

@test "memory is not loaded onto a disk that was changed, nor booted over, until it is given up" {
    vmctl suspend -q web --disk
    touch "$DATA/vms/web/overlay.qcow2"
    run vmctl resume web
    [ "$status" -eq 1 ]
    says "the disk was changed since the guest was stopped" "vmctl start web"
    [ "$(state_of web)" = SavedMemoryFailed ]
    [ -e "$DATA/vms/web/saved-memory" ]
    vmctl stop -q web
    [ ! -e "$DATA/vms/web/saved-memory" ]
    vmctl start -q web
    vmctl wait web --ready
}

@test "a changed memory is announced, and applied when asked" {
    sed -i 's/memory 160/memory 192/' VMFile.kdl
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"restart required: memory 160 -> 192"* ]]
    run vmctl up --restart
    echo "$output"
    [ "$status" -eq 0 ]
    tr '\0' ' ' <"/proc/$(pid_of web)/cmdline" | grep -q -- '-m 192'
}

@test "down stops the guest cleanly, up starts it and provisions again" {
    run vmctl down
    [ "$status" -eq 0 ]
    [ "$(state_of web)" = Stopped ]
    [ "$(pid_of web)" = - ]
    vmctl snapshot create web clean
    [ "$(vmctl snapshot list web -o json | jq '.[0].crashConsistent')" = null ]
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"web: started"* ]]
    [ "$(grep -c '^==> step 1/4: shell' "$DATA/vms/web/provision.log")" -ge 2 ]
}

@test "a snapshot brings the disk back, and what it replaced is kept" {
    vmctl ssh web -- 'echo new >new; sync'
    vmctl down -q
    vmctl snapshot restore web clean
    qemu-img compare -q "$DATA"/vms/web/{overlay,snapshots/"$(snapshot_file clean)"}.qcow2
    vmctl -q up --no-provision
    run vmctl ssh web -- cat new
    [ "$status" -eq 1 ]
    [ "$(vmctl snapshot list web -o name)" = $'clean\nbefore-restore' ]
    qemu-img check -q "$DATA/vms/web/snapshots/$(snapshot_file before-restore).qcow2"
}

@test "a clone of the disk before a restore is another machine with what was on it" {
    vmctl -q clone web@before-restore twin --start
    run vmctl ssh twin -- 'cat new; hostname; cat /tmp/order'
    [ "${lines[0]}" = new ]
    [ "${lines[1]}" = twin ]
    [ ! -e "$DATA/vms/twin/provision.log" ] # they count as run
    refute cmp -s "$DATA"/vms/{web,twin}/ssh_host_ed25519_key.pub
    refute cmp -s "$DATA"/vms/{web,twin}/id_ed25519_generated.pub
    [ "$(vmctl get web twin -o json | jq -r '[.. | .mac? // empty] | unique | length')" -eq 2 ]
    qemu-img check -q "$DATA/vms/web/snapshots/$(snapshot_file before-restore).qcow2"
    vmctl destroy -q twin
    [ "$(vmctl ssh web -- 'hostname')" = web-host ]
}

@test "a snapshot of the running guest is its disk at that moment, also when vmctld is killed amid it" {
    vmctl ssh web -- 'echo before >moment; sync'
    local pid
    pid=$(pid_of web)
    run vmctl snapshot create web live
    [ "$status" -eq 0 ]
    vmctl events web | grep -q "snapshot 'live' made (crash-consistent: its guest runs)"
    vmctl -q suspend web # an export is the disk, bit for bit, where nothing writes to it
    vmctl -q export web now.vmctl
    tar --zstd -xOf now.vmctl disk.qcow2 >now.qcow2
    qemu-img compare -q -U "$DATA/vms/web/overlay.qcow2" now.qcow2
    vmctl -q resume web
    vmctl snapshot create -d web again
    kill_controller
    vmctl ssh web -- 'echo after >moment; sync'
    vmctl -q start web # another controller
    await has_snapshot again
    [ "$(pid_of web)" = "$pid" ]
    refute ls "$DATA"/vms/web/snapshots/*.tmp-* 2>/dev/null
    fails 1 vmctl snapshot restore web live
    says "vm 'web' is running"
    vmctl down -q
    qemu-img check -q "$DATA/vms/web/snapshots/$(snapshot_file live).qcow2"
    qemu-img check -q "$DATA/vms/web/snapshots/$(snapshot_file again).qcow2"
    vmctl -q snapshot rm web again
    vmctl snapshot restore web live
    run vmctl describe web
    says "crash-consistent"
    vmctl -q up --no-provision
    [ "$(vmctl ssh web -- cat moment)" = before ]
    vmctl -q snapshot rm web live
}
has_snapshot() { vmctl snapshot list web -o name | grep -qx "$1"; }

@test "backups of the running guest: all of its disk, then what has changed, and the last one is a VM" {
    local last pid
    vmctl -q backup web backups
    vmctl ssh web -- 'head -c 300000 /dev/urandom >changed; sync'
    vmctl -q suspend web # nothing writes to the disk
    last=$(vmctl backup -q web backups -o name)
    [ "$(stat -c %s "$last")" -lt 4000000 ]
    qemu-img compare -q -U "$DATA/vms/web/overlay.qcow2" "$last"
    vmctl -q resume web
    vmctl ssh web -- 'echo once more >changed; sync'
    vmctl backup -q web backups
    pid=$(pid_of web)
    kill -9 "$pid"
    await eval '[[ $(pid_of web) =~ ^[0-9]+$ && $(pid_of web) != '"$pid"' ]]' # that is noticed, too
    vmctl -q wait web --ready
    fails 0 vmctl backup web backups
    says "the whole disk" "web: a full backup: the changes since" "or QEMU was killed"
    [ "$(ls backups/*-full.qcow2 | wc -l) $(ls backups/*-inc.qcow2 | wc -l)" = "2 2" ]
    vmctl import -q "${last%.qcow2}.vmctl" --name twin
    qemu-img compare -q "$last" "$DATA/vms/twin/overlay.qcow2"
    vmctl destroy -q twin
}

# bats test_tags=long
@test "the store is lost while the guest runs: up starts it anew on its disk" {
    vmctl ssh web -- 'echo kept >kept; sync'
    vmctl controller stop
    mv "$DATA/store" "$BATS_FILE_TMPDIR/store.lost"
    run vmctl doctor
    says "without a record, left alone: web"
    fails 0 vmctl up --timeout 120s
    [ "$(vmctl ssh web -- cat kept)" = kept ]
    vmctl events web | grep -q "its record was lost while it ran"
}

@test "a failing step stops the sequence, shows its output and its status" {
    cat >>VMFile.kdl <<'END'
END
    sed -i 's|inline "sudo id -un; echo 4 >>/tmp/order"|inline "echo about to fail >\&2; exit 3"|' VMFile.kdl
    sed -i 's|^}$|    provision "shell" { inline "echo never-reached" }\n}|' VMFile.kdl
    vmctl up --no-provision
    run vmctl provision
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"about to fail"* ]]
    [[ $output == *"vmctl::provision::failed"* ]]
    [[ $output == *"status 3"* ]]
    [[ $output != *"never-reached"$'\n'* ]]
    [[ $(vmctl log web --provision) != *$'\nnever-reached'* ]]
}

@test "another directory with the same name is told of the conflict" {
    mkdir -p "$BATS_TEST_TMPDIR/other"
    cp VMFile.kdl setup.sh payload "$BATS_TEST_TMPDIR/other"
    ln -s "$VMCTL_TEST_GUEST" "$BATS_TEST_TMPDIR/other/guest.qcow2"
    cd "$BATS_TEST_TMPDIR/other"
    run vmctl up
    echo "$output"
    [ "$status" -eq 6 ]
    [[ $output == *"vmctl::vm::conflict"*"$PROJECT/VMFile.kdl"* ]]
}

@test "destroy leaves nothing behind" {
    local pid
    pid=$(pid_of web)
    run vmctl destroy web
    echo "$output"
    [ "$status" -eq 0 ]
    has_ended "$pid"
    [ ! -e "$DATA/vms/web" ]
    is_trash_empty() { [ -z "$(ls -A "$DATA/trash" 2>/dev/null)" ]; }
    await 10 is_trash_empty
    [ "$(vmctl list | wc -l)" -eq 1 ]
    run vmctl status web
    [ "$status" -eq 3 ]
    [ -z "$(ss -Hltn 'sport = :18080')" ]
}
