#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `list -A` of VMs that another node of the fleet has published, beside `list` of as many of this
# host's own. BENCH_VMS (10,000) is how many.
source "$(dirname "$0")/common.bash"
vms=${BENCH_VMS:-10000}
etcd=$(dirname "$0")/../../examples/fleet/etcd
if ! has etcd etcdctl openssl jq; then
    skip 23 '`list -A` of another node' 'no etcd (packages etcd-server, etcd-client)'
    exit 0
fi
export PORT=$((RANDOM % 9000 + 20000))
own=$XDG_DATA_HOME
end_etcd() {
    env XDG_DATA_HOME="$work/b" "$bin/vmctl" controller stop >/dev/null 2>&1 || true
    export XDG_DATA_HOME=$own
    "$etcd" stop "$work/store" >/dev/null 2>&1 || true
    finish
}
trap end_etcd EXIT
for i in $(seq $(((vms + 999) / 1000))); do
    noop_file 1000 "$work/VMFile.kdl"
    sed "s/vm \"vm/vm \"f$i-/" "$work/VMFile.kdl" >"$work/$i.kdl"
    "$bin/vmctl" -q up --detach --file "$work/$i.kdl" >/dev/null
done
"$bin/vmctl" -q wait --all --ready

# another host, with a node that has them
export XDG_DATA_HOME=$work/b
"$etcd" start "$work/store" 1 >&2
"$etcd" user "$work/store" b >&2
url=https://127.0.0.1:$PORT
"$bin/vmctl" -q fleet init --as b --etcd "$url" --ca "$work/store/tls/ca.pem" --cert "$work/store/tls/b.pem" --key "$work/store/tls/b.key" \
    --accept url,cache,path
head -c 1M /dev/zero >"$work/image"
"$bin/vmctl" -q create --name one --backend noop --image "$work/image" --start
row_of() { "$etcd" ctl "$work/store" get --print-value-only "/vmctl/1/home/$1"; }
until row_of st/b/one | grep -q '"Ready"'; do sleep 0.2; done
status=$(row_of st/b/one | jq -R .) # in quotes, as etcdctl reads them
row_of node/b | jq -c '.uid = "other"' >"$work/node"
put() { "$etcd" ctl "$work/store" put "/vmctl/1/home/$1" "$2" >/dev/null; }
put node/c "$(cat "$work/node")"
put alive/c "$(row_of alive/b)"
for ((i = 0; i < vms; i += 100)); do
    {
        echo
        for ((k = i; k < i + 100; k++)); do printf "put /vmctl/1/home/st/c/v%05d %s\n" "$k" "$status"; done
        printf '\n\n'
    } | "$etcd" ctl "$work/store" txn >/dev/null
done
until [ "$("$bin/vmctl" list -A -o json 2>/dev/null | jq length)" -ge $((vms + 1)) ]; do sleep 0.5; done
for _ in $(seq "$runs"); do
    XDG_DATA_HOME=$own timed "$work/list" "$bin/vmctl" list
    timed "$work/all" "$bin/vmctl" list -A 2>/dev/null
done
row 23 "\`list -A\` of $vms VMs of another node" ms "$work/all" 1.5 '`list` of as many' "$work/list"
