# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The folder of built images, and what makes an image out of date.

# recipe_digest KERNEL: of every file of the recipe, every program that goes
# into the guest, and the kernel's package and version.
recipe_digest() {
    {
        echo "$1"
        cd "$here" || exit
        find build lib initramfs rootfs src \( -type f -printf '%p\0' \) -o \( -type l -printf '%p\0' \) |
            LC_ALL=C sort -z | xargs -0 sha256sum
        ingredients | xargs sha256sum
    } | sha256sum | cut -c1-16
}

# A hit is also marked as used, for prune_cache; not if the cache is another's.
cache_hit() {
    [[ -s $1 ]] || return 1
    touch -c "$1" 2>/dev/null || true
}

# One builder at a time; the lock goes with the process, however it ends.
lock_cache() {
    exec {lock_fd}>"$cache/lock"
    flock -n "$lock_fd" || {
        say "waiting for another build in $cache"
        flock "$lock_fd"
    }
}

# What builders that were killed have left behind (call with the lock held).
clear_scratch() {
    rm -rf "$cache"/scratch.*
}

# prune_cache FLAVOUR CURRENT: an older image that was asked for within the
# last hour may be under a running test of another checkout, and stays.
prune_cache() {
    find "$cache" -maxdepth 1 -name "$1-*.qcow2" ! -path "$2" -mmin +60 -delete
}
