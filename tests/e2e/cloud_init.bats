#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl's seeds, read by Debian's real cloud-init without a boot: its schema, and its code that makes
# users and groups, with the real useradd. tests/e2e/slow boots it.

load cli_common

setup_file() {
    CLOUD_INIT=$("$BATS_TEST_DIRNAME/../guest/cloud-init" | tail -n 1)
    export CLOUD_INIT
}

setup() {
    cli_setup
    qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
}
teardown() { cli_teardown; }

# The accounts of a fresh Debian.
make_root() {
    root=$work/root
    rm -rf "$root"
    mkdir -p "$root/etc" "$root/home"
    cp /usr/share/base-passwd/passwd.master "$root/etc/passwd"
    cp /usr/share/base-passwd/group.master "$root/etc/group"
    sed 's/:.*/:*:19000:0:99999:7:::/' "$root/etc/passwd" >"$root/etc/shadow"
    : >"$root/etc/gshadow"
    : >"$root/sudoers"
}

# as_root COMMAND... : or as somebody who is taken for it
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else fakeroot -- "$@"; fi
}

# seed_of USER|- [NAME]: the texts of a VM's seed become $work/user-data and $work/meta-data.
seed_of() {
    local name=${2:-vm1} user=(--user "$1") seed file
    [ "$1" != - ] || user=()
    vmctl create -q --name "$name" --image "$work/disk.qcow2" --ssh-key "$work/key.pub" "${user[@]}"
    seed=$data/vms/$name/seed.iso
    for file in user-data meta-data; do bsdtar -xOf "$seed" "$file" >"$work/$file"; done
    vmctl destroy -q "$name"
}

cloud_init() {
    run as_root /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/cloud_init_users.py" \
        "$CLOUD_INIT" "$root" "$work/user-data"
    echo "$output"
}

is_made() { # USER
    [ "$status" -eq 0 ]
    [ "$output" = "$1: group $1, own home, shell /bin/bash, locked, $1 ALL=(ALL) NOPASSWD:ALL, 2 keys" ]
}

@test "cloud-init makes the user that the seed asks for, whatever its name" {
    local user
    for user in debian ubuntu vm first-last a_b1; do
        make_root
        seed_of "$user"
        cloud_init
        is_made "$user"
    done
}

@test "without a user in the VMFile it makes vm" {
    make_root
    seed_of -
    cloud_init
    is_made vm
}

@test "a user named as a group of the image gets that group" {
    make_root
    seed_of operator
    cloud_init
    is_made operator
    grep -qx 'operator:[^:]*:37:operator' "$root/etc/group"
}

@test "a user that the image has already is given key and sudo" {
    make_root
    as_root useradd --prefix "$root" --user-group --shell /bin/bash --create-home debian
    seed_of debian
    cloud_init
    is_made debian
}

@test "a primary group that nobody makes is the fault that this would find" {
    make_root
    seed_of debian
    sed -i '/^    groups:$/,+1d' "$work/user-data"
    cloud_init
    [ "$status" -ne 0 ]
    [[ $output == *"group 'debian' does not exist"* ]]
}

@test "what its schema does not know is a fault" {
    make_root
    seed_of debian
    sed -i 's/lock_passwd/lock_password/' "$work/user-data"
    cloud_init
    [ "$status" -ne 0 ]
    [[ $output == *lock_password* ]]
}

@test "a VM's name that is no host name becomes one in its seed" {
    seed_of debian My_web.
    grep -qx 'hostname: "My-web"' "$work/user-data"
    grep -qx 'local-hostname: "My-web"' "$work/meta-data"
}

@test "each VM is another instance to cloud-init, also one made again under its name" {
    local ids=() name
    for name in one two one; do
        seed_of vm "$name"
        ids+=("$(sed -nE 's/^instance-id: "([0-9a-f]{32})"$/\1/p' "$work/meta-data")")
    done
    [ "$(printf '%s\n' "${ids[@]}" | sort -u | grep -c .)" -eq 3 ]
}

@test "a full host name is taken apart by cloud-init: the short one, and the one with its domain" {
    echo "vm \"web\" { image \"$work/disk.qcow2\"; cloud-init { hostname \"web.example.org\" } }" >VMFile.kdl
    vmctl -q apply
    vmctl -q start -d web # makes the seed
    has_seed() { [ -s "$data/vms/web/seed.iso" ]; }
    await has_seed
    local file
    for file in user-data meta-data; do bsdtar -xOf "$data/vms/web/seed.iso" "$file" >"$work/$file"; done
    vmctl -q destroy -y web
    run /usr/bin/python3 - "$CLOUD_INIT" "$work/user-data" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import yaml
from cloudinit import util
names = util.get_hostname_fqdn(yaml.safe_load(open(sys.argv[2])), cloud=None)
print(names[0], names[1])
END
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "web web.example.org" ]
}
