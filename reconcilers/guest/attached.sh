# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# For the programs that include this.

# attached COMMAND...: runs it and ends as it does, also when what it leaves in the background still
# has its output open, which would keep the connection's channel open: of that no more is read. The
# command closes descriptor 4.
attached() {
    exec 3>&1
    # shellcheck disable=SC2016 # the inner shell expands it
    {
        {
            "$@" 2>&1 3>&-
            echo "s$?" >&4
        } | sh -c 'echo "r$$" >&4; exec cat >&3 3>&- 4>&-'
    } 4>&1 2>/dev/null | {
        s=
        r=
        while [ -z "$s" ] || [ -z "$r" ]; do
            read -r l || exit 255
            case $l in
            s*) s=${l#s} ;;
            r*) r=${l#r} ;;
            esac
        done
        n=0
        # A busy guest takes its time to start even a sleep(1).
        while [ "$n" -lt 6 ] && kill -0 "$r" 2>/dev/null; do
            n=$((n + 1))
            sleep 0.05 2>/dev/null || { sleep 1 && n=6; }
        done
        kill -KILL "$r" 2>/dev/null
        exit "$s"
    }
}

# end_as STATUS: by the same signal, if it was one
end_as() {
    [ "$1" -le 128 ] || kill "-$(($1 - 128))" $$
    exit "$1"
}
