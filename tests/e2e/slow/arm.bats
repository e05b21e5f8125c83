#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A guest with another processor than the host's: UEFI firmware, disk, network and screen of an aarch64 VM.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load ../qemu

setup_file() {
    [ "$(uname -m)" = x86_64 ] || skip "the host is no x86"
    command -v qemu-system-aarch64 mcopy >/dev/null && [ -e /usr/share/AAVMF/AAVMF_CODE.fd ] ||
        skip "needs: tests/support/packages uefi"
    VMCTL_TEST_GUEST=/nowhere
    use_data_dir
    "$BATS_TEST_DIRNAME/../../support/foreign-guest" aarch64 arm.qcow2
    cat >VMFile.kdl <<'END'
vm "arm" {
    image "arm.qcow2"
    arch "aarch64"
    memory 512
    stop-timeout 1
    forward host=18099 guest=80
    ready { http "/" }
}
END
}

teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

@test "an aarch64 guest boots from its disk, and answers through its network" {
    run vmctl up --timeout 4m
    [ "$status" -eq 0 ]
    [ "$(curl -s http://127.0.0.1:18099/)" = "Hello from aarch64" ]
    grep -q '^disk: ' "$DATA/vms/arm/console.log"
    [ "$(vmctl get arm -o json | jq -r '.. | .machine? // empty | select(startswith("virt-"))' | head -n 1)" != "" ]
}

@test "its screen is what its firmware drew on" {
    vmctl screenshot arm screen.png
    [ "$(head -c 4 screen.png | tail -c 3)" = PNG ]
    [ "$(wc -c <screen.png)" -gt 500 ]
}
