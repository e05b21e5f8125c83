#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl doctor: what is found, and that nothing is needed for it.

bats_require_minimum_version 1.5.0
load cli_common

setup() {
    cli_setup
    chmod 700 "$data"
}
teardown() { cli_teardown; }

# result CHECK : of the output of `run vmctl doctor`
result() { awk -v check="$1" '$1 == check { print $2 }' <<<"$output"; }

@test "a host that can run VMs is told so, with or without a controller" {
    run vmctl doctor
    echo "$output"
    [ "$status" -eq 0 ]
    local check
    for check in qemu qemu-img ssh kernel data-dir disk store controller orphans; do
        [ "$(result "$check")" = OK ]
    done
    says "not running; started when it is needed"
    case $(vmctld --probe | jq .kvm.usable) in
    true) [ "$(result kvm)" = OK ] ;;
    *) [ "$(result kvm)" = WARN ] ;;
    esac
    vmfile web
    vmctl -q up
    run vmctl doctor
    [ "$status" -eq 0 ]
    says "pid $(controller_pid), version"
    says "1 VMs"
}

@test "doctor -o json has every check with its result" {
    run vmctl doctor -o json
    [ "$status" -eq 0 ]
    [ "$(jq .usable <<<"$output")" = true ]
    [ "$(jq -r '.checks[] | select(.check == "qemu") | .result' <<<"$output")" = OK ]
    [ "$(jq '[.checks[] | select(.result == "WARN" and .check != "kvm" and .help == null)] | length' <<<"$output")" -eq 0 ]
}

@test "a broken store is a failure, and all else is checked none the less" {
    mkdir -m 700 "$data/store"
    head -c 65536 /dev/urandom >"$data/store/data.mdb"
    run vmctl doctor
    echo "$output"
    [ "$status" -eq 1 ]
    [ "$(result store)" = FAIL ]
    [ "$(result qemu)" = OK ]
    [ "$(result controller)" = OK ]
    says "store: help:"
    run vmctl doctor -o json
    [ "$status" -eq 1 ]
    [ "$(jq .usable <<<"$output")" = false ]
}

@test "programs that are missing are failures" {
    local bin
    bin=$(dirname "$(command -v vmctl)")
    VMCTL_QEMU=/nowhere/qemu PATH=$bin run vmctl doctor
    [ "$status" -eq 1 ]
    [ "$(/usr/bin/awk '$2 == "FAIL" { print $1 }' <<<"$output" | /usr/bin/tr '\n' ' ')" = "qemu qemu-img ssh " ]
    says "cannot find the program '/nowhere/qemu' (from VMCTL_QEMU)"
    says "qemu-img: help: install it: apt-get install qemu-utils"
}

@test "without a virtiofsd that works shared folders are slower, and the reason is told" {
    run vmctl doctor
    [ "$(result shares)" = OK ]
    says "shared folders by virtiofs: /usr/"
    printf '#!/bin/sh\necho no namespaces here >&2\nexit 1\n' >"$work/virtiofsd"
    chmod +x "$work/virtiofsd"
    VMCTL_VIRTIOFSD=$work/virtiofsd run vmctl doctor
    [ "$status" -eq 0 ]
    [ "$(result shares)" = WARN ]
    says "by 9p, which is slower: $work/virtiofsd does not run here: no namespaces here" "shares: help:"
    VMCTL_VIRTIOFSD=/nowhere/virtiofsd run vmctl doctor
    says "virtiofsd is not installed on this host"
}

@test "UEFI firmware and swtpm that are missing are told, with their packages" {
    truncate -s 1M blank.img
    printf 'vm "box" { image "blank.img"; firmware "uefi-secure"; tpm; cpu-limit 0.5 }\n' >VMFile.kdl
    VMCTL_SWTPM=/nowhere/swtpm VMCTL_FIRMWARE=/nowhere run vmctl doctor
    [ "$status" -eq 0 ]
    [ "$(result tpm)" = WARN ]
    [ "$(result uefi-secure)" = WARN ]
    says "cannot find the program '/nowhere/swtpm' (from VMCTL_SWTPM)" "apt-get install swtpm" \
        "cannot find UEFI firmware with secure boot" "apt-get install ovmf"
    mkdir "$work/firmware"
    touch "$work/code.fd" "$work/vars.fd"
    jq -n --arg dir "$work" '{"interface-types": ["uefi"], features: ["secure-boot", "enrolled-keys"],
        targets: [{architecture: "x86_64", machines: ["pc-q35-*"]}],
        mapping: {device: "flash", executable: {filename: "\($dir)/code.fd", format: "raw"},
            "nvram-template": {filename: "\($dir)/vars.fd", format: "raw"}}}' >"$work/firmware/1.json"
    VMCTL_SWTPM=/bin/true VMCTL_FIRMWARE=$work/firmware run vmctl doctor
    [ "$(result tpm)" = OK ]
    [ "$(result uefi-secure)" = OK ]
    says "UEFI with secure boot: $work/code.fd"
}

