#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Every failure that a user can cause on the host ends in the right exit status and an error that names
# the object, the cause and the next command; it heals, and the VM can be destroyed at any moment.
# The VMs have an empty disk and boot nothing: what takes a guest is in qemu_failures_guest.bats.

load qemu

setup_file() {
    use_data_dir
    export BLANK=$PROJECT/blank.qcow2
    qemu-img create -q -f qcow2 "$BLANK" 64M
}

teardown_file() {
    leave_data_dir
}

setup() {
    listeners=()
    mkdir -p "$BATS_TEST_TMPDIR/project"
    cd "$BATS_TEST_TMPDIR/project"
}

teardown() {
    local pid
    for pid in "${listeners[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ -n "${own_data:-}" ]; then
        vmctl -q stop --all --timeout 0 >/dev/null 2>&1 || true
        leave_data_dir >/dev/null 2>&1
        if mountpoint -q "$XDG_DATA_HOME"; then umount -l "$XDG_DATA_HOME"; fi
    fi
}

# A data directory of the test's own: for failures of vmctld's environment and of the store.
use_own_data_dir() {
    own_data=yes
    export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
    export DATA=$XDG_DATA_HOME/vmctl
    mkdir -p "$XDG_DATA_HOME"
}

# vm NAME FIELDS [IMAGE]: a VMFile with one VM that shuts down at once
vm() {
    echo "vm \"$1\" { ${3:-image \"$BLANK\"}; memory 64; stop-timeout 0; $2 }" >VMFile.kdl
}

# gone NAME: destroying leaves nothing
gone() {
    vmctl -q stop "$1" --timeout 0 >/dev/null 2>&1 || true
    run vmctl destroy "$1" --timeout 30s
    [ "$status" -eq 0 ] && [ ! -e "$DATA/vms/$1" ]
}

# A TCP port that nobody listens on.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        [ -n "$(ss -Hltn "sport = :$port")" ] || break
    done
    echo "$port"
}

# listen PORT COMMAND: answers every connection with what the command prints
listen() {
    socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr" "EXEC:$2" 3>&- 2>/dev/null &
    listeners+=($!)
    await 5 is_listening "$1"
}
is_listening() { [ -n "$(ss -Hltn "sport = :$1")" ]; }

unlisten() {
    kill "${listeners[0]}"
    listeners=()
}

# A PATH with vmctl and what it needs, except one program.
path_without() {
    local program
    mkdir -p bin
    for program in ssh qemu-img qemu-system-x86_64 vmctl vmctld; do
        [ "$program" = "$1" ] || ln -sf "$(command -v "$program")" bin/
    done
    restricted=$PWD/bin
}

# ---- the VMFile ----

@test "no VMFile, and one that cannot be read, are told with their name" {
    fails 2 vmctl up
    says vmctl::vmfile::not_found "'VMFile.kdl'" --file
    fails 2 vmctl up --file /nonexistent/x.kdl
    says vmctl::vmfile::not_found "'/nonexistent/x.kdl'"
}

@test "a broken VMFile is shown with line, caret and suggestion, all errors at once" {
    printf 'vm "a" { imag "x"; memory 64 128; }\n' >VMFile.kdl
    fails 2 vmctl up
    says "--> VMFile.kdl:1:10" '|          ^^^^' 'did you mean `image`?' '`memory`' "errors in"
    printf 'vm "a" {\n  image "x"\n' >VMFile.kdl
    fails 2 vmctl up
    says vmctl::vmfile::parse_failed "VMFile.kdl:1:8"
    [ -z "$(vmctl list -o name)" ]
}

@test "files that a VMFile names and that are not there are told at once" {
    vm files 'cloud-init { ssh-key "no.pub" }; ssh { private-key "nokey" }
        provision "shell" { script "no.sh" }
        provision "file" { source "nofile"; destination "/x" }' 'image "none.qcow2"'
    fails 2 vmctl up
    says "$PWD/none.qcow2" "$PWD/no.pub" "$PWD/nokey" "$PWD/no.sh" "$PWD/nofile" "5 errors"
}

# ---- images ----

