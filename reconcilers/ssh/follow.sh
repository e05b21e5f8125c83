# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# follow BASE ID OFFSET SIZE TIMEOUT SCRIPT MUST-EXIST KEEPER SECRETS: starts the run unless it was
# started, and writes its log from OFFSET on until it is over. KEEPER is the text of keep.sh, SECRETS
# how many lines of them come before the SIZE bytes of the command. The log of a run with secrets,
# which it may print, is on no disk.
. ./runs.sh
. ./secrets.sh

exec 2>/dev/null
u=$(umask)
umask 077
d=$1/vmctl-$(id -u)
r=$d/$2
o=$(($3 + 1))
is_ours() {
    mkdir "$1" 2>/dev/null
    [ -h "$1" ] && return 1
    # shellcheck disable=SC3067 # every shell of the guests has -O, and ls(1) shows less
    [ -d "$1" ] && [ -O "$1" ] && [ -w "$1" ]
}
is_ours "$d" || {
    cat >/dev/null
    exit 93
}

# follow: exits. The end is checked before the log is read, so that nothing written before the end
# is missed.
follow() {
    cat >/dev/null
    [ -n "$h" ] || {
        mkdir -p "$r"
        : >>"$r/log"
        exec 3<"$r/log"
    }
    { echo "$$" >"$r/tail"; } 2>/dev/null
    load "$r"
    tail -c "+$o" <&3 || exit 95
    n=0
    while :; do
        e=
        if [ -h "$r/rc" ]; then
            e=1
        elif [ $((n % 16)) -eq 0 ]; then
            lives "$r" || e=1
        else
            kill -0 "$p" 2>/dev/null || e=1
        fi
        cat <&3 || exit 95
        [ -n "$e" ] && break
        t=$$
        { read -r t <"$r/tail"; } 2>/dev/null
        [ "$t" = "$$" ] || exit 95
        n=$((n + 1))
        if [ "$n" -lt 8 ]; then
            nap 0.03
        else
            nap 0.15
        fi
    done
    [ "$(target_of "$r/rc")" = 0 ] && exit 90
    exit 94
}
# keep_in_memory RUN DIRECTORY: makes the log a file of DIRECTORY in a file system that is in memory
keep_in_memory() {
    for m in /dev/shm "/run/user/$(id -u)" /tmp; do
        grep -q "[[:space:]]${m}[[:space:]]*tmpfs" /proc/mounts /etc/mnttab && is_ours "$m/$2" &&
            ln -s "$m/$2/${1##*/}" "$1/log" && return
    done
    [ -h "$1/log" ]
}
h=
if load "$r"; then
    follow
fi
if [ -n "$7" ]; then
    cat >/dev/null
    exit 94
fi
mkdir "$r" 2>/dev/null
v=
[ "$9" -eq 0 ] || { read_secrets "$9" && keep_in_memory "$r" "${d##*/}"; } || {
    cat >/dev/null
    exit 93
}
i=$r/in.$$
{ cat >"$i" && [ $(($(wc -c <"$i"))) -eq "$4" ]; } || {
    cat >/dev/null
    exit 93
}

# end RUN: ended runs are not signalled, because what they left running is meant to run
end() {
    load "$1" && lives "$1" || return
    [ -h "$1/rc" ] && return
    hit TERM "$g"
    n=0
    while [ "$n" -lt 50 ] && lives "$1"; do
        nap 0.1
        n=$((n + 1))
    done
    lives "$1" && hit KILL "$g"
}
for x in "$d/${2%%-*}"-*; do
    [ "$x" = "$r" ] && continue
    end "$x"
    rm -f "$(target_of "$x/log")"
    rm -rf "$x"
done
printf '%s\n' "$8" >"$r/keep.$$" && mv -f "$r/keep.$$" "$r/keep" &&
    : >>"$r/log" && exec 3<"$r/log" || exit 93
h=1
s=
command -v setsid >/dev/null 2>&1 && s=setsid
# The left side of the pipe is the keeper itself (exec) and not a shell that waits for it: else the
# pipe would not end with the claim.
{ [ -z "$v" ] || { vmctl_secrets=$v && export vmctl_secrets; }; exec $s sh "$r/keep" "$r" "$i" "$5" "$u" "$s" "$6" 3<&-; } | follow
exit
