# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# guard LOG KEEPER MIB: cuts a log that exceeds MIB, so that a command that prints without end does
# not fill the guest's disk. Every writer appends, so the beginning stays and the log has no hole. A
# program of its own: its command line must not look like the keeper's.

trap "" TERM
while { sleep 0.5 2>/dev/null || sleep 1; }; kill -0 "$2" 2>/dev/null; do
    # shellcheck disable=SC2012,SC2046 # the size is word 5, hence $8; stat(1) is not in POSIX
    set -- "$1" "$2" "$3" $(ls -lnL "$1" 2>/dev/null)
    # dd(1), because truncate(1) is not in POSIX
    [ "${8:-0}" -gt $(($3 * 1048576)) ] &&
        dd if=/dev/null of="$1" bs=1048576 seek="$3" 2>/dev/null
done
