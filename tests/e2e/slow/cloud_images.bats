#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The main job on real images: a cloud image becomes Ready. Debian 12 with its own cloud-init, lean and
# stock (tests/guest/build-debian), one VM after the other; each case tells how long it took to SSH, to
# the end of cloud-init, to Ready.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load ../qemu

setup_file() {
    local build=$BATS_TEST_DIRNAME/../../guest/build-debian
    [ -n "${VMCTL_TEST_DEBIAN:-}" ] || VMCTL_TEST_DEBIAN=$("$build" | tail -n 1)
    [ -n "${VMCTL_TEST_STOCK:-}" ] || VMCTL_TEST_STOCK=$("$build" --stock | tail -n 1)
    VMCTL_TEST_GUEST=$VMCTL_TEST_DEBIAN
    use_data_dir
    ln -sf "$VMCTL_TEST_STOCK" stock.qcow2
    ssh-keygen -q -t ed25519 -N '' -C keeper -f keeper_key
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT"; }

teardown() {
    local vm
    [ -z "${server:-}" ] || kill "$server" || true
    for vm in $(vmctl list -o name); do vmctl destroy -q "$vm" --timeout 60s || true; done
}

# vm NAME LINE... : the VMFile
vm() {
    local name=$1
    shift
    printf '%s\n' "vm \"$name\" {" "image \"guest.qcow2\"" "vcpus 2" "memory 768" "$@" "}" >VMFile.kdl
}

# of the stock image
stock() {
    vm "$@"
    sed -i 's/guest.qcow2/stock.qcow2/' VMFile.kdl
}

# seconds from QEMU's start to the moment a condition became true
seconds_to() { # VM CONDITION
    vmctl get "$1" -o json | jq -r --arg type "$2" '(if type == "array" then .[0] else . end).status |
        ((.conditions[] | select(.type == $type).lastTransition) - .instance.startedAt) / 1000 | floor'
}

bring_up() { # VM [OPTION...]
    local name=$1
    shift
    run vmctl up --timeout 10m "$@"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(state_of "$name")" = Ready ]
    echo "# $BATS_TEST_DESCRIPTION: $(seconds_to "$name" GuestReachable) s to SSH," \
        "$(seconds_to "$name" CloudInitDone) s to the end of cloud-init," \
        "$(seconds_to "$name" Ready) s to Ready" >&3
}

in_guest() { # VM COMMAND
    vmctl ssh "$1" -- "$2"
}

tells() { # VM COMMAND EXPECTED
    local answer
    answer=$(in_guest "$1" "$2")
    [ "$answer" = "$3" ] || { printf '%s\nhave: %s\nwant: %s\n' "$2" "$answer" "$3"; return 1; }
}

# What cloud-init says of itself is read, and clean: it has ended when `up` has, without a complaint.
is_clean() { # VM
    tells "$1" 'cloud-init status' 'status: done'
    run in_guest "$1" 'cloud-init status --long'
    echo "$output"
    [ "$status" -eq 0 ]
    run ! grep -Ei '^errors:.*[^[ \]]|^recoverable_errors:.*[^{} ]' <<<"${output/errors: []/}"
    tells "$1" "sudo grep -E '\[(WARNING|ERROR|CRITICAL)\]' /var/log/cloud-init.log || true" ''
}

is_the_user() { # VM USER
    tells "$1" 'id -un; id -gn; sudo -n id -un; stat -c %U:%G ~' "$2
$2
root
$2:$2"
    grep -qF "$(cut -d' ' -f2 "$DATA/vms/$1/ssh_host_ed25519_key.pub")" "$DATA/vms/$1/known_hosts"
    run vmctl up
    echo "$output"
    [ "$output" = "$1: unchanged" ]
}

user_case() { # USER
    vm deb 'cloud-init { hostname "deb" }' "ssh { user \"$1\" }"
    bring_up deb
    is_the_user deb "$1"
    is_clean deb
}

@test "cloud kernel: the user debian, in no group of the image" { user_case debian; }
@test "cloud kernel: the user ubuntu" { user_case ubuntu; }
@test "cloud kernel: the user operator, a group of the image" { user_case operator; }
@test "cloud kernel: the user first-last" { user_case first-last; }

@test "cloud kernel: no ssh block, a seed on virtio, a name that is no host name" {
    vm my_vm 'cloud-init { seed "virtio" }'
    bring_up my_vm
    is_the_user my_vm vm
    is_clean my_vm
    tells my_vm hostname my-vm
}

@test "generic kernel, NetworkManager, all of cloud-init: the image's own default user" {
    stock deb 'cloud-init { hostname "deb" }' 'ssh { user "debian" }'
    bring_up deb
    is_the_user deb debian
    is_clean deb
    tells deb 'systemctl is-active NetworkManager' active
}

@test "generic kernel: a seed on ide, a disk that was grown, a second boot, a new disk" {
    stock deb 'disk 4' 'cloud-init { seed "ide" }' 'ssh { user "ubuntu" }'
    bring_up deb
    is_clean deb
    local mib
    mib=$(in_guest deb 'df -m --output=size / | tail -n 1')
    ((mib > 3500))
    in_guest deb 'touch kept && sync'
    vmctl down
    bring_up deb
    is_clean deb
    tells deb 'ls kept' kept
    vmctl reload deb --timeout 10m
    is_clean deb
    tells deb 'ls kept 2>/dev/null || true' ''
}

@test "steps and Ready wait for a long runcmd, and for it again when vmctld was killed" {
    cat >user-data.yaml <<EOF
#cloud-config
users:
  - name: keeper
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys: ["$(cat keeper_key.pub)"]
runcmd:
  - [sh, -c, "while [ ! -e /home/keeper/go-on ]; do sleep 1; done; echo ran >/ran"]
EOF
    vm deb 'cloud-init { user-data "user-data.yaml" }' 'ssh { user "keeper"; private-key "keeper_key" }' \
        'provision "shell" { inline "cat /ran" }'
    vmctl up --detach
    vmctl wait deb --for=condition=GuestReachable --timeout 10m
    await_word SettingUp
    kill -9 "$(vmctl controller status | sed -n 's/^pid: *//p')"
    in_guest deb 'touch go-on'
    vmctl wait deb --ready --timeout 10m
    tells deb 'cat /ran' ran
    vmctl log deb --provision | grep -qx ran
}

await_word() { # WORD
    local n
    for ((n = 0; n < 600; n++)); do
        [ "$(state_of deb)" != "$1" ] || return 0
        read -rt 0.5 <> <(:) || true
    done
    return 1
}

@test "a cloud-init that fails is told in its words, and no step runs on top of it" {
    cat >user-data.yaml <<EOF
#cloud-config
users:
  - name: keeper
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys: ["$(cat keeper_key.pub)"]
runcmd:
  - "exit 3"
EOF
    vm deb 'cloud-init { user-data "user-data.yaml" }' 'ssh { user "keeper"; private-key "keeper_key" }' \
        'provision "shell" { inline "touch provisioned" }'
    run vmctl up --timeout 10m
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *'error[vmctl::cloudinit::failed]'*scripts* ]]
    [ "$(state_of deb)" = CloudInitFailed ]
    tells deb 'ls provisioned 2>/dev/null || true' ''
    vmctl restart deb --timeout 10m # it does not run that again
    [ "$(state_of deb)" = Ready ]
}

