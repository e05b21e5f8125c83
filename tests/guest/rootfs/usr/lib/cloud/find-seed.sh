# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# The seed: an ISO 9660 disk labelled "cidata", on any bus.

# find_seed: sets $device. The name of an ISO 9660 volume is 32 bytes at 32808,
# padded with blanks.
find_seed() {
    for device in /dev/sr[0-9] /dev/vd[a-z]; do
        [ -b "$device" ] || continue
        case $(dd if="$device" bs=8 skip=4101 count=4 2>/dev/null) in
        cidata | CIDATA | "cidata "* | "CIDATA "*) return 0 ;;
        esac
    done
    return 1
}

# Copies the seed to "$seed", so that its medium is free again at once.
copy_seed() {
    find_seed || {
        log "no seed"
        return 1
    }
    mount -t iso9660 -o ro "$device" /mnt || {
        log "cannot mount the seed $device"
        return 1
    }
    log "seed on $device"
    cp /mnt/meta-data /mnt/user-data "$seed/"
    umount /mnt
}
