#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl-switch alone, with sockets of ours in QEMU's place, as a guest that has taken over its QEMU
# would use them.

load common

setup() {
    export NET=$BATS_TEST_TMPDIR/net
    mkdir -p "$NET/hub"
    local n=1 name
    for name in evil idle busy; do
        printf '{"name":"%s","project":"shop","mac":"52:54:00:00:00:0%d","address":"10.77.1.1%d"}' "$name" $n $n >"$NET/$name.port"
        n=$((n + 1))
    done
}

teardown() { kill "$SWITCH" || true; }

# The address sanitizer keeps what was freed, which would count as memory of the switch's.
start_switch() {
    (cd "$NET" && ASAN_OPTIONS=${ASAN_OPTIONS:-}:quarantine_size_mb=1 exec vmctl-switch --in-directory 3>switch.lock >switch.log 2>&1) &
    SWITCH=$!
    await 10 [ -S "$NET/hub/busy.hub" ]
}

# peers SCRIPT : python with the sockets of the three, and frame(FROM, TO, BYTES)
peers() {
    cd "$NET" || return
    python3 - "$SWITCH" <<END
import os, socket, struct, sys, time
macs = {"evil": b"\x52\x54\0\0\0\1", "idle": b"\x52\x54\0\0\0\2", "busy": b"\x52\x54\0\0\0\3"}
all = b"\xff" * 6
peers = {}
for name in macs:
    peers[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peers[name].bind(name + ".vm")
    peers[name].setblocking(False)
def send(name, frame):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            return peers[name].sendto(frame, "hub/" + name + ".hub")
        except BlockingIOError:
            time.sleep(0.001)
    sys.exit("the switch does not read")
def frame(name, to, payload, kind=0x88b5):
    return to + macs[name] + struct.pack(">H", kind) + payload
def received(name):
    frames = []
    try:
        while True:
            frames.append(peers[name].recv(1 << 17))
    except BlockingIOError:
        return frames
def comes(name, payload):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if any(f.endswith(payload) for f in received(name)):
            return True
        time.sleep(0.01)
    return False
def memory():
    with open("/proc/%s/status" % sys.argv[1]) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
$1
END
}

@test "a guest that floods the others with 64 KiB frames fills no memory, and stops nobody" {
    command -v python3 >/dev/null || skip "there is no python3"
    start_switch
    peers '
before = memory()
for i in range(3000):
    send("evil", frame("evil", all, bytes(65000)))
    if i % 100 == 0:
        received("busy")
print(before, memory())
assert memory() - before < 24 << 10, "the switch keeps what nobody reads"
received("busy")
send("evil", frame("evil", macs["busy"], b"last"))
assert comes("busy", b"last"), "another guest is not served any more"
'
}

@test "what is no frame, or another guest's, goes nowhere, and the switch lives on" {
    command -v python3 >/dev/null || skip "there is no python3"
    start_switch
    peers '
arp = b"\0\1\x08\0\6\4\0\2"
gateway = bytes([10, 77, 1, 2])
forged = arp + macs["evil"] + gateway + macs["busy"] + bytes([10, 77, 1, 13])
for bad in [b"", b"x", bytes(13), bytes(14), frame("idle", all, b"as idle"),
            frame("evil", all, forged, 0x806), frame("evil", all, b"\0\0\x08\x06" + forged, 0x8100),
            frame("evil", all, forged[:9], 0x806),
            frame("evil", all, b"\x60" + bytes(5) + b"\x3a\xff" + bytes(32) + b"\x86" + bytes(15), 0x86dd)]:
    send("evil", bad)
for i in range(200):
    send("evil", frame("evil", os.urandom(6), os.urandom(200), 0x800))
send("evil", frame("evil", all, b"last"))
end = time.monotonic() + 10
frames = []
while time.monotonic() < end and not any(f.endswith(b"last") for f in frames):
    frames += received("busy")
assert [f[12:] for f in frames] == [b"\x88\xb5last"], frames
'
    kill -0 "$SWITCH"
}
