#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The guard that vmctld loads into QEMU (reconcilers/backend/qemu/guard_preload.c), in another program
# that connects and sends as slirp does. A real guest behind it: net_user.bats.

load common

setup() {
    guard=$(dirname "$(command -v vmctld)")/vmctl-qemu-guard.so
    [ -e "$guard" ] || guard=$(dirname "$guard")/../lib/vmctl/vmctl-qemu-guard.so
    cat >"$BATS_TEST_TMPDIR/listen.py" <<'END'
import socket
tcp = socket.socket(socket.AF_INET6); tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
tcp.bind(("::", 0)); tcp.listen(64)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
print(tcp.getsockname()[1], udp.getsockname()[1], flush=True)
while True: tcp.accept()
END
    python3 "$BATS_TEST_TMPDIR/listen.py" >"$BATS_TEST_TMPDIR/ports" 3>&- &
    listener=$!
    await 20 has_ports
}

has_ports() { read -r tcp udp <"$BATS_TEST_TMPDIR/ports"; }

teardown() {
    kill "$listener"
}

# guarded PORTS PYTHON... : the program with the guard, and these ports open
guarded() {
    local ports=$1
    shift
    run env LD_PRELOAD="$guard" VMCTL_GUARD="-1 $ports" TCP="$tcp" UDP="$udp" python3 -c "
import os, socket
TCP, UDP = int(os.environ['TCP']), int(os.environ['UDP'])
def tcp(host, port=TCP, family=socket.AF_INET):
    s = socket.socket(family); s.settimeout(5)
    try: s.connect((host, port)); return 'open'
    except ConnectionRefusedError: return 'refused'
def datagram(s, port=UDP, host='127.0.0.1'):
    try: s.sendto(b'x', (host, port)); return 'sent'
    except ConnectionRefusedError: return 'refused'
$*"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "every name of the loopback is refused, and an open port is not" {
    guarded "" "
print(tcp('127.0.0.1'), tcp('127.1.2.3'), tcp('0.0.0.0'), *[tcp(h, family=socket.AF_INET6)
    for h in ('::1', '::', '::ffff:127.0.0.1')])"
    [ "$output" = "refused refused refused refused refused refused" ]
    guarded "1 $tcp" "print(tcp('127.0.0.1'), tcp('::1', family=socket.AF_INET6))"
    [ "$output" = "open open" ]
}

@test "the host's other addresses are refused as well" {
    local address
    address=$(ip -4 -o addr show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
    [ -n "$address" ] || skip "this host has no other address"
    guarded "" "print(tcp('$address'), tcp('::ffff:$address', family=socket.AF_INET6))"
    [ "$output" = "refused refused" ]
}

# in a network namespace, whose routes are the test's
@test "what the host's routes make local is refused, though no interface has it" {
    unshare --net -- true 2>/dev/null || skip "network namespaces need root"
    cat >"$BATS_TEST_TMPDIR/scene" <<'END'
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip addr add 192.0.2.1/24 dev v0
ip -6 addr add 2001:db8:7::1/64 dev v0 nodad
ip route add local 198.18.5.0/24 dev lo
ip -6 route add local 2001:db8:5::/64 dev lo
python3 "$1" >"$1.ports" & listener=$!
trap 'kill $listener' EXIT
until { read -r tcp udp <"$1.ports"; } 2>/dev/null; do :; done
python3 -c "
import socket, sys
tcp = int(sys.argv[1])
socket.create_connection(('198.18.5.1', tcp), 5)
socket.create_connection(('2001:db8:5::1', tcp), 5)" "$tcp"
LD_PRELOAD=$2 VMCTL_GUARD=-1 python3 -c "
import errno, socket, sys
tcp = int(sys.argv[1])
def attempt(host, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    s = socket.socket(family, kind); s.settimeout(0.2)
    try: s.connect((host, tcp)); return 'open'
    except TimeoutError: return 'sent'
    except OSError as e: return errno.errorcode[e.errno]
print(*[attempt(h) for h in ('198.18.5.1', '::ffff:198.18.5.2', '2001:db8:5::1', '203.0.113.1')])
print(*[attempt(h, socket.SOCK_DGRAM) for h in ('198.18.5.1', '2001:db8:5::1', '192.0.2.9',
    '2001:db8:7::9', '192.0.2.1')])" "$tcp"
END
    run unshare --net -- bash "$BATS_TEST_TMPDIR/scene" "$BATS_TEST_TMPDIR/listen.py" "$guard" 3>&-
    echo "$output"
    [ "${lines[0]}" = "ECONNREFUSED ECONNREFUSED ECONNREFUSED ENETUNREACH" ]
    [ "${lines[1]}" = "ECONNREFUSED ECONNREFUSED open open ECONNREFUSED" ]
}

@test "a datagram to a group goes out, and not to the host's own members" {
    unshare --net -- true 2>/dev/null || skip "network namespaces need root"
    cat >"$BATS_TEST_TMPDIR/scene" <<'END'
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.1/24 dev v0
ip route add 224.0.0.0/4 dev v0
python3 -c "
import os, socket, subprocess, sys
member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); member.bind(('0.0.0.0', 0))
member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
    socket.inet_aton('224.0.0.251') + socket.inet_aton('192.0.2.1'))
member.settimeout(20)
sent = '''
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(sys.argv[2].encode(), ('224.0.0.251', int(sys.argv[1])))
'''
port = str(member.getsockname()[1])
for word, env in ('guest', {'LD_PRELOAD': sys.argv[1], 'VMCTL_GUARD': '-1'}), ('host', {}):
    subprocess.run([sys.executable, '-c', sent, port, word], env={**os.environ, **env}, check=True)
print(member.recv(9).decode())" "$1"
END
    run unshare --net -- bash "$BATS_TEST_TMPDIR/scene" "$guard" 3>&-
    echo "$output"
    [ "$output" = host ]
}