# needing NODES... : a VMFile whose VM has them
needing() { printf 'vm "box" { image "blank.img"; %s }\n' "$*" >VMFile.kdl; }

@test "what no VM needs is no warning if it is missing: neither one of the host nor of the VMFile at hand" {
    export VMCTL_SWTPM=/nowhere/swtpm VMCTL_FIRMWARE=/nowhere
    run vmctl doctor
    [ "$status" -eq 0 ]
    [ "$(result tpm) $(result uefi-secure)" = "INFO INFO" ]
    [[ $(result limits) != WARN ]]
    [[ $output != *"tpm: help:"* ]]
    [ "$(vmctl doctor -o json | jq -r '.checks[] | select(.check == "tpm") | .help')" != null ]
    truncate -s 1M blank.img
    needing tpm
    run vmctl doctor
    [ "$(result tpm) $(result uefi-secure)" = "WARN INFO" ]
    says "tpm: help:"
    needing 'firmware "uefi-secure"; memory-limit "4G"'
    vmctl -q apply -d
    rm VMFile.kdl # the VM stays
    run vmctl doctor
    [ "$(result tpm) $(result uefi-secure)" = "INFO WARN" ]
    [[ $(result limits) != INFO ]]
    echo 'vm "box" {' >VMFile.kdl # an invalid one is not the doctor's
    run vmctl doctor
    [ "$status" -eq 0 ]
    [ "$(result tpm) $(result uefi-secure)" = "INFO WARN" ]
}

@test "a QEMU without the devices is a failure" {
    printf '#!/bin/sh\necho QEMU 99\n' >"$work/qemu"
    chmod +x "$work/qemu"
    VMCTL_QEMU=$work/qemu run vmctl doctor
    [ "$status" -eq 1 ]
    says "has no virtio-blk-pci, virtio-net-pci"
}

@test "a vmctl without its vmctld is a failure" {
    mkdir "$work/alone"
    cp "$(command -v vmctl)" "$work/alone/vmctl"
    run "$work/alone/vmctl" doctor
    [ "$status" -eq 1 ]
    [ "$(result vmctld)" = FAIL ]
}

@test "files without a record are listed: living, dead, quarantined, half deleted" {
    vmfile web
    vmctl -q up
    vmctl -q controller stop
    mkdir -p "$data/vms/dead" "$data/vms/ghost" "$data/quarantine/old-1" "$data/trash/rest"
    XDG_DATA_HOME=$work/other vmctl controller start
    ln "$work/other/vmctl/controller.lock" "$data/vms/ghost/alive.lock"
    run vmctl doctor
    XDG_DATA_HOME=$work/other vmctl controller stop
    echo "$output"
    [ "$status" -eq 0 ]
    says "processes of VMs without a record, left alone: ghost"
    says "directories without a record: dead"
    says "files without a VM: 1"
    says "1 deletions were not finished"
    [ -d "$data/vms/dead" ] && [ -d "$data/trash/rest" ]
}

@test "VMs whose store was moved aside keep their files, and come back with up" {
    vmfile web
    vmctl -q up
    vmctl -q stop
    vmctl -q controller stop
    touch "$data/vms/web/mark"
    mv "$data/store" "$data/store.broken"
    vmctl -q controller start
    run vmctl doctor
    echo "$output"
    [ "$status" -eq 0 ]
    says "VM directories from an earlier store: web"
    says "they stay in vms/; \`vmctl up\` with a VM's VMFile takes its disk back"
    vmctl -q up
    [ -e "$data/vms/web/mark" ]
    [ ! -e "$data/quarantine" ]
    run vmctl doctor
    [ "$(result orphans)" = OK ]
}

