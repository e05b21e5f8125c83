#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# VMs of projects: `project` of the VMFile, --project and VMCTL_PROJECT.
load nodes
setup() { nodes_setup; }
teardown() { nodes_teardown; }

# of PROJECT NAME... : a VMFile of that project with these VMs
of() {
    local project=$1
    shift
    vmfile "$@"
    sed -i "1i project \"$project\"" VMFile.kdl
}

names() { vmctl list -a -o name | tr '\n' ' '; }

@test "a project's VMs have plain names inside, and names with the project elsewhere" {
    of shop web db
    run vmctl up
    [ "$status" -eq 0 ]
    says "shop/web: ready" "shop/db: ready"
    [ "$(names)" = "shop/db shop/web " ]
    [ "$(vmctl list -o name | tr '\n' ' ')" = "db web " ]
    [ "$(vmctl list -o json | jq -r '.[0].name, .[0].project' | tr '\n' ' ')" = "shop/db shop " ]
    vmctl stop web
    mkdir sub
    run env -C sub vmctl start web
    says "shop/web: ready"
    cd "$work"
    vmctl stop shop/web
    fails 3 vmctl stop web
    says "there is no vm 'web'"
    [ "$(vmctl --project shop status db -o json | jq -r .name)" = shop/db ]
    [ "$(VMCTL_PROJECT=shop vmctl list -o name | tr '\n' ' ')" = "db web " ]
    [ "$(vmctl wait shop/db --ready -o json | jq -r '.[0].project')" = shop ]
    [ "$(ls "$data/vms" | tr '\n' ' ')" = "shop+db shop+web " ]
    vmctl doctor >"$work/doctor" || true
    refute grep -q 'without a record' "$work/doctor"
    cd project
    vmctl down --destroy -y
    [ "$(names)" = "" ]
    await refute ls "$data/vms/"*
}

@test "two jobs of one folder, and of two copies of it, live side by side" {
    vmfile web db
    cp -r . "$work/copy"
    VMCTL_PROJECT=job-1 vmctl up
    run vmctl --project job-2 up
    [ "$status" -eq 0 ]
    refute grep -q job-1 <<<"$output"
    run env -C "$work/copy" VMCTL_PROJECT=job-3 vmctl up
    [ "$status" -eq 0 ]
    run vmctl up
    says "belong to a project are left as they are: job-1/db and 3 more"
    [ "$(names)" = "db job-1/db job-1/web job-2/db job-2/web job-3/db job-3/web web " ]
    [ "$(vmctl list -o name | wc -l)" -eq 8 ] # no project here: all, as ever
    VMCTL_PROJECT=job-2 vmctl down --destroy -y
    [ "$(names)" = "db job-1/db job-1/web job-3/db job-3/web web " ]
    vmfile web
    VMCTL_PROJECT=job-1 vmctl up --prune -y
    await eval '! vmctl list -o name | grep -q job-1/db'
    [[ "$(names)" == "db "*"job-1/web job-3/db"* ]]
    vmctl down --destroy -y
    [[ "$(names)" != *" web "* ]]
    run env VMCTL_PROJECT=job-1 vmctl diff
    [ "$status" -eq 0 ]
    # killed and started again, all are still there, and no directory is moved aside
    kill_controller
    vmctl wait job-1/web job-3/web --ready
    [ ! -e "$data/quarantine" ]
}

@test "of two folders with one project the second is refused a name that is taken" {
    of shop web
    vmctl up
    mkdir ../other
    cd ../other
    of shop web
    fails 6 vmctl up
    says "vm 'shop/web' belongs to another VMFile"
    run vmctl down --destroy -y # as a job does whose `up` failed
    [ "$status" -eq 0 ]
    says "shop/web stays as it is: it belongs to another VMFile, $work/project/VMFile.kdl"
    [ "$(names)" = "shop/web " ]
    of shop db
    vmctl up
    [ "$(vmctl list -o name | tr '\n' ' ')" = "db web " ]
    vmctl down --destroy -y
    [ "$(names)" = "shop/web " ]
}

