#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Watch mode: vmctld keeps in step with VMFiles. VMs of the noop backend; how files are saved is
# tests/unit/controller/source/test_source_watch.c's, what happens when is tests/sim/test_watch.c's.

load cli_common

setup() { cli_setup; }
teardown() { cli_teardown; }

# block NAME [REST] : a valid VM
block() { printf 'vm "%s" { backend "noop"; image "%s"; %s }\n' "$1" "$work/image" "${2:-}"; }

# source_field FIELD [FILE] : of `watch --list`
source_field() {
    vmctl watch --list -o json |
        jq -r --arg path "${2:-$PWD/VMFile.kdl}" ".[] | select(.path == \$path) | .$1"
}
is_source() { [ "$(source_field state "${2:-}")" = "$1" ]; }
exists() { vmctl list -o name | grep -Fxq -- "$1"; }
is_gone() { ! exists "$1"; }
shows() { vmctl list | grep -Eq "^$1 .* $2 +[0-9]+s( |\$)"; }
# has_setting VM FIELD VALUE
has_setting() { [ "$(vmctl status "$1" -o json | jq -r ".desired.spec.$2")" = "$3" ]; }

@test "watch applies every save and starts nothing" {
    block web 'memory 512' >VMFile.kdl
    run vmctl watch
    [ "$status" -eq 0 ]
    [ "$output" = "$PWD/VMFile.kdl: watched" ]
    has_setting web memoryMib 512
    [ "$(field Status web)" = Stopped ]
    block web 'memory 768' >VMFile.kdl
    await has_setting web memoryMib 768
    { block web 'memory 768'; block db; } >VMFile.kdl
    await exists db
    vmctl wait --stopped db
}

@test "up --watch starts what comes into the file" {
    block web >VMFile.kdl
    run vmctl up --watch
    [ "$status" -eq 0 ]
    says "watching '$PWD/VMFile.kdl'"
    { block web; block db; } >VMFile.kdl
    await exists db
    vmctl wait db --ready
}

@test "apply --watch does not start what comes into the file" {
    block web >VMFile.kdl
    vmctl -q apply --watch
    { block web; block db; } >VMFile.kdl
    await exists db
    [ "$(field Status db)" = Stopped ]
    [ "$(source_field startsNew)" = false ]
}

@test "--watch is for a whole file" {
    { block web; block db; } >VMFile.kdl
    run vmctl up --watch web
    [ "$status" -eq 2 ]
    says "--watch is for a whole VMFile"
    is_gone web
}

@test "watch --list tells what was applied" {
    block web >VMFile.kdl
    vmctl up -q --watch
    run vmctl watch --list
    [ "$status" -eq 0 ]
    local sha
    sha=$(sha256sum VMFile.kdl | cut -c1-64)
    [[ ${lines[0]} =~ ^FILE\ +STATE\ +APPLIED\ +PRUNE\ +MESSAGE ]]
    [[ ${lines[1]} =~ ^$PWD/VMFile.kdl\ +Synced\ +${sha:0:12}\ +no ]]
    [ "$(source_field appliedSha)" = "$sha" ]
    [ "$(vmctl watch --list -o name)" = "$PWD/VMFile.kdl" ]
}

@test "a change that needs a restart is told and waits" {
    block web 'memory 512' >VMFile.kdl
    vmctl up -q --watch
    local started
    started=$(vmctl status web -o json | jq -r .status.instance.iid)
    block web 'memory 768' >VMFile.kdl
    run vmctl wait --file VMFile.kdl --ready
    [ "$status" -eq 1 ]
    says "restart required (memory 512 -> 768)"
    [ "$(vmctl status web -o json | jq -r .status.instance.iid)" = "$started" ]
    run vmctl up -q --restart
    has "web: restarted"
    run vmctl wait --file VMFile.kdl --ready
    [ "$status" -eq 0 ]
}

@test "a broken file is told with its place, its VMs keep the last good one" {
    block web 'stop-timeout 5' >VMFile.kdl
    vmctl up -q --watch
    printf '// a comment\nvm "web" {\n    imge "x"\n}\n' >VMFile.kdl
    await is_source ParseFailed
    run vmctl watch --list
    says "ParseFailed"
    [ "$(source_field line)" = 3 ]
    await shows web 'Ready,SourceInvalid'
    run vmctl status web
    [[ $output =~ Synced\ +False\ +SourceInvalid\ .*$PWD/VMFile.kdl:3: ]]
    [[ $output =~ Ready\ +True ]]
    [[ $output == *"Warning  SourceInvalid"* ]]
    has_setting web stopTimeoutSeconds 5
    run vmctl wait web --ready
    [ "$status" -eq 2 ]
    says "vm 'web' does not match its current VMFile"
    vmctl wait web --ready --allow-drift
    block web 'stop-timeout 6' >VMFile.kdl
    await is_source Synced
    has_setting web stopTimeoutSeconds 6
    await shows web Ready
}

