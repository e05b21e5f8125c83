#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of QEMU until a client knows: `wait --stopped` has exited, `get -w` or `events -f` has
# printed a line; against the death itself, as its pidfd shows it.
source "$(dirname "$0")/common.bash"
small_vm one | sed 's/memory 64/memory 64; restart "never"/' >"$work/VMFile.kdl"
clients=('wait one --stopped' 'get one -w' 'events -f')
for _ in $(seq "$runs"); do
    for client in "${clients[@]}"; do
        "$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
        # shellcheck disable=SC2086 # the words of a command
        "$bin/measure" death "$("$bin/vmctl" list | awk '/^one/ { print $6 }')" \
            "$bin/vmctl" -q $client >>"$work/${client%% *}"
    done
done
for client in "${clients[@]}"; do
    file=$work/${client%% *}
    cut -d' ' -f1 "$file" >"$file.death"
    cut -d' ' -f2 "$file" >"$file.notice"
    row 4 "kill -9 of QEMU until \`$client\` knows" ms "$file.notice" 1.5 'QEMU is dead' "$file.death"
    p90 "$file.notice" >"$file.p90"
    row 4 'the same, the ninth of ten' ms "$file.p90" 3 'QEMU is dead' "$file.death"
done
