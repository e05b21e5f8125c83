# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The guest's kernel: a Debian package, downloaded and unpacked, not installed.

# resolve_kernel FLAVOUR: prints "PACKAGE VERSION" of the newest kernel that
# apt knows. Asking apt takes most of a second, so the answer is kept until
# apt's lists change, and outlives them when they are deleted.
resolve_kernel() {
    local meta=linux-image-$1-amd64 memo=$cache/kernel-$1 answer
    [[ $1 != generic ]] || meta=linux-image-amd64

    if [[ ! $memo -nt /var/lib/apt/lists ]]; then
        answer=$(apt-cache show --no-all-versions "$meta" 2>/dev/null |
            sed -n 's/^Depends:.*\(linux-image-[^ ]*\) (= \([^)]*\)).*/\1 \2/p') || true
        if [[ -n $answer ]]; then
            echo "$answer" >"$memo.$$"
            mv "$memo.$$" "$memo"
        fi
    fi
    [[ -s $memo ]] || die "apt knows no package $meta: run \"apt-get update\""
    cat "$memo"
}

# fetch_kernel FLAVOUR PACKAGE VERSION: prints the path of the package file.
# One is kept for each flavour, so that a changed recipe needs no network.
fetch_kernel() {
    local flavour=$1 package=$2 version=$3 options=()
    local deb=$cache/$flavour-$package-$version.deb
    if [[ ! -s $deb ]]; then
        say "downloading $package $version"
        # As root, apt would drop to a user who cannot write here.
        ((EUID)) || options=(-o APT::Sandbox::User=root)
        mkdir "$scratch/download"
        (cd "$scratch/download" && apt-get -qq "${options[@]}" download "$package=$version" >&2) ||
            die "cannot download $package $version: is there a network?" \
                "Are apt's lists up to date (\"apt-get update\")?"
        rm -f "$cache/$flavour"-*.deb
        mv "$scratch/download/"*.deb "$deb"
    fi
    echo "$deb"
}

# unpack_kernel DEB FOLDER
unpack_kernel() {
    dpkg-deb -x "$1" "$2" || {
        rm -f "$1"
        die "$1 was damaged and is removed: try again"
    }
}

# add_modules KERNEL TREE MODULE...: those that this kernel has as files (others
# are built in, or not there in this flavour), and the index for modprobe.
# Stripping also drops the signatures, which the guest would spend time on: but for
# one that is `signed`, whose kernel takes no module without.
add_modules() {
    local kernel=$1 tree=$2 version folder name file
    shift 2
    version=$(basename "$kernel"/lib/modules/*)
    folder=$tree/lib/modules/$version
    mkdir -p "$folder"
    for name in "$@"; do
        file=$(find "$kernel/lib/modules" -name "$name.ko" -print -quit)
        if [[ -n $file ]] && ((signed)); then
            cp "$file" "$folder/$name.ko"
        elif [[ -n $file ]]; then
            strip --strip-debug -o "$folder/$name.ko" "$file"
        fi
    done
    busybox depmod -b "$tree" "$version"
}
