# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# Seeds for the self-test.

make_keys() {
    ssh-keygen -q -t ed25519 -N '' -C user -f "$work/user_key"
    ssh-keygen -q -t ed25519 -N '' -C host -f "$work/host_key"
    pin_preset_key
}

# write_seed OUT INSTANCE: user-data comes from standard input.
write_seed() {
    mkdir -p "$work/seed"
    cat >"$work/seed/user-data"
    printf 'instance-id: %s\nlocal-hostname: from-meta\n' "$2" >"$work/seed/meta-data"
    genisoimage -quiet -volid cidata -joliet -rock -output "$1" \
        "$work/seed/user-data" "$work/seed/meta-data"
}

indented() {
    sed "s/^/    /" "$1"
}

# Uses every key that the guest knows, and some that it does not.
full_user_data() {
    cat <<END
#cloud-config
# vmctl's own form first
hostname: lab-1
fqdn: lab-1.example.org
disable_root: true
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
$(indented "$work/host_key")
  ed25519_public: $(cat "$work/host_key.pub")
users:
  - name: vm
    gecos: "The \"VM\" user"
    groups: [sudo, adm]
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    lock_passwd: true
    ssh_authorized_keys:
      - $(cat "$work/user_key.pub")
  - name: plain
    groups: adm
    homedir: /home/elsewhere
    ssh_authorized_keys: ['$(cat "$work/user_key.pub")']
package_update: true
growpart: {mode: auto, devices: ['/']}
write_files:
- path: /etc/deep/er/file
  permissions: '0640'
  owner: root:adm
  content: |
    it's "quoted" and \\back\\slashed
      indented, # not a comment

    after an empty line
- path: /etc/encoded
  encoding: b64
  content: $(printf 'one\ntwo' | base64)
runcmd:
  - echo "once" >>/var/log/ran
  - [sh, -c, "echo \"it's\" >>/var/log/ran"]
  - |
    echo several
    echo lines >>/var/log/ran
END
}
