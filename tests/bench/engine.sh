#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# What a fleet's store costs: a record put to one etcd on this machine, by TLS, and seen by another's
# watch, beside the same committed to LMDB; and many of them read at once.
source "$(dirname "$0")/common.bash"
etcd=$(dirname "$0")/../../examples/fleet/etcd
if ! has etcd etcdctl openssl; then
    skip 22 'a record put to etcd' 'no etcd (packages etcd-server, etcd-client)'
    exit 0
fi
export PORT=$((RANDOM % 9000 + 20000))
end_etcd() {
    "$etcd" stop "$work/store"
    finish
}
trap end_etcd EXIT
"$etcd" start "$work/store" 1 >&2
"$etcd" user "$work/store" a >&2
url=https://127.0.0.1:$PORT
"$bin/measure_fleet" put "$((runs * 10))" "$url" "$work/store/tls" "$work/lmdb" >"$work/put"
for column in 1 2 3; do cut -d' ' -f$column "$work/put" >"$work/put.$column"; done
row 22 'a record put to etcd' ms "$work/put.1" 8 'committed to LMDB' "$work/put.3"
row 22 'until a watch has it' ms "$work/put.2" 1.5 'until the put is answered' "$work/put.1"
"$bin/measure_fleet" list "$runs" 10000 "$url" "$work/store/tls" >"$work/list"
row 22 '10,000 records read' ms "$work/list" 200

"$bin/measure_fleet" crowd 200 500 "$url" "$work/store/tls" >"$work/crowd"
for column in 1 2; do cut -d' ' -f$column "$work/crowd" >"$work/crowd.$column"; done
row 22 'a status among 200 nodes of 500 VMs, written and seen' ms "$work/crowd.1" 1
row 22 'the same, a hundred at once, each' ms "$work/crowd.2" 0.2

"$bin/vmctl" -q fleet init --as a --etcd "$url" --ca "$work/store/tls/ca.pem" --cert "$work/store/tls/a.pem" --key "$work/store/tls/a.key"
sleep 3
messenger=$(pgrep -P "$(controller)" -f 'vmctld --fleet')
switches() { awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }' "/proc/$messenger/task/"*/status; }
before=$(switches)
sleep 60
awk -v n=$(($(switches) - before)) 'BEGIN { print n / 60 }' >"$work/idle"
row 22 'wake-ups of a messenger at rest, each second' '' "$work/idle" 0.5
