# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The disk, without loop devices, mounts or root:
#
#   0        MBR: syslinux's boot code, the partition table
#   1 MiB    1: FAT16, bootable: syslinux, kernel, initramfs
#   25 MiB   2: ext4, the root file system; the guest grows it to the disk's end

disk_mib=112
boot_mib=24
root_start_mib=$((1 + boot_mib))
root_mib=$((disk_mib - root_start_mib))

# make_disk SCRATCH OUT: from SCRATCH/{kernel,initrd.img,root}
make_disk() {
    local scratch=$1 out=$2
    make_boot_partition "$scratch/boot.img" "$scratch"/kernel/boot/vmlinuz-* "$scratch/initrd.img"
    make_root_partition "$scratch/root.img" "$scratch/root"
    assemble "$scratch/disk.raw" "$scratch/boot.img" "$scratch/root.img"
    qemu-img convert -f raw -O qcow2 -c "$scratch/disk.raw" "$out"
}

# make_boot_partition IMAGE KERNEL INITRD
# -h: how many sectors come before the partition; syslinux needs to know.
make_boot_partition() {
    truncate -s "${boot_mib}M" "$1"
    mkfs.vfat -F 16 -s 8 -h 2048 -n BOOT "$1" >/dev/null
    mcopy -i "$1" "$2" ::vmlinuz
    mcopy -i "$1" "$3" ::initrd.img
    boot_menu | mcopy -i "$1" - ::syslinux.cfg
    syslinux --install "$1"
}

boot_menu() {
    cat <<'END'
SERIAL 0 115200
NOESCAPE 1
PROMPT 0
DEFAULT guest
LABEL guest
  LINUX /vmlinuz
  INITRD /initrd.img
  APPEND console=tty0 console=ttyS0,115200 quiet loglevel=4 panic=-1
END
}

# make_root_partition IMAGE FOLDER
# mke2fs copies the owners of the builder's files; debugfs then gives
# everything to root, which needs no privilege here.
make_root_partition() {
    local complaints
    truncate -s "${root_mib}M" "$1"
    mke2fs -q -t ext4 -L root -b 4096 -I 256 -N 4096 -m 0 -J size=4 \
        -E lazy_itable_init=1,root_owner=0:0 -d "$2" "$1"
    complaints=$(find "$2" -mindepth 1 -printf 'sif "/%P" uid 0\nsif "/%P" gid 0\n' |
        debugfs -w -f - "$1" 2>&1 | grep -v '^debugfs') || true
    [[ -z $complaints ]] || die "debugfs: $complaints"
}

# assemble DISK BOOT ROOT
assemble() {
    truncate -s "${disk_mib}M" "$1"
    sfdisk -q "$1" <<END
label: dos
start=1MiB, size=${boot_mib}MiB, type=e, bootable
start=${root_start_mib}MiB, size=${root_mib}MiB, type=83
END
    dd if=/usr/lib/SYSLINUX/mbr.bin of="$1" bs=440 count=1 conv=notrunc status=none
    dd if="$2" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$3" of="$1" bs=1M seek="$root_start_mib" conv=notrunc,sparse status=none
}
