# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# Stage 2: the folder that becomes the guest's root file system.

# Drivers for what a test may plug in; the guest loads those whose hardware it
# sees (rootfs/usr/lib/boot/drivers). Dependencies are listed, not resolved.
root_modules=(
    failover net_failover virtio_net
    virtio_console
    virtio-rng
    button evdev pvpanic pvpanic-pci pvpanic-mmio
    isofs
    fuse virtiofs
    netfs fscache 9pnet 9pnet_virtio 9p
    cdrom scsi_common scsi_mod sr_mod virtio_scsi
    libata ata_piix ata_generic libahci ahci
)

# make_root KERNEL ROOT
make_root() {
    local kernel=$1 root=$2
    make_skeleton "$root"
    add_programs "$root"
    add_applets "$root"
    add_modules "$kernel" "$root" "${root_modules[@]}"
}

# One folder for programs: a command is found whatever PATH sshd sets.
make_skeleton() {
    local root=$1
    mkdir -p "$root"/{dev,proc,sys,run,tmp,home,mnt,etc/dropbear,etc/sudoers.d} \
        "$root"/usr/{bin,lib/x86_64-linux-gnu} "$root"/var/{lib/cloud,log}
    mkdir -m 1777 "$root/var/tmp"
    mkdir -m 700 "$root/root"
    ln -s usr/bin "$root/bin"
    ln -s usr/bin "$root/sbin"
    ln -s bin "$root/usr/sbin"
    ln -s usr/lib "$root/lib"
    ln -s usr/lib "$root/lib64"
    ln -s ../run "$root/var/run"
    ln -s ../run/resolv.conf "$root/etc/resolv.conf"
    cp -R "$here/rootfs/." "$root"
    chmod -R u=rwX,go=rX "$root/etc" "$root/usr" # whatever umask the checkout had
    chmod 600 "$root/etc/shadow"
}

add_programs() {
    local root=$1 name
    for name in dropbear dropbearkey dropbearconvert resize2fs qemu-ga; do
        add_program "$root" "$(type -P "$name")" "usr/bin/$name"
    done
    # The path that Debian's dropbear has compiled in.
    add_program "$root" /usr/lib/openssh/sftp-server usr/lib/sftp-server
    cc -O2 -s -Wall -Wextra -o "$scratch/sudo" "$here/src/sudo.c"
    add_program "$root" "$scratch/sudo" usr/bin/sudo
    chmod 4755 "$root/usr/bin/sudo"
}

# add_program ROOT FILE PATH: a program and the shared libraries it needs.
add_program() {
    local root=$1 file=$2 path=$3 library
    install -m 755 "$file" "$root/$path"
    while read -r library; do
        case $library in
        */ld-linux-x86-64.so.2) cp -Ln "$library" "$root/usr/lib/" ;;
        *) cp -Ln "$library" "$root/usr/lib/x86_64-linux-gnu/" ;;
        esac
    done < <(ldd "$file" | grep -o '/[^ ]*')
}

# Links for the applets whose names the guest does not use otherwise.
add_applets() {
    local root=$1 busybox name
    busybox=$(type -P busybox)
    install -m 755 "$busybox" "$root/usr/bin/busybox"
    for name in $("$busybox" --list) getty init; do
        [[ -e $root/usr/bin/$name ]] || ln -s busybox "$root/usr/bin/$name"
    done
}
