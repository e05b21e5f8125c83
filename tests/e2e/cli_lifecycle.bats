#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
load cli_common
setup() { cli_setup; }
teardown() { cli_teardown; }

@test "up creates, and up again changes nothing" {
    vmfile web db
    run vmctl up -q
    [ "$status" -eq 0 ]
    [ "$output" = $'web: created\ndb: created' ]
    local before
    before=$(vmctl list -o json)
    run vmctl up -q
    [ "$status" -eq 0 ]
    [ "$output" = $'web: unchanged\ndb: unchanged' ]
    [ "$(vmctl list -o json)" = "$before" ]
}

@test "up follows until the VM is ready and says where" {
    vmfile web
    sed -i 's/backend/cloud-init; &/' VMFile.kdl
    run vmctl up
    [ "$status" -eq 0 ]
    [[ $output =~ "web: ready (ssh 127.0.0.1:"[0-9]+")"$ ]]
    [ "$(field Status web)" = Ready ]
    # … and where the first forward to a port of the web leads
    sed -i 's/backend "noop"/&; forward host=18090 guest=5432; forward host=18091 guest=443; forward host=18092 guest=80/' VMFile.kdl
    run vmctl up
    [ "$status" -eq 0 ]
    [[ $output =~ "web: ready (ssh 127.0.0.1:"[0-9]+", https://127.0.0.1:18091)"$ ]]
}

@test "up -d returns after the write, wait follows" {
    vmfile web
    script '{"bootMs": 300}'
    run vmctl up -d
    [ "$status" -eq 0 ]
    [ "$output" = "web: created" ]
    run vmctl wait web --ready
    [ "$status" -eq 0 ]
    [ "$(field Status web)" = Ready ]
}

@test "down stops, down again succeeds, up starts again" {
    vmfile web
    vmctl up -q
    run vmctl down -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: stopped" ]
    [ "$(field Status web)" = Stopped ]
    run vmctl down -q
    [ "$status" -eq 0 ]
    run vmctl up -q
    [ "$output" = "web: started" ]
}

# keeps NAME : the output says why nothing takes away its disk, and what to type
keeps() { says "vm '$1' is protected and keeps its disk" "vmctl apply $1 --file $PWD/VMFile.kdl"; }

@test "protect: what takes a disk away is refused for that VM, and done for the others" {
    vmfile web db new
    sed -i '/"db"/s/; }/; protect; }/' VMFile.kdl
    vmctl up -q
    run vmctl describe db
    has "Protected:   yes: its disk and snapshots stay"
    [[ $(vmctl describe web) != *Protected:* ]]
    fails 1 vmctl destroy db -y
    keeps db
    fails 1 vmctl destroy new db -y
    keeps db
    has "new: destroyed"
    fails 1 vmctl destroy --all -y -o json
    [ "$(vmctl list -o name)" = db ]
    [ "$(field Status db)" = Ready ]
    vmctl up -q
    local disk
    disk() { vmctl get "$1" -o json | jq -r '.. | .recreateToken? // empty'; }
    fails 1 vmctl reload -y
    keeps db
    says "web: recreating"
    [ -z "$(disk db)" ]
    fails 1 vmctl reload db -y
    keeps db
    refute says "db: "
    vmctl down -q # stops it: its disk stays
    [ "$(field Status db)" = Stopped ]
    fails 1 vmctl down --destroy -y
    keeps db
    [ "$(vmctl list -o name)" = db ]
    vmctl up -q
    cp "$work/image" "$work/other" && echo x >"$work/other"
    sed -i "s|$work/image|$work/other|" VMFile.kdl
    fails 1 vmctl up --recreate -y
    keeps db
    says "web: recreating"
    [ "$(field Status db)" = Ready ]
    sed -i '/"db"/d; /"new"/d' VMFile.kdl
    fails 0 vmctl up --prune=destroy -y --dry-run
    says "vm 'db' is no longer in VMFile.kdl, but is protected" "new: destroyed (dry run)"
    fails 0 vmctl up --prune=destroy -y
    says "vm 'db' is no longer in VMFile.kdl, but is protected and stays as it is" "vmctl apply db"
    await eval '[ "$(vmctl list -o name | tr "\n" " ")" = "db web " ]'
    vmfile web db
    sed -i "/\"db\"/s|$work/image|$work/other|" VMFile.kdl
    vmctl apply -q db
    vmctl destroy -y db
    [ "$(vmctl list -o name)" = web ]
}

