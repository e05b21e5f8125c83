#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl export and import of VMs whose guests do not run; one that does is in volumes.bats.

load qemu

setup_file() {
    use_data_dir
    vmctl create -q --name web --image "$PROJECT/guest.qcow2" --memory 160 --user worker
    qemu-io -c 'write -P 0x5a 1M 64k' "$DATA/vms/web/overlay.qcow2" >/dev/null
    vmctl export -q web web.vmctl >/dev/null
}

teardown_file() { leave_data_dir; }

setup() { cd "$PROJECT"; }

# is_imported VM : has the disk, the keys and the seed of web
is_imported() {
    local file
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$DATA/vms/$1/overlay.qcow2"
    [ "$(qemu-img info --output json "$DATA/vms/$1/overlay.qcow2" | jq '."backing-filename"')" = null ]
    for file in id_ed25519_generated ssh_host_ed25519_key.pub seed.iso; do
        cmp "$DATA/vms/web/$file" "$DATA/vms/$1/$file"
    done
    grep -q "^vmctl-$1 ssh-ed25519 " "$DATA/vms/$1/known_hosts"
}

# leaves_nothing : of an import that failed
leaves_nothing() {
    [ -z "$(ls "$DATA/imports" 2>/dev/null)" ]
    [ "$(vmctl list -o name | sort | tr '\n' ' ')" = "web " ]
    refute ls "$DATA"/.vmctl.tmp-* 2>/dev/null
}

@test "an export is a tar archive for its owner alone, and takes nothing with it" {
    [ "$(stat -c %a web.vmctl)" = 600 ]
    [ "$(tar --zstd -tf web.vmctl | tr '\n' ' ')" = "manifest.json id_ed25519 id_ed25519.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub seed.iso disk.qcow2 " ]
    tar --zstd -xOf web.vmctl manifest.json | jq -e '.format == 1 and .vm == "web" and (.members | length) == 6'
    [ "$(tar --zstd -xOf web.vmctl disk.qcow2 | sha256sum | cut -d ' ' -f 1)" = "$(tar --zstd -xOf web.vmctl manifest.json | jq -r '.members[] | select(.name == "disk.qcow2") | .sha256')" ]
    await no_snapshot
    fails 6 vmctl export web web.vmctl
    says "'web.vmctl' exists"
    fails 2 vmctl export web
    fails 3 vmctl export wep other.vmctl
}
no_snapshot() { [ -z "$(ls "$DATA/vms/web/snapshots")" ]; }

# on_terminal COMMAND : what it writes to one
on_terminal() { script -qec "$1" /dev/null </dev/null; }

@test "a terminal shows how much of an archive is done once, not for each file" {
    [ "$(on_terminal "vmctl export web shown.vmctl" | grep -o 'writing the archive 100%' | wc -l)" -eq 1 ]
    [ "$(on_terminal "vmctl import shown.vmctl --name two" | grep -o 'unpacking 100%' | wc -l)" -eq 1 ]
    rm shown.vmctl
    vmctl destroy -q two
}

@test "an import under another name is the same machine, over no image" {
    mv guest.qcow2 moved.qcow2 # it needs none
    vmctl import web.vmctl --name two 2>notes
    mv moved.qcow2 guest.qcow2
    is_imported two
    run vmctl events two
    says "its disk is an import of that of vm 'web'"
    fails 6 vmctl import web.vmctl
    says "vm 'web' exists already" "vmctl import --name NEW web.vmctl"
    fails 1 vmctl import missing.vmctl --name three
    says "cannot read 'missing.vmctl': No such file" "a directory with backups"
    fails 2 vmctl import notes --name three
    says "'notes' is not an archive of vmctl"
    fails 2 vmctl import --start
    says "--detach need an archive"
    fails 6 vmctl import web.vmctl --name two
    fails 2 vmctl import web.vmctl --name ../x
    fails 2 vmctl import web.vmctl --user ubuntu
    vmctl destroy -q two
    leaves_nothing
}

@test "through a pipe, from a snapshot, while the controller is killed" {
    vmctl -q snapshot create web clean
    vmctl export -q web@clean - | vmctl import -q --name two -d -
    kill_controller
    vmctl -q start web -d && vmctl -q stop web # another controller
    await test -e "$DATA/vms/two/overlay.qcow2"
    is_imported two
    vmctl -q snapshot rm web clean
    vmctl destroy -q two
    await leaves_nothing
}