@test "an image deleted after the VMFile was read: told by its path, healed by the next up" {
    cp "$BLANK" mine.qcow2
    vm deleted '' 'image "mine.qcow2"'
    vmctl -q apply
    rm mine.qcow2
    fails 1 vmctl start deleted
    says vmctl::image::not_found "$PWD/mine.qcow2" "No such file"
    [ "$(state_of deleted)" = ImageNotFound ]
    fails 1 vmctl wait deleted --ready --timeout 30s
    says vmctl::image::not_found
    cp "$BLANK" mine.qcow2
    fails 0 vmctl up
    [ "$(state_of deleted)" = Ready ]
    gone deleted
}

@test "bad images are refused, each with its cause; all can be destroyed" {
    local port file
    port=$(free_port)
    cat >404 <<'END'
#!/bin/sh
while read -r line && [ "${#line}" -gt 1 ]; do :; done
printf 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
END
    chmod +x 404
    listen "$port" ./404
    qemu-img create -q -f qcow2 -b "$BLANK" -F qcow2 backed.qcow2
    head -c 100 "$BLANK" >cut.qcow2
    head -c 300001 /dev/urandom >garbage.img
    cat >VMFile.kdl <<END
vm "bad-404" { image-url "http://127.0.0.1:$port/none.qcow2" }
vm "bad-refused" { image-url "http://127.0.0.1:1/x.qcow2" }
vm "bad-sum" { image-url "file://$BLANK" sha256="$(printf x | sha256sum | cut -d' ' -f1)" }
vm "bad-backed" { image-url "file://$PWD/backed.qcow2" }
vm "bad-cut" { image "cut.qcow2" }
vm "bad-garbage" { image "garbage.img" }
END
    fails 1 vmctl up --timeout 60s
    says "vm 'bad-404': no image at http://127.0.0.1:$port/none.qcow2 (HTTP status 404)" \
        vmctl::image::download_failed "http://127.0.0.1:1/x.qcow2" "Couldn't connect" \
        vmctl::image::checksum_mismatch "$BLANK does not match its sha256" "sha256=" \
        "backed.qcow2 is not complete: it refers to another file, $BLANK" "qemu-img convert" \
        "cut.qcow2" "truncated" "garbage.img"
    [ "$(state_of bad-404)" = ImageNotFound ]
    [ "$(state_of bad-garbage)" = ImageInvalid ]
    for file in 404 refused sum backed cut garbage; do gone "bad-$file"; done
}

@test "a base image changed under a disk is noticed; put back it heals, and reload starts over" {
    cp "$BLANK" base.qcow2
    qemu-img create -q -f qcow2 other.qcow2 3M
    vm based '' 'image "base.qcow2"'
    vmctl -q up
    vmctl -q down
    mv base.qcow2 kept.qcow2
    fails 1 vmctl start based
    says vmctl::image::backing_changed "$PWD/base.qcow2" "vmctl reload"
    [ "$(state_of based)" = BackingImageChanged ]
    mv other.qcow2 base.qcow2
    fails 1 vmctl up
    says "vm 'based'" "$PWD/base.qcow2" "not the one its disk was made on" "vmctl reload based"
    mv -f kept.qcow2 base.qcow2
    fails 0 vmctl up
    vmctl -q down
    cp "$BLANK" other.qcow2
    mv other.qcow2 base.qcow2
    fails 0 vmctl reload based
    [ "$(state_of based)" = Ready ]
    gone based
}

# ---- keys ----

@test "an ssh-key that is a private key, or no key at all, is told before anything starts" {
    ssh-keygen -q -t ed25519 -N '' -f pair
    echo junk >junk.pub
    vm keys 'cloud-init { ssh-key "pair" }; ssh'
    fails 2 vmctl up
    says vmctl::vmfile::validation "'$PWD/pair': it is a private key" "that ends in .pub"
    fails 3 vmctl status keys
    vm keys 'cloud-init { ssh-key "junk.pub" }; ssh'
    fails 1 vmctl up
    says "junk.pub" "not an SSH public key"
    gone keys
}

# ---- programs ----

@test "without QEMU: told by name, what to install; the controller finds it once it is there" {
    use_own_data_dir
    path_without qemu-system-x86_64
    vm noqemu ''
    PATH=$restricted fails 1 vmctl up
    says vmctl::qemu::spawn_failed "vm 'noqemu'" "'qemu-system-x86_64' in PATH" "apt-get install"
    [ "$(state_of noqemu)" = SpawnFailed ]
    ln -s "$(command -v qemu-system-x86_64)" bin/
    fails 0 vmctl up
}

