#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The Propolis backend with the whole program, on fake tools of illumos and a small propolis-server.

load cli_common

setup() {
    local support=$BATS_TEST_DIRNAME/../support
    cli_setup
    illumos=$work/illumos
    "$support/illumos-tools" "$illumos"
    PATH=$illumos/bin:$PATH
    unset VMCTL_ZFS_POOL VMCTL_PROPOLIS_TIMEOUT
    use_description
    servers=()
    zone web
    VMCTL_PROPOLIS_ADDRESS=$(<"$illumos/address-web")
    export VMCTL_PROPOLIS_ADDRESS
    propolis_file 'network "vnic" { name "vnic0"; }'
}

# Whether the server holds what it gets against the published interface: in the tests that send all
# there is to send, as the check takes a second to load.
use_description() {
    is_described=false
    if [ -z "${VMCTL_PROPOLIS_API:-}" ]; then
        VMCTL_PROPOLIS_API=$BATS_TEST_DIRNAME/../../../shared/reference/propolis-server-openapi-5.0.0.json
    fi
    export VMCTL_PROPOLIS_API
    case $BATS_TEST_DESCRIPTION in
    "up, "* | "every request"* | "two VMs have"* | "a mock made"*) ;;
    *) unset VMCTL_PROPOLIS_API && return ;;
    esac
    if [ -r "$VMCTL_PROPOLIS_API" ] && python3 -c 'import jsonschema' 2>/dev/null; then
        is_described=true
    else
        echo "# not held against the published interface: VMCTL_PROPOLIS_API, python3-jsonschema" >&3
        unset VMCTL_PROPOLIS_API
    fi
}

# What the server found wrong is a failure of every test.
teardown() {
    local server
    for server in "${servers[@]}"; do
        kill "$server" || true
    done
    if [ -s "$illumos/invalid" ]; then
        cat "$illumos/invalid" >&2
        cli_teardown
        return 1
    fi
    cli_teardown
}

# zone NAME [HOST:PORT] : an installed zone, the image of its VM, and its server
zone() {
    echo "rpool/images/$1@latest" >>"$illumos/datasets"
    "$BATS_TEST_DIRNAME/../support/propolis-server" "$illumos" "$@" 3>&- &
    servers+=($!)
    await test -e "$illumos/address-$1"
    echo installed >"$illumos/zones/$1"
}

propolis_file() {
    printf 'vm "web" { backend "propolis"; image "%s"; %s; }\n' "$work/image" "$1" >VMFile.kdl
}

state() {
    cat "$illumos/zones/${1:-web}"
}

@test "up, status, stop, start and destroy" {
    vmctl up -q
    [ "$(state)" = running ]
    grep -Fx rpool/vms/web "$illumos/datasets"
    run vmctl status web
    has "Backend:     propolis"
    has "State:       running"
    has "Zone ID:     7"
    has "Console:     ws://$VMCTL_PROPOLIS_ADDRESS/instance/serial"
    vmctl stop -q web
    [ "$(state)" = installed ]
    vmctl start -q web
    [ "$(state)" = running ]
    vmctl restart -q web
    [ "$(state)" = running ]
    vmctl destroy -q web
    [ ! -e "$illumos/zones/web" ]
    [ "$(<"$illumos/datasets")" = rpool/images/web@latest ]
    [ ! -e "$data/vms/web" ]
    run grep -c boot "$illumos/log"
    [ "$output" -eq 3 ]
}

@test "every request is one of the published interface" {
    "$is_described" || skip "there is no VMCTL_PROPOLIS_API, or no python3-jsonschema"
    propolis_file 'network "vnic" { name "vnic0"; address "127.0.0.1"; }; network "vnic" { name "vnic7"; }; cloud-init { }; vcpus 3'
    vmctl up -q --detach
    await grep -q '"Run"' "$illumos/requests-web"
    await grep -q 'GET /instance/state-monitor {"gen":3}' "$illumos/requests-web"
    for word in virtio_disk file_storage_backend blob_storage_backend virtio_nic \
        virtio_network_backend serial_port boot_settings '"cpus":3'; do
        grep -q "$word" "$illumos/requests-web"
    done
    [ ! -e "$illumos/invalid" ]
}

