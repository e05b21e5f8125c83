# SPDX-License-Identifier: MPL-2.0
# Two other hosts on this machine: an sshd each on 127.0.0.1, whose users have a HOME and a data
# directory of their own. ssh itself takes its configuration from the passwd home, so it is called
# by a program of the same name that names another one.

# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE%/*}/cli_common.bash"

sshd_ports=()

# free_port : one that nothing listens on now
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

nodes_setup() {
    [ -x /usr/sbin/sshd ] || skip "no sshd (package openssh-server)"
    cli_setup
    export XDG_CONFIG_HOME=$work/config
    mkdir -p "$work/bin" "$XDG_CONFIG_HOME"
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
    ssh-keygen -q -t ed25519 -N '' -f "$work/host_key"
    cat >"$work/ssh_config" <<END
IdentityFile $work/key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
END
    printf '#!/bin/sh\nexec /usr/bin/ssh -F "%s" "$@"\n' "$work/ssh_config" >"$work/bin/ssh"
    chmod +x "$work/bin/ssh"
    PATH=$work/bin:$PATH
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
}

nodes_teardown() {
    [ -n "${work:-}" ] || return 0
    local node pid pidfile
    for node in b c; do
        [ ! -d "$work/$node" ] || at "$node" vmctl controller stop >/dev/null 2>&1 || true
        for pidfile in "$work/$node"/data/vmctl/vms/*/pidfile; do # of a guest that is there in the end
            [ ! -s "$pidfile" ] || kill -9 "$(cat "$pidfile")" 2>/dev/null || true
        done
        pid=$(cat "$work/$node/pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || true
    done
    [ -z "${hung:-}" ] || kill "$hung" 2>/dev/null || true
    cli_teardown
}

# at NODE COMMAND... : as its user
at() {
    local home=$work/$1
    shift
    env -C "$home" -u VMCTL_FILE HOME="$home" XDG_DATA_HOME="$home/data" XDG_CONFIG_HOME="$home/config" "$@"
}

# node_up NODE : its sshd, and its VMs' data directory; it is not named to vmctl
node_up() {
    local home=$work/$1 port
    port=$(free_port)
    mkdir -p "$home/data/vmctl/noop"
    chmod 700 "$home/data/vmctl"
    cat >"$home/sshd_config" <<END
ListenAddress 127.0.0.1
Port $port
HostKey $work/host_key
PidFile $home/pid
AuthorizedKeysFile $work/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv HOME=$home XDG_DATA_HOME=$home/data XDG_CONFIG_HOME=$home/config "PATH=$PATH" NO_COLOR=1
END
    /usr/sbin/sshd -f "$home/sshd_config" -E "$home/sshd.log"
    await test -s "$home/pid"
    node_port=$port
}

# node_added NODE : up, and named to vmctl
node_added() {
    node_up "$1"
    vmctl -q node add "$1" "ssh://$(id -un)@127.0.0.1:$node_port"
}