@test "an export that could not be written is refused before its work, and a pipe with a name is read" {
    fails 1 vmctl export web missing/web.vmctl
    says "cannot create a file in 'missing': No such file" "ls -ld missing"
    [ -z "$(ls "$DATA/vms/web/snapshots")" ]
    vmctl import -q --name two <(cat web.vmctl)
    is_imported two
    vmctl destroy -q two
    fails 1 vmctl import --name two <(echo hello)
    leaves_nothing
}

@test "what is no export, or is damaged, is refused and leaves nothing" {
    head -c 1000000 web.vmctl >cut.vmctl
    fails 1 vmctl import cut.vmctl --name two
    says "archive::invalid" "is cut off"
    { head -c 9000000 web.vmctl; printf X; tail -c +9000002 web.vmctl; } >flipped.vmctl
    fails 1 vmctl import flipped.vmctl --name two
    { cat web.vmctl; echo more; } >long.vmctl
    fails 1 vmctl import long.vmctl --name two
    says "has data after its end"
    echo hello | zstd -q >text.vmctl
    fails 1 vmctl import text.vmctl --name two
    leaves_nothing
}

# repack NAME : makes NAME.vmctl of what is in the directory `members`
repack() { tar --zstd -C members -cf "$1.vmctl" manifest.json $(cd members && ls -A | grep -v manifest.json); }

@test "an archive that was made to do harm is refused and leaves nothing" {
    mkdir members
    tar --zstd -C members -xf web.vmctl
    ln -s /etc/passwd members/link
    repack harm
    fails 1 vmctl import harm.vmctl --name two
    rm members/link
    mv members/disk.qcow2 disk.qcow2
    qemu-img create -q -f qcow2 -b /etc/passwd -F raw members/disk.qcow2 1M
    repack harm
    fails 1 vmctl import harm.vmctl --name two
    jq --arg sha "$(sha256sum <members/disk.qcow2 | cut -d ' ' -f 1)" --argjson size "$(stat -c %s members/disk.qcow2)" \
        '(.members[] | select(.name == "disk.qcow2")) |= (.sha256 = $sha | .size = $size)' members/manifest.json >right.json
    cp members/manifest.json manifest.json
    mv right.json members/manifest.json
    tar --zstd -C members -cf harm.vmctl manifest.json id_ed25519 id_ed25519.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub seed.iso disk.qcow2
    fails 1 vmctl import harm.vmctl --name two
    says "refers to another file"
    jq '.format = 2 | .vmctl = "9.1"' manifest.json >members/manifest.json
    repack harm
    fails 1 vmctl import harm.vmctl --name two
    says "has format 2" "9.1, or a newer one"
    jq '.members[-1].size = 90000000000000' manifest.json >members/manifest.json
    repack harm
    fails 1 vmctl import harm.vmctl --name two
    says "do not fit"
    leaves_nothing
}

@test "killed while it reads, an import leaves nothing, and one of the next start's" {
    mkfifo slow
    vmctl import -q - --name two <slow &
    import=$!
    exec 9>slow
    head -c 9000000 web.vmctl >&9
    await is_unpacking
    kill -9 $import
    wait $import || true
    exec 9>&-
    leaves_nothing
    mkdir -p "$DATA/imports/left"
    kill_controller
    vmctl -q start web -d && vmctl -q stop web
    await leaves_nothing
}
is_unpacking() { ls -l "/proc/$import/fd" | grep -q "deleted"; }

@test "one without a disk of ours is refused, and a port that it holds is exchanged" {
    cat >run.kdl <<'EOF'
vm "busy" { image "guest.qcow2"; backend "noop"; forward host=20080 guest=80 }
EOF
    vmctl -q up --file run.kdl
    fails 1 vmctl export busy busy.vmctl
    says "vmctl does not manage the disk of vm 'busy' as a file" "only VMs of backend \"qemu\""
    [ ! -e busy.vmctl ]
    fails 1 vmctl backup busy
    says "only VMs of backend \"qemu\" are exported and backed up"
    [ ! -e busy-backup ]
    jq '.spec.network.forwards = [{"protocol": "tcp", "hostPort": 20080, "guestPort": 80}]
        | .spec.shares = [{"host": "/etc", "guest": "/mnt/etc", "tag": "etc"}]' manifest.json >members/manifest.json
    rm -f members/disk.qcow2
    mv disk.qcow2 members/
    tar --zstd -C members -cf forward.vmctl manifest.json id_ed25519 id_ed25519.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub seed.iso disk.qcow2
    fails 0 vmctl import forward.vmctl --name two
    says "two: guest port 80 is at host port" "vm 'busy' has 20080" "two: without share '/etc'"
    [ "$(vmctl get two -o json | jq '.desired.spec.shares | length')" -eq 0 ]
    vmctl destroy -q two
    vmctl -q down --destroy -y --file run.kdl
}