@test "names without a project are not taken for those of the folder's, nor the other way round" {
    vmctl create --name solo --backend noop --image "$work/image"
    of shop web
    vmctl up
    fails 3 vmctl destroy -y solo
    says "there is no vm 'shop/solo'" "'solo' belongs to no project: --project ''"
    run vmctl list
    says "note: only project 'shop'; 1 more VM: vmctl list --all-projects"
    refute grep -q PROJECT <<<"$output"
    [ "$(vmctl list --all-projects | awk '{print $1, $NF}' | tr '\n' ' ')" = "NAME PROJECT shop/web shop solo - " ]
    [ "$(vmctl list -o wide | awk '{print $1, $NF}' | tr '\n' ' ')" = "NAME PROJECT web shop " ]
    vmctl create --name own --backend noop --image "$work/image"
    [ "$(names)" = "shop/own shop/web solo " ]
    vmctl --project '' destroy -y solo
    echo 'vm {' >>VMFile.kdl
    run vmctl stop web # the file cannot be read: the store knows whose VMs are its own
    [ "$status" -eq 0 ]
    says "shop/web: stopped"
    rm VMFile.kdl
    run vmctl start web
    says "shop/web: ready"
    fails 2 vmctl --project Shop list
    says "'Shop' cannot be the name of a project"
    fails 2 env VMCTL_PROJECT=a_b vmctl list
    says "VMCTL_PROJECT: 'a_b'"
    fails 2 env VMCTL_PROJECT=/builds/x vmctl list # as of $CI_PROJECT_DIR: not none
    says "VMCTL_PROJECT: '/builds/x'"
}

@test "with --project or VMCTL_PROJECT, --all means that project's VMs" {
    vmfile web
    sed -i 's/^vm "web" {/& label "tier" "web";/' VMFile.kdl
    vmctl up
    vmctl --project a up
    VMCTL_PROJECT=b vmctl up
    cd "$work"
    fails 3 vmctl --project c stop -l tier=web
    vmctl --project a stop -l tier=web
    [ "$(vmctl list -o json | jq -r '[.[].display] | join(" ")')" = "Stopped Ready Ready" ]
    run vmctl --project b status
    refute grep -q a/web <<<"$output"
    [ "$(vmctl --project b get -o name)" = b/web ]
    [ "$(vmctl --project b events -o json | jq -r '.[].vm' | sort -u)" = b/web ]
    [ "$(vmctl --project b inventory | jq -r '._meta.hostvars | keys[]')" = b/web ]
    VMCTL_PROJECT=b vmctl destroy --all -y
    [ "$(names)" = "a/web web " ]
    run vmctl --project b destroy --all -y
    [ "$(names)" = "a/web web " ]
    vmctl destroy --all -y
    [ "$(names)" = "" ]
}

@test "a broken VMFile with VMs of several projects asks which" {
    vmfile web
    vmctl --project a up
    vmctl --project b up
    echo 'vm { project' >VMFile.kdl
    fails 2 vmctl stop web
    says "its VMs are of several projects" "--project NAME"
    fails 2 vmctl up web
    says "VMFile.kdl:1:4" "unclosed block"
    vmctl --project a stop web
    fails 2 vmctl down
    [ "$(vmctl list -a -o json | jq -r '[.[].display] | join(" ")')" = "Stopped Ready" ]
    vmctl --project b down
}

@test "a broken VMFile with a project and no VMs yet is not taken for one without a project" {
    vmctl create --name web --backend noop --image "$work/image"
    printf 'project "new"\nvm "web" {\n' >VMFile.kdl
    fails 2 vmctl destroy -y web
    says "cannot determine the project of" "line 2: " "--project NAME"
    printf 'var "job" env="NO_SUCH_JOB"\nproject "${{ job }}"\n' >VMFile.kdl
    fails 2 vmctl destroy -y web
    [ "$(names)" = "web " ]
    vmctl --project '' destroy -y web
    vmctl create --name web --backend noop --image "$work/image" --project ''
    printf 'vm "web" { network "project"\n' >VMFile.kdl # no project, and not read either
    vmctl destroy -y web
}

@test "names are those of the project of a VMFile on standard input, too" {
    vmctl create --name web --backend noop --image "$work/image" --start
    of shop web
    vmctl up -f - web <VMFile.kdl
    mv VMFile.kdl "$work/file"
    run vmctl stop -f - web <"$work/file"
    says "shop/web: stopped"
    [ "$(vmctl status web -o json | jq -r .display)" = Ready ]
    run vmctl --project '' stop -f - web <"$work/file"
    says "web: stopped"
    echo 'vm {' >"$work/file"
    fails 2 vmctl start -f - web <"$work/file"
    [ "$(vmctl status web -o json | jq -r .display)" = Stopped ]
}