@test "VMCTL_QEMU that leads nowhere is named" {
    use_own_data_dir
    vm nowhere ''
    VMCTL_QEMU=/nonexistent/qemu fails 1 vmctl up
    says vmctl::qemu::spawn_failed "/nonexistent/qemu" VMCTL_QEMU
    vmctl controller stop
    fails 0 vmctl up
}

@test "without qemu-img, with a damaged key: named, and healed by the next up" {
    use_own_data_dir
    path_without qemu-img
    vm tools 'cloud-init; ssh'
    PATH=$restricted fails 1 vmctl up
    says vmctl::image::conversion_failed "cannot check" "'qemu-img'" "not found in PATH"
    ln -s "$(command -v qemu-img)" bin/
    mkdir -p "$DATA/vms/tools"
    echo garbage >"$DATA/vms/tools/id_ed25519_generated"
    fails 1 vmctl up
    says vmctl::ssh::keygen_failed "id_ed25519_generated' is damaged" "from a backup"
    rm bin/qemu-img "$DATA/vms/tools/id_ed25519_generated"
    fails 4 vmctl up --timeout 2s
    says "vm 'tools' is not ready yet" SSH "vmctl status tools"
    vmctl -q stop tools
    vm tools 'disk 1; cloud-init; ssh'
    fails 1 vmctl up
    says vmctl::image::overlay_creation_failed "cannot grow disk" "'qemu-img'" "not found in PATH"
    ln -s "$(command -v qemu-img)" bin/
    fails 4 vmctl up --timeout 2s
    says "vm 'tools' is not ready yet" SSH "vmctl status tools"
}

@test "a QEMU that dies at its start: CrashLoopBackOff with its last words, healed by the next up" {
    use_own_data_dir
    printf '#!/bin/sh\necho "could not open the moon" >&2\nexit 3\n' >qemu
    chmod +x qemu
    vm dies ''
    VMCTL_QEMU=$PWD/qemu fails 1 vmctl up --timeout 60s
    says vmctl::qemu::spawn_failed "vm 'dies'" "3 times" "could not open the moon" qemu.log
    [ "$(state_of dies)" = CrashLoopBackOff ]
    list_tells_next_try() { vmctl list | grep -Eq 'CrashLoopBackOff .*next try in [0-9]+s: '; }
    await 30 list_tells_next_try
    status_names_next_try() { vmctl status dies | grep -q 'next try at'; }
    await 30 status_names_next_try # between two tries: the third may be under way
    run vmctl describe dies
    [[ $output =~ "Failures in a row: "[3-9] ]]
    says "could not open the moon" "Next try: in " CrashLoopBackOff
    fails 1 vmctl wait dies --ready --timeout 30s
    printf '#!/bin/sh\nexec qemu-system-x86_64 "$@"\n' >qemu.new
    chmod +x qemu.new
    mv qemu.new qemu
    fails 0 vmctl up
    [ "$(state_of dies)" = Ready ]
}

@test "accel kvm where KVM does not work is refused with the reason" {
    vm kvm 'accel "kvm"'
    run vmctl up
    echo "$output"
    if [ "$status" -eq 0 ]; then
        gone kvm
        skip "KVM works here"
    fi
    [ "$status" -eq 1 ]
    says vmctl::qemu::kvm_unavailable "vm 'kvm'" /dev/kvm 'accel "auto"'
    [ "$(state_of kvm)" = KvmUnavailable ]
    vm kvm 'accel "auto"'
    fails 0 vmctl up
    gone kvm
}

# ---- ports ----

@test "a forwarded port of another program is named; freed, the VM comes up" {
    local port
    port=$(free_port)
    listen "$port" cat
    vm port "forward host=$port guest=80"
    fails 1 vmctl up
    says vmctl::network::port_taken "vm 'port'" "tcp port $port of 127.0.0.1" "ss -tlnp"
    [ "$(state_of port)" = PortConflict ]
    unlisten
    fails 0 vmctl up
    [ "$(state_of port)" = Ready ]
    gone port
}

