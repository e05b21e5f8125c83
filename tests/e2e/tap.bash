# SPDX-License-Identifier: MPL-2.0
# A network namespace with the bridge br0 and DHCP on it, for tests with network "tap". It belongs to
# dnsmasq's process; nothing of the host's network is touched. Needs root and /dev/net/tun. Load it
# after qemu.bash.

# In the namespace, as everything here has to be; qemu.bash calls vmctl too.
in_net() { nsenter --target "$DNSMASQ_PID" --net -- "$@"; }
vmctl() { in_net vmctl "$@"; }

status_of() { vmctl status "$1" -o json | jq -r "$2"; }
# The address of a VM as dnsmasq's lease file knows it.
leased_to() { awk -v mac="$(status_of "$1" .status.mac)" '$2 == mac { print $3 }' "$VMCTL_DNSMASQ_LEASES"; }
taps() { in_net ip -o link show type tun | wc -l; }
has_taps() { [ "$(taps)" = "$1" ]; }

make_network() {
    export VMCTL_DNSMASQ_LEASES=$BATS_FILE_TMPDIR/leases
    unshare --net -- bash -euc '
        ip link set lo up
        ip link add br0 type bridge
        ip addr add 10.77.0.1/24 dev br0
        ip link set br0 up
        exec dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --port=0 \
            --interface=br0 --bind-interfaces --dhcp-range=10.77.0.10,10.77.0.99,1h --no-ping \
            --dhcp-authoritative --log-facility=- --dhcp-leasefile="$VMCTL_DNSMASQ_LEASES"
    ' >"$BATS_FILE_TMPDIR/dnsmasq.log" 2>&1 3>&- &
    export DNSMASQ_PID=$!
    await 10 test -e "$VMCTL_DNSMASQ_LEASES"
}

# Why none of this can be done here; nothing when it can.
obstacle() {
    if [ "$(id -u)" != 0 ]; then
        echo "needs root, to make a network namespace"
    elif [ ! -w /dev/net/tun ] || ! unshare --net -- true; then
        echo "no tap devices, or no network namespaces here"
    elif ! command -v dnsmasq >/dev/null; then
        echo "dnsmasq is not installed (package dnsmasq-base)"
    fi
}
