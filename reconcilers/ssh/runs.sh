# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh disable=SC2034 # g, b and c are for the programs that include this
#
# What the guest's programs know about the directory RUN of a run (detached_script.h). The part that
# keep.sh, follow.sh and ask.sh share.

# target_of LINK: where a symbolic link points; readlink(1) is not in POSIX
target_of() {
    # shellcheck disable=SC2012 # the target is the last word, and holds no space
    l=$(ls -l "$1" 2>/dev/null) && echo "${l##* }"
}

# seek RUN: sets p to its keeper, when the command removed the claim with all of /var/tmp
seek() {
    if [ -r /proc/self/cmdline ]; then
        p=$(grep -ls "$1[/]keep" /proc/[0-9]*/cmdline | sed 's/[^0-9]//g; q')
    else
        # shellcheck disable=SC2009 # pgrep(1) is not in POSIX
        p=$(ps -A -o pid= -o args= | grep "$1[/]keep" | sed 's/^ *//; s/ .*//; q')
    fi
    g=$p
    [ -n "$p" ]
}

# load RUN: sets p, g, c to pid, process group and boot of its claim, which may come back during the
# search for the keeper; fails when the run has not begun
load() {
    p=
    c=$(target_of "$1/claim") || { seek "$1" 2>/dev/null && return; }
    [ -n "$c" ] || c=$(target_of "$1/claim") || return
    p=${c%%.*}
    c=${c#*.}
    g=${c%%.*}
    c=${c#*.}
}

# lives RUN: whether p is its keeper; illumos shows 80 bytes of a command line
lives() {
    kill -0 "$p" 2>/dev/null || return 1
    if [ -r "/proc/$p/cmdline" ]; then
        a=$({ tr '\0' ' ' <"/proc/$p/cmdline"; } 2>/dev/null)
    else
        a=$(ps -o args= -p "$p" 2>/dev/null)
    fi
    case $a in
    *"$1/keep"*) return 0 ;;
    esac
    return 1
}

# hit SIGNAL GROUP: includes what sudo(8) runs, which a user may not signal
hit() {
    kill -s "$1" -- "-$2" 2>/dev/null
    # shellcheck disable=SC2016 # the inner shell expands them
    sudo -n sh -c 'kill -s "$1" -- "-$2"' sh "$1" "$2" >/dev/null 2>&1
}

nap() {
    sleep "$1" 2>/dev/null || sleep 1
}

# boot_of: sets b to the boot the guest is in
boot_of() {
    b=
    { read -r b </proc/sys/kernel/random/boot_id; } 2>/dev/null
}
