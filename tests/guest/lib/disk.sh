# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The disk, without loop devices, mounts or root:
#
#   0        MBR: syslinux's boot code, the partition table
#   1 MiB    1: FAT16, bootable: syslinux, kernel, initramfs
#   then     2: ext4, the root file system, to the disk's end; the guest grows it

disk_requirements() {
    cat <<'END'
mcopy                            mtools
mke2fs                           e2fsprogs
mkfs.vfat                        dosfstools
qemu-img                         qemu-utils
sfdisk                           fdisk
syslinux                         syslinux
/usr/lib/SYSLINUX/mbr.bin        syslinux
END
}

disk_ingredients() {
    type -P syslinux
    echo /usr/lib/SYSLINUX/mbr.bin
}

# make_boot_partition IMAGE MIB KERNEL INITRD KERNEL-ARGUMENTS
# -h: how many sectors come before the partition; syslinux needs to know.
make_boot_partition() {
    truncate -s "${2}M" "$1"
    mkfs.vfat -F 16 -s 8 -h 2048 -n BOOT "$1" >/dev/null
    mcopy -i "$1" "$3" ::vmlinuz
    mcopy -i "$1" "$4" ::initrd.img
    boot_menu "$5" | mcopy -i "$1" - ::syslinux.cfg
    syslinux --install "$1"
}

boot_menu() {
    cat <<END
SERIAL 0 115200
NOESCAPE 1
PROMPT 0
DEFAULT guest
LABEL guest
  LINUX /vmlinuz
  INITRD /initrd.img
  APPEND console=tty0 console=ttyS0,115200 quiet loglevel=4 $1
END
}

# make_root_partition IMAGE MIB FOLDER MKE2FS-OPTION...
# mke2fs copies the owners of the folder's files.
make_root_partition() {
    local image=$1 mib=$2 folder=$3
    truncate -s "${mib}M" "$image"
    mke2fs -q -t ext4 -L root -b 4096 "${@:4}" \
        -E lazy_itable_init=1,root_owner=0:0 -d "$folder" "$image"
}

# make_disk BOOT ROOT OUT
make_disk() {
    local boot_mib root_mib root_start_mib disk=$scratch/disk.raw
    boot_mib=$(size_mib "$1")
    root_mib=$(size_mib "$2")
    root_start_mib=$((1 + boot_mib))
    truncate -s "$((root_start_mib + root_mib))M" "$disk"
    sfdisk -q "$disk" <<END
label: dos
start=1MiB, size=${boot_mib}MiB, type=e, bootable
start=${root_start_mib}MiB, size=${root_mib}MiB, type=83
END
    dd if=/usr/lib/SYSLINUX/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if="$1" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$2" of="$disk" bs=1M seek="$root_start_mib" conv=notrunc,sparse status=none
    qemu-img convert -f raw -O qcow2 -c "$disk" "$3"
}

size_mib() {
    echo $(($(stat -c %s "$1") >> 20))
}
