#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# UEFI firmware with secure boot, and a TPM: guests that do and do not boot, and where what both keep
# goes with the disk. One guest, built on from test to test.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    local tests=$BATS_TEST_DIRNAME/../..
    command -v swtpm mcopy >/dev/null && [ -e /usr/share/OVMF/OVMF_VARS_4M.ms.fd ] &&
        [ -e /usr/lib/shim/shimx64.efi.signed ] || skip "needs: tests/support/packages uefi"
    VMCTL_TEST_GUEST=$("$tests/guest/build" --signed | tail -n 1)
    use_data_dir
    "$tests/support/uefi-guest" "$VMCTL_TEST_GUEST" signed.qcow2 signed
    "$tests/support/uefi-guest" "$VMCTL_TEST_GUEST" unsigned.qcow2 unsigned
    cat >VMFile.kdl <<'END'
defaults {
    memory 256
    stop-timeout 2
    firmware "uefi-secure"
}
vm "box" {
    image "signed.qcow2"
    tpm
    cloud-init { hostname "box" }
    ssh { user "worker" }
}
END
    cat >unsigned.kdl <<'END'
vm "stranger" {
    image "unsigned.qcow2"
    memory 256
    stop-timeout 2
    firmware "uefi-secure"
    cloud-init { hostname "stranger" }
    ssh { user "worker"; timeout 40 }
}
END
}

teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

swtpm_of() { pgrep -x swtpm -P "$(pid_of "$1")"; }
has_ended() { refute kill -0 "$1" 2>/dev/null; }
has_event() { vmctl events "$1" | grep -q "$2"; }
is_ready() { [ "$(state_of "$1")" = Ready ]; }
of_vm() { echo "$DATA/vms/$1/$2"; }
sum() { sha256sum <"$1"; }

@test "a signed loader boots, and its guest has secure boot and a TPM" {
    vmctl -q up --timeout 5m box
    in_guest box 'sudo dmesg' | grep -qi 'secure boot enabled'
    answers box 'cat /sys/class/tpm/tpm0/tpm_version_major' 2
    in_guest box 'cat /sys/class/tpm/tpm0/pcr-sha256/7' | grep -q '[1-9A-F]'
    [ -s "$(of_vm box tpm/tpm2-00.permall)" ]
    [ "$(stat -c %a "$(of_vm box uefi_vars.fd)")" = 600 ]
}

@test "a snapshot has what the firmware and the TPM keep, and a clone a TPM of its own" {
    vmctl snapshot create box live
    ls "$(of_vm box snapshots)" | grep -c -e '\.fd$' -e '\.tpm$' | grep -qx 2
    vmctl -q stop box
    vmctl snapshot create box off
    local vars tpm
    vars=$(sum "$(of_vm box uefi_vars.fd)") tpm=$(sum "$(of_vm box tpm/tpm2-00.permall)")
    vmctl clone box twin
    [ "$(sum "$(of_vm twin uefi_vars.fd)")" = "$vars" ]
    [ ! -e "$(of_vm twin tpm/tpm2-00.permall)" ]
    vmctl -q destroy twin
    printf x | dd of="$(of_vm box uefi_vars.fd)" bs=1 seek=1000 conv=notrunc status=none
    rm "$(of_vm box tpm/tpm2-00.permall)"
    vmctl snapshot restore box off
    await test "$(sum "$(of_vm box uefi_vars.fd)")" = "$vars"
    [ "$(sum "$(of_vm box tpm/tpm2-00.permall)")" = "$tpm" ]
}

@test "an export has both, and they go along to another name" {
    local vars tpm
    vars=$(sum "$(of_vm box uefi_vars.fd)") tpm=$(sum "$(of_vm box tpm/tpm2-00.permall)")
    vmctl export box box.vmctl
    vmctl import box.vmctl --name again
    await test -e "$(of_vm again overlay.qcow2)"
    [ "$(sum "$(of_vm again uefi_vars.fd)")" = "$vars" ]
    [ "$(sum "$(of_vm again tpm/tpm2-00.permall)")" = "$tpm" ]
    vmctl rename again other
    [ "$(sum "$(of_vm other tpm/tpm2-00.permall)")" = "$tpm" ]
    vmctl -q destroy other
}

@test "a TPM outlives vmctld, and one that is killed comes back with its guest" {
    local tpm qemu
    vmctl -q up --timeout 5m box
    tpm=$(swtpm_of box) qemu=$(pid_of box)
    kill_controller
    vmctl -q up --timeout 1m box
    [ "$(swtpm_of box)" = "$tpm" ]
    [ "$(pid_of box)" = "$qemu" ]
    kill -9 "$tpm"
    await has_event box TpmLost
    await 120 is_ready box
    [ "$(pid_of box)" != "$qemu" ]
    tpm=$(swtpm_of box)
    kill -9 "$(pid_of box)"
    await has_ended "$tpm"
    await 120 is_ready box
    tpm=$(swtpm_of box)
    vmctl -q destroy box
    await has_ended "$tpm"
}

@test "a loader that is not signed is refused, and the VM says so" {
    run vmctl up --file unsigned.kdl --timeout 2m
    [ "$status" -ne 0 ]
    says "refuses the disk's boot loader" "is not signed"
}
