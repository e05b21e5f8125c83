#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A guest with a RISC-V processor: U-Boot, disk, network, screen and power button of a riscv64 VM.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load ../qemu

setup_file() {
    command -v qemu-system-riscv64 mcopy >/dev/null && [ -e /usr/lib/u-boot/qemu-riscv64_smode/uboot.elf ] ||
        skip "needs: tests/support/packages uefi"
    VMCTL_TEST_GUEST=/nowhere
    use_data_dir
    "$BATS_TEST_DIRNAME/../../support/foreign-guest" riscv64 riscv.qcow2
    cat >VMFile.kdl <<'END'
vm "riscv" {
    image "riscv.qcow2"
    arch "riscv64"
    memory 512
    vcpus 2
    tpm
    stop-timeout 60
    forward host=18098 guest=80
    ready { http "/" }
}
END
}

teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

@test "a riscv64 guest boots from its disk, and answers through its network" {
    run vmctl up --timeout 4m
    [ "$status" -eq 0 ]
    [ "$(curl -s http://127.0.0.1:18098/)" = "Hello from riscv64" ]
    grep -q '^disk: ' "$DATA/vms/riscv/console.log"
    grep -q 'U-Boot' "$DATA/vms/riscv/console.log"
    [ ! -e "$DATA/vms/riscv/uefi_vars.fd" ]
}

@test "its screen is what its kernel writes on" {
    vmctl screenshot riscv screen.png
    [ "$(head -c 4 screen.png | tail -c 3)" = PNG ]
    [ "$(wc -c <screen.png)" -gt 500 ]
}

@test "it is told to shut down by the key for that" {
    vmctl stop riscv
    vmctl events riscv -o json | jq -e 'map(select(.reason == "Stopped")) | last | .message | test("guest")'
}

@test "a name that the catalogue has for other processors only is refused with the reason" {
    echo 'vm "named" { image "debian:12"; arch "riscv64" }' >named.kdl
    run vmctl validate named.kdl
    [ "$status" -ne 0 ]
    [[ "$output" == *"another \`arch\` only"* ]]
}
