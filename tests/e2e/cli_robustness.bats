#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
load cli_common
setup() { cli_setup; }
teardown() { cli_teardown; }

@test "two directories cannot own one name" {
    vmfile web
    vmctl up -q
    mkdir "$work/other"
    cp VMFile.kdl "$work/other/"
    cd "$work/other"
    run vmctl up
    [ "$status" -eq 6 ]
    says "vmctl::vm::conflict"
    says "$work/project/VMFile.kdl"
    run vmctl up --adopt -q
    [ "$status" -eq 0 ]
    cd "$work/project"
    run vmctl up
    [ "$status" -eq 6 ]
}

@test "one VMFile reached by two paths is one VMFile" {
    vmfile web
    vmctl up -q
    ln -s "$work/project" "$work/link"
    run vmctl up -q --file "$work/link/VMFile.kdl"
    [ "$status" -eq 0 ]
    [ "$output" = "web: unchanged" ]
}

@test "ten concurrent ups lose no record" {
    local i pids=()
    for i in 0 1 2 3 4 5 6 7 8 9; do
        mkdir "$work/p$i"
        printf 'vm "vm%s" { backend "noop"; image "%s"; }\n' "$i" "$work/image" >"$work/p$i/VMFile.kdl"
        vmctl up -q --file "$work/p$i/VMFile.kdl" >/dev/null 2>"$work/err$i" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || { cat "$work"/err*; return 1; }
    done
    [ "$(vmctl list -o name | wc -l)" -eq 10 ]
    [ "$(vmctl list | grep -c Ready)" -eq 10 ]
}

@test "ten concurrent ups of one VMFile are one up" {
    vmfile web db
    local i pids=()
    for i in 0 1 2 3 4 5 6 7 8 9; do
        vmctl up -q >>"$work/out" 2>>"$work/err" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || { cat "$work/err"; return 1; }
    done
    [ "$(grep -c 'web: created' "$work/out")" -eq 1 ]
    [ "$(grep -c 'web: unchanged' "$work/out")" -eq 9 ]
}

# begin NAME COMMAND... : in the background, its output and exit status in files of that name
begin() {
    local name=$1
    shift
    {
        local status=0
        timeout 120 "$@" >"$work/$name.out" 2>"$work/$name.err" || status=$?
        echo "$status" >"$work/$name.status"
    } 3>&- &
    jobs+=($!)
}

