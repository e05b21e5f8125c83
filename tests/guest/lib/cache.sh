# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The folder of built images, and what makes an image out of date.

cache=${VMCTL_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmctl-guest}

open_cache() {
    mkdir -p "$cache" || die "cannot create the cache folder $cache"
    cache=$(cd "$cache" && pwd)
}

# recipe_digest WORD PATH...: of every file of the recipe (folders are walked), every program of
# this machine that goes into the guest, and a word: the version of what is downloaded.
recipe_digest() {
    local word=$1
    shift
    {
        echo "$word"
        cd "$here" || exit
        find "$@" \( -type f -printf '%p\0' \) -o \( -type l -printf '%p\0' \) |
            LC_ALL=C sort -z | xargs -0 sha256sum
        ingredients | xargs sha256sum
    } | sha256sum | cut -c1-16
}

# cached_image FAMILY DIGEST COMMAND...: prints the path of the image. If there is none yet, the
# command makes it, $scratch/disk.qcow2, in a scratch folder beside: the last step is one atomic
# rename.
cached_image() {
    local family=$1 image=$cache/$1-$2.qcow2 # "flavour" is the recipe's own, which the command reads
    shift 2
    if ! cache_hit "$image"; then
        lock_cache
        if ! cache_hit "$image"; then # nobody built it while we waited
            clear_scratch
            build_image "$image" "$@" >&2
            prune_cache "$family" "$image"
            say "built in $SECONDS s: $(du -h "$image" | cut -f1)B"
        fi
    fi
    echo "$image"
}

# build_image IMAGE COMMAND...
build_image() {
    local image=$1
    shift
    scratch=$(mktemp -d "$cache/scratch.XXXXXX")
    # What the tools of a killed build still write, the next build clears.
    trap 'rm -rf "$scratch" 2>/dev/null' EXIT
    "$@"
    chmod 444 "$scratch/disk.qcow2"
    mv "$scratch/disk.qcow2" "$image"
}

# A hit is also marked as used, for prune_cache; not if the cache is another's. Only by its access time:
# a VM whose base image has a new time of change is refused (BackingImageChanged), and rightly so.
cache_hit() {
    [[ -s $1 ]] || return 1
    touch -c -a "$1" 2>/dev/null || true
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

# prune_cache FAMILY CURRENT: an older image that was asked for within the
# last hour may be under a running test of another checkout, and stays.
prune_cache() {
    find "$cache" -maxdepth 1 -name "$1-*.qcow2" ! -path "$2" -amin +60 -delete
}
