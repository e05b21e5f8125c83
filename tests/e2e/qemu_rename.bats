#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# `vmctl rename` of a real guest: its disk, snapshots, host key and ports go along, and nothing changes
# within.

load qemu

setup_file() { use_data_dir; }
teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

# bats test_tags=long
@test "a renamed guest is the same on the same disk, known by its host key, and not set up again" {
    cat >VMFile.kdl <<'END'
vm "web" {
    image "guest.qcow2"
    memory 160
    cloud-init
    forward host=18087 guest=80
    provision "shell" { inline "sudo sh -c 'echo kept >/root/kept; hostname >>/root/kept'" }
}
END
    vmctl -q up
    vmctl ssh-config >/dev/null
    vmctl -q stop web
    vmctl -q snapshot create web before
    local port instance
    port=$(vmctl get web -o json | jq .status.sshPort)
    vmctl -q rename web www
    [ ! -e "$DATA/vms/web" ]
    grep -q '^vmctl-www ' "$DATA/vms/www/known_hosts"
    sed -i 's/"web"/"www"/' VMFile.kdl
    run vmctl diff
    echo "$output"
    [ "$status" -eq 0 ]
    vmctl -q up --no-provision
    [ "$(vmctl get www -o json | jq .status.sshPort)" = "$port" ]
    run vmctl ssh www -- 'sudo cat /root/kept; hostname'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == $'kept\nweb\nweb' ]] # the seed is the one that its disk was made with
    run vmctl ssh-config www
    [[ $output == *"Host www"*"HostKeyAlias vmctl-www"* ]]
    vmctl -q stop www
    vmctl -q snapshot restore www before
    vmctl -q start www
    [ "$(vmctl ssh www -- sudo cat /root/kept | head -1)" = kept ]
}