@test "fifty commands at once on five VMs: each one ends, and tells the truth" {
    local vm i=0 jobs=() file
    vmfile a b c d e
    vmctl -q up
    for vm in a b c d e; do
        for words in "start" "stop" "restart" "suspend" "resume" "up --name" "apply --name" \
            "provision --name" "wait --timeout 2s" "status"; do
            begin "$vm-$((i++))" vmctl $words $vm
        done
    done
    wait "${jobs[@]}"
    [ "$(ls "$work"/*.status | wc -l)" -eq 50 ]
    for file in "$work"/*.status; do
        local status errors
        status=$(cat "$file")
        errors=$(grep -c '^error\[vmctl::' "${file%.status}.err") || true
        echo "$file: $status, $errors errors"
        case $status in
        0) [ "$errors" -eq 0 ] ;;
        1 | 4) [ "$errors" -gt 0 ] ;; # another one's later wish, or the deadline of wait
        *) return 1 ;;
        esac
    done
    run vmctl up -q
    [ "$status" -eq 0 ]
    [ "$(vmctl list | grep -c Ready)" -eq 5 ]
    vmctl -q down --destroy
    [ -z "$(vmctl list -o name)" ]
}

@test "fifty commands at once for fifty VMs: none is lost" {
    local i jobs=()
    for i in {1..50}; do
        mkdir "$work/of$i"
        printf 'vm "vm%s" { backend "noop"; image "%s"; }\n' "$i" "$work/image" >"$work/of$i/VMFile.kdl"
        begin "vm$i" vmctl -q up --file "$work/of$i/VMFile.kdl"
    done
    wait "${jobs[@]}"
    for i in {1..50}; do
        [ "$(cat "$work/vm$i.status")" -eq 0 ] || { cat "$work/vm$i.err"; return 1; }
        [ "$(cat "$work/vm$i.out")" = "vm$i: created" ]
    done
    [ "$(vmctl list | grep -c Ready)" -eq 50 ]
}

@test "after kill -9 of the controller the next command takes the VMs over" {
    vmfile web
    vmctl up -q
    local pid started
    pid=$(controller_pid)
    started=$(vmctl status web -o json | grep '"startedAt"')
    kill_controller
    run vmctl wait web --ready
    [ "$status" -eq 0 ]
    [ "$(controller_pid)" != "$pid" ]
    [ "$(vmctl status web -o json | grep '"startedAt"')" = "$started" ]
}

# Another process holds the controller's lock, as a killed one does until it is gone: $holder.
hold_lock() {
    python3 -c 'import fcntl, signal, sys
with open(sys.argv[1], "r+") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    signal.pause()' "$data/controller.lock" 3>&- &
    holder=$!
    await is_changing
}
is_changing() { vmctl controller status | grep -q "starting or ending"; }

@test "what an earlier controller told is no answer while the one that runs says nothing" {
    vmfile web
    vmctl up -q
    kill_controller
    hold_lock
    run vmctl wait web --timeout 300ms
    kill "$holder"
    [ "$status" -eq 4 ]
    says "vm 'web' is not ready yet: the controller has not processed" "vmctl controller status"
}

@test "a controller that ends while a command begins is replaced" {
    vmfile web
    vmctl up -q
    kill_controller
    hold_lock
    vmctl up -q >"$work/out" 2>&1 3>&- &
    local job=$!
    await grep -q unchanged "$work/out"
    kill "$holder"
    wait "$job" || { cat "$work/out"; return 1; }
    knows_controller
}

@test "a follower starts a controller again that died meanwhile" {
    vmfile web
    script '{"bootMs": 60000}'
    vmctl up -d
    await knows_controller
    local pid
    pid=$(controller_pid)
    vmctl wait web --timeout 20s >"$work/out" 2>&1 3>&- &
    local waiter=$!
    script '{}'
    kill -9 "$pid"
    wait "$waiter" || { cat "$work/out"; return 1; }
    [ "$(field Status web)" = Ready ]
}

@test "controller stop leaves the VMs, list and status need no controller" {
    vmfile web
    vmctl up -q
    run vmctl controller stop
    [ "$status" -eq 0 ]
    run vmctl controller status
    [ "$status" -eq 1 ]
    has "controller: not running"
    run vmctl list -o name
    [ "$output" = web ]
    vmctl status web
    run vmctl controller status
    [ "$status" -eq 1 ]
    run vmctl controller start
    [ "$status" -eq 0 ]
    run vmctl controller status
    [ "$status" -eq 0 ]
    vmctl wait web
}

@test "wait fails at once on a VM that cannot start" {
    vmfile web
    script '{"failLaunch": 1000}'
    vmctl up -d
    SECONDS=0
    run vmctl wait web --timeout 60s
    [ "$status" -eq 1 ]
    [ $SECONDS -lt 20 ]
    says "error[vmctl::qemu::spawn_failed]"
    script '{}'
    run vmctl up
    [ "$status" -eq 0 ]
    has "web: trying again"
    script '{"failLaunch": 1000}'
    vmctl stop web -q
    run vmctl start web --timeout 60s
    [ "$status" -eq 1 ]
    says "last events of 'web'"
    says "started (pid "
}

@test "a failed provision step ends up with 1, and up tries it again" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init\n provision "shell" { inline "true"; }\n }\n' \
        "$work/image" >VMFile.kdl
    script '{"failStep": 1}'
    run vmctl up
    [ "$status" -eq 1 ]
    says "error[vmctl::provision::failed]"
    [ "$(field Status web)" = ProvisionFailed ]
    run vmctl stop web -q
    [ "$status" -eq 0 ]
    run vmctl up -q
    [ "$status" -eq 0 ]
}

@test "the deadline passes with 4 and the VM goes on" {
    vmfile web
    script '{"bootMs": 1500}'
    run vmctl up --timeout 100ms
    [ "$status" -eq 4 ]
    says "vm 'web' is not ready yet"
    vmctl wait web
}

@test "Ctrl-C stops the following with 130, SIGTERM with 143, never the VM" {
    vmfile web
    script '{"bootMs": 60000}'
    local signal
    for signal in INT:130 TERM:143; do
        : >"$work/out"
        # a shell makes its background jobs ignore SIGINT: env gives it back
        env --default-signal=INT vmctl up >"$work/out" 2>&1 3>&- &
        local follower=$!
        await grep -q Starting "$work/out"
        kill -"${signal%:*}" "$follower"
        local rc=0
        wait "$follower" || rc=$?
        [ "$rc" -eq "${signal#*:}" ]
        grep -q "'web' continues in the background: vmctl status web" "$work/out"
    done
    [ "$(field State web)" != destroyed ]
}

@test "wait on a VM that is stopped fails at once" {
    vmfile web
    vmctl up -q
    vmctl down -q
    run vmctl wait web --ready
    [ "$status" -eq 1 ]
    says "vmctl start web"
    run vmctl wait web --stopped
    [ "$status" -eq 0 ]
}

# A mount of FUSE whose server reads no request: what NFS is when its server is gone.
@test "a file system that does not answer keeps no command and no vmctld waiting" {
    [ "$(id -u)" = 0 ] && [ -w /dev/fuse ] || skip "cannot mount FUSE here"
    command -v qemu-img >/dev/null || skip "needs qemu-img"
    vmfile web
    mkdir "$work/far"
    truncate -s 1M "$work/far/disk.raw"
    printf 'vm "far" { backend "noop"; image "%s"; }\n' "$work/far/disk.raw" >far.kdl
    cat >"$work/scene" <<'SCENE'
vmctl up -q && vmctl create --name disk --image "$work/far/disk.raw" -q || exit 1
exec 9<>/dev/fuse
mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 vmctl "$work/far" || exit 77
began=$SECONDS
vmctl validate --file "$work/far/VMFile.kdl"; echo "validate: $?"
vmctl up --file far.kdl; echo "up: $?"
vmctl start disk --timeout 20s; echo "start: $?"
vmctl restart web -q; echo "restart: $?"
vmctl list
vmctl controller stop; echo "stop: $?"
echo "took $((SECONDS - began > 40)) too long"
SCENE
    # the leak checker stops all threads, also the one that waits for the file system
    work=$work ASAN_OPTIONS=detect_leaks=0 run timeout 120 unshare -m bash "$work/scene" 2>&1
    [ "$status" -ne 77 ] || skip "cannot mount FUSE here"
    says "validate: 1" "up: 2" "no answer from the file system of '$work/far/disk.raw'" "start: 1" \
        "does not answer" "restart: 0" "stop: 0" "took 0 too long"
}

# As by errors=remount-ro: every descriptor stays open, and every write fails. Back is a mount after fsck.
@test "a file system that turns read-only under vmctld: reading commands and stop work, and then all again" {
    [ "$(id -u)" = 0 ] && command -v mkfs.ext4 fsck.ext4 >/dev/null || skip "needs root and e2fsprogs"
    local verb
    vmfile web
    truncate -s 64M "$work/ext4"
    mkfs.ext4 -q -F "$work/ext4"
    mkdir "$work/small"
    mount -o loop "$work/ext4" "$work/small" || skip "cannot mount here"
    export XDG_DATA_HOME=$work/small
    vmctl up -q
    mount -o remount,abort "$work/small"
    for verb in list "get web" "status web" "describe web" events "controller status"; do
        # shellcheck disable=SC2086
        fails 0 timeout 20 vmctl $verb
    done
    fails 5 timeout 20 vmctl restart web
    says vmctl::store::unusable "Read-only file system" findmnt
    fails 0 timeout 30 vmctl controller stop
    fails 0 vmctl list
    says web
    await umount "$work/small"
    fsck.ext4 -fy "$work/ext4" >/dev/null 2>&1 || true
    mount -o loop "$work/ext4" "$work/small"
    fails 0 vmctl up
    fails 0 vmctl restart web
    vmctl destroy -q -y web
    vmctl controller stop
    umount "$work/small"
}