@test "the original tool's VMs are no orphans" {
    mkdir -p "$data/vms/old"
    echo '{"old": {}}' >"$data/vms.json"
    run vmctl doctor
    says "VMs of the original vmctl: old"
    says "help: take them over: vmctl import"
}

@test "a data directory that others can read is told" {
    chmod 755 "$data"
    run vmctl doctor
    [ "$status" -eq 0 ]
    [ "$(result data-dir)" = WARN ]
    says "chmod 700 '$data'"
}

@test "a stalled VM is listed with its cause" {
    printf 'vm "web" { backend "noop"; image "%s"; provision "shell" { inline "false" } }\n' \
        "$work/image" >VMFile.kdl
    script '{"failStep": 1000}'
    run vmctl up
    [ "$status" -eq 1 ]
    run vmctl doctor
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(result vms)" = WARN ]
    says "'web' is stalled: "
    says "vms: help: vmctl status web"
}

@test "a damaged record is taken out by --repair, and the VM comes back as it was" {
    vmfile web db
    vmctl up -q
    local iid
    iid=$(field iid web)
    vmctl controller stop -q
    LC_ALL=C sed -i 's/"power":"running"/"power":"runninG"/g' "$data/store/data.mdb"
    run vmctl doctor
    [ "$status" -eq 1 ]
    says "records that cannot be read: db (desired), web (desired)" "vmctl doctor --repair"
    run vmctl doctor --repair
    [ "$status" -eq 0 ]
    says "db (desired): recreated from its status" "web (desired): recreated from its status"
    run vmctl doctor --repair
    [ "$status" -eq 0 ]
    refute grep -q "made again" <<<"$output"
    [ "$(find "$data/quarantine" -name 'record-desired-*' | wc -l)" -eq 2 ]
    run vmctl up -q
    [ "$status" -eq 6 ]
    run vmctl up --adopt
    [ "$status" -eq 0 ]
    [ "$(field iid web)" = "$iid" ]
    run vmctl up
    says "web: unchanged" "db: unchanged"
}

# A report is passed on to strangers: each kind of secret that a VMFile can hold is tried.
@test "doctor --support writes a report without secrets" {
    printf '%s\n' 'var "key" default="hush-default"' \
        "vm \"web\" { backend \"noop\"; image \"$work/image\"" \
        'provision "shell" { env { PASSWORD "hush-env" }; inline "login hush-step ${{ key }}" }' \
        'ready { exec "curl -u hush-probe localhost" }; }' >VMFile.kdl
    vmctl -q up --set key=hush-set
    run vmctl doctor --support report.txt
    echo "$output"
    [ "$status" -eq 0 ]
    says "report.txt: written; read it before you send it"
    [ "$(stat -c %a report.txt)" = 600 ]
    run ! grep -n hush report.txt
    grep -q '^==== vmctl doctor$' report.txt
    grep -q '^kernel ' report.txt
    grep -q '"name": "web"' report.txt
    grep -q 'Provisioned' report.txt
    run -2 vmctl doctor --support report.txt
    says "'report.txt' exists already"
    run -1 vmctl doctor --support /nowhere/report.txt
    says "cannot write '/nowhere/report.txt'"
}

@test "doctor --support leaves out what is in URLs, and reads a broken store" {
    printf 'vm "web" { backend "noop"; image-url "https://me:hush@example.invalid/i.qcow2?sig=hush" }\n' >VMFile.kdl
    vmctl -q apply -d
    vmctl doctor --support report.txt
    run ! grep -n hush report.txt
    grep -qF 'https://example.invalid/i.qcow2?…' report.txt
    vmctl controller stop
    head -c 65536 /dev/urandom >"$data/store/data.mdb"
    run -1 vmctl doctor --support broken.txt
    grep -q '^store *FAIL' broken.txt
    grep -q '^(exit status ' broken.txt
}

@test "a directory from quarantine is given back to its machine, as vmctld(8) says" {
    vmfile web
    vmctl -q up
    local disk=$data/vms/web/noop.disk inode
    inode=$(stat -c %i "$disk")
    vmctl -q stop web
    vmctl -q controller stop
    mkdir "$data/quarantine" && mv "$data/vms/web" "$data/quarantine/web-1"
    vmctl -q destroy web
    vmctl -q controller stop
    mv "$data/quarantine/web-1" "$data/vms/web"
    vmctl -q up
    [ "$(stat -c %i "$disk")" = "$inode" ]
}
