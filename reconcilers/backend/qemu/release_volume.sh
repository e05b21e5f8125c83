# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh disable=SC2013
#
# release_volume NAME: unmounts the virtio disk with that serial number, and its partitions, in a guest
# that vmctl reaches by its agent alone. Prints why it cannot, and fails. As root.

PATH=$PATH:/usr/sbin:/sbin

# fail REASON
fail() {
    echo "$1"
    exit 1
}

for serial in /sys/block/*/serial; do
    read -r found 2>/dev/null <"$serial" || [ -n "$found" ] || continue
    [ "$found" = "$1" ] || continue
    disk=${serial%/serial}
    disk=${disk##*/}
    # what is mounted within another of its mounts comes first
    for on in $(grep "^/dev/${disk}[0-9]* " /proc/mounts | cut -d ' ' -f 2 | sort -r); do
        on=$(printf '%b' "$on")
        why=$(umount "$on" 2>&1) || fail "it cannot be unmounted from $on: ${why:-umount failed}"
    done
    grep -q "^/dev/${disk}[0-9]* " /proc/mounts && fail 'it is mounted still'
    for holder in "/sys/block/$disk/holders/"* "/sys/block/$disk/$disk"*/holders/*; do
        [ -e "$holder" ] && fail "it is in use, by ${holder##*/}"
    done
    grep -q "^/dev/${disk}[0-9]*[[:blank:]]" /proc/swaps 2>/dev/null && fail 'it is in use, as swap'
done
exit 0
