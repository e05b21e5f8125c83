#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Looking at 1,000 VMs, and at one of them, against /bin/true, which no command can do without, and
# against libvirt's list of 1,000, where there is one to ask (LIBVIRT_DEFAULT_URI).
source "$(dirname "$0")/common.bash"
noop_file 1000 "$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
pairs "$((runs * 5))" "$work/list" "$work/true" "$bin/vmctl" list -- /bin/true
pairs "$((runs * 5))" "$work/one" "$work/true" "$bin/vmctl" get vm0500 -o json -- /bin/true
pairs "$runs" "$work/json" "$work/true" "$bin/vmctl" list -o json -- /bin/true
row 1 '`list` of 1,000 VMs' ms "$work/list" - /bin/true "$work/true"
row 1 '`get ONE -o json` of 1,000' ms "$work/one" 3
row 1 '`list -o json` of 1,000' ms "$work/json" 25
if has virsh && [ "$(virsh list --all --name 2>/dev/null | grep -c .)" -ge 1000 ]; then
    pairs "$runs" "$work/list2" "$work/virsh" "$bin/vmctl" list -- virsh list --all
    row 1 '`list` of 1,000 VMs' ms "$work/list2" 0.025 '`virsh list --all` of as many' "$work/virsh"
else
    skip 1 '`list` against virsh' 'a libvirtd with 1,000 domains'
fi
