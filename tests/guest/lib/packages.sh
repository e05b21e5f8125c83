# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The Debian packages that the recipe needs on the building machine.

# A command or a file, and the package that brings it.
requirements() {
    cat <<'END'
apt-get                          apt
busybox                          busybox-static
cc                               gcc
/usr/include/stdio.h             libc6-dev
cpio                             cpio
debugfs                          e2fsprogs
mke2fs                           e2fsprogs
resize2fs                        e2fsprogs
dpkg-deb                         dpkg
dropbear                         dropbear-bin
dropbearconvert                  dropbear-bin
dropbearkey                      dropbear-bin
/usr/lib/openssh/sftp-server     openssh-sftp-server
mcopy                            mtools
mkfs.vfat                        dosfstools
qemu-img                         qemu-utils
sfdisk                           fdisk
strip                            binutils
syslinux                         syslinux
/usr/lib/SYSLINUX/mbr.bin        syslinux
END
}

# The files of those packages that go into the guest, or make it bootable.
ingredients() {
    type -P busybox dropbear dropbearconvert dropbearkey resize2fs syslinux
    echo /usr/lib/openssh/sftp-server
    echo /usr/lib/SYSLINUX/mbr.bin
}

is_static() {
    ! readelf --program-headers "$1" | grep -q INTERP
}

missing_packages() {
    local need package
    while read -r need package; do
        if [[ $need = /* ]]; then
            [[ -e $need ]] || echo "$package"
        else
            type -P "$need" >/dev/null || echo "$package"
        fi
    done < <(requirements) | sort -u
    # The ordinary "busybox" package is dynamic and must be replaced.
    if type -P busybox readelf >/dev/null && ! is_static "$(type -P busybox)"; then
        echo busybox-static
    fi
}

require_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || die "missing Debian packages; install them with" \
        "\"apt-get install ${missing[*]}\" (or run tests/guest/build --install)"
}

install_packages() {
    local missing root=()
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || root=(sudo)
    say "installing ${missing[*]}"
    "${root[@]}" apt-get -q update >&2 || say "apt-get update failed; trying with what apt knows"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qy install --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install ${missing[*]}"
}
