#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl diff: what a VMFile would change. VMs of the noop backend.

load cli_common

setup() { cli_setup; }
teardown() { cli_teardown; }

@test "a VM that is not there yet is a difference" {
    vmfile web
    run vmctl diff
    [ "$status" -eq 1 ]
    [ "$output" = "--- /dev/null
+++ web (VMFile)
@@ -0,0 +1,3 @@ create
+vm \"web\"
+backend \"noop\"
+image \"$work/image\"" ]
    run vmctl diff -o json
    [ "$status" -eq 1 ]
    [ "$(jq -r '.[] | "\(.vm) \(.field) \(.old) \(.disposition) \(.new.name)"' <<<"$output")" = "web null null create web" ]
}

@test "what was applied does not differ, however it is written" {
    vmfile web
    vmctl -q up
    printf '// a comment\nvm "web" {\n    image "%s"\n    backend "noop"\n}\n' "$work/image" >VMFile.kdl
    run vmctl diff
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "each changed field is told with what it needs" {
    vmfile web
    vmctl -q up
    printf 'vm "web" { backend "noop"; image "%s"; memory 2048; disk 40; stop-timeout 5 }\n' \
        "$work/image" >VMFile.kdl
    run vmctl diff
    echo "$output"
    [ "$status" -eq 1 ]
    [ "$output" = "--- web (stored)
+++ web (VMFile)
@@ -1 +1 @@ restart
-memory 1024
+memory 2048
@@ -2 +2 @@ live
-disk 0
+disk 40
@@ -3 +3 @@ live
-stop-timeout 30
+stop-timeout 5" ]
    run vmctl diff -o json
    [ "$status" -eq 1 ]
    [ "$(jq -c '.[] | select(.field == "memory") | [.vm, .old, .new, .disposition]' <<<"$output")" = '["web",1024,2048,"restart"]' ]
}

@test "what a VM that is off needs is a start; what one without a disk needs, too" {
    vmfile web
    vmctl -q up
    vmctl -q down
    : >"$work/other-image"
    printf 'vm "web" { backend "noop"; image "%s"; memory 2048 }\n' "$work/image" >VMFile.kdl
    run vmctl diff
    [ "$status" -eq 1 ]
    has "@@ -1 +1 @@ start"
    [ "$(vmctl diff -o json | jq -r '.[0].disposition')" = start ]
    printf 'vm "web" { backend "noop"; image "%s" }\n' "$work/other-image" >VMFile.kdl
    run vmctl diff
    has "@@ -1 +1 @@ recreate"
    vmctl -q down --destroy

    vmfile web
    vmctl -q apply
    printf 'vm "web" { backend "noop"; image "%s" }\n' "$work/other-image" >VMFile.kdl
    run vmctl diff
    has "@@ -1 +1 @@ start"
    run vmctl apply
    [ "$status" -eq 0 ]
    has "web: configured (at next start): image $work/image -> $work/other-image"
}

# with_steps COMMAND... : a VMFile with these steps
with_steps() {
    local command
    printf 'vm "web" { backend "noop"; image "%s"; ssh\n' "$work/image" >VMFile.kdl
    for command in "$@"; do
        printf '    provision "shell" { inline "%s" }\n' "$command" >>VMFile.kdl
    done
    echo '}' >>VMFile.kdl
}

@test "steps that are appended to those that were run are live, all other changes are not" {
    with_steps one
    vmctl -q up
    with_steps one two
    run vmctl diff
    [ "$status" -eq 1 ]
    has "@@ -0,0 +1 @@ live"
    with_steps zero one
    run vmctl diff
    has "@@ -0,0 +1 @@ provision"
    with_steps other
    run vmctl diff
    has "@@ -1 +1 @@ provision"
    with_steps
    run vmctl diff
    has "@@ -1 +0,0 @@ provision"
}

@test "an edited script is a difference" {
    echo 'echo 1' >setup.sh
    printf 'vm "web" { backend "noop"; image "%s"; provision "shell" { script "setup.sh" } }\n' \
        "$work/image" >VMFile.kdl
    vmctl -q up
    vmctl diff
    echo 'echo 2' >setup.sh
    run vmctl diff
    [ "$status" -eq 1 ]
    [[ $output == *"@@ -1 +1 @@ provision"$'\n'"-provision "*$'\n'"+provision "* ]]
    local new
    new=$(sha256sum <setup.sh)
    has "+provision \"shell\" { script \"$work/project/setup.sh\" } // sha256 ${new:0:8}"
    run vmctl up --dry-run
    [[ $output == *"provision steps changed (run them: "* ]]
}

@test "the text of an edited script or user-data is compared with what was applied" {
    local kept=$XDG_DATA_HOME/vmctl/applied/web
    seq 30 >setup.sh
    printf '#cloud-config\nhostname: a\n' >user-data
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init { user-data "user-data" }
        provision "shell" { script "setup.sh" }; provision "shell" { script "setup.sh" } }\n' \
        "$work/image" >VMFile.kdl
    vmctl -q up
    [ "$(find "$kept" -type f -perm 0600 | wc -l)" -eq 2 ]
    [ "$(stat -c %a "$kept")" = 700 ]
    sed -i 's/^5$/five/; s/^25$/&\ntwenty-five/' setup.sh
    echo 'locale: C' >>user-data
    run vmctl diff
    [ "$status" -eq 1 ]
    local line
    for line in "--- $work/project/setup.sh (applied)" "+++ $work/project/setup.sh" "@@ -2,7 +2,7 @@" \
        -5 +five " 8" "@@ -23,6 +23,7 @@" +twenty-five "+locale: C"; do
        has "$line"
    done
    refute grep -qx ' 9' <<<"$output"
    [ "$(grep -c '^+five$' <<<"$output")" -eq 1 ]
    # what was applied is what the next edit is compared with; what is not used is not kept
    vmctl -q up --no-provision
    [ "$(find "$kept" -type f | wc -l)" -eq 2 ]
    echo more >>setup.sh
    run vmctl diff
    has "+more"
    refute grep -q five <<<"$(grep '^[-+]' <<<"$output")"
    # neither binary nor large files are
    for line in "head -c 300K /dev/zero" "printf a\\0b"; do
        $line >setup.sh
        vmctl -q up --no-provision
        [ "$(find "$kept" -type f | wc -l)" -eq 1 ]
    done
    vmctl -q destroy -y web
    [ ! -e "$kept" ]
}

@test "changes are shown as a VMFile has them, short in up and as lines in diff" {
    printf 'vm "web" { backend "noop"; image "%s"; forward host=18080 guest=80; ssh { user "a" }; %s }\n' \
        "$work/image" 'ready { tcp 80 }' >VMFile.kdl
    vmctl -q up
    printf 'vm "web" { backend "noop"; image "%s"; forward host=28471 guest=80; ssh { user "b" }; %s }\n' \
        "$work/image" 'ready period=5 { http "/healthz"; tcp 80 }' >VMFile.kdl
    run vmctl up --dry-run
    echo "$output"
    has 'web: configured (live): forward 18080:80 -> 28471:80, ssh { user "a" } -> { user "b" }, ready { tcp 80 } -> period=5 { http "/healthz" port=80; tcp 80 } (dry run)'
    run vmctl diff
    [ "$output" = '--- web (stored)
+++ web (VMFile)
@@ -1 +1 @@ live
-forward host=18080 guest=80
+forward host=28471 guest=80
@@ -2 +2 @@ live
-ssh { user "a" }
+ssh { user "b" }
@@ -3 +3 @@ live
-ready { tcp 80 }
+ready period=5 { http "/healthz" port=80; tcp 80 }' ]
}

@test "a VM that left the file is told, unless others are asked for" {
    vmfile web db
    vmctl -q up
    vmfile web
    run vmctl diff
    [ "$status" -eq 1 ]
    [ "$output" = "--- db (stored)
+++ /dev/null
@@ -1,3 +0,0 @@ left running (vmctl up --prune destroys it)
-vm \"db\"
-backend \"noop\"
-image \"$work/image\"" ]
    run vmctl diff web
    [ "$status" -eq 0 ]
}

@test "an error is no difference" {
    run vmctl diff
    [ "$status" -eq 2 ]
    vmfile web
    run vmctl diff nope
    [ "$status" -eq 3 ]
    printf 'vm "web" { backend "noop"; image "/dev/null/x" }\n' >VMFile.kdl
    run vmctl diff
    [ "$status" -eq 2 ]
}
