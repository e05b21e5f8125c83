#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# What writing a wish costs: one changed VM; 1,000 new ones in one file; the same file again. The
# floor is /bin/true: what no command can do without.
source "$(dirname "$0")/common.bash"
for _ in $(seq "$runs"); do timed "$work/true" /bin/true; done

noop_file 1 "$work/one.kdl"
"$bin/vmctl" -q up --file "$work/one.kdl" >/dev/null
for i in $(seq "$runs"); do
    sed -i "s/inline \".*\"/inline \"true $i\"/" "$work/one.kdl"
    timed "$work/change" "$bin/vmctl" -q apply --detach --file "$work/one.kdl"
done
figure "apply of one changed VM, durable" "$work/change" "$work/true"

noop_file 1000 "$work/many.kdl"
for _ in 1 2 3 4 5; do
    "$bin/vmctl" -q destroy --all >/dev/null
    timed "$work/new" "$bin/vmctl" -q apply --detach --file "$work/many.kdl"
    "$bin/vmctl" -q apply --file "$work/many.kdl" >/dev/null
done
figure "apply of 1,000 new VMs, durable" "$work/new"
for _ in $(seq "$runs"); do timed "$work/same" "$bin/vmctl" -q apply --detach --file "$work/many.kdl"; done
figure "the same file again, nothing to write" "$work/same" "$work/true"
