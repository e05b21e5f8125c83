# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# settle_guest, as root, just before the guest is frozen: stops what runs in it, where the kernel can
# (cgroup v2), so that none of it runs before the clone is itself; and writes its files.

for slice in system user; do
    freeze=/sys/fs/cgroup/$slice.slice/cgroup.freeze
    [ -w "$freeze" ] && echo 1 >"$freeze"
done
sync
