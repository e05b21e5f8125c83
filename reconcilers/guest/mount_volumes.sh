# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh disable=SC2086
#
# mount_volumes [- NAME | + NAME GIB DIRECTORY | = TAG MODE DIRECTORY]...: unmounts the volume NAME
# wherever it and its partitions are mounted, and fails if it is in use in another way; mounts it on DIRECTORY, and nowhere else, and grows its file system to its
# size. A file system is made on a volume that holds nothing but zeros at its beginning and at its
# end, where every file system and partition table has its signature; it belongs to the user who runs
# this. Mounts the shared folder TAG on DIRECTORY, MODE being rw or ro, and prints "user UID:GID" and
# "note ..." of what is to be known. Fails with the reason, for a shared folder with status 3.

PATH=$PATH:/usr/sbin:/sbin
run=
[ "$(id -u)" = 0 ] || run='sudo -n'

fail() {
    echo "$1"
    exit 1
}

# may WHAT COMMAND...: why is set if it fails
may() {
    what=$1
    shift
    if reason=$("$@" 2>&1 </dev/null); then
        return 0
    fi
    why="$what: ${reason:-$1 failed}"
    return 1
}

# find_device NAME: its device, as virtio's serial number has it; one that was attached just now may
# not be there yet. Which of two is meant cannot be known, and a file system would be made on it.
find_device() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        device=
        for serial in /sys/block/*/serial; do
            read -r found 2>/dev/null <"$serial" || [ -n "$found" ] || continue
            if [ "$found" = "$1" ]; then
                [ -z "$device" ] || fail "two disks of the guest have the serial number '$1'"
                device=${serial%/serial}
                device=/dev/${device##*/}
            fi
            found=
        done
        [ -b "$device" ] && return 0
        [ -z "$2" ] || break
        sleep 0.5
    done
    return 1
}

# zeros SKIP COUNT: whether these MiB of the device can be read and are zero
zeros() {
    n=$($run dd if="$device" bs=1048576 skip="$1" count="$2" 2>/dev/null | tr -cd '\000' | wc -c)
    [ "$n" -eq $(($2 * 1048576)) ]
}

is_blank() {
    mib=$(($(cat "/sys/block/${device##*/}/size") / 2048))
    zeros 0 4 && zeros $((mib - 1)) 1
}

# make_file_system NAME
make_file_system() {
    if command -v mkfs.ext4 >/dev/null; then
        may "cannot make a file system on volume '$1'" $run mkfs.ext4 -q -F "$device"
    else
        may "cannot make a file system on volume '$1'" $run mke2fs "$device"
    fi
}

# leave NAME [DIRECTORY]: unmounts the device everywhere but there; is_there: it is mounted there
leave() {
    is_there=
    while read -r from on type _; do
        on=$(printf '%b' "$on")
        [ "$from" = "$device" ] || continue
        if [ "$on" = "$2" ]; then
            is_there=1
            file_system=$type
        else
            may "volume '$1' cannot be unmounted from $on" $run umount "$on" || return 1
        fi
    done </proc/mounts
    return 0
}

# release NAME: unmounts it and its partitions. What uses it in another way (swap, LVM, RAID) keeps
# it, and is the reason why this fails.
release() {
    disk=$device
    for part in "$disk" "$disk"[0-9]*; do
        [ -b "$part" ] || continue
        device=$part
        leave "$1" || return 1
        for holder in "/sys/class/block/${part##*/}/holders/"*; do
            if [ -e "$holder" ]; then
                why="volume '$1' is in use in the guest, by ${holder##*/}"
                return 1
            fi
        done
        if grep -q "^${part}[[:blank:]]" /proc/swaps 2>/dev/null; then
            why="volume '$1' is in use in the guest, as swap"
            return 1
        fi
    done
}

# enter NAME DIRECTORY
enter() {
    why="the guest does not see volume '$1' (a virtio disk with that serial number)"
    find_device "$1" && leave "$1" "$2" || return 1
    if [ -z "$is_there" ]; then
        is_new=
        if is_blank; then
            make_file_system "$1" || return 1
            is_new=1
        fi
        may "cannot make $2 for volume '$1'" $run mkdir -p "$2" &&
            may "cannot mount volume '$1' on $2" $run mount "$device" "$2" || return 1
        if [ -n "$is_new" ]; then
            may "cannot give $2 away" $run chown "$(id -u):$(id -g)" "$2" || return 1
        fi
        leave "$1" "$2" || return 1
    fi
    if [ "$file_system" = "${file_system#ext}" ]; then
        return 0
    fi
    if command -v resize2fs >/dev/null; then
        may "cannot grow the file system of volume '$1'" $run resize2fs "$device" || return 1
    fi
}

# has_share TAG DIRECTORY: it is mounted there; type is how
has_share() {
    while read -r from on type _; do
        on=$(printf '%b' "$on")
        if [ "$from $on" = "$1 $2" ]; then
            return 0
        fi
    done </proc/mounts
    return 1
}

# virtiofs is in Linux 5.4 and later; 9p is not in every kernel.
# attach_share TAG MODE DIRECTORY
attach_share() {
    may "cannot make $3 for the shared folder" $run mkdir -p "$3" || return 1
    may "cannot mount the shared folder on $3" \
        $run mount -t virtiofs -o "$2,nosuid,nodev" "$1" "$3" && return 0
    first=$why
    may 'by 9p' $run mount -t 9p -o \
        "trans=virtio,version=9p2000.L,msize=262144,$2,nosuid,nodev" "$1" "$3" && return 0
    why="$first; $why"
    grep -q -e virtiofs -e 9p /proc/filesystems ||
        why="the guest's kernel has neither virtiofs nor 9p"
    return 1
}

# share TAG MODE DIRECTORY
share() {
    has_share "$1" "$3" || attach_share "$@" || return 1
    has_share "$1" "$3"
    if [ "$type" = 9p ]; then
        echo "note $3 is mounted over 9p"
    fi
    owner=$(stat -c %u "$3")
    [ "$2" = ro ] || [ "$(id -u)" = 0 ] || [ "$owner" = "$(id -u)" ] ||
        echo "note $3 belongs to uid $owner in the guest, and $(id -un) has $(id -u)"
    echo "user $(id -u):$(id -g)"
}

# Another one of these, begun over a connection that was lost since, may be at it.
# enter_patiently NAME DIRECTORY
enter_patiently() {
    for pause in 1 1 1 2 0; do
        if enter "$1" "$2"; then
            return 0
        fi
        sleep "$pause"
    done
    fail "$why"
}

# One at a time, where there is a flock; the root directory is a file that needs no making.
exec 9</
if command -v flock >/dev/null; then
    flock 9
fi
while [ $# -gt 0 ]; do
    if [ "$1" = - ]; then
        if find_device "$2" once; then
            release "$2" || fail "$why"
        fi
        shift 2
    elif [ "$1" = = ]; then
        share "$2" "$3" "$4" || { echo "$why" && exit 3; }
        shift 4
    else
        enter_patiently "$2" "$4"
        shift 4
    fi
done
