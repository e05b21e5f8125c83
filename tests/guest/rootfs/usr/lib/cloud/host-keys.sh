# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# ssh_deletekeys, ssh_keys: with preset keys, sshd serves these and no other;
# without, boot/sshd makes one if none is left.

is_false "${ud__ssh_deletekeys:-}" || rm -f "$host_keys"/dropbear_*_host_key

for type in ed25519 ecdsa rsa; do
    get "ud__ssh_keys__${type}_private"
    [ -n "$value" ] || continue
    (
        umask 077
        printf '%s' "$value" >"$seed/host-key"
        rm -f "$host_keys/dropbear_${type}_host_key"
        dropbearconvert openssh dropbear "$seed/host-key" "$host_keys/dropbear_${type}_host_key"
    ) >>/var/log/cloud-init.log 2>&1 || log "the preset $type host key is not usable"
    rm -f "$seed/host-key"
done