@test "a file that is broken when it is to be watched is refused" {
    echo 'vm "web" {' >VMFile.kdl
    run vmctl watch
    [ "$status" -eq 2 ]
    [ "$(vmctl watch --list -o json)" = "[]" ]
    rm VMFile.kdl
    run vmctl watch
    [ "$status" -eq 2 ]
    says "there is no VMFile"
}

@test "what is no file cannot be watched" {
    block web >real.kdl
    run vmctl up -q --watch --file <(cat real.kdl)
    [ "$status" -eq 2 ]
    says "is a pipe, not a VMFile"
    is_gone web
    mkfifo pipe.kdl
    run vmctl watch pipe.kdl
    [ "$status" -eq 2 ]
}

@test "VMs outlive their file, and are its own again when it is back" {
    block web >VMFile.kdl
    vmctl up -q --watch --prune
    mv VMFile.kdl away
    await is_source Missing
    await shows web 'Ready,SourceMissing'
    mv away VMFile.kdl
    await is_source Synced
    await shows web Ready
}

@test "a block that goes is told and left alone" {
    { block web; block db; } >VMFile.kdl
    vmctl up -q --watch
    block web >VMFile.kdl
    await shows db 'Ready,RemovedFromSource'
    run vmctl watch --list
    says "no longer names db"
    { block web; block db; } >VMFile.kdl
    await shows db Ready
}

@test "watch --prune destroys what the file no longer names" {
    { block web; block db; } >VMFile.kdl
    vmctl up -q
    run vmctl watch --prune
    [ "$status" -eq 0 ]
    [ "$(source_field prune)" = destroy ]
    block web >VMFile.kdl
    await is_gone db
    exists web
}

@test "watch --prune keeps what is protected, and says so" {
    { block web; block db protect; block old; } >VMFile.kdl
    vmctl up -q
    vmctl -q watch --prune
    block web >VMFile.kdl
    await is_gone old
    exists db
    run vmctl watch --list
    says "no longer names db, which is protected and stays"
    [[ $(vmctl events db) == *"no longer names it; it is protected, and kept"* ]]
}

@test "up without the override of a file that is watched with --prune takes nothing away" {
    { block web; block db; } >VMFile.kdl
    block cache >prod.kdl
    vmctl -q up -f VMFile.kdl -f prod.kdl --watch --prune -y
    local command
    for command in "up" "up --dry-run" "up web" "apply" "up --prune -y" "reload -y" "provision"; do
        run vmctl $command </dev/null
        [ "$status" -eq 6 ] || { echo "$command"; false; }
        says "is watched with these further files: -f '$PWD/prod.kdl'"
        says "give them, too: -f '$PWD/VMFile.kdl' -f '$PWD/prod.kdl'"
    done
    block web >VMFile.kdl
    await is_gone db # which is pruned, and so would be the other one
    exists cache
    # whoever says so ends it, and has nothing destroyed without --prune
    run vmctl up --watch </dev/null
    [ "$status" -eq 0 ]
    says "vm 'cache' is no longer in VMFile.kdl and is left as it is"
    { block web; block db; } >VMFile.kdl
    await exists db
    exists cache
}

@test "up without the values of a file that is watched with --prune takes nothing away" {
    { echo 'var "n" default=1'; block node | sed 's/"node"/& count="${{ n }}"/'; block db; } >VMFile.kdl
    vmctl -q up --watch --prune --set n=3
    exists node-3
    run vmctl up </dev/null
    [ "$status" -eq 6 ]
    says "is watched with --prune and other values (n): vmctld would destroy vm 'node-2' and 1 more"
    run vmctl up node-4 --set n=4 # else the watcher would destroy it
    [ "$status" -eq 6 ]
    says "vmctl up, without a name"
    is_gone node-4
    sed -i '/"db"/d' VMFile.kdl
    await is_gone db
    exists node-3
    vmctl -q up --set n=4
    exists node-4
    run vmctl up --set n=3 --prune -y
    [ "$status" -eq 0 ]
    await is_gone node-4
    exists node-3
}