# Prism is somebody else's reading of the document: npm install @stoplight/prism-cli
@test "a mock made from the published interface accepts what a VM's life sends" {
    "$is_described" || skip "there is no VMCTL_PROPOLIS_API, or no python3-jsonschema"
    local prism=${VMCTL_PRISM:-$(command -v prism)} port=$((20000 + RANDOM % 12000)) method path body
    [ -x "$prism" ] || skip "there is no prism: set VMCTL_PRISM"
    propolis_file 'network "vnic" { name "vnic0"; address "127.0.0.1"; }; network "vnic" { name "vnic7"; }; cloud-init { }; vcpus 3'
    vmctl up -q --detach
    await grep -q 'GET /instance/state-monitor {"gen":3}' "$illumos/requests-web"
    vmctl stop -q web
    grep -qx 'PUT /instance/state "Stop"' "$illumos/requests-web"
    vmctl destroy -q web
    "$prism" mock --errors -p "$port" "$VMCTL_PROPOLIS_API" >"$work/prism.log" 2>&1 3>&- &
    servers+=($!)
    await curl -s -o "$work/answer" -H 'api-version: 5.0.0' "http://127.0.0.1:$port/instance"
    while read -r method path body; do
        printf '%s' "$body" >"$work/body" # the seed is in it: too long for a command line
        run curl -s -o "$work/answer" -w '%{http_code}' -X "$method" -H 'api-version: 5.0.0' \
            -H 'content-type: application/json' ${body:+--data-binary "@$work/body"} "http://127.0.0.1:$port$path"
        [[ "$output" = 2* ]] || { echo "$method $path: $output"; cat "$work/answer"; return 1; }
    done < <(grep -E '^(GET|PUT|POST|DELETE) /instance' "$illumos/requests-web" | sort -u)
    # and it does tell what is wrong
    run curl -s -o "$work/answer" -w '%{http_code}' -X PUT -H 'api-version: 5.0.0' \
        -H 'content-type: application/json' --data '"Dance"' "http://127.0.0.1:$port/instance/state"
    [[ "$output" = 4* ]]
}

@test "two VMs have a server each: one that is named, one at its zone's own address" {
    unset VMCTL_PROPOLIS_ADDRESS
    address=127.$((RANDOM % 200 + 1)).$((RANDOM % 250)).$((RANDOM % 250 + 1))
    zone db "$address:12400"
    printf 'net:\n\tallowed-address: 127.0.0.9/8\n\tphysical: vnic1\nnet:\n\tallowed-address: %s/8\n\tphysical: ctl0\n' \
        "$address" >"$illumos/net-db"
    cat >VMFile.kdl <<END
vm "web" { backend "propolis"; image "$work/image"; network "vnic" { name "vnic0"; }
    propolis-server "$(<"$illumos/address-web")" }
vm "db" { backend "propolis"; image "$work/image"; network "vnic" { name "vnic1"; } }
END
    vmctl up -q
    run vmctl status db
    has "Console:     ws://$address:12400/instance/serial"
    [ "$(printf 'hi\n' | vmctl console web)" = "web: HI" ]
    [ "$(printf 'hi\n' | vmctl console db)" = "db: HI" ]
    vmctl stop -q web
    [ "$(state db)" = running ]
    run vmctl status db
    has "State:       running"
    vmctl down -q --destroy
    [ "$(ls "$illumos/zones")" = "" ]
}

@test "two VMs at one server: the second is refused, the first is left alone" {
    vmctl up -q
    zone db
    printf 'vm "db" { backend "propolis"; image "%s"; network "none"; }\n' "$work/image" >VMFile.kdl
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "runs another instance"
    says 'propolis-server "HOST:PORT"'
    [ "$(state web)" = running ]
}

