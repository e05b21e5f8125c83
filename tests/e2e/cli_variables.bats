#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What a VMFile writes once for several VMs, from the command line: --set, the environment, config, and
# how a watched VMFile keeps its values. VMs of the noop backend.

load cli_common

setup() {
    cli_setup
    cat >VMFile.kdl <<END
var "tag" default="image" env="TEST_TAG"
var "mem" default=512
defaults {
    image "$work/\${{ tag }}"
    memory "\${{ mem }}"
    backend "noop"
}
template "big" { vcpus 4; memory 4096 }
vm "web" count=2 { vcpus 2 }
vm "db" like="big" disk=10
END
}
teardown() { cli_teardown; }

memory() { vmctl get "$1" -o json | jq .desired.spec.memoryMib; }
has_memory() { [ "$(memory "$1")" = "$2" ]; }

@test "config writes out what the file stands for, and validate says where values come from" {
    cp "$work/image" "$work/other"
    TEST_TAG=other run vmctl config --set mem=1G
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "vm web-1 {
    image \"$work/other\"
    memory \"1G\"
    backend noop
    vcpus 2
}
vm web-2 {
    image \"$work/other\"
    memory \"1G\"
    backend noop
    vcpus 2
}
vm db disk=10 {
    image \"$work/other\"
    backend noop
    vcpus 4
    memory 4096
}" ]
    printf '%s\n' "$output" >written.kdl
    TEST_TAG=other run vmctl validate --explain --set mem=1G
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "$work/project/VMFile.kdl: valid: web-1 web-2 db" ]
    [ "${lines[1]}" = 'tag = "other"  ($TEST_TAG)' ]
    [ "${lines[2]}" = 'mem = "1G"  (--set)' ]
    [ "$(TEST_TAG=other vmctl up -f VMFile.kdl --dry-run --set mem=1G | wc -l)" -eq 3 ]
    run vmctl config written.kdl
    [ "$status" -eq 0 ]
    [ "$output" = "$(<written.kdl)" ]
    vmctl fmt
    [ "$(TEST_TAG=other vmctl config --set mem=1G)" = "$(<written.kdl)" ]
}

@test "what --set gives counts, and a slip of it is an error" {
    vmctl -q up -d --set mem=600 --set vm.db.memory=2G
    has_memory web-1 600
    has_memory db 2048
    run vmctl diff --set vm.db.memory=2G
    [ "$status" -eq 1 ]
    [[ "$output" == *"-memory 600"*"+memory 512"* && "$output" != *"note: variable"* ]]
    TEST_TAG=image run vmctl diff --set mem=700 --set vm.db.memory=2G
    [ "$status" -eq 1 ]
    says 'note: variable tag = "image"  ($TEST_TAG)' 'note: variable mem = "700"  (--set)'
    run vmctl diff --set mem=600 --set vm.db.memory=2G
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    run vmctl up --set memo=1
    [ "$status" -eq 2 ]
    [[ "$output" == *"--set memo: the file has no such variable"* ]]
    [[ "$output" == *"did you mean"* ]]
    run vmctl up --set mem
    [ "$status" -eq 2 ]
    [[ "$output" == *"--set 'mem' has no value"* ]]
    run vmctl up --set vm.db.memory=much
    [ "$status" -eq 2 ]
    [[ "$output" == *'`memory` is not a size: "much"'* ]]
}

@test "a watched VMFile keeps the values it was given, whoever saves it" {
    cp "$work/image" "$work/other"
    TEST_TAG=other vmctl -q up --watch --set mem=600
    has_memory web-2 600
    sed -i 's/like="big"/like="big" vcpus=3/' VMFile.kdl
    vcpus_are_3() { [ "$(vmctl get db -o json | jq .desired.spec.vcpus)" = 3 ]; }
    await vcpus_are_3
    has_memory web-2 600
    [ "$(vmctl get web-1 -o json | jq -r .desired.spec.image.location)" = "$work/other" ]
    TEST_TAG=other vmctl -q up --set mem=700
    sed -i 's/vcpus=3/vcpus=5/' VMFile.kdl
    vcpus_are_5() { [ "$(vmctl get db -o json | jq .desired.spec.vcpus)" = 5 ]; }
    await vcpus_are_5
    has_memory web-2 700
}

@test "a VMFile includes others, is followed with them, and may come from standard input" {
    mkdir lib
    cat >lib/common.kdl <<END
var "mem" default=512
defaults { image "../base.img"; backend "noop"; memory "\${{ mem }}" }
END
    cp "$work/image" base.img
    printf 'include "lib/common.kdl"\nvm "web" { provision "shell" { inline "${{ text }}" }; ssh; }\nvar "text"\n' >VMFile.kdl
    printf 'echo one\necho "two"\n' >step.sh
    vmctl -q up -d --watch --set-file text=step.sh
    [ "$(vmctl get web -o json | jq -r .desired.spec.image.location)" = "$work/project/base.img" ]
    [ "$(vmctl get web -o json | jq -r '.desired.spec.provision[0].command')" = $'echo one\necho "two"' ]

    # a save of what is included is followed; an invalid one is reported with its place
    sed -i 's/512/700/' lib/common.kdl
    await has_memory web 700
    echo 'vm "other" { memry 5 }' >>lib/common.kdl
    is_reported() { vmctl watch --list | grep -q "ParseFailed.*in '$work/project/lib/common.kdl', line 3, column 14"; }
    await is_reported || { vmctl watch --list; false; }
    run vmctl validate --set text=x
    [ "$status" -eq 2 ]
    [[ $output == *"--> $work/project/lib/common.kdl:3:14"*"included from VMFile.kdl:1:9"* ]]
    vmctl unwatch

    run vmctl up -d --watch -f - <<<'vm "in" { image "base.img"; backend "noop" }'
    [ "$status" -eq 2 ]
    vmctl -q up -d -f - <<<'vm "in" { image "base.img"; backend "noop"; memory 600 }'
    has_memory in 600
    run vmctl validate -f - <<<'vm "in" { imge "x" }'
    [ "$status" -eq 2 ]
    [[ $output == *"--> -:1:11"* ]]
    run vmctl up --set-file text=nosuch
    [ "$status" -eq 2 ]
}