@test "a login that is refused is explained within 30 seconds of sshd's first answer" {
    cat >user-data.yaml <<EOF
#cloud-config
users:
  - name: keeper
    ssh_authorized_keys: ["$(cat keeper_key.pub)"]
EOF
    vm deb 'cloud-init { user-data "user-data.yaml" }' 'ssh { user "debian"; private-key "keeper_key" }'
    run vmctl up --timeout 10m
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *'error[vmctl::ssh::auth_failed]'* ]]
    [[ $output == *keeper_key*refused* ]]
}

# Written in the style that people publish: a hardened sshd, packages left out, files and a service.
@test "foreign user-data: hardened sshd with AllowUsers, no passwords, no root" {
    cat >user-data.yaml <<EOF
#cloud-config
hostname: bastion
ssh_pwauth: false
disable_root: true
users:
  - default
  - name: keeper
    gecos: The keeper
    groups: [sudo, adm]
    shell: /bin/bash
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    ssh_authorized_keys:
      - $(cat keeper_key.pub)
write_files:
  - path: /etc/ssh/sshd_config.d/10-hardening.conf
    permissions: "0600"
    content: |
      PermitRootLogin no
      PasswordAuthentication no
      KbdInteractiveAuthentication no
      AllowUsers keeper
      MaxAuthTries 3
      LoginGraceTime 30
runcmd:
  - systemctl reload ssh
EOF
    vm deb 'cloud-init { user-data "user-data.yaml" }' 'ssh { user "keeper"; private-key "keeper_key" }'
    bring_up deb
    is_clean deb
    tells deb 'sudo sshd -T | grep -E "^(allowusers|maxauthtries)"' $'maxauthtries 3\nallowusers keeper'
}

@test "foreign user-data: files, a service, a reboot at the end" {
    cat >user-data.yaml <<EOF
#cloud-config
users:
  - name: keeper
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys:
      - $(cat keeper_key.pub)
write_files:
  - path: /etc/systemd/system/hello.service
    content: |
      [Service]
      Type=oneshot
      ExecStart=/bin/sh -c 'echo hello >/run/hello'
      [Install]
      WantedBy=multi-user.target
runcmd:
  - [systemctl, daemon-reload]
  - [systemctl, enable, hello.service]
power_state:
  mode: reboot
  condition: true
EOF
    vm deb 'cloud-init { user-data "user-data.yaml" }' 'ssh { user "keeper"; private-key "keeper_key" }'
    vmctl up --timeout 10m
    vmctl wait deb --ready --timeout 10m
    tells deb 'cat /run/hello 2>/dev/null; cloud-init status' $'hello\nstatus: done'
}

@test "a slow guest under load is waited for" {
    vm deb 'cloud-init { hostname "deb" }' 'ssh { user "vm"; timeout "10m" }'
    local burners=() i
    for i in 1 2 3 4; do
        while :; do :; done &
        burners+=($!)
    done
    bring_up deb
    kill "${burners[@]}"
    is_clean deb
}

@test "examples/debian becomes Ready on the image of that name" {
    cp "$BATS_TEST_DIRNAME/../../../examples/debian/VMFile.kdl" VMFile.kdl
    local path=www/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2 port=$((20000 + $$ % 10000))
    mkdir -p "${path%/*}"
    ln -sf "$VMCTL_TEST_STOCK" "$path"
    python3 -m http.server --bind 127.0.0.1 --directory www "$port" >/dev/null 2>&1 3>&- &
    server=$!
    # the guest has no mirror to install from: what the step would install, it writes
    sed -i "s|https://cloud.debian.org|http://127.0.0.1:$port|
        s|inline \".*\"|inline \"sudo true \&\& echo set up by \$(id -un)\"|
        s|memory 2048|memory 1024|; s|host=8080|host=$((port + 1))|" VMFile.kdl
    bring_up web
    is_the_user web debian
    vmctl log web --provision | grep -qx 'set up by debian'
}
