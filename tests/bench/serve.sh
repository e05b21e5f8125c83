#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A scrape of /metrics and /v1/vms over HTTP, against `vmctl list -o json`, of BENCH_VMS (10,000) noop
# VMs at rest; how often vmctl-serve wakes without a client.
source "$(dirname "$0")/common.bash"
vms=${BENCH_VMS:-10000}
noop_file 1000 "$work/VMFile.kdl"
for i in $(seq "$((vms / 1000))"); do
    sed "s/vm \"vm/vm \"f$i-/" "$work/VMFile.kdl" >"$work/$i.kdl"
    "$bin/vmctl" -q up --detach --file "$work/$i.kdl" >/dev/null
done
"$bin/vmctl" -q wait --all --ready
"$bin/vmctl-serve" 2>"$work/serve.log" &
server=$!
trap 'kill "$server"; finish' EXIT
until grep -q listening "$work/serve.log"; do read -rt 0.05 <> <(:) || :; done
ask() { curl -sS --fail -o "$work/answer" --unix-socket "$XDG_DATA_HOME/vmctl/serve.sock" "http://localhost$1"; }
for _ in 1 2 3 4 5 6 7; do
    timed "$work/list" "$bin/vmctl" list -o json
    timed "$work/scrape" ask /metrics
    timed "$work/vms" ask /v1/vms
done
row 9 "a scrape of $vms VMs" ms "$work/scrape" 2 '`list -o json`' "$work/list"
row 9 "GET /v1/vms of $vms VMs" ms "$work/vms" 2 '`list -o json`' "$work/list"
switches() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$server/task/"*/status; }
before=$(switches)
sleep "${BENCH_IDLE_SECONDS:-20}"
echo $(($(switches) - before)) >"$work/switches"
row 9 "context switches of vmctl-serve, ${BENCH_IDLE_SECONDS:-20} s without a client" '' "$work/switches" 0
