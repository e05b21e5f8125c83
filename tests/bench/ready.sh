#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The tiny guest boots: from its sshd's first greeting, as another client sees it, until `vmctl wait
# --ready` has exited; against a login by ssh at once behind that greeting, which waits for the end
# of the guest's cloud-init, in a boot of its own during which vmctld stands still.
source "$(dirname "$0")/common.bash"
has ssh || { skip 12 'greeting until `wait --ready` exits' ssh; exit; }
guest=$("$(dirname "$0")/../guest/build" | tail -n 1)
cat >"$work/VMFile.kdl" <<END
vm "guest" { image "$guest"; memory 192; accel "tcg"; ssh { user "root" }; cloud-init { hostname "guest" } }
END
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
"$bin/vmctl" ssh-config guest >"$work/config"
port=$(awk '$1 == "Port" { print $2 }' "$work/config")
controller=$(controller)
trap 'kill -CONT "$controller" || true; finish' EXIT

boot() {
    "$bin/vmctl" -q stop guest >/dev/null
    "$bin/vmctl" -q start guest --detach >/dev/null
    "$bin/vmctl" -q wait guest --running >/dev/null
}
since_greeting() { # TIME FILE : appends the milliseconds until TIME
    awk -v a="$(cat "$work/greeting")" -v b="$1" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$2"
}

for _ in $(seq "$((runs / 4 + 1))"); do
    boot
    kill -STOP "$controller"
    "$bin/measure" greeting "$port" >"$work/greeting"
    timeout 60 ssh -F "$work/config" guest 'until [ -e /var/lib/cloud/instance/boot-finished ]; do sleep 0.02; done'
    since_greeting "$EPOCHREALTIME" "$work/login"
    kill -CONT "$controller"
    boot
    "$bin/measure" greeting "$port" >"$work/greeting" &
    "$bin/vmctl" -q wait guest --ready >/dev/null
    ready=$EPOCHREALTIME
    wait $!
    since_greeting "$ready" "$work/ready"
done
row 12 "the guest's sshd greets until \`wait --ready\` exits" ms "$work/ready" - 'ssh until it is set up' "$work/login"
awk -v floor="$(median "$work/login")" '{ print $1 - floor }' "$work/ready" >"$work/lag"
row 12 'the same, less the median of those logins' ms "$work/lag" 30
