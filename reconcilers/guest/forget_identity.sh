# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# forget_identity COMMENT, as root: the last step of a template. Takes out of the guest what each of
# its clones is to have of its own, and what lets the builder in: the public keys whose line ends
# with COMMENT. cloud-init makes the rest new, because a clone has another instance-id.

set -e
[ -s /etc/machine-id ] && : >/etc/machine-id
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/dropbear/dropbear_*_host_key
rm -f /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/systemd/credential.secret
rm -f /var/lib/dhcp/*.leases /var/lib/dhcpcd/*.lease* /var/lib/NetworkManager/*.lease
while IFS=: read -r _ _ _ _ _ home _; do
    keys=$home/.ssh/authorized_keys
    if [ -f "$keys" ]; then
        others=$(grep -v " $1\$" "$keys") || true
        printf '%s\n' "$others" >"$keys"
    fi
done </etc/passwd
sync
