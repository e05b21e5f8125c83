#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The tiny guest is restarted: from its sshd's first greeting, as another client sees it, until
# `vmctl wait --ready` has exited. Less what a login by ssh takes, right behind it.
source "$(dirname "$0")/common.bash"
has ssh || { skip 12 'greeting until `wait --ready` exits' ssh; exit; }
guest=$("$(dirname "$0")/../guest/build" | tail -n 1)
cat >"$work/VMFile.kdl" <<END
vm "guest" { image "$guest"; memory 192; accel "tcg"; ssh { user "root" }; cloud-init { hostname "guest" } }
END
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
"$bin/vmctl" ssh-config guest >"$work/config"
port=$(awk '$1 == "Port" { print $2 }' "$work/config")
for _ in $(seq "$((runs / 4 + 1))"); do
    "$bin/vmctl" -q stop guest >/dev/null
    "$bin/vmctl" -q start guest --detach >/dev/null
    "$bin/measure" greeting "$port" >"$work/greeting" &
    "$bin/vmctl" -q wait guest --ready >/dev/null
    ready=$EPOCHREALTIME
    wait $!
    timed "$work/login" ssh -F "$work/config" guest true
    awk -v a="$(cat "$work/greeting")" -v b="$ready" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$work/ready"
    awk -v ready="$(tail -n 1 "$work/ready")" -v login="$(tail -n 1 "$work/login")" \
        'BEGIN { print ready - login }' >>"$work/lag"
done
row 12 "the guest's sshd greets until \`wait --ready\` exits" ms "$work/ready" - 'a login by ssh' "$work/login"
row 12 'the same, less the login behind it' ms "$work/lag" 30
