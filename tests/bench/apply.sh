#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# What writing desired state costs: one changed VM in a store of 1 and of 1,001; 1,000 new ones in
# one file; the same file again, and what the controller does then.
source "$(dirname "$0")/common.bash"
change() { # FILE
    local i
    for i in $(seq "$runs"); do
        sed -i "s/inline \".*\"/inline \"true $1 $i\"/" "$work/one.kdl"
        timed "$work/$1" "$bin/vmctl" -q apply --detach --file "$work/one.kdl"
        timed "$work/true" /bin/true
    done
}
noop_file 1 "$work/one.kdl"
sed -i 's/vm0001/one/' "$work/one.kdl"
"$bin/vmctl" -q up --file "$work/one.kdl" >/dev/null
change alone
noop_file 1000 "$work/many.kdl"
for _ in 1 2 3 4 5; do
    "$bin/vmctl" -q down --destroy --file "$work/many.kdl" >/dev/null 2>&1 || true
    timed "$work/new" "$bin/vmctl" -q apply --detach --file "$work/many.kdl"
    "$bin/vmctl" -q apply --file "$work/many.kdl" >/dev/null
done
change among
ticks() { awk '{ print ($14 + $15) * 10 }' "/proc/$(controller)/stat"; }
before=$(ticks)
for _ in $(seq "$runs"); do timed "$work/same" "$bin/vmctl" -q apply --detach --file "$work/many.kdl"; done
echo $((($(ticks) - before) / runs)) >"$work/idle"
row 7 '`apply -d` of one changed VM, durable' ms "$work/alone" 3
row 7 'the same in a store of 1,000 more' ms "$work/among" 3
row 7 '/bin/true, by the same clock' ms "$work/true" -
row 8 '`apply -d` of 1,000 new VMs, durable' ms "$work/new" 60
row 8 'the same file again' ms "$work/same" 25
row 8 "the controller's CPU for that" ms "$work/idle" 0