@test "further files override the first, from a directory and from standard input, too" {
    mkdir prod
    cp "$work/image" prod/other
    cat >prod/VMFile.kdl <<END
var "mem" default=700
defaults { vcpus 3 }
vm "web" { image "other" }
vm "cache" { image "other"; backend "noop" }
END
    vmctl -q up -d -f . -f prod
    has_memory web-1 700
    has_memory db 4096 # of its template, which counts more
    [ "$(vmctl get web-2 -o json | jq -r .desired.spec.image.location)" = "$work/project/prod/other" ]
    [ "$(vmctl get cache -o json | jq .desired.spec.vcpus)" = 3 ]
    run vmctl diff -f VMFile.kdl -f prod/VMFile.kdl
    [ "$status" -eq 0 ]
    # without them: what they alone have is no longer named, and told as such
    run vmctl diff
    [ "$status" -eq 1 ]
    [[ $output == *"+memory 512"* && $output == *cache* ]]
    run vmctl up -d -f . -f - <<<'vm "db" { memory 3000 }'
    [ "$status" -eq 0 ]
    says "note: vm 'cache' is no longer in VMFile.kdl"
    has_memory db 3000
    run vmctl validate -f prod -f . -f prod/VMFile.kdl
    [ "$status" -eq 2 ]
    says "'prod/VMFile.kdl' is read already"
    run vmctl validate -f . -f - <<<'vm "db" { memry 1 }'
    [ "$status" -eq 2 ]
    says "--> -:1:11"
    run vmctl up -f . -f prod/none.kdl
    [ "$status" -eq 2 ]
    says "there is no VMFile 'prod/none.kdl'"
    run vmctl up -d --watch -f . -f - <<<'vm "db" { memory 3000 }'
    [ "$status" -eq 2 ]
    says "standard input cannot be watched, only a file"
    vmctl -q up -d -f . -f prod --prune -y
    vmctl -q up -d --prune -y
    await refute vmctl get cache
    vmctl -q down --destroy -y -f "$PWD" -f prod
    [ "$(vmctl list -o name)" = "" ]
}

@test "a watched VMFile follows the files that override it" {
    echo 'vm "db" { memory 600 }' >prod.kdl
    vmctl -q up -d --watch -f . -f prod.kdl
    has_memory db 600
    [ "$(vmctl watch --list -o json | jq -r '.[0].path + .[0].overrides[0]')" = "$PWD/VMFile.kdl$PWD/prod.kdl" ]
    echo 'vm "db" { memory 700 }' >prod.kdl
    await has_memory db 700
    vmctl wait --ready --allow-drift -f . -f prod.kdl # and not the state before
    sed -i 's/512/513/' VMFile.kdl
    await has_memory web-1 513
    has_memory db 700
    reports() { vmctl watch --list | grep -q "$1"; }
    echo 'vm "db" { memry 5 }' >prod.kdl
    await reports "ParseFailed.*in '$PWD/prod.kdl', line 1, column 11: unknown node .memry"
    rm prod.kdl
    await reports "ParseFailed.*there is no VMFile '$PWD/prod.kdl'"
    has_memory db 700
    vmctl controller stop
    echo 'vm "db" { memory 800 }' >prod.kdl
    vmctl controller start
    await has_memory db 800
    # a command that applies it without them is told so; who watches it without them ends that
    run vmctl up -d
    [ "$status" -eq 6 ]
    says "is watched with these further files: -f '$PWD/prod.kdl'"
    run vmctl apply db
    [ "$status" -eq 6 ]
    has_memory db 800
    vmctl -q up -d --watch
    has_memory db 4096
    await reports Synced
    run vmctl up -d -f . -f prod.kdl
    [ "$status" -eq 6 ]
    says "vmctl watch -f '$PWD/VMFile.kdl' -f '$PWD/prod.kdl'"
    has_memory db 4096
    echo 'vm "db" { memory 900 }' >prod.kdl
    echo 'vm "db" { memory 1000 }' >other.kdl
    vmctl -q watch -f VMFile.kdl -f other.kdl
    await has_memory db 1000
    run vmctl watch -f . -f other.kdl
    [ "$status" -eq 2 ]
    says "is a directory, each of whose files is watched"
    vmctl unwatch -f VMFile.kdl -f other.kdl
    [ "$(vmctl watch --list -o name 2>/dev/null)" = "" ]
}

@test "config masks passwords and queries of URLs, unless they are wanted" {
    printf 'vm "web" { backend "noop"; image-url "https://me:hush@example.invalid/i.qcow2?sig=hush" }\n' >VMFile.kdl
    run vmctl config
    [ "$status" -eq 0 ]
    [[ $output == *'image-url "https://***@example.invalid/i.qcow2?***"'* ]]
    [[ $output != *hush* ]]
    run vmctl config --with-secrets
    [[ $output == *'"https://me:hush@example.invalid/i.qcow2?sig=hush"'* ]]
}
