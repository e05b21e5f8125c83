#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# 200 files of a few bytes made, listed, read and removed in a shared folder (virtiofs), in the same folder
# by 9p, and on the guest's own disk: what git and make do all day. By the guest's clock.
source "$(dirname "$0")/common.bash"
folder=$(mktemp -d /tmp/vmctl-bench.XXXXXX)
trap 'rm -rf "$folder"; finish' EXIT
((EUID)) || chown 65534:65534 "$folder"
guest=$("$(dirname "$0")/../guest/build" --kernel=generic | tail -n 1) # the cloud's has no 9p
cat >"$work/VMFile.kdl" <<END2
vm "guest" {
    image "$guest"; memory 192; accel "tcg"; ssh { user "root" }; cloud-init; stop-timeout 0
    share "$folder" "/work" tag="work"
}
END2
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
in_guest() { "$bin/vmctl" exec guest -- sh -c "$1"; }
in_guest 'grep -q " /work virtiofs" /proc/mounts' ||
    { skip 20 'small files in a shared folder' 'virtiofs'; exit; }
in_guest 'mkdir -p /plan9 /own && mount -t 9p -o trans=virtio,version=9p2000.L work /plan9' ||
    { skip 20 'small files in a shared folder' "a guest's kernel with 9p"; exit; }

# small_files FILE DIRECTORY : appends the milliseconds.
small_files() {
    in_guest "mkdir $2/made && cd $2/made && sync && read begin idle </proc/uptime
        for i in \$(seq 200); do echo \$i >\$i; done; ls -l >/dev/null; cat * >/dev/null; rm *
        sync; read end idle </proc/uptime; cd / && rmdir $2/made; echo \$begin \$end" |
        awk '{ print ($2 - $1) * 1000 }' >>"$1"
}
for _ in $(seq "$((runs / 4 + 1))"); do
    small_files "$work/virtiofs" /work
    small_files "$work/plan9" /plan9
    small_files "$work/own" /own
done
qemu=$("$bin/vmctl" status guest -o json | jq .status.instance.pid)
for pid in $(pgrep -P "$qemu"); do awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup"; done |
    awk '{ sum += $1 } END { print sum }' >"$work/memory"
row 20 '200 small files in a shared folder' ms "$work/virtiofs" 0.5 'the same by 9p' "$work/plan9"
row 20 '200 small files in a shared folder' ms "$work/virtiofs" - "on the guest's disk" "$work/own"
row 20 'memory of a shared folder (Pss of its server)' KiB "$work/memory" 16384