@test "snapshot: made, listed, restored and removed of a stopped VM" {
    vmfile web
    vmctl up -q
    vmctl stop -q web
    run vmctl snapshot create -q web clean
    [ "$status" -eq 0 ]
    [ "$output" = "web: snapshot 'clean' made" ]
    fails 1 vmctl snapshot restore web never
    says "help: see which there are: vmctl snapshot list web"
    fails 6 vmctl snapshot create web clean
    says "the name 'clean' is taken" "vmctl snapshot rm web clean"
    run vmctl snapshot restore -q web clean
    [ "$output" = "web: snapshot 'clean' restored" ]
    run vmctl snapshot list web -o name
    [ "$output" = $'clean\nbefore-restore' ]
    [ "$(vmctl snapshot list -o json | jq -c '[.[] | [.vm, .name, .bytes]]')" = \
        '[["web","clean",4],["web","before-restore",4]]' ]
    vmctl snapshot list | grep -Eq '^web +clean +20[0-9-]+'
    run vmctl snapshot rm -q web clean
    [ "$output" = "web: snapshot 'clean' removed" ]
    fails 1 vmctl snapshot restore web clean
    says "vmctl::snapshot::not_found" "vm 'web' has no snapshot 'clean'" "vmctl snapshot list"
    script '{"failSnapshot": 1}'
    fails 1 vmctl snapshot create web
    says "vm 'web': noop: failure (failSnapshot)"
    script '{}'
    vmctl snapshot create -q web # called by the time
    vmctl snapshot list -o name | grep -Exq '20[0-9]{6}-[0-9]{6}'
    fails 3 vmctl snapshot create wep
    says "did you mean 'web'"
    fails 2 vmctl snapshot create web ../x
    says "cannot be a name"
    fails 2 vmctl snapshot
    says "create, list, restore, rm"
    fails 2 vmctl snapshot restore web
    says "vmctl snapshot restore VM NAME"
    vmctl up -q
    [ "$(vmctl snapshot list -o name | head -n1)" = before-restore ]
}

@test "clone: a VM of its own out of a stopped VM or its snapshot" {
    printf 'vm "web" { backend "noop"; image "%s"; forward host=18080 guest=80; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    vmctl stop -q web
    vmctl snapshot create -q web clean
    vmctl clone web copy >out 2>notes
    [ "$(cat out)" = "copy: cloned" ]
    grep -Eq '^copy: guest port 80 is at host port [23][0-9]{4}, not 18080$' notes
    [ "$(vmctl snapshot list -o name)" = clean ]
    [ "$(field State copy)" = prepared ]
    vmctl events copy | grep -q "its disk is a copy of that of vm 'web'"
    fails 6 vmctl clone web copy
    says "vm 'copy' exists already"
    fails 1 vmctl clone web@never other
    says "vm 'web' has no snapshot 'never'"
    fails 3 vmctl clone wep other
    says "did you mean 'web'"
    fails 2 vmctl clone web ../x
    mkdir "$data/vms/lost" # that of a VM which a lost store knew
    echo disk >"$data/vms/lost/overlay.qcow2"
    fails 6 vmctl clone web lost
    says "is the disk of a vm 'lost' that has no record"
    [ "$(<"$data/vms/lost/overlay.qcow2")" = disk ]
    fails 2 vmctl clone web
    vmctl clone -q --start web@clean other
    [ "$(field State other)" = running ]
    vmctl destroy -q web
    vmctl start -q copy
    [ "$(field Status copy)" = Ready ]
    vmctl destroy -q copy other
}