@test "the console is a terminal on the server's WebSocket" {
    vmctl up -q
    [ "$(printf 'one\n' | vmctl console web)" = "web: ONE" ]
    grep -q "PONG are you there?" "$illumos/requests-web"
    # more than one frame of every length, both ways
    head -c 200000 /dev/zero | tr '\0' a >big
    vmctl console web <big >answer
    [ "$(tr -d -c A <answer | wc -c)" -eq 200000 ]
    run vmctl console web <<<bye
    [ "$status" -eq 0 ]
    says "the console was closed"
    run vmctl console web <<<drop
    [ "$status" -eq 1 ]
    says "the connection to propolis-server's console was lost"
    vmctl stop -q web
    run vmctl console web
    [ "$status" -eq 1 ]
    says "vm 'web' is not running"
}

@test "a console that the server does not open is told" {
    vmctl up -q
    kill_hard "${servers[0]}"
    run vmctl console web
    [ "$status" -eq 1 ]
    says "error[vmctl::propolis::unreachable]"
}

@test "a server that dies is told, and the VM starts again with the next one" {
    vmctl up -q
    kill_hard "${servers[0]}"
    rm "$illumos/address-web"
    zone web "$VMCTL_PROPOLIS_ADDRESS" # down: the server is the zone's init
    await grep -q running "$illumos/zones/web"
    vmctl wait -q web --ready
    run vmctl events web
    says "the zone went down"
}

@test "a server that hangs is given up at its deadline" {
    touch "$illumos/fault-web"
    export VMCTL_PROPOLIS_TIMEOUT=1
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "error[vmctl::propolis::unreachable]"
    rm "$illumos/fault-web"
    vmctl up -q
    [ "$(state)" = running ]
}

@test "cloud-init and SSH work there" {
    propolis_file 'network "vnic" { name "vnic0"; }; cloud-init { hostname "w"; }; ssh { user "me"; }'
    printf 'net:\n\tallowed-address: 127.0.0.9/8\n\tphysical: vnic0\n' >"$illumos/net-web"
    vmctl up -q --detach
    await grep -q '"Run"' "$illumos/requests-web"
    [ -s "$data/vms/web/seed.iso" ]
    [ -s "$data/vms/web/id_ed25519_generated" ]
    grep -q "$(base64 -w 400 "$data/vms/web/seed.iso" | tail -n 1)" "$illumos/requests-web"
    ssh_is_known() { vmctl status web | grep -q "SSH: *127.0.0.9:22"; }
    await ssh_is_known
    run vmctl ssh-config web
    says "HostName 127.0.0.9"
    vmctl destroy -q web
}

@test "a killed controller finds the zone again and starts nothing twice" {
    vmctl up -q
    kill_controller
    vmctl controller start
    vmctl up -q
    run grep -c boot "$illumos/log"
    [ "$output" -eq 1 ]
    run vmctl status web
    has "State:       running"
}

@test "suspend is refused, and the VM runs on" {
    vmctl up -q
    run vmctl suspend web
    [ "$status" -eq 1 ]
    says "error[vmctl::backend::not_available]"
    says "vmctl resume web"
    [ "$(state)" = running ]
    vmctl resume -q web
    run vmctl status web
    has "State:       running"
}

@test "recreate clones the disk anew and keeps the zone" {
    vmctl up -q
    propolis_file 'network "vnic" { name "vnic0"; }; firmware "uefi"'
    vmctl up -q --recreate
    [ "$(state)" = running ]
    run grep -c clone "$illumos/log"
    [ "$output" -eq 2 ]
}

@test "a server that does not answer is told" {
    export VMCTL_PROPOLIS_ADDRESS=127.0.0.1:1 VMCTL_PROPOLIS_TIMEOUT=1
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "error[vmctl::propolis::unreachable]"
    says "nsure propolis-server is running"
}

@test "what propolis does not have is refused" {
    propolis_file 'network "user"'
    run vmctl up -q
    [ "$status" -eq 1 ]
    says 'network "user", which backend "propolis" does not support'
    propolis_file 'vcpus 256; network "none"'
    run vmctl up -q
    [ "$status" -eq 1 ]
    says "needs 256 CPUs; backend \"propolis\" has at most 255"
}
