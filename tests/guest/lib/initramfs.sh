# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# Stage 1: static busybox, the drivers of the root disk, one script.

# VIRTIO is not built into Debian's kernels, ext4 into the cloud flavour only.
# The dependencies are listed too.
initramfs_modules=(
    virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_mmio virtio_blk
    crc16 crc32c_generic mbcache jbd2 ext4
)
initramfs_applets=(sh mount modprobe usleep printf dd blockdev switch_root)

# make_initramfs KERNEL OUT
# Not compressed: the qcow2 is, and the host unpacks that at full speed, while
# the emulated guest would take its time.
make_initramfs() {
    local kernel=$1 out=$2 tree=$scratch/initramfs applet
    mkdir -p "$tree"/{bin,dev,proc,sys,root}
    install -m 755 "$here/initramfs/init" "$tree/init"
    install -m 755 "$(type -P busybox)" "$tree/bin/busybox"
    for applet in "${initramfs_applets[@]}"; do
        ln -s busybox "$tree/bin/$applet"
    done
    add_modules "$kernel" "$tree" "${initramfs_modules[@]}"
    (cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$out"
}