@test "destroy leaves nothing of the VM" {
    vmfile web
    vmctl up -q
    [ -d "$data/vms/web" ]
    run vmctl destroy web -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: destroyed" ]
    [ ! -e "$data/vms/web" ]
    [ -z "$(vmctl list -o name)" ]
    run vmctl destroy web
    [ "$status" -eq 3 ]
}

@test "destroy of what is being deleted succeeds" {
    vmfile web
    vmctl up -q
    script '{"ignorePowerdown": true}'
    vmctl destroy web -d
    run vmctl destroy web -d
    [ "$status" -eq 0 ]
}

@test "the inventory has no VM that is being destroyed" {
    vmfile web
    vmctl up -q
    [ "$(vmctl inventory | jq -c '._meta.hostvars | keys')" = '["web"]' ]
    script '{"ignorePowerdown": true}'
    vmctl destroy web -d
    [ "$(vmctl inventory | jq -c .)" = '{"_meta":{"hostvars":{}}}' ]
    [ "$(vmctl inventory --host web)" = '{}' ]
    [ "$(vmctl list -o name)" = web ] # it was there all the time
}

@test "up waits for a deletion under way and makes the VM anew" {
    vmfile web
    vmctl up -q
    local uid
    uid=$(field ID web)
    script '{"ignorePowerdown": true}' # so it takes until its stop-timeout
    vmctl destroy web -d
    run vmctl up -d
    [ "$status" -eq 6 ]
    run vmctl up
    [ "$status" -eq 0 ]
    says "web: is being deleted; waiting until it is gone"
    has "web: created"
    [ "$(field ID web)" != "$uid" ]
}

@test "down --destroy needs no VMFile" {
    vmfile web db
    vmctl up -q
    rm VMFile.kdl
    run vmctl down --destroy -q
    [ "$status" -eq 0 ]
    [ -z "$(vmctl list -o name)" ]
    run vmctl down
    [ "$status" -eq 2 ]
}

@test "down works with a broken VMFile" {
    vmfile web
    vmctl up -q
    echo 'vm "web" {' >VMFile.kdl
    run vmctl down
    [ "$status" -eq 0 ]
    says "vmctl::vmfile::parse_failed"
    has "web: stopped"
}

@test "a VM taken out of the VMFile keeps running until --prune" {
    vmfile web db
    vmctl up -q
    vmfile web
    run vmctl up
    [ "$status" -eq 0 ]
    says "vm 'db' is no longer in VMFile.kdl"
    [ "$(field Status db)" = Ready ]
    run vmctl up --prune
    [ "$status" -eq 0 ]
    vmctl wait db --deleted
    [ "$(vmctl list -o name)" = web ]
}

@test "suspend, resume, stop, start, restart" {
    vmfile web
    vmctl up -q
    vmctl suspend web
    [ "$(field Status web)" = Suspended ]
    [ "$(field State web)" = suspended ]
    run vmctl ssh web
    [ "$status" -eq 1 ]
    says "vmctl resume web"
    vmctl resume web
    [ "$(field Status web)" = Ready ]
    vmctl stop web --timeout 5 --no-wait
    vmctl wait web --stopped
    run vmctl suspend web
    [ "$status" -eq 1 ]
    says "vmctl::vm::invalid_state"
    vmctl start web
    [ "$(field Status web)" = Ready ]
    run vmctl restart web -q
    [ "$output" = "web: restarted" ]
}

