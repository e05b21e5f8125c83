#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# What `count` costs: 1,024 VMs of one `vm` node are validated, and the same text written out.
source "$(dirname "$0")/common.bash"
: >"$work/image"
cat >"$work/count.kdl" <<END
defaults {
    image "$work/image"; backend "noop"; vcpus 2; memory 1024; cloud-init; label "tier" "web"
    provision "shell" { inline "echo \${{ index }} >/etc/number" }
}
vm "node" count=1024 { autostart #false }
END
"$bin/vmctl" config "$work/count.kdl" >"$work/written.kdl"
for _ in $(seq "$runs"); do
    timed "$work/count" "$bin/vmctl" validate "$work/count.kdl"
    timed "$work/written" "$bin/vmctl" validate "$work/written.kdl"
done
row 21 '`validate` of 1,024 VMs by `count`' ms "$work/count" 4 'written out' "$work/written"
