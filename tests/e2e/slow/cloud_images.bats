#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The main job on real images: a cloud image becomes Ready. Debian 12 with its own cloud-init
# (tests/guest/build-debian; as it comes: stock.bats). VMs boot in pairs, one for each of two processors:
# the first case of a pair brings up both VMs, the second finds its own up. Each case says how many
# seconds after QEMU's start its VM answered on SSH, its cloud-init was done, and it was Ready.
#
# The VMFile has no setting for a guest's SSH port: a guest whose sshd listens elsewhere is refused
# with SSHPortClosed, and a case here checks that.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    [ -n "${VMCTL_TEST_DEBIAN:-}" ] ||
        VMCTL_TEST_DEBIAN=$("$BATS_TEST_DIRNAME/../../guest/build-debian" | tail -n 1)
    VMCTL_TEST_GUEST=$VMCTL_TEST_DEBIAN
    use_data_dir
    ssh-keygen -q -t ed25519 -N '' -C keeper -f keeper_key
    write_user_data
    write_vmfile
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT" || return; }

teardown() {
    local pid
    for pid in "${burners[@]}"; do kill "$pid" || true; done
    [ -z "${vm:-}" ] || vmctl destroy -q "$vm" --timeout 60s || true
}

add_vm() { # NAME LINE...
    printf '%s\n' "vm \"$1\" {" "image \"guest.qcow2\"" "vcpus 1" "memory 512" "${@:2}" "}" >>VMFile.kdl
}

add_user_vm() { # USER LINE... : a VM and its user of the same name
    add_vm "$1" 'cloud-init { hostname "deb" }' "ssh { user \"$1\"; timeout \"10m\" }" "${@:2}"
}

add_keeper_vm() { # NAME LINE... : with NAME.yaml, which makes the user keeper
    add_vm "$1" "cloud-init { user-data \"$1.yaml\" }" \
        'ssh { user "keeper"; private-key "keeper_key"; timeout "10m" }' "${@:2}"
}

write_vmfile() {
    add_user_vm debian
    add_user_vm ubuntu
    add_user_vm operator 'disk 4'
    add_user_vm first-last
    add_vm my_vm 'cloud-init { seed "virtio" }'
    add_keeper_vm hardened
    add_keeper_vm mime
    add_keeper_vm gzipped
    add_keeper_vm fails 'provision "shell" { inline "touch provisioned" }'
    add_vm refused 'cloud-init { user-data "refused.yaml" }' \
        'ssh { user "debian"; private-key "keeper_key"; timeout "10m" }'
    add_keeper_vm other-port
    add_keeper_vm reboots
    add_keeper_vm runs-long 'provision "shell" { inline "cat /ran" }'
    add_user_vm loaded
    add_vm seedless 'cloud-init { seed "ide" }' 'ssh { timeout "10m" }'
}

# keeper_data NAME : NAME.yaml is the user keeper, and what comes on stdin
keeper_data() {
    printf '%s\n' '#cloud-config' 'users:' '  - name: keeper' '    sudo: ALL=(ALL) NOPASSWD:ALL' \
        '    shell: /bin/bash' "    ssh_authorized_keys: [\"$(cat keeper_key.pub)\"]" >"$1.yaml"
    cat >>"$1.yaml"
}

write_user_data() {
    keeper_data refused <<'EOF'
  - name: debian
    primary_group: of-nobody
EOF
    keeper_data gzipped <<'EOF'
write_files:
  - path: /etc/unpacked
    content: |
      yes
EOF
    gzip -n <gzipped.yaml >packed && mv packed gzipped.yaml
    keeper_data fails <<'EOF'
runcmd:
  - "exit 3"
EOF
    keeper_data runs-long <<'EOF'
runcmd:
  - [sh, -c, "while [ ! -e /home/keeper/go-on ]; do sleep 1; done; echo ran >/ran"]
EOF
    keeper_data other-port <<'EOF'
write_files:
  - path: /etc/ssh/sshd_config.d/10-port.conf
    content: |
      Port 2222
runcmd:
  - systemctl restart ssh
EOF
    keeper_data reboots <<'EOF'
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
    write_hardened
    write_mime
}

# As `cloud-init devel make-mime` writes it.
write_mime() {
    keeper_data part </dev/null
    cat >mime.yaml <<EOF
Content-Type: multipart/mixed; boundary="===============2389165605550749110=="
MIME-Version: 1.0
Number-Attachments: 3

--===============2389165605550749110==
Content-Type: text/cloud-config; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename="users.yaml"

$(cat part.yaml)

--===============2389165605550749110==
Content-Type: text/jinja2; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="greeting.yaml"

$(printf '%s\n' '## template: jinja' '#cloud-config' 'write_files:' '  - path: /etc/greeting' \
        '    content: "this is {{ v1.local_hostname }}\n"' | base64)

--===============2389165605550749110==
Content-Type: text/x-shellscript; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename="script.sh"

#!/bin/sh
echo "run as \$(id -un)" >/var/log/from-script

--===============2389165605550749110==--
EOF
}

# Written in the style that people publish.
write_hardened() {
    cat >hardened.yaml <<EOF
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
    sudo: ALL=(ALL) NOPASSWD:ALL
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
}

is_there() { vmctl list -o name | grep -Fxq -- "$1"; }

# up VM [PARTNER] : the status and the output are those of VM's own `up`
up() {
    vm=$1 # for teardown
    if [ -n "${2:-}" ] && ! is_there "$1"; then
        vmctl up --timeout 30m "$@" || true # the partner's case judges the partner
    fi
    run vmctl up --timeout 30m "$1"
    echo "$output"
}

bring_up_pair() { # VM PARTNER : and VM is Ready
    up "$@"
    is_up "$1"
}

