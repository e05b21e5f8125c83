# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# keep RUN INPUT TIMEOUT UMASK SETSID SCRIPT, with the variables guard (the text of guard.sh) and
# log_mib set, and the functions know, which takes the step's secrets from v, and with, which runs a
# command with the step's environment: the keeper of a run. It claims the run, runs the command and
# records how that ended.
#
# Its standard output ends with the claim: that is how follow.sh knows. The command runs in the
# foreground, because a shell without job control makes background commands ignore SIGINT. The
# keeper survives SIGTERM by a handler, which the command does not inherit: at the timeout the
# keeper records the timeout. Any other SIGTERM means that the guest is shutting down, or that the
# run is not wanted any more: how the command ended has no meaning then, so there is no result and
# the run is lost. A command that removes everything in /var/tmp is done all the same, hence the
# second claim.
: "${guard:?}" "${log_mib:?}"
. ./runs.sh
. ./secrets.sh

v=${vmctl_secrets-}
unset vmctl_secrets
know
r=$1
k=
trap 'k=1' TERM
boot_of
g=$$
[ -n "$5" ] || g=$(ps -o pgid= -p "$$" | tr -d ' ')
claim() {
    ln -s "$$.$g.$b" "$r/claim" 2>/dev/null
}
claim || {
    rm -f "$2"
    exit
}
exec </dev/null >>"$r/log" 2>&1
sh -c "$guard" guard "$r/log" "$$" "$log_mib" &
umask "$4"
unset SHLVL

# watch SECONDS: ends the command at its timeout, with SIGTERM and 5 s later with SIGKILL
watch() {
    trap 'kill "$!" 2>/dev/null; exit' TERM
    sleep "$1" &
    wait "$!" || exit
    trap '' TERM
    ln -s late "$r/late"
    hit TERM "$g"
    n=0
    while [ "$n" -lt 50 ]; do
        [ -h "$r/rc" ] && exit
        nap 0.1
        n=$((n + 1))
    done
    ln -s timeout "$r/rc" 2>/dev/null
    hit KILL "$g"
}
# runs_in FILE: whether programs may run where FILE is made, which a mount with noexec forbids. An
# empty program is one of the shell's that does nothing; test -x does not see the mount, for root.
runs_in() {
    : >"$1" && chmod 755 "$1" && "$1"
} 2>/dev/null
w=
[ "$3" -gt 0 ] && {
    watch "$3" &
    w=$!
}
if [ -n "$6" ]; then
    for f in "$6" "$r/${6##*/}" "${HOME:-/}/.${6##*/}"; do
        runs_in "$f.$$" && break
        rm -f "$f.$$"
    done
    t=$f.$$
    cp "$2" "$t" && chmod 755 "$t" && mv -f "$t" "$f" && with "$f"
    s=$?
    rm -f "$t" "$f"
elif [ "$(($(wc -c <"$2")))" -gt 100000 ]; then
    # execve(2) takes no argument of more than 128 KiB
    with "${SHELL:-/bin/sh}" "$2"
    s=$?
else
    with "${SHELL:-/bin/sh}" -c "$(cat "$2")"
    s=$?
fi
[ -n "$w" ] && kill "$w" 2>/dev/null
if [ -h "$r/late" ]; then
    s=timeout
elif [ -n "$k" ]; then
    exit
fi
exec 2>/dev/null
umask 077
mkdir -p "$r"
claim
ln -s "$s" "$r/rc"
# A signal that reaches the watch before its handler is set is lost: signal it until it is gone.
while [ -n "$w" ] && kill "$w"; do
    nap 0.05
done
