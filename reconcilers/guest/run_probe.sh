# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# run_probe SECONDS COMMAND: runs a probe's command by the user's shell and ends as it does. After
# SECONDS it is killed with all that it has started, also by sudo(8): sshd ends nothing when a
# connection does, and what hangs once hangs in each period. Few programs are started: it runs often.

group=
command -v setsid >/dev/null 2>&1 && group=-
${group:+setsid} "${SHELL:-/bin/sh}" -c "$2" &
command=$!
# As root first: once the command is gone, so is this guard.
# shellcheck disable=SC2016 # the inner shells expand them
${group:+setsid} sh -c 'sleep "$1"; sudo -n sh -c "kill -KILL \$1" sh "$2"; kill -KILL "$2"' \
    sh "$1" "$group$command" >/dev/null 2>&1 &
guard=$!
wait "$command"
status=$?
kill -KILL "$group$guard" 2>/dev/null
[ "$status" -le 128 ] || kill "-$((status - 128))" $$
exit "$status"
