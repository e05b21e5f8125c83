# SPDX-License-Identifier: MPL-2.0
# A fleet of this host, a, and others that are reached by ssh on loopback, on an etcd of one member.

# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE%/*}/nodes.bash"

fleet_setup() {
    command -v etcd etcdctl >/dev/null || skip "no etcd (packages etcd-server etcd-client)"
    nodes_setup
    etcd_start
}

fleet_teardown() {
    [ -z "${etcd_pid:-}" ] || kill -9 "$etcd_pid" 2>/dev/null || true
    nodes_teardown
}

etcd_start() {
    etcd_url=${etcd_url:-http://127.0.0.1:$(free_port)}
    peer_url=${peer_url:-http://127.0.0.1:$(free_port)}
    etcd --data-dir "$work/etcd" --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
        --listen-peer-urls "$peer_url" --initial-advertise-peer-urls "$peer_url" \
        --initial-cluster "default=$peer_url" >"$work/etcd.log" 2>&1 3>&- &
    etcd_pid=$!
    await env ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" endpoint health
}

# joined [NODE...] : a makes the fleet, the others are up and join it, with a short lease
joined() {
    local node
    vmctl -q fleet init --as a --etcd "$etcd_url" --ssh me@a.invalid --accept url,cache,path
    for node in "$@"; do
        node_up "$node"
        at "$node" vmctl -q fleet join --as "$node" --etcd "$etcd_url" --accept url,cache,path \
            --ssh "ssh://$(id -un)@127.0.0.1:$node_port"
    done
    for node in "$@"; do await knows "$node"; done
}

knows() { [ "$(vmctl fleet status -o json | jq -r ".nodes[] | select(.name == \"$1\").ready")" = true ]; }
shows() { [[ "$(vmctl list -A 2>&1)" =~ $1 ]]; }

# of_fleet NAME [NODE] : a VM that the fleet places, appended to the VMFile
of_fleet() {
    printf 'vm "%s" {\n    node "%s"\n    image "%s"\n    backend "noop"\n%s}\n' \
        "$1" "${2:-any}" "$work/image" "${3:-}" >>"$work/VMFile.kdl"
}

# etcd_get ROW : a row of the fleet; etcd_rows PREFIX : the ends of the keys below
etcd_get() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --print-value-only "/vmctl/1/home/$1"; }
etcd_put() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" put "/vmctl/1/home/$1" "$2" >/dev/null; }
etcd_rows() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --prefix --keys-only "/vmctl/1/home/$1" | grep -oE '[^/]+$'; }
etcd_files() { ETCDCTL_API=3 etcdctl --endpoints "$etcd_url" get --prefix --keys-only "/vmctl/1/home+file/$1/" | grep . || true; }
