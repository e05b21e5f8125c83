#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The main job on real images: a cloud image becomes Ready. Debian 12 with its own cloud-init, lean and
# as it comes (tests/guest/build-debian). VMs boot in pairs, one for each of two processors: the first
# case of a pair brings up both VMs, the second finds its own up. Each case says how many seconds after
# QEMU's start its VM answered on SSH, its cloud-init was done, and it was Ready.
#
# The VMFile has no setting for a guest's SSH port: a guest whose sshd listens elsewhere is refused
# with SSHPortClosed, and a case here checks that.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load ../qemu

# The stock image is not built before its cases need it: the others do not wait for it.
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
    for pid in "${server:-}" "${burners[@]}"; do
        [ -z "$pid" ] || kill "$pid" || true
    done
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
    add_keeper_vm fails 'provision "shell" { inline "touch provisioned" }'
    add_vm refused 'cloud-init { user-data "refused.yaml" }' \
        'ssh { user "debian"; private-key "keeper_key"; timeout "10m" }'
    add_keeper_vm other-port
    add_keeper_vm reboots
    add_keeper_vm runs-long 'provision "shell" { inline "cat /ran" }'
    add_user_vm loaded
}

# keeper_data NAME : NAME.yaml is the user keeper, and what comes on stdin
keeper_data() {
    printf '%s\n' '#cloud-config' 'users:' '  - name: keeper' '    sudo: ALL=(ALL) NOPASSWD:ALL' \
        '    shell: /bin/bash' "    ssh_authorized_keys: [\"$(cat keeper_key.pub)\"]" >"$1.yaml"
    cat >>"$1.yaml"
}

