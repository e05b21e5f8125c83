# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# end_command TOKEN: ends the command that `vmctl exec` runs under TOKEN, and all that it started:
# SIGTERM, after five seconds SIGKILL. The shell that is its parent has the token in its command line,
# the command and what it starts have it in their environment, where that can be read; this program
# has it only with brackets around the dash.

seek() {
    if [ -r /proc/self/environ ]; then
        grep -ls "vmctl-exec[-]$1" /proc/[0-9]*/environ /proc/[0-9]*/cmdline | sed 's/[^0-9]//g' | sort -u
    else
        # shellcheck disable=SC2009 # pgrep(1) is not in POSIX
        ps -A -o pid= -o args= | grep "vmctl-exec[-]$1" | sed 's/^ *//; s/ .*//'
    fi
}
parents() {
    if [ -r /proc/self/stat ]; then
        for f in /proc/[0-9]*/stat; do
            { read -r l <"$f"; } 2>/dev/null || continue
            x=${l##*) }
            x=${x#* }
            echo "${l%% *} ${x%% *}"
        done
    else
        ps -A -o pid= -o ppid=
    fi
}
# tree PID: its descendants, from the list t of all processes with their parents
tree() {
    for x in $(echo "$t" | while read -r p q; do
        [ "$q" = "$1" ] && echo "$p"
    done); do
        echo "$x"
        tree "$x"
    done
}
# hit SIGNAL: includes what sudo(8) runs, which a user may not signal
hit() {
    # shellcheck disable=SC2086 # a list of pids
    kill -s "$1" $a 2>/dev/null
    # shellcheck disable=SC2016,SC2086 # the inner shell expands them
    sudo -n kill -s "$1" $a >/dev/null 2>&1
}
exec 2>/dev/null
s=$(seek "$1")
[ -n "$s" ] || exit 0
t=$(parents)
a=$s
for x in $s; do
    a="$a $(tree "$x")"
done
hit TERM
n=0
while [ "$n" -lt 50 ]; do
    e=
    for x in $a; do
        kill -0 "$x" && e=1
    done
    [ -n "$e" ] || exit 0
    sleep 0.1 || sleep 1
    n=$((n + 1))
done
hit KILL