@test "a datagram is refused in every form of sending, but an answer is not" {
    guarded "" "
a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
a.bind(('127.0.0.1', 0))
client = socket.socket(type=socket.SOCK_DGRAM)
client.bind(('127.0.0.1', 0))
port = client.getsockname()[1]
def message(s):
    try: s.sendmsg([b'x'], [], 0, ('127.0.0.1', UDP)); return 'sent'
    except ConnectionRefusedError: return 'refused'
def connected(s):
    try: s.connect(('127.0.0.1', UDP)); return 'connected'
    except ConnectionRefusedError: return 'refused'
print(datagram(a), message(a), connected(socket.socket(type=socket.SOCK_DGRAM)), datagram(a, port),
    flush=True)
os.environ.pop('LD_PRELOAD')
os.system('python3 -c \"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind((\'127.0.0.1\', 0)); s.sendto(b\'q\', (\'127.0.0.1\', %d)); print(s.recv(9).decode(), flush=True)\" & true' % a.getsockname()[1])
question, sender = a.recvfrom(9)
print(datagram(b, sender[1]), flush=True)
a.sendto(b'answer', sender)
"
    [[ "$output" == "refused refused refused refused"*refused*answer* ]]
}

@test "unix sockets are left alone" {
    guarded "" "
s = socket.socket(socket.AF_UNIX); s.bind('$BATS_TEST_TMPDIR/s'); s.listen()
socket.socket(socket.AF_UNIX).connect('$BATS_TEST_TMPDIR/s')
print('connected')"
    [ "$output" = connected ]
}

@test "its lock is held by a program that has it, and by no other" {
    : >"$BATS_TEST_TMPDIR/lock"
    run env LD_PRELOAD="$guard" VMCTL_GUARD=9 bash -c '
        lock="import fcntl, struct, sys; f = open(sys.argv[1], \"r+\"); print(struct.unpack(\"hhqqi\",
            fcntl.fcntl(f, 36, struct.pack(\"hhqqi\", 1, 0, 0, 0, 0)))[0] != 2)"
        env -u LD_PRELOAD python3 -c "$lock" "$1"
        unset LD_PRELOAD
        exec python3 -c "$lock" "$1"' bash "$BATS_TEST_TMPDIR/lock" 9<>"$BATS_TEST_TMPDIR/lock"
    echo "$output"
    [ "$output" = $'True\nFalse' ]
}