write_user_data() {
    keeper_data refused </dev/null
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

# seconds from QEMU's start to the moment a condition became what it is
seconds_to() { # VM CONDITION
    vmctl get "$1" -o json | jq -r --arg type "$2" '(if type == "array" then .[0] else . end).status |
        ((.conditions[] | select(.type == $type).lastTransition) - .instance.startedAt) / 1000 | floor'
}

report() { # VM
    echo "# $1: $(seconds_to "$1" GuestReachable) s to SSH, $(seconds_to "$1" CloudInitDone) s to the" \
        "end of cloud-init, $(seconds_to "$1" Ready) s to Ready" >&3
}

is_there() { vmctl list -o name | grep -Fxq -- "$1"; }

# up VM [PARTNER] : the status and the output are those of VM's own `up`
up() {
    vm=$1
    if [ -n "${2:-}" ] && ! is_there "$1"; then
        vmctl up --timeout 15m "$@" || true # the partner's case judges the partner
    fi
    run vmctl up --timeout 15m "$1"
    echo "$output"
}

bring_up() { # VM [PARTNER]
    up "$@"
    [ "$status" -eq 0 ]
    [ "$(state_of "$1")" = Ready ]
    report "$1"
}

in_guest() { # COMMAND
    vmctl ssh "$vm" -- "$1"
}

answers() { # COMMAND EXPECTED
    local answer
    answer=$(in_guest "$1")
    [ "$answer" = "$2" ] || { printf '%s\nhave: %s\nwant: %s\n' "$1" "$answer" "$2"; return 1; }
}

# cloud-init has ended when `up` has, and has nothing to complain about.
is_clean() {
    answers 'cloud-init status' 'status: done'
    run in_guest 'cloud-init status --long'
    echo "$output"
    [ "$status" -eq 0 ]
    run ! grep -Ei '^errors:.*[^[ \]]|^recoverable_errors:.*[^{} ]' <<<"${output/errors: []/}"
    answers "sudo grep -E '\[(WARNING|ERROR|CRITICAL)\]' /var/log/cloud-init.log || true" ''
}

is_the_user() { # USER
    answers 'id -un; id -gn; sudo -n id -un; stat -c %U:%G ~' "$1
$1
root
$1:$1"
    answers 'sudo sshd -T | grep ^passwordauthentication' 'passwordauthentication no'
    grep -qF "$(cut -d' ' -f2 "$DATA/vms/$vm/ssh_host_ed25519_key.pub")" "$DATA/vms/$vm/known_hosts"
    [ "$(vmctl up "$vm" 2>/dev/null)" = "$vm: unchanged" ]
}

user_case() { # USER [PARTNER]
    bring_up "$@"
    is_the_user "$1"
    is_clean
}

@test "the user debian, in no group of the image" {
    user_case debian ubuntu
    answers hostname deb
}

@test "the user ubuntu" { user_case ubuntu debian; }

@test "the user operator, a group of the image; its disk was grown" {
    user_case operator first-last
    local mib
    mib=$(in_guest 'df -m --output=size / | tail -n 1')
    ((mib > 3500))
}

@test "the user first-last; a second boot leaves it as it was" {
    user_case first-last operator
    local instance
    instance=$(in_guest 'touch kept && sync && cat /var/lib/cloud/data/instance-id')
    vmctl down first-last
    bring_up first-last
    is_the_user first-last
    is_clean
    answers 'ls kept; cat /var/lib/cloud/data/instance-id' "kept
$instance"
}

@test "no ssh block, a seed on virtio, a name that is no host name" {
    bring_up my_vm hardened
    is_the_user vm
    is_clean
    answers hostname my-vm
    answers 'cat /run/cloud-init/result.json | grep -o "seed=/dev/vd."' seed=/dev/vdb
}

@test "published user-data: a hardened sshd with AllowUsers, no passwords, no root" {
    bring_up hardened my_vm
    is_clean
    answers 'id -un; sudo -n id -un; hostname' $'keeper\nroot\nbastion'
    answers 'sudo sshd -T | grep -E "^(allowusers|maxauthtries)"' $'maxauthtries 3\nallowusers keeper'
}

@test "a cloud-init that fails is told in its words, and no step runs on top of it" {
    up fails refused
    [ "$status" -eq 1 ]
    says 'error[vmctl::cloudinit::failed]' scripts
    [ "$(state_of fails)" = CloudInitFailed ]
    answers 'ls provisioned 2>/dev/null || true' ''
    vmctl restart fails --timeout 15m # cloud-init runs a script once
    [ "$(state_of fails)" = Ready ]
    report fails
}

@test "a login that is refused is told with what was offered and what the console says" {
    up refused fails
    [ "$status" -eq 1 ]
    says 'error[vmctl::ssh::auth_failed]' "user 'debian'" keeper_key refused
    [ "$(state_of refused)" = AuthFailed ]
}

@test "an sshd on another port is told as a closed port" {
    up other-port reboots
    [ "$status" -eq 1 ]
    says 'error[vmctl::ssh::port_closed]' 'nothing listens on its port 22'
    [ "$(state_of other-port)" = SSHPortClosed ]
}

says_hello() { [ "$(in_guest 'cat /run/hello' 2>/dev/null)" = hello ]; }

@test "published user-data: files, a service, a reboot at the end" {
    up reboots other-port
    await 900 says_hello
    vmctl wait reboots --ready --timeout 15m
    answers 'cloud-init status; cat /run/hello' $'status: done\nhello'
    report reboots
}

is_setting_up() { [ "$(state_of "$vm")" = SettingUp ]; }

@test "steps and Ready wait for a long runcmd, and for it again when vmctld was killed" {
    vm=runs-long
    vmctl up --detach runs-long
    vmctl wait runs-long --for=condition=GuestReachable --timeout 15m
    await is_setting_up
    kill_controller
    in_guest 'touch go-on'
    vmctl wait runs-long --ready --timeout 15m
    answers 'cat /ran' ran
    vmctl log runs-long --provision | grep -qx ran
    report runs-long
}

@test "a slow guest under load is waited for" {
    for _ in 1 2 3 4; do
        while :; do :; done 3>&- &
        burners+=($!)
    done
    bring_up loaded
    is_clean
}

stock_image() {
    [ -n "${VMCTL_TEST_STOCK:-}" ] ||
        VMCTL_TEST_STOCK=$("$BATS_TEST_DIRNAME/../../guest/build-debian" --stock | tail -n 1)
    ln -sf "$VMCTL_TEST_STOCK" stock.qcow2
}

@test "generic kernel, NetworkManager, all of cloud-init: a seed on ide, a grown disk" {
    stock_image
    cat >>VMFile.kdl <<'EOF'
vm "stock" {
    image "stock.qcow2"
    vcpus 2
    memory 1024
    disk 4
    cloud-init { seed "ide" }
    ssh { user "ubuntu"; timeout "10m" }
}
EOF
    bring_up stock
    is_the_user ubuntu
    is_clean
    answers 'systemctl is-active NetworkManager' active
    local mib
    mib=$(in_guest 'df -m --output=size / | tail -n 1')
    ((mib > 3500))
}

@test "examples/debian becomes Ready on the image of that name" {
    stock_image
    mkdir -p example
    cp "$BATS_TEST_DIRNAME/../../../examples/debian/VMFile.kdl" example/VMFile.kdl
    cd example
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
    is_the_user debian
    vmctl log web --provision | grep -qx 'set up by debian'
}
