# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# grow_guest ROOT CPUS MIB DISK: makes the guest use what was added to its machine while it runs:
# brings CPUs online until CPUS are, memory until MIB are, and grows the partition and the file
# system of / to the end of its disk of DISK MiB. 0: leaves that alone. ROOT stands before /sys and
# /proc.
#
# Prints "+ WHAT" for what it did, "- WHY" for what the guest does not use; nothing when the guest
# had taken up all of it by itself.

root=$1
cpus=$root/sys/devices/system/cpu
memory=$root/sys/devices/system/memory
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
run=
[ "$(id -u)" = 0 ] || run='sudo -n'
# shellcheck disable=SC2069
write() { echo "$2" | $run tee "$1" 2>&1 >/dev/null; }

count_cpus() {
    n=0
    for cpu in "$cpus"/cpu[0-9]*; do
        [ "$(cat "$cpu/online" 2>/dev/null)" = 0 ] || n=$((n + 1))
    done
    echo "$n"
}
offer_cpus() {
    for file in "$cpus"/cpu[0-9]*/online; do
        [ -e "$file" ] || continue
        [ "$(cat "$file")" = 1 ] || why=$(write "$file" 1)
    done
}

# A block that is partly filled counts as a whole one. That hides nothing: whole blocks are added.
count_memory() {
    n=$(cat "$memory"/memory[0-9]*/state 2>/dev/null | grep -c '^online')
    size=$(cat "$memory/block_size_bytes" 2>/dev/null)
    echo $((n * 0x${size:-0} / 1048576))
}
offer_memory() {
    for file in "$memory"/memory[0-9]*/state; do
        [ -e "$file" ] || { why='its kernel cannot add any' && continue; }
        [ "$(cat "$file")" = online ] || why=$(write "$file" online)
    done
}

count_disk() { echo $(($(cat "$disk/size") / 2048)); }
offer_disk() { :; }

# await cpus|memory|disk N: the kernel sees a moment later what was plugged in
await() {
    why=
    tries=0
    limit=25
    until [ "$(count_"$1")" -ge "$2" ] || [ "$tries" -ge "$limit" ]; do
        offer_"$1"
        [ -z "$why" ] || limit=5
        tries=$((tries + 1))
        [ "$(count_"$1")" -ge "$2" ] || sleep 0.2 2>/dev/null || sleep 1
    done
    [ "$(count_"$1")" -ge "$2" ]
}

# use cpus|memory N UNIT
use() {
    before=$(count_"$1")
    if await "$1" "$2"; then
        [ "$before" -ge "$2" ] || echo "+ $2 $3 are online"
    else
        echo "- $(count_"$1") of $2 $3 are online${why:+: $why}"
    fi
}

# give_up WHAT: with the last line of what was said to it
give_up() { echo "- $1 of / is not grown: $(echo "$why" | tail -n 1)"; }

# With less than 2 MiB behind it the partition is as large as it can be.
grow_partition() {
    await disk "$1"
    [ -e "$device/partition" ] || return 0
    room=$(($(cat "$disk/size") - $(cat "$device/start") - $(cat "$device/size")))
    [ "$room" -gt 4096 ] || return 0
    why='growpart is not installed (package cloud-guest-utils or cloud-utils-growpart)'
    command -v growpart >/dev/null &&
        why=$($run growpart "/dev/${disk##*/}" "$(cat "$device/partition")" 2>&1)
}
grow_file_system() {
    case $1 in
    ext[234]) why=$($run resize2fs "/dev/${device##*/}" 2>&1) ;;
    xfs) why=$($run xfs_growfs / 2>&1) ;;
    btrfs) why=$($run btrfs filesystem resize max / 2>&1) ;;
    *) why="it is $1, which vmctl does not grow" && return 1 ;;
    esac
}
root_mib() { df -kP / | awk 'NR == 2 { print int($2 / 1024) }'; }

# grow_disk MIB PLACE TYPE SOURCE: the last three are those of / in mountinfo
grow_disk() {
    device=$(readlink -f "$root/sys/dev/block/$2")
    [ -e "$device/size" ] || device=$(readlink -f "$root/sys/class/block/${4##*/}")
    disk=$device
    [ -e "$device/partition" ] && disk=${device%/*}
    before=$(root_mib)
    why="it is on ${4:-nothing} ($3), neither a disk nor a partition: that is done by hand"
    case ${disk##*/} in
    [svx]d[a-z]* | nvme*) ;;
    *) give_up 'the disk' && return ;;
    esac
    grow_partition "$1" || { give_up 'the partition' && return; }
    grow_file_system "$3" || { give_up 'the file system' && return; }
    [ "$(root_mib)" = "$before" ] || echo "+ / has $(root_mib) MiB"
}

[ "$2" = 0 ] || use cpus "$2" CPUs
[ "$3" = 0 ] || use memory "$3" 'MiB of memory'
# shellcheck disable=SC2046
[ "$4" = 0 ] || grow_disk "$4" \
    $(awk '$5 == "/" { of = $3 " " $(NF - 2) " " $(NF - 1) } END { print of }' "$root/proc/self/mountinfo")