@test "create is the same twice and a conflict when different" {
    run vmctl create --name one --backend noop --image "$work/image" -q
    [ "$status" -eq 0 ]
    [ "$output" = "one: created" ]
    [ "$(field State one)" = prepared ]
    run vmctl create --name one --backend noop --image "$work/image" -q
    [ "$status" -eq 0 ]
    run vmctl create --name one --backend noop --image "$work/image" --vcpus 2
    [ "$status" -eq 6 ]
    says "vm 'one' exists already, with other settings" "vmctl destroy one"
    run vmctl create --name one --backend noop --image "$work/image" --start -q
    [ "$status" -eq 0 ]
    [ "$(field State one)" = running ]
}

@test "apply writes the spec and starts nothing" {
    vmfile web
    run vmctl apply -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: created" ]
    [ "$(field State web)" = stopped ]
}

@test "what was recorded before a request is never shown as a state on its way" {
    printf 'vm "web" { backend "noop"; image "%s"; provision "shell" { inline "true"; }; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    run vmctl reload -y
    [ "$status" -eq 0 ]
    # a command that gets no processor for a while misses what is soon over, but shows nothing older
    [[ $output =~ ^"web: recreating"$'\n'("web: Preparing"$'\n')?("web: Stopping"$'\n')?(web:\ (Preparing|Starting)$'\n')*("web: Booting"$'\n')?(web:\ (SettingUp|Provisioning)$'\n')*"web: Ready"$'\n'"web: ready (" ]]
    vmctl suspend -q web
    run vmctl resume web
    [ "$status" -eq 0 ]
    [[ $output =~ ^("web: Resuming"$'\n')?"web: Ready"$'\n'"web: resumed"$ ]]
}

@test "reload makes a new disk in the same VM" {
    vmfile web
    vmctl up -q
    local uid born
    uid=$(field ID web)
    born=$(cat "$data/vms/web/noop.disk")
    run vmctl restart -q web
    [ "$(cat "$data/vms/web/noop.disk")" = "$born" ]
    run vmctl reload -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: recreating" ]
    [ "$(cat "$data/vms/web/noop.disk")" -gt "$born" ]
    [ "$(field ID web)" = "$uid" ]
    [ "$(field Status web)" = Ready ]
    vmctl snapshot list web | grep -Eq '^web +recreated-20[0-9]{6}-[0-9]{6} .* [0-9]+s +in 2[34]h'
    vmctl reload 2>notes
    local line name
    name=$(vmctl snapshot list web -o name | tail -n 1)
    line="vmctl stop web && vmctl snapshot restore web $name && vmctl start web"
    grep -Fxq "web: its old disk is kept for 24 hours; to restore it:" notes
    grep -Fxq "$line" notes
    bash -ec "$line"
    run vmctl snapshot rm -q web "$name" # of a VM that runs
    [ "$output" = "web: snapshot '$name' removed" ]
    vmctl reload --no-keep 2>notes
    refute grep -q kept notes
    [ "$(vmctl snapshot list web -o name | grep -c recreated)" -eq 1 ]
    local command
    for command in stop suspend destroy; do
        vmctl "$command" -q web
        run vmctl reload -q
        echo "$output"
        [ "$status" -eq 0 ]
        [ "$(field Status web)" = Ready ]
    done
}

@test "a change that needs a restart waits for --restart" {
    vmfile web
    vmctl up -q
    sed -i 's/{/{ memory 2048;/' VMFile.kdl
    run vmctl up -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: restart required: memory 1024 -> 2048 (vmctl up --restart)" ]
    run vmctl up -q
    [ "$output" = "web: restart required: memory 1024 -> 2048 (vmctl up --restart)" ]
    run vmctl wait web --ready
    [ "$status" -eq 1 ]
    run vmctl wait web --ready --allow-drift
    [ "$status" -eq 0 ]
    run vmctl up --restart -q
    [ "$output" = "web: restarted" ]
    vmctl wait web --ready
    run vmctl up --restart -q
    [ "$output" = "web: unchanged" ]
}

