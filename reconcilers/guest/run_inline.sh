# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# run_inline FILE, with the function with (keep.sh): runs the command on standard input and ends as
# it does. One that is too long for the command line of a program (128 KiB) runs by way of FILE.
. ./attached.sh

c=$(cat)
# shellcheck disable=SC2317 # `attached` calls it
inline() {
    if [ "${#c}" -le 30000 ]; then
        with "${SHELL:-/bin/sh}" -c "$c" </dev/null 4>&-
    else
        (umask 077 && printf '%s\n' "$c" >"$1") && with "${SHELL:-/bin/sh}" "$1" </dev/null 4>&-
    fi
}
attached inline "$1"
status=$?
rm -f -- "$1"
end_as "$status"
