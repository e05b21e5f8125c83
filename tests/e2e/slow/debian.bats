#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl's seeds and the real cloud-init, on Debian 12 (tests/guest/build-debian): four boots.
# The tests build on each other.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    [ -n "${VMCTL_TEST_DEBIAN:-}" ] ||
        VMCTL_TEST_DEBIAN=$("$BATS_TEST_DIRNAME/../../guest/build-debian" | tail -n 1)
    VMCTL_TEST_GUEST=$VMCTL_TEST_DEBIAN
    use_data_dir
    ssh-keygen -q -t ed25519 -N '' -C keeper -f keeper_key
    cat >VMFile.kdl <<'EOF'
vm "deb" {
    image "guest.qcow2"
    vcpus 2
    memory 768
    disk 4
    cloud-init { hostname "deb-host" }
    ssh { user "operator" } // a group of Debian's
    provision "shell" { inline "echo provisioned as $(id -un) >>provisioned" }
}

vm "raw" {
    image "guest.qcow2"
    vcpus 2
    memory 768
    cloud-init { user-data "user-data.yaml" }
    ssh {
        user "keeper"
        private-key "keeper_key"
    }
}
EOF
    cat >user-data.yaml <<EOF
#cloud-config
users:
  - name: keeper
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys:
      - $(cat keeper_key.pub)
  - name: second
write_files:
  - path: /etc/from-user-data
    permissions: "0640"
    content: |
      written
runcmd:
  - echo ran >>/var/log/runcmd
EOF
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
}

cloud_init_is_content() { # VM
    is_clean "$1"
    answers "$1" 'sudo cloud-init schema --system' 'Valid cloud-config: system userdata'
}

@test "up brings Debian to Ready" {
    bring_up deb
    answers deb 'cat provisioned' 'provisioned as operator'
}

@test "cloud-init accepts what vmctl writes, without a warning" {
    cloud_init_is_content deb
}

@test "the seed is found on its SCSI CD-ROM" {
    in_guest deb 'cat /run/cloud-init/result.json' | grep -F 'DataSourceNoCloud [seed=/dev/sr0]'
}

@test "the user has its key, all of sudo, and no password" {
    answers deb 'id -un; sudo -n id -un; echo "$SHELL"' $'operator\nroot\n/bin/bash'
    answers deb 'sudo passwd -S operator | cut -d" " -f1,2' 'operator L'
    answers deb 'sudo sshd -T | grep ^passwordauthentication' 'passwordauthentication no'
}

@test "a user named as a group of the image is made, with that group" {
    answers deb 'id -gn; getent group operator | cut -d: -f3' $'operator\n37'
}

@test "root cannot log in" {
    run vmctl ssh deb --user root -- true
    [ "$status" -eq 255 ]
}

@test "the hostname is the VMFile's" {
    answers deb 'hostname; cat /etc/hostname' $'deb-host\ndeb-host'
}

@test "the root file system has grown to the disk" {
    local mib
    mib=$(in_guest deb 'df -m --output=size / | tail -n 1')
    ((mib > 3700))
}

@test "the guest has vmctl's host key and no other" {
    answers deb 'sudo sh -c "ls /etc/ssh/ssh_host_*_key"' /etc/ssh/ssh_host_ed25519_key
    answers deb 'sudo cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub' \
        "$(cut -d' ' -f1,2 "$DATA/vms/deb/ssh_host_ed25519_key.pub")"
    grep -qF "$(cut -d' ' -f2 "$DATA/vms/deb/ssh_host_ed25519_key.pub")" "$DATA/vms/deb/known_hosts"
}

@test "reload gives it a new disk, set up anew, under the same host key" {
    local machine_id
    machine_id=$(in_guest deb 'cat /etc/machine-id')
    in_guest deb 'touch left-behind && sync'
    run vmctl reload deb --timeout 30m
    is_up deb
    answers deb 'cat provisioned; hostname; ls left-behind 2>/dev/null || true' \
        $'provisioned as operator\ndeb-host'
    [ "$(in_guest deb 'cat /etc/machine-id')" != "$machine_id" ]
    cloud_init_is_content deb
}

@test "destroy removes it" {
    run vmctl destroy deb --timeout 60s
    echo "$output"
    [ "$status" -eq 0 ]
    [ ! -e "$DATA/vms/deb" ]
}

@test "one's own user-data is passed on as it is" {
    bring_up raw
    cloud_init_is_content raw
    answers raw 'id -un; sudo -n id -un; id -un second; hostname' $'keeper\nroot\nsecond\nraw'
    answers raw 'sudo cat /etc/from-user-data; stat -c %a /etc/from-user-data' $'written\n640'
    answers raw 'cat /var/log/runcmd' ran
}

@test "down and up keep disk and instance: cloud-init sets nothing up again" {
    local instance host_key
    instance=$(in_guest raw 'cat /var/lib/cloud/data/instance-id')
    host_key=$(in_guest raw 'cat /etc/ssh/ssh_host_ed25519_key.pub')
    in_guest raw 'sudo rm /etc/from-user-data && sudo userdel second && echo kept >state && sync'
    run vmctl down raw --timeout 60s
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(state_of raw)" = Stopped ]

    bring_up raw
    cloud_init_is_content raw
    answers raw 'cat state /var/log/runcmd' $'kept\nran'
    answers raw 'ls /etc/from-user-data 2>/dev/null || true; id -un second 2>/dev/null || true' ''
    answers raw 'cat /var/lib/cloud/data/instance-id' "$instance"
    answers raw 'cat /etc/ssh/ssh_host_ed25519_key.pub' "$host_key"
}

@test "several user-data of one's own are parts beside vmctl's, each carried out once" {
    vmctl -q destroy raw --timeout 60s || true # it is not there when this test runs alone
    printf '#cloud-config\nwrite_files:\n  - {path: /etc/from-a, content: a}\nruncmd: ["echo a >>/etc/ran"]\n' >a.yaml
    printf '#!/bin/sh\necho b >/etc/from-b\n' >b.sh
    printf '#cloud-config\nbootcmd: ["echo c >/etc/from-c"]\n' | gzip >c.gz
    printf '## template: jinja\n#cloud-config\nwrite_files:\n  - {path: /etc/from-d, content: "{{ v1.local_hostname }}"}\nruncmd: ["echo d >>/etc/ran"]\n' >d.jinja
    cat >>VMFile.kdl <<'EOF2'
vm "parts" {
    image "guest.qcow2"
    vcpus 2
    memory 768
    cloud-init {
        user-data "a.yaml" raw=#false
        user-data "b.sh" raw=#false
        user-data "c.gz" raw=#false
        user-data "d.jinja" raw=#false
    }
    ssh { user "debian" }
}
EOF2
    bring_up parts
    is_clean parts
    answers parts 'cd /etc; cat from-a; echo; cat from-b from-c from-d; echo; cat ran; id -un' $'a\nb\nc\nparts\na\nd\ndebian'
}
