#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The completions, run by the shells they are for. bash's are in tests/unit/cli/test_completion.c.

load cli_common

setup() { cli_setup; }
teardown() { cli_teardown; }

# What fish offers for a command line.
fish_offers() {
    fish --no-config -c 'vmctl completion fish | source; complete -C $argv[1]' -- "$1" | cut -f1
}

# What zsh would add for the words, the last of which is being completed: compadd and _files print.
zsh_offers() {
    vmctl completion zsh >"$work/_vmctl"
    zsh -f -c '
        compdef() { : }
        compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@" }
        compset() { : }
        _files() { print FILES }
        source "$1"; shift
        words=("$@"); CURRENT=$#
        _vmctl' zsh "$work/_vmctl" "$@"
}

@test "fish completes commands, options, VMs and files" {
    command -v fish >/dev/null || skip "no fish"
    vmfile web db
    vmctl -q apply
    run fish_offers "vmctl destr"
    [ "$status" -eq 0 ]
    [ "$output" = destroy ]
    run fish_offers "vmctl destroy "
    has web
    has db
    run fish_offers "vmctl up --dry"
    [ "$output" = --dry-run ]
    run fish_offers "vmctl up --name w"
    [ "$output" = web ]
    run fish_offers "vmctl create --name w" # a new one
    [ -z "$output" ]
    run fish_offers "vmctl up --file VMF"
    [ "$output" = VMFile.kdl ]
    run fish_offers "vmctl controller st"
    [ "$(sort <<<"$output" | tr '\n' ' ')" = "start status stop " ]
    run fish_offers "vmctl list -o y"
    says yaml
    vmfile web new
    run fish_offers "vmctl up n"
    [ "$output" = new ]
    run fish_offers "vmctl image list --d"
    [ "$output" = --data-dir ]
    run fish_offers "vmctl image prune --dr"
    [ "$output" = --dry-run ]
    run fish_offers "vmctl up --prune=d"
    [ "$output" = --prune=destroy ]
    run fish_offers "vmctl help resu"
    [ "$output" = resume ]
    run fish_offers "vmctl wait --for=condition=Prov"
    [ "$output" = --for=condition=Provisioned ]
    run fish_offers "vmctl image pull debian:1"
    says debian:12 debian:13
    run fish_offers "vmctl create --image ubuntu:24"
    [ "$output" = ubuntu:24.04 ]
    vmctl -q up web
    vmctl -q stop web
    vmctl -q snapshot create web clean
    run fish_offers "vmctl snapshot restore web "
    [ "$output" = clean ]
    run fish_offers "vmctl snapshot create web "
    [ -z "$output" ]
    run fish_offers "vmctl cp we"
    [ "$output" = web: ]
}

@test "zsh completes commands, options, VMs and files" {
    command -v zsh >/dev/null || skip "no zsh"
    vmfile web db
    vmctl -q apply
    run zsh_offers vmctl ''
    [ "$status" -eq 0 ]
    has destroy
    has doctor
    run zsh_offers vmctl destroy ''
    [ "$(sort <<<"$output" | tr '\n' ' ')" = "db web " ]
    run zsh_offers vmctl up --
    has --dry-run
    has --data-dir
    run zsh_offers vmctl up --name ''
    has web
    run zsh_offers vmctl create --name '' # a new one
    [ -z "$output" ]
    run zsh_offers vmctl up --file ''
    [ "$output" = FILES ]
    run zsh_offers vmctl -o json controller ''
    has status
    run zsh_offers vmctl list -o ''
    has yaml
    vmfile web new
    run zsh_offers vmctl up ''
    [ "$(sort <<<"$output" | tr '\n' ' ')" = "new web " ]
    run zsh_offers vmctl image list --
    [[ $output != *--dry-run* ]]
    run zsh_offers vmctl image prune --
    has --dry-run
    run zsh_offers vmctl up --prune=
    [ "$(tr '\n' ' ' <<<"$output")" = "stop destroy " ]
    run zsh_offers vmctl wait --for=condition=
    has Provisioned
    run zsh_offers vmctl help ''
    has resume
    run zsh_offers vmctl cp ''
    has web
    has FILES
    run zsh_offers vmctl create --image ''
    has debian:12
    has FILES
    vmctl -q up web
    vmctl -q stop web
    vmctl -q snapshot create web clean
    run zsh_offers vmctl snapshot restore web ''
    [ "$output" = clean ]
    run zsh_offers vmctl snapshot --timeout 5 restore ''
    has web
}

@test "zsh and fish read their scripts without a complaint" {
    local shell
    for shell in zsh fish; do
        command -v "$shell" >/dev/null || skip "no $shell"
        vmctl completion "$shell" >"$work/script"
        run "$shell" -n "$work/script"
        [ "$status" -eq 0 ]
        [ -z "$output" ]
    done
}
