#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Two guests that are on network "user", on one of the project and on a bridge by tap, all at once, in a
# network namespace. The project's switch against the bridge: 8 MiB from guest to guest, and an echo.
# Its way out against slirp in QEMU: the same to this host. What each network takes is its switch.
if [ "${BENCH_NETNS:-}" != yes ] && [ "$(id -u)" = 0 ] && unshare --net -- true 2>/dev/null; then
    BENCH_NETNS=yes exec unshare --net -- "$0"
fi
source "$(dirname "$0")/common.bash"
what='project network'
[ "${BENCH_NETNS:-}" = yes ] || { skip 19 "$what" 'root, network namespaces'; exit; }
[ -w /dev/net/tun ] || { skip 19 "$what" 'tap devices'; exit; }
has ip socat || { skip 19 "$what" 'ip, socat'; exit; }

ip link set lo up
ip link add br0 type bridge
ip link set br0 up
guest=$("$(dirname "$0")/../guest/build" | tail -n 1)
socat -u TCP-LISTEN:7001,fork,reuseaddr OPEN:/dev/null &
listener=$!
trap 'kill $listener; finish' EXIT
cat >"$work/VMFile.kdl" <<END2
defaults { image "$guest"; memory 192; accel "tcg"; ssh { user "root" }; cloud-init; stop-timeout 0 }
vm "a" { network "user" { host-services 7001 }; network "project" { host-services 7001 }; network "tap" bridge="br0" }
vm "b" { network "user"; network "project"; network "tap" bridge="br0" }
END2
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null

in_a() { "$bin/vmctl" exec a -- sh -c "$1"; }
address() { "$bin/vmctl" status "$1" -o json | jq -r '.status.furtherCards[0].address'; }
"$bin/vmctl" exec a -- ip addr add 10.99.0.1/24 dev eth2
"$bin/vmctl" exec b -- ip addr add 10.99.0.2/24 dev eth2
"$bin/vmctl" exec b -- sh -c 'nc -ll -p 7001 -e sh -c "cat >/dev/null" >/dev/null 2>&1 &'
switch=$(address b)
gateway=${switch%.*}.2

# send FILE ADDRESS : appends the milliseconds of 8 MiB, by the guest's clock (hundredths of a second).
send() {
    in_a "read begin idle </proc/uptime; dd if=/dev/zero bs=64k count=128 2>/dev/null | nc $2 7001
        read end idle </proc/uptime; echo \$begin \$end" |
        awk '{ print ($2 - $1) * 1000 }' >>"$1"
}
# echo_of FILE ADDRESS : the median of so many echoes.
echo_of() {
    in_a "ping -q -c 20 -i 0.05 $2 || ping -q -c 5 $2" |
        awk -F / '/min\/avg\/max/ { print $4 }' >>"$1"
}
for address in "$switch" 10.99.0.2 "$gateway" 10.0.2.2; do
    in_a "ping -c 1 -W 1 $address || ping -c 1 -W 30 $address" >/dev/null
done
for _ in $(seq "$((runs / 4 + 1))"); do
    send "$work/bridge" 10.99.0.2
    send "$work/switch" "$switch"
    send "$work/slirp" 10.0.2.2
    send "$work/out" "$gateway"
    echo_of "$work/bridge-echo" 10.99.0.2
    echo_of "$work/switch-echo" "$switch"
    echo_of "$work/slirp-echo" 10.0.2.2
    echo_of "$work/out-echo" "$gateway"
done
for pid in $(pgrep -x vmctl-switch); do
    [[ $(readlink "/proc/$pid/cwd") != "$work"/* ]] || awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" >>"$work/memory"
done
row 19 '8 MiB from guest to guest, network "project"' ms "$work/switch" 1.5 'tap and bridge' "$work/bridge"
row 19 '8 MiB from guest to host, network "project"' ms "$work/out" 1.5 'network "user"' "$work/slirp"
row 19 'echo of a guest, network "project"' ms "$work/switch-echo" 1.5 'tap and bridge' "$work/bridge-echo"
row 19 'echo of the gateway, network "project"' ms "$work/out-echo" 1.5 'network "user"' "$work/slirp-echo"
row 19 'memory of a switch with two VMs (Pss)' KiB "$work/memory" 4096
