#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Disks that outlive their VMs. One guest, built on from test to test.

load qemu

setup_file() {
    use_data_dir
    truncate -s 1M "$PROJECT/given.img"
    printf 'from the host' | dd of="$PROJECT/given.img" conv=notrunc status=none
    cat >"$PROJECT/VMFile.kdl" <<'EOF'
vm "box" {
    image "guest.qcow2"
    memory 160
    cloud-init { hostname "box" }
    ssh { user "worker" }
    volume "data" size=1 mount="/data"
    disk "scratch" size=1 ephemeral=#true
    disk "given" file="given.img" readonly=#true
    provision "shell" { inline "test -w /data && echo first >>/data/log" }
}
EOF
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT"; }

guest() { vmctl ssh box -- "$@"; }
volume() { vmctl volume list -o json | jq -er --arg n "$1" --arg k "$2" '.[] | select(.name == $n) | .[$k]'; }
condition() { vmctl get box -o json | jq -er --arg c "$1" '.. | objects | select(.type? == $c) | .status + " " + .reason' | head -n 1; }
is_mounted() { guest "grep -q ' $1 ' /proc/mounts"; }

@test "a volume is made, and mounted before the first step" {
    vmctl -q up
    [ "$(guest cat /data/log)" = first ]
    is_mounted /data
    [ -n "$(device data)" ]
    [ "$(condition Mounted)" = "True Mounted" ]
    [ "$(volume data vm)" = box ]
    [ "$(volume data inUse)" = true ]
    [ "$(volume data size)" -eq $((1 << 30)) ]
    run vmctl describe box
    says "data at /data"
    vmctl diff
}

# device NAME: of the disk with that serial number
device() { guest "for s in /sys/block/*/serial; do [ \"\$(cat \$s)\" = $1 ] && d=\${s%/serial} && echo /dev/\${d##*/}; done; true"; }

@test "a given file is only read, and another disk is empty at every start" {
    local given scratch
    given=$(device given) scratch=$(device scratch)
    [ "$(guest "sudo dd if=$given bs=13 count=1 2>/dev/null")" = "from the host" ]
    refute guest "echo x | sudo dd of=$given bs=1 count=1 conv=fsync 2>/dev/null"
    guest "echo kept | sudo dd of=$scratch conv=fsync 2>/dev/null"
    [ "$(guest "sudo dd if=$scratch bs=4 count=1 2>/dev/null")" = kept ]
    [ -e "$DATA/vms/box/scratch-scratch.qcow2" ]
}

@test "it is one VM's at a time, and is not removed while a VM names it" {
    cat >other.kdl <<'EOF'
vm "other" { image "guest.qcow2"; backend "noop"; volume "data" }
EOF
    fails 1 vmctl up --file other.kdl --timeout 60
    says "volume 'data' of vm 'other' is in use by vm 'box'"
    vmctl -q down --destroy -y --file other.kdl
    fails 1 vmctl volume rm data
    says "volume 'data' belongs to vm 'box'"
    fails 6 vmctl volume detach box data
    says "comes from its VMFile"
}

@test "one is attached to the running guest and detached, and keeps what it holds" {
    local pid
    pid=$(pid_of box)
    vmctl -q volume attach box extra --size 1 --mount "/srv/extra one"
    guest "echo kept >'/srv/extra one/file'"
    vmctl -q up # a VMFile that does not name it leaves it alone
    guest "test -e '/srv/extra one/file'"
    fails 1 vmctl volume rm extra
    guest "cd '/srv/extra one' || exit 1; setsid sleep 600 >/dev/null 2>&1 </dev/null & echo \$! >/tmp/holder"
    fails 1 vmctl volume detach box extra --timeout 60
    says "volume 'extra' cannot be unmounted from /srv/extra one"
    guest 'kill $(cat /tmp/holder)'
    vmctl -q volume attach box extra --mount /srv/extra
    [ "$(guest cat /srv/extra/file)" = kept ]
    vmctl -q volume detach box extra
    [ -z "$(device extra)" ]
    [ "$(vmctl volume list -o json | jq -r '.[] | select(.name == "extra") | .vm')" = null ]
    [ "$(pid_of box)" = "$pid" ]
    vmctl volume rm extra
    fails 1 vmctl volume rm extra
    says "there is no volume 'extra'"
}

@test "one that was mounted by hand is unmounted before it is detached, and stays while it is busy" {
    vmctl -q volume attach box plain --size 1
    local disk
    disk=$(device plain)
    guest "sudo mke2fs -q $disk 2>/dev/null || sudo mkfs.ext4 -q -F $disk; sudo mkdir -p /byhand; sudo mount $disk /byhand; echo kept | sudo tee /byhand/file"
    guest "cd /byhand || exit 1; setsid sleep 600 >/dev/null 2>&1 </dev/null & echo \$! >/tmp/holder"
    fails 1 vmctl volume detach box plain --timeout 60
    says "volume 'plain' cannot be unmounted from /byhand"
    is_mounted /byhand
    [ "$(guest cat /byhand/file)" = kept ]
    guest 'kill $(cat /tmp/holder)'
    vmctl -q volume detach box plain
    refute is_mounted /byhand
    [ -z "$(device plain)" ]
    vmctl -q volume attach box plain --mount /srv/plain
    [ "$(guest cat /srv/plain/file)" = kept ]
    vmctl -q volume detach box plain
    vmctl volume rm plain
}

@test "several are attached to the running guest, and detached" {
    vmctl -q volume attach box one --size 1 --mount /one
    vmctl -q volume attach box two --size 1 --mount /two
    guest "echo 1 >/one/file; echo 2 >/two/file"
    [ "$(guest cat /one/file /two/file | tr '\n' ' ')" = "1 2 " ]
    vmctl -q volume detach box one
    [ -z "$(device one)" ]
    [ "$(guest cat /two/file)" = 2 ]
    vmctl -q volume detach box two
    vmctl volume rm one
    vmctl volume rm two
}

@test "one with the name of a disk, or the mount point of another, is refused" {
    fails 6 vmctl volume attach box scratch --size 1 --mount /srv
    says "vm 'box' has a disk 'scratch'"
    fails 6 vmctl volume attach box more --size 1 --mount /data
    says "volume 'more' and volume 'data' have the mount point /data"
    sed 's/"scratch"/"late"/' VMFile.kdl >late.kdl
    vmctl -q volume attach box late --size 1
    fails 6 vmctl up --adopt --file late.kdl
    says "vm 'box' has a disk 'late'" "vmctl volume detach box late"
    vmctl -q volume detach box late
    vmctl volume rm late
}

@test "killed in the middle, an attachment is completed, and a detachment" {
    vmctl -q volume attach -d box late --size 1 --mount /late
    kill_controller
    vmctl -q wait box --ready
    await is_mounted /late
    vmctl -q volume detach -d box late
    kill_controller
    vmctl -q wait box --ready
    await is_free
    refute is_mounted /late
    vmctl volume rm late
}
is_free() { [ "$(volume late inUse)" = false ]; }

@test "it grows while it is mounted, and does not shrink" {
    sed -i 's/volume "data" size=1/volume "data" size=2/' VMFile.kdl
    vmctl -q up
    [ "$(volume data size)" -eq $((2 << 30)) ]
    [ "$(guest "df -k /data | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2")" -gt 1500000 ]
    [ "$(guest cat /data/log)" = first ]
    sed -i 's/volume "data" size=2/volume "data" size=1/' VMFile.kdl
    fails 1 vmctl up
    says "volume 'data' cannot shrink from 2 to 1 GB"
    sed -i 's/volume "data" size=1/volume "data" size=2/' VMFile.kdl
}

@test "backups of the running guest have its volume, all of it and then what has changed" {
    local last pid
    guest 'head -c 3000000 /dev/urandom >/data/first; sync'
    fails 0 vmctl backup box backups
    says "without volume 'data': use --with-volumes"
    vmctl -q backup box backups --with-volumes
    guest 'head -c 300000 /dev/urandom >/data/changed; sync'
    vmctl -q suspend box # nothing writes to it
    last=$(vmctl -q backup box backups --with-volumes -o name)
    qemu-img compare -q -U "$DATA/volumes/data/volume.qcow2" "${last%.qcow2}.data.qcow2"
    qemu-img compare -q -U "$DATA/vms/box/overlay.qcow2" "$last"
    [ "$(stat -c %s "${last%.qcow2}.data.qcow2")" -lt 2500000 ]
    cp "$DATA/volumes/data/volume.qcow2" then.qcow2
    echo "${last%.qcow2}.vmctl" >second
    vmctl -q resume box
    fails 6 vmctl import backups --name other
    says "volume 'data' exists already"
    pid=$(pid_of box)
    kill -9 "$pid"
    await eval '[[ $(pid_of box) =~ ^[0-9]+$ && $(pid_of box) != '"$pid"' ]]'
    vmctl -q wait box --ready
    sed -i 's/volume "data" size=[0-9]*/volume "data" size=3/' VMFile.kdl
    vmctl -q up # though that QEMU left its bitmap unfinished
    [ "$(volume data size)" -eq $((3 << 30)) ]
    vmctl backup box elsewhere --with-volumes # which begins anew
    fails 0 vmctl backup box backups --with-volumes --full
    refute grep -q 'all of volume' <<<"$output"
    fails 0 vmctl backup box backups --with-volumes
    says "changes since the previous one"
    rm elsewhere/*.data.qcow2
    fails 0 vmctl backup box elsewhere --with-volumes
    says "a full backup of volume 'data': " "a full backup: "
}

@test "one that is gone or lost its data is refused, and made anew only when asked for" {
    local file=$DATA/volumes/data/volume.qcow2
    vmctl -q stop
    mv "$file" kept.qcow2
    fails 1 vmctl start
    says "volume 'data': '$file' is gone" "vmctl volume rm data"
    [ ! -e "$file" ]
    qemu-img create -q -f qcow2 "$file" 3G
    fails 1 vmctl start
    says "'$file' was replaced: it is empty"
    rm "$file"
    vmctl volume rm data
    refute vmctl volume rm data
    mv kept.qcow2 "$file"
    vmctl -q start
    [ "$(guest cat /data/log)" = first ]
}

@test "it outlives the disk and the VM" {
    vmctl -q reload -y
    [ "$(guest cat /data/log | tr '\n' ' ')" = "first first " ]
    [ "$(guest "sudo dd if=$(device scratch) bs=4 count=1 2>/dev/null | tr -d '\\000' | wc -c")" -eq 0 ]
    guest 'echo mine >note; hostname >name; sync'
    vmctl -q stop
    [ ! -e "$DATA/vms/box/scratch-scratch.qcow2" ]
    vmctl -q export box --with-volumes box.vmctl
    fails 6 vmctl import box.vmctl --name crate
    says "volume 'data' exists already" "vmctl volume rm data"
    vmctl -q down --destroy -y
    [ "$(volume data inUse)" = false ]
    vmctl volume rm data
}

@test "exported with its volume, it is brought back under another name" {
    fails 0 vmctl import box.vmctl --name crate --start
    says "crate: without its 1 provision steps" "crate: without disk '$PROJECT/given.img'"
    [ "$(vmctl ssh crate -- cat note /data/log | tr '\n' ' ')" = "mine first first " ]
    [ "$(vmctl ssh crate -- 'hostname | cmp - name && echo same')" = same ]
    [ "$(volume data vm)" = crate ]
    vmctl destroy -q crate
    vmctl volume rm data
    [ "$(vmctl volume list -o json)" = "[]" ]
    [ -z "$(ls "$DATA/volumes")" ]
    vmctl -q import "$(cat second)" --name back
    qemu-img compare -q then.qcow2 "$DATA/volumes/data/volume.qcow2"
    vmctl destroy -q back
    vmctl volume rm data
}