@test "a file of a watched directory keeps the files and values that up gave it" {
    mkdir vms else
    { echo 'var "n" default=1'; block node | sed 's/"node"/& count="${{ n }}"/'; block db; } >vms/VMFile.kdl
    block cache >else/prod.kdl
    vmctl -q watch vms --prune
    run vmctl up -f vms -f else/prod.kdl </dev/null
    [ "$status" -eq 6 ]
    says "is watched without further files, through its directory"
    says "vmctl watch -f '$PWD/vms/VMFile.kdl' -f '$PWD/else/prod.kdl'"
    is_gone cache
    vmctl -q up -f vms --set n=3
    exists node-3
    block other >vms/other.kdl # the directory is listed again
    await exists other
    sed -i '/"db"/d' vms/VMFile.kdl
    await is_gone db
    exists node-3
    run vmctl up -f vms </dev/null
    [ "$status" -eq 6 ]
    says "with --prune and other values (n): vmctld would destroy vm 'node-2' and 1 more"
    # watched by itself, and not given back to its directory
    vmctl -q up -f vms -f else/prod.kdl --set n=3 --watch --prune
    run vmctl unwatch vms/VMFile.kdl
    [ "$status" -eq 2 ]
    says "stop that first: vmctl unwatch $PWD/vms"
    rm vms/other.kdl
    await is_source Missing "$PWD/vms/other.kdl"
    { echo 'var "n" default=1'; block node 'memory 600' | sed 's/"node"/& count="${{ n }}"/'; } >vms/VMFile.kdl
    await has_setting node-3 memoryMib 600
    exists cache
    vmctl unwatch vms
    vmctl unwatch vms/VMFile.kdl
    exists cache
}

@test "up says what the watch does to a VM that the file no longer names" {
    { block web; block db; } >VMFile.kdl
    vmctl -q up --watch --prune
    kill_controller
    block web >VMFile.kdl
    run vmctl up -d </dev/null
    [ "$status" -eq 0 ]
    says "vm 'db' is no longer in VMFile.kdl, which is watched with --prune: vmctld destroys it"
    await is_gone db
}

@test "watch --prune=stop stops it" {
    { block web; block db; } >VMFile.kdl
    vmctl up -q
    vmctl watch --prune=stop
    block web >VMFile.kdl
    vmctl wait db --stopped
    exists db
    run vmctl watch --prune=sell
    [ "$status" -eq 2 ]
    says "'sell' is neither stop nor destroy"
}

@test "apply --prune=stop stops once, without watching" {
    { block web; block db; } >VMFile.kdl
    vmctl up -q
    block web >VMFile.kdl
    run vmctl apply -q --prune=stop
    [ "$status" -eq 0 ]
    has "db: stopping"
    vmctl wait db --stopped
}

@test "the first owner of a name keeps it" {
    block web 'memory 512' >VMFile.kdl
    vmctl up -q --watch
    { block web 'memory 768'; block db; } >second.kdl
    run vmctl watch second.kdl
    [ "$status" -eq 6 ]
    says "vm 'web' belongs to another VMFile"
    is_source Conflict "$PWD/second.kdl"
    is_gone db
    has_setting web memoryMib 512
    block db >second.kdl
    await exists db
    is_source Synced "$PWD/second.kdl"
}

@test "a directory stands for its VMFiles" {
    mkdir vms
    block a >vms/a.kdl
    echo 'theme "dark"' >vms/theme.kdl
    run vmctl watch vms
    [ "$status" -eq 0 ]
    exists a
    block b >vms/b.kdl
    await exists b
    [ "$(vmctl watch --list -o name | wc -l)" -eq 3 ]
    run vmctl unwatch vms/a.kdl
    [ "$status" -eq 2 ]
    says "vmctl unwatch $PWD/vms"
    rm vms/a.kdl
    await is_source Missing "$PWD/vms/a.kdl"
    mv vms/b.kdl vms/c.kdl
    await is_source Synced "$PWD/vms/c.kdl"
    [ "$(field VMFile b)" = "$PWD/vms/c.kdl" ]
    run vmctl unwatch vms
    [ "$output" = "$PWD/vms: no longer watched" ]
    [ "$(vmctl watch --list -o json)" = "[]" ]
}

@test "a script that the file names is watched with it" {
    echo true >setup.sh
    block web 'provision "shell" { script "setup.sh" }' >VMFile.kdl
    vmctl up -q --watch
    local before
    before=$(source_field appliedDigest)
    echo false >setup.sh
    changed() { [ "$(source_field appliedDigest)" != "$before" ]; }
    await changed
    await outdated
    [ "$(field Status web)" = Ready ]
}
outdated() {
    vmctl status web -o json | jq -e '.status.conditions | .. | objects | select(.reason? == "ProvisionOutdated")' >/dev/null
}

