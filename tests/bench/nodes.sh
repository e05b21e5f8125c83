#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `list -A` of one to eight nodes, each an sshd on loopback with a data directory of its own, against
# one plain ssh that runs the same `vmctl list` there: they are asked at once, but all of them, and
# what they run, are on the two processors of this machine.
source "$(dirname "$0")/common.bash"
if [ ! -x /usr/sbin/sshd ]; then
    skip 16 '`list -A` of nodes' 'no sshd (package openssh-server)'
    exit 0
fi
export XDG_CONFIG_HOME=$work/config
mkdir -p "$work/bin" "$XDG_CONFIG_HOME/vmctl"
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
ssh-keygen -q -t ed25519 -N '' -f "$work/host_key"
printf '#!/bin/sh\nexec /usr/bin/ssh -F /dev/null -i "%s" -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR "$@"\n' \
    "$work/key" >"$work/bin/ssh"
chmod +x "$work/bin/ssh"
PATH=$work/bin:$PATH
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
sshd_pids=()
end_sshds() {
    kill "${sshd_pids[@]}" 2>/dev/null || true
    local home
    for home in "$work"/n*/; do XDG_DATA_HOME=$home/data "$bin/vmctl" controller stop >/dev/null 2>&1 || true; done
    finish
}
trap end_sshds EXIT

first=
add_node() { # NUMBER
    local home=$work/n$1 port
    port=$(free_port)
    mkdir -p "$home"
    printf '%s\n' "ListenAddress 127.0.0.1" "Port $port" "HostKey $work/host_key" "PidFile $home/pid" \
        "AuthorizedKeysFile $work/key.pub" "StrictModes no" "UsePAM no" "MaxStartups 100" \
        "SetEnv HOME=$home XDG_DATA_HOME=$home/data PATH=$PATH" >"$home/sshd_config"
    /usr/sbin/sshd -D -f "$home/sshd_config" -E "$home/log" &
    sshd_pids+=($!)
    until [ -s "$home/pid" ]; do kill -0 $!; done
    printf 'node "n%s" "ssh://%s@127.0.0.1:%s" vmctl="%s"\n' "$1" "$(id -un)" "$port" "$bin/vmctl" \
        >>"$XDG_CONFIG_HOME/vmctl/nodes.kdl"
    first=${first:-ssh://$(id -un)@127.0.0.1:$port}
    truncate -s 1M "$home/disk.img"
    XDG_DATA_HOME=$home/data "$bin/vmctl" -q create --name "on-$1" --backend noop --image "$home/disk.img" >/dev/null
}

n=0
for wanted in 1 2 4 8; do
    while [ "$n" -lt "$wanted" ]; do
        n=$((n + 1))
        add_node "$n"
    done
    for _ in $(seq "$((runs / 2 + 1))"); do
        timed "$work/ssh$wanted" ssh -- "$first" "$bin/vmctl list -o json" 2>/dev/null
        timed "$work/list$wanted" "$bin/vmctl" list -A 2>/dev/null
    done
    [ "$("$bin/vmctl" list -A -o name 2>/dev/null | wc -l)" -eq "$wanted" ]
    row 16 "\`list -A\` of $wanted nodes" ms "$work/list$wanted" "$(awk -v n="$wanted" 'BEGIN { print n / 2 + 1.5 }')" 'one plain ssh' "$work/ssh$wanted"
done