@test "a host port of two VMFiles: the second is told whose it is" {
    local port
    port=$(free_port)
    vm port-a "forward host=$port guest=80"
    vmctl -q up
    mkdir other
    cd other
    vm port-b "forward host=$port guest=80"
    fails 1 vmctl up
    says vmctl::network::port_taken "tcp/$port of vm 'port-b' is used by vm 'port-a'" \
        "vmctl stop port-a"
    vmctl -q stop port-a
    fails 0 vmctl up
    gone port-a
    gone port-b
}

@test "an SSH port taken by another program is passed over" {
    local port
    vm passes ''
    vmctl -q up
    port=$(vmctl list | awk '$1 == "passes" { print $7 }')
    gone passes
    listen "$port" cat
    fails 0 vmctl up
    [ "$(vmctl list | awk '$1 == "passes" { print $7 }')" != "$port" ]
    gone passes
}

# ---- waiting for what will not come ----

@test "a guest without sshd: up tells what it waits for when the time is over" {
    vm silent 'cloud-init; ssh { user "worker" }'
    fails 4 vmctl up --timeout 4s
    says vmctl::timeout "vm 'silent' is not ready yet: Booting" "worker@127.0.0.1" \
        "vmctl status silent" "last events"
    [ "$(state_of silent)" = Booting ]
    gone silent
}

@test "restart never: killed it stays down, and waiting fails at once" {
    vm never 'restart "never"'
    vmctl -q up
    kill_hard "$(pid_of never)"
    fails 1 vmctl wait never --ready --timeout 60s
    says "vm 'never'" "its policy does not restart it" "vmctl up --name never"
    [ "$(pid_of never)" = - ]
    [ "$(state_of never)" = ProcessExited ]
    fails 0 vmctl start never
    gone never
}

# ---- the controller ----

# A boot sector that does nothing else: mov dx, 0x3f8; mov al, 'A'; out dx, al; jmp back
@test "a guest that writes its console without end does not fill the disk" {
    printf '\272\370\003\260\101\356\353\375' >spam.img
    truncate -s 1M spam.img
    printf '\125\252' | dd of=spam.img bs=1 seek=510 conv=notrunc status=none
    vm spam 'network "none"' 'image "spam.img"'
    run vmctl up
    [ "$status" -eq 0 ]
    local log=$DATA/vms/spam/console.log
    head -c 9M /dev/zero | tr '\0' 'B' >>"$log" # as if it had run for half a minute
    await 30 test -s "$log.1"
    await 30 grep -qa AAAA "$log"
    [ "$(stat -c %s "$log")" -lt $((8 << 20)) ]
    [ "$(stat -c %s "$log.1")" -le $((16 << 20)) ]
    refute grep -qa B "$log"
    [ "$(head -c 100 "$log" | tr -d A)" = "" ] # written behind its new end, without a hole
    [ "$(vmctl -q log spam --console | wc -c)" -ge $((8 << 20)) ] # what was there before, too
    gone spam
}

# bats test_tags=long
@test "cloud-init that is added to a VM without a key waits for a new disk, and the VM stays Ready" {
    vm keyless ''
    vmctl -q up
    vm keyless 'cloud-init; ssh { timeout 3 }'
    run vmctl up --timeout 60s
    echo "$output"
    [ "$status" -eq 0 ]
    says "recreate required: cloud-init"
    [ "$(state_of keyless)" = Ready ]
    vmctl status keyless | grep -q 'GuestReachable  *True  *NotRequired'
    vmctl -q restart keyless --timeout 60s # the disk is the same
    vmctl status keyless | grep -q 'GuestReachable  *True  *NotRequired'
    run vmctl reload --timeout 20s # a guest that was given a key is expected to take it
    [ "$status" -ne 0 ]
    vmctl status keyless | grep -q 'GuestReachable  *False'
    gone keyless
}

@test "without vmctld beside vmctl: told so; nothing is lost" {
    use_own_data_dir
    mkdir alone
    cp "$(command -v vmctl)" alone/
    vm lonely ''
    fails 5 alone/vmctl up
    says vmctl::controller::unusable "alone/vmctld" "install vmctld"
    fails 0 alone/vmctl list
    says lonely Pending
    fails 5 alone/vmctl destroy lonely
    says vmctl::controller::unusable
    fails 0 vmctl destroy lonely # asked for already, by the one without a controller
}

