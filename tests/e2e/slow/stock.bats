#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A cloud image as it comes becomes Ready: Debian 12 with the generic kernel, NetworkManager and all
# modules of cloud-init (tests/guest/build-debian --stock).

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    [ -n "${VMCTL_TEST_STOCK:-}" ] ||
        VMCTL_TEST_STOCK=$("$BATS_TEST_DIRNAME/../../guest/build-debian" --stock | tail -n 1)
    export VMCTL_TEST_GUEST=$VMCTL_TEST_STOCK
    use_data_dir
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT" || return; }

teardown() { [ -z "${server:-}" ] || kill "$server" || true; }

@test "generic kernel, NetworkManager, all of cloud-init: ide, a grown disk, a second boot, a new disk" {
    cat >VMFile.kdl <<'EOF'
vm "stock" {
    image "guest.qcow2"
    vcpus 2
    memory 1024
    disk 4
    cloud-init { seed "ide" }
    ssh { user "ubuntu"; timeout "10m" }
}
EOF
    bring_up stock
    is_the_user stock ubuntu
    is_clean stock
    has_grown stock
    answers stock 'systemctl is-active NetworkManager' active
    keeps_through_a_second_boot stock
    is_the_user stock ubuntu

    run vmctl reload stock --timeout 30m
    is_up stock
    is_the_user stock ubuntu
    is_clean stock
    has_grown stock
    answers stock 'ls kept 2>/dev/null || true' ''
    vmctl destroy -q stock
}

@test "examples/debian becomes Ready on the image of that name, as the image's own user" {
    mkdir -p example
    cp "$BATS_TEST_DIRNAME/../../../examples/debian/VMFile.kdl" example/VMFile.kdl
    cd example
    local path=www/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2 port=$((20000 + $$ % 10000))
    mkdir -p "${path%/*}"
    ln -sf "$VMCTL_TEST_GUEST" "$path"
    python3 -u -m http.server --bind 127.0.0.1 --directory www "$port" >/dev/null 2>&1 3>&- &
    server=$!
    # the guest has no mirror to install from: what the step would install, it writes
    sed -i "s|https://cloud.debian.org|http://127.0.0.1:$port|
        s|inline \".*\"|inline \"sudo true \&\& echo set up by \$(id -un)\"|
        s|memory 2048|memory 1024|; s|host=8080|host=$((port + 1))|" VMFile.kdl
    bring_up web
    is_the_user web debian
    is_clean web
    answers web hostname web
    vmctl log web --provision | grep -qx 'set up by debian'
}
