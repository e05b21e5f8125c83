# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# run_probe SECONDS COMMAND: runs a probe's command by the user's shell and ends as it does. After
# SECONDS it is killed with all that it has started: sshd ends nothing when a connection does, and
# what hangs once hangs in each period.

group=
command -v setsid >/dev/null 2>&1 && group=-
${group:+setsid} "${SHELL:-/bin/sh}" -c "$2" &
command=$!
# shellcheck disable=SC2016 # the inner shell expands them
${group:+setsid} sh -c 'sleep "$1"; kill -KILL "$2"' sh "$1" "$group$command" >/dev/null 2>&1 &
guard=$!
wait "$command"
status=$?
kill -KILL "$group$guard" 2>/dev/null
[ "$status" -le 128 ] || kill "-$((status - 128))" $$
exit "$status"
