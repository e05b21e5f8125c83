#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# `vmctl inventory` as Ansible uses it: a real guest, which has no Python, so that `raw` is the module.

load qemu

setup_file() { use_data_dir; }
teardown_file() { leave_data_dir; }
setup() { cd "$PROJECT"; }

@test "the inventory names reachable VMs, in groups by their labels, and Ansible reaches one by it" {
    [ "$(vmctl inventory | jq -c .)" = '{"_meta":{"hostvars":{}}}' ]
    cat >VMFile.kdl <<'END'
defaults { image "guest.qcow2"; memory 160; label "env" "test" }
vm "web" { cloud-init; ssh { user "worker" }; label "tier/x" "web-1" }
vm "off" { label "flag" "" }
END
    vmctl -q up web
    vmctl -q apply off
    run vmctl inventory --list
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(jq -c 'keys' <<<"$output")" = '["_meta","env_test","tier_x_web_1"]' ]
    [ "$(jq -c '.env_test.hosts' <<<"$output")" = '["web"]' ]
    [ "$(jq -r '._meta.hostvars.web | .ansible_host + " " + .ansible_user' <<<"$output")" = "127.0.0.1 worker" ]
    [ "$(jq -c '._meta.hostvars.web' <<<"$output")" = "$(vmctl inventory --host web | jq -c .)" ]
    [ "$(vmctl inventory --host off | jq -c .)" = '{}' ]
    [ "$(vmctl inventory -l env=prod | jq -c 'keys')" = '["_meta"]' ]
    run vmctl inventory --host nope
    [ "$status" -eq 3 ]
    run vmctl inventory --host web --list
    [ "$status" -eq 2 ]
    command -v ansible >/dev/null || skip "ansible-core is not installed"
    export ANSIBLE_LOCAL_TEMP=$PROJECT/ansible ANSIBLE_HOME=$PROJECT/ansible HOME=$PROJECT
    unset ANSIBLE_CONFIG SSH_AUTH_SOCK
    run ansible -i "$BATS_TEST_DIRNAME/../../examples/ansible/inventory" env_test -m raw -a 'echo "I am $(id -un) on $(hostname)"'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"I am worker on web"* ]]
    run ansible -i "$BATS_TEST_DIRNAME/../../examples/ansible/inventory" --list-hosts all
    [[ $output == *"hosts (1)"*web* ]]
    run ansible-playbook -i "$BATS_TEST_DIRNAME/../../examples/ansible/inventory" --syntax-check \
        "$BATS_TEST_DIRNAME/../../examples/ansible/site.yml"
    [ "$status" -eq 0 ]
}