@test "unwatch ends it and leaves the VMs alone" {
    block web 'memory 512' >VMFile.kdl
    vmctl up -q --watch
    run vmctl unwatch
    [ "$status" -eq 0 ]
    [ "$output" = "$PWD/VMFile.kdl: no longer watched" ]
    run vmctl unwatch
    [ "$status" -eq 0 ]
    [ "$output" = "$PWD/VMFile.kdl: is not watched" ]
    block other >other.kdl
    vmctl watch other.kdl
    block web 'memory 768' >VMFile.kdl
    block other 'memory 768' >other.kdl
    await has_setting other memoryMib 768
    has_setting web memoryMib 512
    [ "$(vmctl unwatch --all -o json | jq -c 'map(.wasWatched)')" = "[true]" ]
    [ "$(vmctl watch --list -o json)" = "[]" ]
    [ "$(field Status web)" = Ready ]
}

@test "unwatch takes further files as watch does, and several VMFiles as names" {
    block a >a.kdl
    block b >b.kdl
    block c >c.kdl
    vmctl -q watch a.kdl b.kdl
    run vmctl unwatch -f a.kdl -f b.kdl
    [ "$status" -eq 2 ]
    says "'$PWD/a.kdl' is not watched with 'b.kdl'" "vmctl unwatch 'a.kdl' 'b.kdl'"
    [ "$(vmctl watch --list -o name)" = "$PWD/a.kdl"$'\n'"$PWD/b.kdl" ]
    vmctl unwatch a.kdl
    run vmctl unwatch -f a.kdl -f b.kdl # where nothing is to be done for the first
    [ "$status" -eq 2 ]
    vmctl unwatch b.kdl
    vmctl -q watch -f a.kdl -f c.kdl
    run vmctl unwatch -f a.kdl -f b.kdl
    [ "$status" -eq 2 ]
    run vmctl unwatch -f a.kdl -f c.kdl
    [ "$output" = "$PWD/a.kdl: no longer watched" ]
    run vmctl unwatch -f a.kdl -f c.kdl
    [ "$status" -eq 0 ]
    [ "$output" = "$PWD/a.kdl: is not watched" ]
}

@test "a file whose directory is gone can be unwatched" {
    mkdir sub
    block web >sub/VMFile.kdl
    vmctl watch sub/VMFile.kdl
    rm -r sub
    run vmctl unwatch sub/VMFile.kdl
    [ "$output" = "$PWD/sub/VMFile.kdl: no longer watched" ]
}

@test "what was saved before vmctld was killed, or while none ran, is applied by the next one" {
    block web 'memory 512' >VMFile.kdl
    vmctl up -q --watch
    kill_controller
    block web 'memory 768' >VMFile.kdl
    vmctl list >/dev/null # starts none
    has_setting web memoryMib 512
    run vmctl wait --file VMFile.kdl --running
    [ "$status" -eq 0 ]
    has_setting web memoryMib 768
    local memory
    for memory in 800 801 802; do # killed between the save and the look, more or less
        block web "memory $memory" >VMFile.kdl
        kill_controller
        vmctl wait --file VMFile.kdl --running
        has_setting web memoryMib $memory
    done
}

@test "wait --file waits for the file as it is now" {
    block web >VMFile.kdl
    vmctl up -q --watch
    local number
    for number in 1 2 3 4 5; do
        block web "stop-timeout $number" >VMFile.kdl
        vmctl wait --file VMFile.kdl --ready
        has_setting web stopTimeoutSeconds "$number"
    done
}

@test "wait --file ends at once when the file cannot be applied" {
    block web 'disk 20' >VMFile.kdl
    vmctl up -q --watch
    block web 'disk 10' >VMFile.kdl
    run vmctl wait --file VMFile.kdl --timeout 30s
    [ "$status" -eq 2 ]
    says "its disk cannot shrink from 20 to 10 GB"
    [ "$(source_field state)" = Refused ]
}

@test "a destroyed VM comes back with the next change of its file" {
    block web >VMFile.kdl
    vmctl up -q --watch
    run vmctl down --destroy
    [ "$status" -eq 0 ]
    says "is still watched"
    block db >other.kdl
    vmctl watch other.kdl
    is_gone web
    block web 'memory 768' >VMFile.kdl
    await exists web
}

@test "what up read is what the watcher compares with" {
    block web >VMFile.kdl
    vmctl up -q --watch
    block web 'stop-timeout 7' >VMFile.kdl
    vmctl up -q
    [ "$(source_field appliedSha)" = "$(sha256sum VMFile.kdl | cut -c1-64)" ]
}