@test "a change that needs a new disk waits for --recreate" {
    vmfile web
    vmctl up -q
    sed -i 's/{/{ cloud-init;/' VMFile.kdl
    run vmctl up -q
    [ "$status" -eq 0 ]
    says "web: recreate required: cloud-init"
    run vmctl up --recreate -q
    [ "$status" -eq 0 ]
    [ "$output" = "web: recreating" ]
    run vmctl up --recreate -q
    [ "$output" = "web: unchanged" ]
}

@test "a stopped VM gets another name, with all that it has, and its watched VMFile follows" {
    cat >VMFile.kdl <<END
defaults { image "$work/image"; backend "noop" }
vm "web" { forward host=18083 guest=80; cloud-init }
vm "app" { depends-on "web" }
END
    vmctl -q up --watch
    run vmctl rename web www
    [ "$status" -eq 1 ]
    says "stop it first: vmctl stop web"
    vmctl -q stop web
    run vmctl rename web app
    [ "$status" -eq 6 ]
    run vmctl rename web "w w"
    [ "$status" -eq 2 ]
    run vmctl rename web
    [ "$status" -eq 2 ]
    run vmctl rename nope www
    [ "$status" -eq 3 ]
    local uid
    uid=$(vmctl get web -o json | jq -r .desired.uid)
    run vmctl rename web www
    [ "$status" -eq 0 ]
    says "note: write vm \"www\" in '$PWD/VMFile.kdl'" "www: renamed from 'web'"
    [ "$(vmctl list -o name | tr '\n' ' ')" = "app www " ]
    [ "$(vmctl get www -o json | jq -r .desired.uid)" = "$uid" ]
    [ "$(ls "$data/vms" | tr '\n' ' ')" = "app www " ]
    refute grep -q web "$data/vms/www/ssh_config"
    # what comes to be under the old name later is not its own, and another VM does not depend on it
    mkdir "$data/vms/web"
    vmctl -q start www
    vmctl wait www --ready
    vmctl -q stop www
    rmdir "$data/vms/web"
    run vmctl apply app
    [ "$status" -eq 6 ]
    says "vm 'web' was renamed to 'www'"
    # a file that has the old name yet is not applied, makes no VM of it and prunes none
    run vmctl up -d --prune -y
    [ "$status" -eq 6 ]
    says "vm 'web' was renamed to 'www'"
    sed -i 's/depends-on/autostart #false; depends-on/' VMFile.kdl
    is_source() { vmctl watch --list | grep -q "$1"; }
    await is_source "Conflict.*vm 'web' was renamed to 'www'"
    [ "$(vmctl list -o name | tr '\n' ' ')" = "app www " ]
    sed -i 's/"web"/"www"/' VMFile.kdl
    await is_source Synced
    run vmctl diff
    [ "$status" -eq 0 ]
    [ "$(vmctl get www -o json | jq -r .desired.uid)" = "$uid" ]
    vmctl -q up
    # its old name is free again
    await gives_back web
    vmctl -q create --name web --image "$work/image" --backend noop -d
}
gives_back() { vmctl get www -o json | jq -e '.status.renamedFrom == null'; }

@test "vmctld killed before the files of a renamed VM have moved moves them when it starts" {
    vmctl -q create --name web --image "$work/image" --backend noop
    local before
    before=$(ls "$data/vms/web")
    local pid
    pid=$(controller_pid)
    kill -STOP "$pid"
    timeout -s KILL 3 vmctl rename web www -d || true
    [ -d "$data/vms/web" ]
    kill_hard "$pid"
    # from the commit on the name is held; here no vmctld has given it back
    run vmctl create --name web --image "$work/image" --backend noop -d
    [ "$status" -eq 6 ]
    says "vm 'web' was renamed to 'www'"
    vmctl controller start
    vmctl wait --stopped www
    [ "$(ls "$data/vms/www")" = "$before" ]
    [ ! -e "$data/vms/web" ]
    [ -z "$(ls -A "$data/quarantine" 2>/dev/null)" ]
}