user_case() { # USER PARTNER
    bring_up_pair "$@"
    is_the_user "$1" "$1"
    is_clean "$1"
}

@test "the user debian, in no group of the image" {
    user_case debian ubuntu
    answers debian hostname deb
}

@test "the user ubuntu" { user_case ubuntu debian; }

@test "the user operator, a group of the image; its disk was grown" {
    user_case operator first-last
    has_grown operator
}

@test "the user first-last; a second boot leaves it as it was" {
    user_case first-last operator
    keeps_through_a_second_boot first-last
    is_the_user first-last first-last
}

@test "no ssh block, a seed on virtio, a name that is no host name" {
    bring_up_pair my_vm hardened
    is_the_user my_vm vm
    is_clean my_vm
    answers my_vm hostname my-vm
    answers my_vm 'cat /run/cloud-init/result.json | grep -o "seed=/dev/vd."' seed=/dev/vdb
}

@test "published user-data: a hardened sshd with AllowUsers, no passwords, no root" {
    bring_up_pair hardened my_vm
    is_clean hardened
    answers hardened 'id -un; sudo -n id -un; hostname' $'keeper\nroot\nbastion'
    answers hardened 'sudo sshd -T | grep -E "^(allowusers|maxauthtries)"' \
        $'maxauthtries 3\nallowusers keeper'
}

@test "published user-data: MIME parts: a cloud-config, a template, a script" {
    bring_up_pair mime gzipped
    is_clean mime
    answers mime 'id -un; sudo -n id -un' $'keeper\nroot'
    answers mime 'cat /etc/greeting; cat /var/log/from-script' $'this is mime\nrun as root'
}

@test "published user-data: a cloud-config in gzip" {
    bring_up_pair gzipped mime
    is_clean gzipped
    answers gzipped 'id -un; cat /etc/unpacked' $'keeper\nyes'
}

accept_errors_of() { # VM yes|no
    if [ "$2" = yes ]; then
        sed -i "s/user-data \"$1.yaml\"/&; on-error \"warn\"/" VMFile.kdl
    else
        sed -i 's/; on-error "warn"//' VMFile.kdl
    fi
}

@test "a cloud-init that fails is told in its words, and no step runs unless that is accepted" {
    up fails seedless
    [ "$status" -eq 1 ]
    says 'error[vmctl::cloudinit::failed]' scripts 'on-error "warn"'
    [ "$(state_of fails)" = CloudInitFailed ]
    answers fails 'ls provisioned 2>/dev/null || true' ''

    accept_errors_of fails yes
    up fails
    is_up fails
    answers fails 'ls provisioned' provisioned
    vmctl status fails | grep -F CloudInitDegraded
    accept_errors_of fails no
    up fails
    [ "$status" -eq 1 ]

    vmctl restart fails --timeout 30m # cloud-init runs a script once
    [ "$(state_of fails)" = Ready ]
    report fails
}

explains_the_seed() {
    vmctl status seedless | tr -s ' \n' ' ' | grep -F 'did not find its seed on ide'
}

@test "a cloud kernel has no driver for ide: the seed that it did not find is told" {
    up seedless fails
    [ "$status" -eq 1 ]
    says 'error[vmctl::ssh::hostkey_mismatch]'
    await 1200 explains_the_seed # once cloud-init has ended
}

ssh_port_of() { # VM
    vmctl get "$1" -o json | jq -r '(if type == "array" then .[0] else . end).status.sshPort | select(. > 0)'
}

sshd_answers() { # VM
    local port line
    port=$(ssh_port_of "$1")
    [ -n "$port" ] && line=$(timeout 2 head -c 4 <"/dev/tcp/127.0.0.1/$port") 2>/dev/null &&
        [ "$line" = SSH- ]
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

@test "a refused login is told within 30 s of sshd's first answer, with what the console says" {
    local first_ms took_ms
    vm=refused
    vmctl up --detach refused runs-long
    await 1800 sshd_answers refused
    first_ms=$(now_ms)
    up refused
    took_ms=$(($(now_ms) - first_ms))
    [ "$status" -eq 1 ]
    echo "# refused: told $((took_ms / 1000)) s after sshd's first answer" >&3
    ((took_ms <= 30000))
    says 'error[vmctl::ssh::auth_failed]' "user 'debian'" keeper_key refused \
        'cloud-init reported: '
    [ "$(state_of refused)" = AuthFailed ]
}

@test "an sshd on another port is told as a closed port" {
    up other-port reboots
    [ "$status" -eq 1 ]
    says 'error[vmctl::ssh::port_closed]' 'nothing listens on its port 22'
    [ "$(state_of other-port)" = SSHPortClosed ]
}

says_hello() { [ "$(in_guest reboots 'cat /run/hello' 2>/dev/null)" = hello ]; }

@test "published user-data: files, a service, a reboot at the end" {
    up reboots other-port
    await 1800 says_hello
    vmctl wait reboots --ready --timeout 30m
    answers reboots 'cloud-init status; cat /run/hello' $'status: done\nhello'
    report reboots
}

is_setting_up() { [ "$(state_of "$vm")" = SettingUp ]; }

@test "steps and Ready wait for a long runcmd, and for it again when vmctld was killed" {
    vm=runs-long
    vmctl up --detach runs-long
    vmctl wait runs-long --for=condition=GuestReachable --timeout 30m
    await is_setting_up
    kill_controller
    in_guest runs-long 'touch go-on'
    vmctl wait runs-long --ready --timeout 30m
    answers runs-long 'cat /ran' ran
    vmctl log runs-long --provision | grep -qx ran
    report runs-long
}

@test "a slow guest under load is waited for" {
    for _ in 1 2; do
        while :; do :; done 3>&- &
        burners+=($!)
    done
    up loaded
    is_up loaded
    is_clean loaded
}