@test "a changed project leaves the VMs of the one before, and says so" {
    vmfile web
    vmctl up
    of shop web
    run vmctl up
    [ "$status" -eq 0 ]
    says "VMs of VMFile.kdl that do not belong to project shop are left as they are: web"
    run vmctl up --prune -y
    [ "$(names)" = "shop/web web " ]
}

@test "a watched VMFile follows its project alone" {
    of shop web db
    vmctl up --watch
    vmctl --project job up
    of shop web
    await [ "$(vmctl watch --list -o json | jq -r '.[0].state')" = Synced ]
    vmctl wait --ready
    await eval '[ "$(vmctl status shop/db -o json | jq -r ".status.conditions[] | select(.type == \"Orphaned\").status")" = True ]'
    [ "$(vmctl status job/db -o json | jq -r '[.status.conditions[] | select(.type == "Orphaned").status] | index("True")')" = null ]
    fails 6 vmctl --project job up --watch
    says "is watched already, for its own project" "vmctl unwatch"
    vmctl unwatch
    vmctl --project job up --watch
    of shop web db
    vmctl --project job wait --ready
    vmctl list -a -o name | grep -qx job/db
}

@test "a watch stays with its project where that comes from a variable, too" {
    vmfile web
    sed -i '1i var "job" env="JOB"\nproject "${{ job }}"' VMFile.kdl
    JOB=a vmctl up --watch
    JOB=b vmctl up
    vmctl up --set job=c
    [ "$(names)" = "a/web b/web c/web " ]
    echo 'vm "db" { backend "noop"; image "'"$work/image"'" }' >>VMFile.kdl
    JOB=a vmctl wait --ready
    await eval '[ "$(names)" = "a/db a/web b/web c/web " ]'
    fails 6 env JOB=b vmctl up --watch
    says "is watched already, for its own project a"
    fails 6 env JOB=b vmctl watch
    JOB=a vmctl up --watch
    sed -i 's/"JOB"/"JOB" default="a"/' VMFile.kdl
    vmctl up --watch # the same project by another way
    [ "$(names)" = "a/db a/web b/web c/web " ]
}

@test "a node and a project are told apart" {
    node_added b
    of shop web
    vmctl up
    at b vmctl create --name web --backend noop --image "$work/image" --start
    at b vmctl create --name shop/db --backend noop --image "$work/image" --start
    cd "$work"
    vmctl stop shop/web
    vmctl stop b/web
    [ "$(at b vmctl status web -o json | jq -r .display)" = Stopped ]
    vmctl stop b/shop/db
    [ "$(at b vmctl status shop/db -o json | jq -r .display)" = Stopped ]
    vmctl --node b --project shop start db
    [ "$(at b vmctl status shop/db -o json | jq -r .display)" = Ready ]
    [ "$(VMCTL_PROJECT=shop vmctl --node b list -o name)" = db ]
    vmctl create --name b/x --backend noop --image "$work/image"
    fails 2 vmctl stop b/x
    says "'b' is both a node and a project of this host" "local/b/x" "vmctl --node b"
    vmctl stop local/b/x
    fails 2 vmctl stop c/x
    says "there is no node 'c'"
}

@test "the VMs of a project on another node are of the project there" {
    node_added b
    of shop web
    printf 'vm "there" { node "b"; backend "noop"; image "%s"; }\n' "$work/image" >>VMFile.kdl
    run vmctl up
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
    [ "$(at b vmctl list -a -o name)" = shop/there ]
    run vmctl --project job up
    echo "$output"; [ "$(grep -c ": ready" <<<"$output")" -eq 2 ]
    [ "$(at b vmctl list -a -o name | tr '\n' ' ')" = "job/there shop/there " ]
    vmctl stop there
    [ "$(at b vmctl status shop/there -o json | jq -r .display)" = Stopped ]
    vmctl --project job down --destroy -y
    [ "$(at b vmctl list -a -o name)" = shop/there ]
}

@test "config prints the project, completion the names as they are typed here" {
    of shop web db
    run vmctl config
    has 'project shop'
    run vmctl --project x config
    has 'project x'
    run vmctl --project '' config
    refute grep -q '^project' <<<"$output"
    [ "$(vmctl validate -o name | tr '\n' ' ')" = "web db " ]
    printf 'project "Shop"\nvm "web" { backend "noop"; image "%s" }\n' "$work/image" >VMFile.kdl
    fails 2 vmctl validate
    says '"Shop" cannot be the name of a project' "VMFile.kdl:1:9"
}