# renamed_halfway : web is www, and its files have not moved: vmctld is halted, as $pid
renamed_halfway() {
    vmctl -q create --name web --image "$work/image" --backend noop
    disk=$(cat "$data/vms/web/noop.disk")
    pid=$(controller_pid)
    kill -STOP "$pid"
    timeout -s KILL 3 vmctl rename web www -d
}
is_stalled() { vmctl get www -o json | jq -e '.status.trouble.message // "" | test("which has other files")'; }

@test "files in the way of a renamed VM's: it says so, and has its name back, or is destroyed" {
    local pid disk
    vmctl -q create --name web --image "$work/image" --backend noop
    mkdir "$data/vms/www"
    run vmctl rename web www
    [ "$status" -eq 6 ]
    says "has files of no VM that vmctl knows"
    rmdir "$data/vms/www"
    vmctl -q destroy -y web

    renamed_halfway
    mkdir "$data/vms/www"
    echo other >"$data/vms/www/noop.disk"
    kill -CONT "$pid"
    await is_stalled
    run vmctl rename www web
    [ "$status" -eq 0 ]
    [ "$(cat "$data/vms/web/noop.disk")" = "$disk" ]
    mv "$data/vms/www" "$work/other" 2>/dev/null || mv "$data"/quarantine/www-* "$work/other"
    [ "$(cat "$work/other/noop.disk")" = other ]
    vmctl -q start web
    vmctl -q destroy -y web

    renamed_halfway
    mv "$work/other" "$data/vms/www"
    kill -CONT "$pid"
    await is_stalled
    vmctl -q destroy -y www
    [ ! -e "$data/vms/web" ]
    await_quarantined() { [ "$(cat "$data"/quarantine/www-*/noop.disk)" = other ]; }
    await await_quarantined
}

@test "a renamed VM whose files are gone is not said to be renamed" {
    local pid disk
    renamed_halfway
    mv "$data/vms/web" "$work/moved"
    kill -CONT "$pid"
    run vmctl wait www --stopped --timeout 20s
    [ "$status" -ne 0 ]
    says "its files are neither in 'vms/www'"
    mv "$work/moved" "$data/vms/www"
    is_stopped() { vmctl wait www --stopped --timeout 5s; }
    await is_stopped
    [ "$(cat "$data/vms/www/noop.disk")" = "$disk" ]
}

@test "a VM that is renamed to and fro while its VMFile changes keeps its disk" {
    cat >VMFile.kdl <<END
defaults { image "$work/image"; backend "noop" }
vm "app"
vm "web" { forward host=18383 guest=80; autostart #false }
END
    vmctl -q up --watch
    vmctl -q start web
    vmctl -q stop web
    local uid disk end=$((SECONDS + 10)) n=0
    uid=$(vmctl get web -o json | jq -r .desired.uid)
    disk=$(cat "$data/vms/web/noop.disk")
    while [ $SECONDS -lt $end ]; do
        vmctl -q rename web www -d && vmctl -q rename www web -d || true
        n=$((n + 1))
        sed -i "s/vm \"app\".*/vm \"app\" { labels { n \"$n\" } }/" VMFile.kdl
        if [ $((n % 2)) = 0 ]; then sed -i 's,^vm "web",//vm "web",' VMFile.kdl; else sed -i 's,^//vm,vm,' VMFile.kdl; fi
    done
    local now
    now=$(vmctl list -o name | grep -v app)
    vmctl -q rename "$now" web || true
    now=$(vmctl list -o name | grep -v app)
    vmctl wait "$now" --stopped
    [ "$(vmctl get "$now" -o json | jq -r .desired.uid)" = "$uid" ]
    [ "$(cat "$data/vms/$now/noop.disk")" = "$disk" ]
    [ -z "$(ls -A "$data/quarantine" 2>/dev/null)" ]
}