@test "a stopped vmctld: reading works, waiting ends in time and tells that nobody listens" {
    use_own_data_dir
    local controller
    vm stopped ''
    vmctl -q up
    controller=$(controller_pid)
    kill -STOP "$controller"
    run vmctl list
    [ "$status" -eq 0 ]
    sed -i 's/memory 64/memory 65/' VMFile.kdl
    run timeout 30 vmctl up --restart --timeout 1s
    kill -CONT "$controller"
    echo "$output"
    [ "$status" -eq 4 ]
    says "vm 'stopped' is not ready yet: the controller has not processed" "vmctl controller status"
    fails 0 vmctl up --timeout 60s
}

# ---- the store and its disk ----

@test "a store that is garbage: exit 5, and the command that moves it aside works" {
    use_own_data_dir
    vm store ''
    vmctl -q apply
    vmctl controller stop
    head -c 40000 /dev/urandom >"$DATA/store/data.mdb"
    local command
    for command in list up "status store" "destroy store"; do
        # shellcheck disable=SC2086
        fails 5 vmctl $command
        says vmctl::store::unusable "$DATA/store" damaged "mv $DATA/store $DATA/store.broken"
    done
    mv "$DATA/store" "$DATA/store.broken"
    fails 0 vmctl up
}

@test "a data directory that may not be written: exit 5 and another one is proposed" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    local nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    local dir
    dir=$(mktemp -d /tmp/vmctl-failures.XXXXXX) # a path that nobody may walk
    chmod 755 "$dir"
    mkdir "$dir/bin"
    cp "$(command -v vmctl)" "$dir/bin/"
    # shellcheck disable=SC2086
    fails 5 $nobody env XDG_DATA_HOME="$dir" ASAN_OPTIONS=detect_leaks=0 "$dir/bin/vmctl" list
    rm -r "$dir"
    says vmctl::store::unusable "$dir" "Permission denied" --data-dir
}

# A small file system of its own for the data directory.
mount_data() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    use_own_data_dir
    mount -t tmpfs -o "$1" none "$XDG_DATA_HOME" || skip "cannot mount"
}

@test "a file system that is read-only: exit 5; writable again all works" {
    mount_data size=20m
    vm readonly ''
    vmctl -q apply
    vmctl controller stop
    mount -o remount,ro "$XDG_DATA_HOME"
    fails 5 vmctl up
    says vmctl::store::unusable "$DATA/store" "Read-only file system" dmesg
    fails 0 vmctl list
    says readonly
    fails 0 vmctl describe readonly
    fails 0 vmctl controller stop
    mount -o remount,rw "$XDG_DATA_HOME"
    fails 0 vmctl up
}

@test "a full disk: told as such, and the VM comes up by itself once there is room" {
    mount_data size=4m
    vm full 'cloud-init { hostname "x" }'
    vmctl -q apply
    dd if=/dev/zero of="$XDG_DATA_HOME/filler" bs=4k status=none 2>/dev/null || true
    fails 1 vmctl up
    says vmctl::io::no_space "vm 'full'" "No space left on device" "df -h"
    [ "$(state_of full)" = NoSpace ]
    rm "$XDG_DATA_HOME/filler"
    has_started() { [ "$(state_of full)" = Booting ]; }
    await 30 has_started
}

# ---- all at once ----

@test "many commands at once: none hangs, and each tells the truth" {
    local command i=0 pids=() code
    vm crowd ''
    vmctl -q up
    for command in "up" "stop crowd" "start crowd" "restart crowd" "suspend crowd" "resume crowd" \
        "apply" "up --restart" "down" "wait crowd --ready --timeout 20s" "reload crowd" "list"; do
        # shellcheck disable=SC2086
        timeout 60 vmctl $command >"out$i" 2>&1 3>&- &
        pids+=($!)
        i=$((i + 1))
    done
    for i in "${!pids[@]}"; do
        code=0
        wait "${pids[i]}" || code=$?
        echo "$code: $(tail -n 20 "out$i")"
        case $code in # another one's wish may exclude this one's: then it says which
        0) ;;
        1) grep -q "not meant to run: it was\|is not running\|another command started it\|nothing to" "out$i" ;;
        4) grep -q "is not ready yet" "out$i" ;;
        *) false ;;
        esac
    done
    fails 0 vmctl up --timeout 60s
    [ "$(state_of crowd)" = Ready ]
    gone crowd
}
