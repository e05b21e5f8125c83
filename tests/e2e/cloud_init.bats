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

# joined FILE... : $work/user-data becomes that of a VM with `user-data FILE raw=#false` of each,
# $work/config what cloud-init makes of it
joined() {
    cat >VMFile.kdl <<EOF
vm "vm1" {
    image "$work/disk.qcow2"
    cloud-init { ssh-key "$work/key.pub"$(printf '; user-data "%s" raw=#false' "$@") }
    ssh { user "debian" }
}
EOF
    local seed=$data/vms/vm1/seed.iso
    vmctl -q up -d
    await test -e "$seed"
    bsdtar -xOf "$seed" user-data >"$work/user-data"
    vmctl -q destroy -y vm1
    mkdir -p "$work/scratch"
    /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/cloud_init_parts.py" \
        "$CLOUD_INIT" "$work/scratch" "$work/user-data" >"$work/config"
    cat "$work/config"
}

# Whether our user is made besides theirs, as they are in $work/config.
makes_both() {
    make_root
    run as_root /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/cloud_init_users.py" \
        "$CLOUD_INIT" "$root" "$work/config"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == "deploy: group "*", own home, shell /bin/sh, locked, , 0 keys"$'\n'* ]]
    [[ $output == *$'\n'"debian: group debian, own home, shell /bin/bash, locked, debian ALL=(ALL) NOPASSWD:ALL, 2 keys" ]]
    grep -q 'ed25519_private: ' "$work/config"
}

cloud_config() {
    cat <<'EOF'
#cloud-config
users:
  - name: deploy
    shell: /bin/sh
hostname: theirs
runcmd:
  - echo ran
EOF
}

@test "a cloud-config that is not raw is merged with ours: both users, their host name" {
    cloud_config >u.yaml
    joined u.yaml
    grep -qx 'hostname: theirs' "$work/config"
    grep -qx -- '- echo ran' "$work/config"
    makes_both
}

@test "gzip, and a template, are a part beside ours" {
    cloud_config | gzip >u.gz
    joined u.gz
    makes_both
    { echo '## template: jinja'; cloud_config | sed 's/theirs/{{ v1.local_hostname }}/'; } >u.jinja
    joined u.jinja
    grep -qx 'hostname: from-jinja' "$work/config"
    makes_both
}

@test "several files are parts in their order: the first counts, lists have the entries of all" {
    cloud_config >u.yaml
    printf '#cloud-config\nhostname: second\nruncmd: [echo two]\npackages: [jq]\n' >v.yaml
    printf '#!/bin/sh\necho three\n' >w.sh
    { echo '## template: jinja'; printf '#cloud-config\nruncmd: ["echo {{ v1.local_hostname }}"]\n'; } >x.jinja
    joined u.yaml v.yaml w.sh x.jinja
    grep -qx 'hostname: theirs' "$work/config"
    [ "$(sed -n '/^runcmd:/,/^[a-z]/p' "$work/config" | sed '$d')" = "$(printf '%s\n' runcmd: '- echo ran' '- echo two' '- echo from-jinja')" ]
    grep -qx -- '- jq' "$work/config"
    grep -qF "# text/x-shellscript: '#!/bin/sh\necho three\n'" "$work/config"
    makes_both
}

@test "MIME and an archive keep their parts, in order, beside ours" {
    cat >u.mime <<EOF
Content-Type: multipart/mixed; boundary="=vmctl="
MIME-Version: 1.0

--=vmctl=
Content-Type: text/x-shellscript

#!/bin/sh
echo one

--=vmctl=
Content-Type: text/cloud-config

$(cloud_config)

--=vmctl=--
EOF
    joined u.mime
    grep -qF "# text/x-shellscript: '#!/bin/sh\necho one\n" "$work/config"
    makes_both
    {
        printf '#cloud-config-archive\n- type: text/x-shellscript\n  content: "#!/bin/sh\\ntrue"\n'
        echo '- |'
        cloud_config | sed 's/^/  /'
    } >u.archive
    joined u.archive
    grep -qF "# text/x-shellscript: '#!/bin/sh\ntrue'" "$work/config"
    makes_both
}

@test "a script is a part beside our cloud-config, and the note of an unused ssh-key is gone" {
    printf '#!/bin/sh\ntrue\n' >u.sh
    joined u.sh
    grep -qF "# text/x-shellscript: '#!/bin/sh\ntrue\n'" "$work/config"
    grep -q 'name: debian' "$work/config"
    run vmctl validate
    [[ $output != *"not used"* ]]
    sed -i 's/ raw=#false//' VMFile.kdl
    run vmctl validate
    [[ $output == *"its \`ssh-key\` is not used"*"raw=#false"* ]]
}
