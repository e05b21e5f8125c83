#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Readiness and liveness with a real guest: one VM, built on from test to test.

load qemu

setup_file() {
    use_data_dir
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
}

# vm FIELDS [USER]
vm() {
    cat >VMFile.kdl <<END
vm "web" {
    image "guest.qcow2"
    memory 160
    cloud-init { hostname "web" }
    ssh { user "${2:-worker}" }
    $1
}
END
}

PROBES='ready period=1 { tcp 80; http "/index.html"; exec "test -e www/index.html" }'

in_guest() { vmctl ssh web -- "$1"; }
serve() { in_guest 'sudo httpd -p 80 -h /home/worker/www'; }
ready() { vmctl status web -o json | jq -c '.. | objects | select(.type? == "Ready")'; }
is_ready_because() { [ "$(ready | jq -r .reason)" = "$1" ]; }
is_refused() { [ "$(ready | jq -r .message)" = "ready: http /index.html port 80: connection refused" ]; }
is_another_pid() { [ "$(pid_of web)" != "$1" ] && [ "$(pid_of web)" != - ]; }

@test "up waits for the probes, and says which one fails and why" {
    vm "$PROBES"
    vmctl up -d
    vmctl wait web --for condition=GuestReachable --timeout 120s
    fails 4 vmctl up --timeout 4s
    says "vm 'web' is not ready yet: NotReady: ready: exec 'test -e www/index.html': exited with status 1"
    [[ $output != *"not checked"* ]]
    [ "$(state_of web)" = NotReady ]
    fails 4 vmctl wait web --ready --timeout 1s
}

@test "it is Ready as soon as tcp, http and exec pass" {
    in_guest 'mkdir -p www; echo hello >www/index.html; sync'
    await 20 is_refused
    [ "$(ready | jq -r .status)" = False ]
    serve
    vmctl wait web --ready --timeout 20s
    [ "$(state_of web)" = Ready ]
}

@test "a page that is missing makes it NotReady, and nothing is restarted" {
    local pid
    pid=$(pid_of web)
    in_guest 'mv www/index.html www/away.html'
    await 30 is_ready_because ProbeFailed
    [ "$(state_of web)" = NotReady ]
    in_guest 'mv www/away.html www/index.html'
    vmctl wait web --ready --timeout 20s
    [ "$(pid_of web)" = "$pid" ]
    run vmctl status web
    says ProbeFailed "its \`ready\` probes pass"
}

@test "a new controller asks again, and Ready does not flap" {
    local before
    before=$(ready | jq .lastTransition)
    kill_controller
    vmctl wait web --ready --timeout 20s
    [ "$(ready | jq .lastTransition)" = "$before" ]
}

@test "probes that change are asked anew, without a restart" {
    local pid
    pid=$(pid_of web)
    vm 'ready period=1 { http "/nothing" }'
    fails 4 vmctl up --timeout 3s
    says "live" "http /nothing port 80: the response has status 404, not 200 to 399"
    vm "$PROBES"
    vmctl up --timeout 20s
    [ "$(pid_of web)" = "$pid" ]
}

@test "another user has to be let in before it is Ready again" {
    local pid
    pid=$(pid_of web)
    vm "$PROBES" nobody-knows-me
    fails 4 vmctl up --timeout 4s
    says "AuthFailed"
    vm "$PROBES"
    vmctl up --timeout 20s
    [ "$(pid_of web)" = "$pid" ]
}

# bats test_tags=long
@test "after kill -9 of QEMU it is Ready only once the probes pass again" {
    local pid
    pid=$(pid_of web)
    kill_hard "$pid"
    await 30 is_another_pid "$pid"
    vmctl wait web --for condition=GuestReachable --timeout 120s
    await 20 is_refused
    serve
    vmctl wait web --ready --timeout 20s
}

# bats test_tags=long
@test "a guest whose live probe fails is started anew, with the reason" {
    local pid
    pid=$(pid_of web)
    vm "ready { exec \"true\" }; live failures=2 period=1 start-period=0 { exec \"test ! -e /dev/shm/dead\" }"
    vmctl up --timeout 20s
    in_guest 'touch /dev/shm/dead'
    await 60 is_another_pid "$pid"
    vmctl wait web --ready --timeout 120s
    run vmctl status web
    says LivenessFailed "failed 2 times in a row: exec 'test ! -e /dev/shm/dead': exited with status 1"
}

@test "an old provision failure does not fail who asked for no provisioning" {
    vm 'provision "shell" { inline "exit 7" }'
    fails 1 vmctl provision --timeout 60s
    vm 'stop-timeout 20; provision "shell" { inline "exit 7" }'
    fails 0 vmctl apply --timeout 60s
    says "warning: not ready: its provisioning failed earlier" "vmctl provision --name web"
    fails 0 vmctl up --no-provision --timeout 60s
    says "warning: not ready: its provisioning failed earlier"
    fails 1 vmctl wait web --ready --timeout 60s
}