# the_last : the disk of the last backup of web
the_last() { ls -t backups/web-*.qcow2 | head -n 1; }

@test "backups of a stopped VM are what differs, and the last one is imported" {
    vmctl backup -q web backups
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$(the_last)"
    qemu-io -c 'write -P 0x5b 2M 64k' -c 'write -z 1M 64k' "$DATA/vms/web/overlay.qcow2" >/dev/null
    fails 0 vmctl backup web backups
    says "changes since the previous one"
    [ "$(stat -c %s "$(the_last)")" -lt 2000000 ]
    [[ $(qemu-img info --output json "$(the_last)" | jq -r '."backing-filename"') == web-*-full.qcow2 ]] # the directory may be moved
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$(the_last)"
    [ "$(stat -c %a backups/*.vmctl | sort -u)" = 600 ]
    mv backups moved
    vmctl import -q moved --name two
    mv moved backups
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$DATA/vms/two/overlay.qcow2"
    is_imported two
    vmctl destroy -q two
    vmctl import -q "$(the_last)" --name two # by its disk
    is_imported two
    run vmctl events web
    says "its disk was copied for a clone, an export or a backup"
    refute grep -F "'~" <<<"$output"
    vmctl destroy -q two
    mv backups 12:00 # a protocol, were it not a directory
    vmctl import -q "12:00/$(basename "$(cd 12:00 && ls -t ./*.vmctl | head -n 1)")" --name two
    mv 12:00 backups
    is_imported two
    vmctl destroy -q two
    leaves_nothing
}

@test "backups after the clock was ahead: the last one is imported" {
    vmctl backup -q web ahead
    local settings=$(ls ahead/*.vmctl)
    mkdir ahead.members
    tar --zstd -C ahead.members -xf "$settings"
    jq '.created += 86400000' ahead.members/manifest.json >manifest.ahead # a day
    mv manifest.ahead ahead.members/manifest.json
    (cd ahead.members && tar --zstd -cf "../$settings" manifest.json $(ls | grep -v manifest.json))
    qemu-io -c 'write -P 0x6c 3M 64k' "$DATA/vms/web/overlay.qcow2" >/dev/null
    fails 0 vmctl backup web ahead
    says "changes since the previous one"
    vmctl import -q ahead --name two
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$DATA/vms/two/overlay.qcow2"
    vmctl destroy -q two
    vmctl backup -q web ahead --full
    vmctl import -q ahead --name two
    run vmctl get two -o json
    [ "$(tar --zstd -xOf "$(ls ahead/*-full.vmctl | grep -vF "$settings")" manifest.json | jq .created)" -gt \
        "$(jq .created ahead.members/manifest.json)" ]
    vmctl destroy -q two
}

@test "a backup that takes longer than its snapshot is kept has all of its settings" {
    mkdir bin
    printf '#!/bin/sh\nrm -f "$DATA"/vms/web/snapshots/*.iso\nexec %s "$@"\n' "$(command -v qemu-img)" >bin/qemu-img
    chmod +x bin/qemu-img
    PATH=$PWD/bin:$PATH vmctl backup -q web late
    tar --zstd -tf late/*.vmctl | grep -qx seed.iso
    rm -r bin late
}

@test "a chain that is not whole is neither built on nor imported" {
    local inc full
    inc=$(the_last)
    full=$(ls backups/*-full.qcow2)
    fails 2 vmctl import - --name two <"${inc%.qcow2}.vmctl"
    says "vmctl import DIRECTORY"
    cp "$inc" whole.qcow2
    qemu-io -c 'write -P 0x5c 2M 64k' "$inc" >/dev/null
    fails 1 vmctl import backups --name two
    says "archive::invalid" "does not have the SHA-256"
    qemu-img rebase -u -f qcow2 -b /etc/passwd -F raw "$inc"
    fails 1 vmctl import backups --name two
    says "its backing file is not the one that its manifest gives"
    cp whole.qcow2 "$inc"
    mv "$full" away.qcow2
    fails 1 vmctl import backups --name two
    says "$(basename "$full")" "another backup of the VM may be intact: ls $PWD/backups/web-*.vmctl"
    leaves_nothing
    fails 0 vmctl backup web backups
    says "web: a full backup: cannot read" "$(basename "$full")"
    mv away.qcow2 "$full"
    fails 0 vmctl backup web backups --full -o name
    [[ $output == *-full.qcow2 ]]
    vmctl destroy -q web
    vmctl create -q --name web --image "$PROJECT/guest.qcow2" --memory 160 --user worker
    fails 0 vmctl backup web backups
    says "are of another VM of that name"
    echo x >backups/website.vmctl # none of a backup
    echo x >backups/web-2-20200101-000000-full.vmctl # of others
    echo x >backups/web-20200101-20200101-000000-full.vmctl
    echo x >backups/web-20200101-000000-20200101-000000-full.vmctl
    fails 0 vmctl backup web backups
    says "changes since the previous one"
    echo x >backups/web-20200101-000000-full.vmctl
    fails 0 vmctl backup web backups
    says "web: a full backup: '" "web-20200101-000000-full.vmctl' is damaged"
    fails 1 vmctl import backups --name two
    says "000000-full.vmctl' is damaged" "move it away, or choose one"
    rm backups/{web-20200101-000000-full,web-2-20200101-000000-full,website}.vmctl
    rm backups/web-20200101-{20200101-000000,000000-20200101-000000}-full.vmctl
    mkdir backups/web-20200101-000000-full.vmctl # that cannot be read
    fails 0 vmctl backup web backups
    says "web: a full backup: cannot read '" "web-20200101-000000-full.vmctl'"
    rmdir backups/web-20200101-000000-full.vmctl
    mkdir taken # of disks that were removed alone
    for s in {0..9}; do echo x >"taken/web-$(date -u -d "+$s sec" +%Y%m%d-%H%M%S)-full.vmctl"; done
    vmctl backup -q web taken 2>/dev/null
    [ "$(ls taken | grep -c -- '-2-full')" -eq 2 ]
    rm -r taken
    fails 3 vmctl backup wep backups
    fails 6 flock backups vmctl backup web backups
    says "another backup to 'backups' is in progress" "wait until it is done"
}

bitmaps_of() { qemu-img info --output json "$1" | jq -r '."format-specific".data.bitmaps[]?.name'; }

@test "of the bitmaps of backups its disk keeps two: the last one's, and that before it" {
    vmctl backup -q web backups
    vmctl backup -q web backups
    [ "$(bitmaps_of "$DATA/vms/web/overlay.qcow2" | wc -l)" -eq 2 ]
    bitmaps_of "$DATA/vms/web/overlay.qcow2" | grep -qxF "$(tar --zstd -xOf "$(ls -t backups/*.vmctl | head -n 1)" manifest.json | jq -r .disk.bitmap)"
}

has_process() { [[ $(pid_of "$1") =~ ^[0-9]+$ ]]; }
@test "a clone that took the VM's name and has its bitmaps: its first backup has all of its disk" {
    vmctl backup -q web backups
    qemu-io -c 'write -P 0x5d 3M 64k' "$DATA/vms/web/overlay.qcow2" >/dev/null
    vmctl clone -q web other 2>/dev/null
    vmctl destroy -q web
    vmctl clone -q other web 2>/dev/null
    vmctl destroy -q other
    vmctl start -q -d web
    await has_process web
    vmctl suspend -q web
    fails 0 vmctl backup web backups
    says "web: a full backup: the earlier backups are of another VM of that name"
    qemu-img compare -q -U "$DATA/vms/web/overlay.qcow2" "$(the_last)"
    vmctl stop -q web --timeout 0
}

@test "a full disk: the backups before are whole" {
    mkdir small
    mount -t tmpfs -o size=40m tmpfs small || skip "no right to mount"
    vmctl backup -q web small
    fails 1 vmctl export web small/web.vmctl
    says "io::no_space" "'small/web.vmctl': cannot write: No space" "make room there, then export it again"
    fails 1 vmctl backup web small --full
    says "io::no_space" "there is no room in '$PWD/small' for a copy of " " MiB of the disk of vm 'web'" "the existing backups are intact"
    [ "$(ls -A small | wc -l)" -eq 2 ]
    vmctl import -q small --name two
    qemu-img compare -q "$DATA/vms/web/overlay.qcow2" "$DATA/vms/two/overlay.qcow2"
    vmctl destroy -q two
    head -c 20M /dev/urandom >random # found out amid the writing
    qemu-io -c 'write -s random 8M 20M' "$DATA/vms/web/overlay.qcow2" >/dev/null
    fails 1 vmctl backup web small
    says "io::no_space" "there is no room in '$PWD/small' for a copy of the disk of vm 'web'"
    [ "$(ls -A small | wc -l)" -eq 2 ]
    umount small
    mount -t tmpfs -o size=60m tmpfs small # a data directory without room for the copy
    export XDG_DATA_HOME=$PWD/small
    vmctl create -q --name web --image "$PROJECT/guest.qcow2" --memory 160
    qemu-io -c 'write -s random 8M 20M' small/vmctl/vms/web/overlay.qcow2 >/dev/null
    head -c 20M /dev/zero >small/fill
    fails 1 vmctl backup web other
    says "io::no_space" "20 MiB do not fit" "make room, then try again; see: df -h $PWD/small/vmctl/vms/web/snapshots"
    [ -z "$(ls -A other small/vmctl/vms/web/snapshots | grep -v :)" ]
    vmctl start -q -d web
    await has_process web # of one in use the room is looked for as well, and nothing is written
    vmctl suspend -q web
    fails 1 vmctl backup web other
    says "io::no_space" "a copy of '$PWD/small/vmctl/vms/web/overlay.qcow2' would need 20 MiB"
    [ -z "$(ls -A other small/vmctl/vms/web/snapshots | grep -v :)" ]
    vmctl stop -q web --timeout 0
    vmctl destroy -q web
    vmctl controller stop
    umount small
}

@test "volumes: what is not in a backup is said, and with --with-volumes an import brings them back" {
    local volume=$DATA/volumes/data/volume.qcow2
    vmctl volume attach -q web data --size 1
    vmctl start -q -d web
    await has_process web
    fails 1 vmctl export web running.vmctl --with-volumes
    says "vm 'web' is running, and its volumes can be exported only while it is stopped" "vmctl stop web"
    fails 0 vmctl backup web running --with-volumes
    refute grep -q 'without volume' <<<"$output"
    [ "$(ls running | sed 's/.*-full//' | tr '\n' ' ')" = ".data.qcow2 .qcow2 .vmctl " ]
    fails 0 vmctl backup web kept
    says "web: without volume 'data': use --with-volumes"
    vmctl stop -q web --timeout 0
    fails 0 vmctl export web without.vmctl
    says "web: without volume 'data'"
    qemu-io -c 'write -P 0x7e 5M 64k' "$volume" >/dev/null
    [ "$(vmctl backup web kept --with-volumes -o json 2>notes | jq -c .volumes)" = '["data"]' ]
    refute grep 'without volume' notes
    mv "$volume" volume.qcow2
    fails 1 vmctl backup web kept --with-volumes
    says "vm 'web': volume 'data' is gone: there is no '$volume'" "vmctl volume rm data"
    fails 1 vmctl export web lost.vmctl --with-volumes
    says "volume 'data' is gone"
    [ ! -e lost.vmctl ]
    fails 0 vmctl export web lost.vmctl
    says "web: without volume 'data', which has no file"
    cp volume.qcow2 "$volume"
    fails 6 vmctl import kept --name two
    says "volume 'data' exists already" "vmctl volume rm data"
    vmctl destroy -q web
    vmctl volume rm data
    fails 0 vmctl import kept --name two
    refute grep 'without volume' <<<"$output"
    qemu-img compare -q volume.qcow2 "$volume"
    [ "$(vmctl get two -o json | jq -c '[.desired.spec.volumes[].name]')" = '["data"]' ]
    # in a project its volumes are the project's, beside those it came with
    fails 0 vmctl --project job import kept --name web
    qemu-img compare -q volume.qcow2 "$DATA/volumes/job+data/volume.qcow2"
    [ "$(vmctl get job/web -o json | jq -c '[.desired.spec.volumes[].name]')" = '["job/data"]' ]
    [ ! -e "$DATA/imports" ] || [ -z "$(ls "$DATA/imports")" ]
    vmctl export -q job/web job.vmctl --with-volumes >/dev/null
    fails 6 vmctl import job.vmctl --name three
    says "volume 'data' exists already"
    fails 0 vmctl import job.vmctl --name shop/web
    qemu-img compare -q volume.qcow2 "$DATA/volumes/shop+data/volume.qcow2"
    vmctl destroy -q shop/web
    vmctl volume rm shop/data
}
