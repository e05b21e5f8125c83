#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What the original tool's book says of a guest that runs, in one boot of the tiny guest: the serial
# console, the key order of ssh, the logs, starting a VM that `up` made.

load qemu

setup_file() {
    use_data_dir
    cat >VMFile.kdl <<'END'
vm "web" {
    image "guest.qcow2"
    memory 160
    cloud-init
    ssh { user "worker" }
    provision "shell" { inline "echo provisioned-once-more" }
}
END
    ask_one_that_is_silent >"$BATS_FILE_TMPDIR/silent" 2>&1 3>&- &
    vmctl up
}

# `vmctl ssh` of a VM that never answers takes its 30 seconds beside the other tests.
ask_one_that_is_silent() {
    local rc=0
    mkdir -p "$DATA/noop"
    echo '{"failProbe": 1000000}' >"$DATA/noop/silent.json"
    vmctl create -q --name silent --backend noop --image guest.qcow2 --start --detach
    SECONDS=0
    vmctl ssh silent || rc=$?
    echo "status $rc after $SECONDS s"
}
teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

@test "console: what is typed goes in, what the guest answers comes out" {
    run bash -c 'printf "\n" | timeout 60 vmctl console web'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *login:* ]]
}

@test "console: Ctrl+] leaves the VM as it is" {
    local pid
    pid=$(pid_of web)
    run timeout 60 script -qec 'vmctl console web' /dev/null <<<$'\x1d'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(pid_of web)" = "$pid" ]
    [ "$(state_of web)" = Ready ]
}

@test "log: the boot is in console.log, the steps are in provision.log" {
    run vmctl log web --console
    [[ $output == *"SSH HOST KEY KEYS"*login:* ]]
    [[ $output != *provisioned-once-more* ]]
    run vmctl log web --provision
    [[ $output == *provisioned-once-more* ]]
    [[ $output != *login:* ]]
}

@test "ssh: the generated key is enough, and --user is another one" {
    run vmctl ssh -- id -un
    [ "$output" = worker ]
    run vmctl ssh web --user nobody-there -- true
    [ "$status" -eq 255 ]
}

@test "port-forward leads to the guest until it is interrupted" {
    local pid port rc=0
    # what a shell starts in the background ignores SIGINT
    python3 -c 'import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execlp("vmctl", "vmctl", "port-forward", ":22")' >forwarded 2>&1 3>&- &
    pid=$!
    await grep -q ' -> 22$' forwarded
    port=$(sed -n 's/^127.0.0.1:\([0-9]*\) -> 22$/\1/p' forwarded)
    read -r -t 20 banner <"/dev/tcp/127.0.0.1/$port"
    [[ $banner == SSH-2.0-* ]]
    kill -INT "$pid"
    wait "$pid" || rc=$?
    [ "$rc" -eq 130 ]
    run bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
    [ "$status" -ne 0 ]
}

@test "ssh: a guest that does not answer is given 30 seconds" {
    await grep -q '^status' "$BATS_FILE_TMPDIR/silent"
    run cat "$BATS_FILE_TMPDIR/silent"
    echo "$output"
    says "error[vmctl::timeout]: vm 'silent'"
    [[ ${lines[-1]} =~ ^"status 4 after 3"[0-9]" s"$ ]]
    vmctl destroy -q silent
}

@test "status: the paths, the process and the address are those of the machine" {
    run vmctl status web
    [[ $output == *"Overlay:     $DATA/vms/web/overlay.qcow2"* ]]
    [[ $output == *"Seed ISO:    $DATA/vms/web/seed.iso"* ]]
    [[ $output == *"PID:         $(cat "$DATA/vms/web/pidfile")"* ]]
    [[ $output =~ $'\n'"Accelerator: "(kvm|tcg)$'\n' ]]
    tr '\0' '\n' <"/proc/$(pid_of web)/cmdline" | grep -q "mac=$(sed -n 's/^MAC: *//p' <<<"$output")"
}

@test "status: the VNC address is where QEMU's screen is served, a socket" {
    local address greeting
    address=$(vmctl status web | sed -n 's/^VNC: *//p')
    [ "$address" = "$DATA/vms/web/vnc.sock" ]
    greeting=$(cd "$DATA/vms/web" && timeout 10 socat -u UNIX-CONNECT:vnc.sock - | head -c 4)
    [ "$greeting" = "RFB " ] # RFC 6143, 7.1.1
}

@test "screenshot: a picture of what the screen shows" {
    vmctl screenshot web
    python3 - web.png <<'END'
import struct, sys, zlib
png = open(sys.argv[1], "rb").read()
assert png[:8] == b"\x89PNG\r\n\x1a\n"
chunks, at = {}, 8
while at < len(png):
    n, kind = struct.unpack(">I4s", png[at:at + 8])
    assert zlib.crc32(png[at + 4:at + 8 + n]) == struct.unpack(">I", png[at + 8 + n:at + 12 + n])[0]
    chunks[kind], at = png[at + 8:at + 8 + n], at + 12 + n
width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
rows = zlib.decompress(chunks[b"IDAT"])
assert width >= 640 and height >= 400 and len(rows) == height * (1 + 3 * width), (width, height, len(rows))
assert len(set(rows)) > 1, "all of one colour"
END
    [ "$(stat -c %a web.png)" = 600 ]
    vmctl screenshot web - | cmp -n 29 web.png -
    [ "$(vmctl screenshot web again.png -o json | jq -c '[.file, .width > 0]')" = '["again.png",true]' ]
    fails 1 vmctl screenshot web /nowhere/x.png
    says "cannot write '/nowhere/x.png'"
    rm web.png again.png
}

@test "suspend: a guest that is paused does not answer, and goes on after resume" {
    local booted
    booted=$(vmctl ssh web -- cat /proc/sys/kernel/random/boot_id)
    vmctl suspend web
    [ "$(state_of web)" = Suspended ]
    run vmctl ssh web -- true
    [ "$status" -eq 1 ]
    vmctl resume web
    run vmctl ssh web -- cat /proc/sys/kernel/random/boot_id
    [ "$output" = "$booted" ]
}

seconds_reach() { (($(date +%s) >= $1)); }
has_caught_up() { # by 4 s or more: the pause of the test before may have cost one or two
    [[ $(vmctl events web) =~ "the guest's clock was "([4-9]|1[0-9]).[0-9]" s behind and was set to the host's" ]]
}

@test "suspend: after resume the guest's clock is the host's again, by less than a second" {
    local before guest
    vmctl suspend web
    await seconds_reach $(($(date +%s) + 6)) # five at least
    vmctl resume web
    await has_caught_up
    before=$(date +%s)
    guest=$(vmctl ssh web -- date +%s) # whole seconds of both
    echo "host $before, guest $guest"
    ((guest >= before - 1 && guest <= $(date +%s) + 1))
    run vmctl events web
    [[ $output != *ClockNotSet* ]]
}

@test "the host goes down: the guest is shut down in order, and comes back with the controller" {
    local booted
    booted=$(vmctl ssh web -- cat /proc/sys/kernel/random/boot_id)
    vmctl controller stop --shut-down-vms
    [ "$(state_of web)" = Stopped ]
    run vmctl events web
    echo "$output"
    [[ $output == *HostShutdown*"shut down with the host: the guest shut down"* ]]
    vmctl controller start
    vmctl wait web
    [ "$(vmctl ssh web -- cat /proc/sys/kernel/random/boot_id)" != "$booted" ]
}
