#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl serve: the store over HTTP.

load cli_common

setup() {
    cli_setup
    command -v vmctl-serve >/dev/null || skip "vmctl-serve is not built (package libwebsockets-dev)"
    servers=()
}

teardown() {
    local pid
    for pid in ${servers[@]+"${servers[@]}"}; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    cli_teardown
}

# serve OPTION... : sets `server`; on a port, `url`
serve() {
    rm -f "$work/serve.log" # that of one before says that it listens
    vmctl serve "$@" 2>"$work/serve.log" 3>&- &
    server=$!
    servers+=("$server")
    await grep -q '^listening: ' "$work/serve.log" || { cat "$work/serve.log"; return 1; }
    url=$(sed -n 's/^listening: \(http.*\)/\1/p' "$work/serve.log")
}

# ask PATH [OPTION...] : over the unix socket
ask() { curl -sS -m 20 --unix-socket "$data/serve.sock" "${@:2}" "http://localhost$1"; }
status_of() { ask "$1" -o /dev/null -w '%{http_code}' "${@:2}"; }
displays() { [ "$(ask "/v1/vms/$1" | jq -r .display)" = "$2" ]; }
is_ready() { [ "$(status_of /readyz)" = 200 ]; }

# crowd N REQUEST... : N clients that send these in turn, with \r\n as line ends, and read nothing.
# Sets `crowd`, their process; $data/crowd says how many of them the server did not close at once.
crowd() {
    python3 - "$data" "$@" <<'P' &
import os, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
requests = [text.encode().decode("unicode_escape").encode() for text in sys.argv[3:]]
clients, sent = [], 0
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect("serve.sock")
        s.send(requests[i % len(requests)])
        sent += 1
    except OSError:
        pass
    clients.append(s)
open("crowd.new", "w").write(str(sent))
os.rename("crowd.new", "crowd")
time.sleep(300)
P
    crowd=$!
    servers+=("$crowd")
    await test -e "$data/crowd"
}

@test "serve: what vmctl prints with -o json, byte for byte, on a socket of one's own" {
    vmfile web db
    vmctl up -q
    serve
    [ "$(stat -c %a "$data/serve.sock")" = 600 ]
    diff <(ask /v1/vms) <(vmctl list -o json)
    diff <(ask /v1/vms/web) <(vmctl get web -o json)
    diff <(ask /v1/events) <(vmctl events -o json)
    diff <(ask '/v1/events?vm=web') <(vmctl events web -o json)
    diff <(ask /v1/images) <(vmctl image list -o json)
    [ "$(status_of /v1/vms/nope)" = 404 ]
    ask /v1/vms/nope | jq -e '.error.code == "vmctl::vm::not_found"'
    [ "$(status_of /v1/vms -X POST)" = 405 ]
    [ "$(status_of /v1/vms -H 'Origin: http://evil.example')" = 403 ]
    local path on=(-sS -m 20 --unix-socket "$data/serve.sock") # a body is not taken for the next request
    for path in /v1/nope /v1/vms /v1/vms/web/stop; do
        [ "$(curl "${on[@]}" -X POST -o /dev/null "http://a$path" --next "${on[@]}" http://a/healthz)" = ok ]
        [ "$(curl "${on[@]}" -d 'GET / HTTP/1.1' -o /dev/null "http://a$path" --next "${on[@]}" http://a/healthz)" = ok ]
    done
    for path in /v1/events '/v1/vms/web/console?follow=1'; do # of HEAD nothing comes, whatever curl waits for
        [ -z "$(ask "$path" -X HEAD -H 'Accept: text/event-stream')" ]
    done

    run vmctl serve # a second one
    [ "$status" -eq 6 ]
    says "another vmctl-serve listens"
    kill -KILL "$server" # what it leaves is no obstacle
    wait "$server" || true
    serve
    [ "$(ask /healthz)" = ok ]
}

@test "serve: Ctrl-C and SIGTERM end it, and the next one listens" {
    local signal
    for signal in INT TERM; do
        # a shell without job control has what it starts with & ignore SIGINT
        env --default-signal=INT vmctl serve 2>"$work/serve.log" 3>&- &
        server=$!
        servers+=("$server")
        await grep -q '^listening: ' "$work/serve.log"
        [ "$(ask /healthz)" = ok ]
        kill -"$signal" "$server"
        has_ended() { ! kill -0 "$server" 2>/dev/null || [ "$(ps -o stat= -p "$server")" = Z ]; }
        await has_ended
        run wait "$server"
        [ "$status" -ne 0 ]
    done
}

@test "serve: ready is who has a controller that has seen all" {
    vmfile web
    serve
    [ "$(status_of /healthz)" = 200 ]
    [ "$(status_of /readyz)" = 503 ]
    ask /readyz | jq -e '.error.help == "vmctl controller start"'
    vmctl up -q
    await is_ready
    local controller
    controller=$(controller_pid)
    kill -STOP "$controller"
    ask /readyz | jq -e '.error.message | test("halted")'
    kill -CONT "$controller"
    await is_ready
}

@test "serve: a port asks for the token, the Host and the Origin" {
    serve --listen 127.0.0.1:0
    local token port
    token=$(<"$data/serve.token")
    [ "$(stat -c %a "$data/serve.token")" = 600 ]
    [ ! -e "$data/serve.sock" ]
    local code=(curl -sS -m 20 -o /dev/null -w '%{http_code}')
    [ "$("${code[@]}" "$url/healthz")" = 200 ]
    [ "$("${code[@]}" "$url/v1/vms")" = 401 ]
    code+=(-H "Authorization: Bearer $token")
    [ "$("${code[@]}" "$url/v1/vms")" = 200 ]
    [ "$("${code[@]}" -H 'Host: rebound.example' "$url/v1/vms")" = 403 ]
    [ "$("${code[@]}" -H 'Origin: http://evil.example' "$url/v1/vms")" = 403 ]
    [ "$("${code[@]}" -H "Origin: $url" "$url/v1/vms")" = 200 ]

    run vmctl serve --listen 0.0.0.0:0
    [ "$status" -eq 2 ]
    says "needs TLS"
    for port in 65536 -1 80x ''; do
        run vmctl serve --listen "127.0.0.1:$port"
        [ "$status" -eq 2 ]
        says "not an address and a port"
    done
    chmod 644 "$data/serve.token"
    run vmctl serve --listen 127.0.0.1:0
    [ "$status" -eq 2 ]
    says "can be read by others"
}

@test "serve: with a certificate it listens anywhere, and encrypts" {
    command -v openssl >/dev/null || skip "no openssl"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=vm.lan \
        -keyout "$work/key" -out "$work/cert" 2>/dev/null
    serve --listen 0.0.0.0:0 --tls-cert "$work/cert" --tls-key "$work/key" --host vm.lan
    local port=${url##*:}
    local ask=(curl -sS -m 20 -o /dev/null -w '%{http_code}' --cacert "$work/cert" --resolve "vm.lan:$port:127.0.0.1"
        -H "Authorization: Bearer $(<"$data/serve.token")")
    [ "$("${ask[@]}" "https://vm.lan:$port/v1/vms")" = 200 ]
    run vmctl serve --listen 127.0.0.1:0 --tls-cert "$work/key" --tls-key "$work/key"
    [ "$status" -eq 2 ]
}

# Bounded by the server's own limit of headers (10 s); the connections above the bound are closed.
@test "serve: a thousand clients that send nothing disturb neither vmctl nor, when they have gone, the next one" {
    vmfile web
    vmctl up -q
    serve
    crowd 1000 'GET /v1/vms HTTP/1.1\r\nHost: loc'
    vmctl restart web -q # vmctld and vmctl work on
    [ "$(vmctl list -o json | jq -r '.[0].display')" = Ready ]
    kill -0 "$server"
    kill -KILL "$crowd"
    is_healthy() { [ "$(status_of /healthz)" = 200 ]; }
    await is_healthy
}

# A client that reads nothing is sent no more than its socket holds; what is answered to all at one time
# is bounded, and a stream holds one message.
@test "serve: hundreds of clients that ask and never read, or that stream and never read, cost no memory" {
    vmfile $(seq -f 'vm%03g' 100)
    vmctl up -q --timeout 5m >/dev/null
    serve
    ask /healthz
    resident() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$server/status"; }
    crowd 400 'GET /v1/vms HTTP/1.1\r\nHost: a\r\n\r\n' \
        'GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n'
    [ "$(<"$data/crowd")" = 400 ]
    [ "$(ask /healthz)" = ok ]
    vmctl restart vm001 vm002 vm003 -q
    displays vm001 Ready
    [ "$(resident)" -lt $((700 * 1024)) ] # with the sanitizers
    kill -KILL "$crowd"
}

@test "serve: halted or killed amid a change it is missed by nobody, and the change is made" {
    vmfile web
    vmctl up -q
    serve --allow-changes
    kill -STOP "$server"
    curl -sS -m 60 --unix-socket "$data/serve.sock" -X POST http://localhost/v1/vms/web/stop >"$work/answer" 3>&- &
    servers+=($!)
    vmctl restart web -q # while it is halted
    vmctl list -q >/dev/null
    kill -CONT "$server"
    await displays web Stopped
    vmctl start web -q
    curl -sS -m 60 --unix-socket "$data/serve.sock" -X POST http://localhost/v1/vms/web/stop >"$work/answer" 3>&- &
    local client=$!
    is_acting() { grep -qs . "/proc/$server/task/$server/children"; }
    await is_acting || true # it may be over already
    kill -KILL "$server"
    wait "$client" || true
    serve --allow-changes
    [ "$(ask /healthz)" = ok ]
    vmctl wait web --stopped --timeout 30s || displays web Ready # killed before it was heard: nothing is changed
}

@test "serve: metrics are as Prometheus wants them, and count what there is" {
    vmfile web db
    vmctl up -q
    vmctl stop db -q
    serve
    ask /metrics >"$work/metrics"
    grep -qx 'vmctl_vms{state="Ready"} 1' "$work/metrics"
    grep -qx 'vmctl_vms{state="Stopped"} 1' "$work/metrics"
    grep -qx 'vmctl_vm_ready{vm="db"} 0' "$work/metrics"
    grep -qx 'vmctl_controller_up 1' "$work/metrics"
    grep -qx 'vmctl_ready_duration_seconds_count 1' "$work/metrics"
    [ "$(ask /metrics | grep '^vmctl_ready_duration_seconds_count')" = 'vmctl_ready_duration_seconds_count 1' ]
    vmctl restart web -q # another boot
    [ "$(ask /metrics | grep '^vmctl_ready_duration_seconds_count')" = 'vmctl_ready_duration_seconds_count 2' ]
    [ "$(ask /metrics -H 'Accept: application/openmetrics-text' | tail -1)" = '# EOF' ]
    if command -v promtool >/dev/null; then promtool check metrics <"$work/metrics"; fi
}

@test "serve: changes only where they are allowed, by the commands, and the stream has what comes of them" {
    vmfile web
    vmctl up -q
    serve
    [ "$(status_of /v1/vms/web/stop -X POST)" = 403 ]
    displays web Ready
    kill -KILL "$server"
    wait "$server" || true
    serve --allow-changes
    [ "$(status_of /v1/vms/nope/stop -X POST)" = 404 ]
    curl -sSN -m 100 --unix-socket "$data/serve.sock" -H 'Accept: text/event-stream' http://localhost/v1/events \
        >"$work/stream" 3>&- &
    servers+=($!)
    await grep -qx 'event: changed' "$work/stream"
    local fds
    fds=$(find "/proc/$server/fd" -mindepth 1 | wc -l)
    [ "$(ask /v1/vms/web/stop -X POST | jq -r '.vms[0].result')" = pending ]
    await displays web Stopped
    await grep -q '^data: {.*"reason":"Stopped".*"vm":"web"}$' "$work/stream"
    grep -qx 'event: event' "$work/stream"
    [ "$(status_of /v1/vms/web/start -X POST)" = 202 ]
    await displays web Ready
    [ "$(status_of /v1/vms/nope/start -X POST)" = 404 ]
    [ "$(status_of /v1/vms/web/start)" = 405 ]
    [ "$(status_of /v1/vms/web/stop -X POST -H 'Origin: http://evil.example')" = 403 ]
    displays web Ready

    is_quiet() { [ "$(find "/proc/$server/fd" -mindepth 1 | wc -l)" -le "$fds" ]; }
    await is_quiet # no descriptor of a change is left

    local last # from where a client was it goes on
    last=$(sed -n 's/^id: //p' "$work/stream" | head -1)
    run curl -sSN -m 2 --unix-socket "$data/serve.sock" -H 'Accept: text/event-stream' -H "Last-Event-ID: $last" \
        http://localhost/v1/events
    [ "$(sed -n 's/^id: //p' <<<"$output" | head -1)" -gt "$last" ]
    run curl -sSN -m 2 --unix-socket "$data/serve.sock" -H 'Accept: text/event-stream' -H "Last-Event-ID: 0" \
        http://localhost/v1/events
    [ "$(sed -n 's/^id: //p' <<<"$output" | head -1)" = "$(ask /v1/events | jq '.[0].sequence')" ]
}

@test "serve: what is typed comes to the console, as long as nobody else is at it" {
    local type=/v1/vms/web/type
    vmfile web
    vmctl up -q
    serve
    [ "$(status_of $type -d x)" = 403 ]
    kill -KILL "$server"
    wait "$server" || true
    serve --allow-changes
    [ "$(status_of $type -d x)" = 409 ] # noop has no console
    socat -u "UNIX-LISTEN:$data/vms/web/console.sock,mode=600" "OPEN:$work/typed,creat" 3>&- &
    servers+=($!)
    await test -S "$data/vms/web/console.sock"
    [ "$(status_of $type --data-binary $'echo a\r')" = 202 ]
    [ "$(status_of $type --data-binary $'echo ä b\r')" = 202 ] # by the same connection: socat takes one
    await grep -q 'b' "$work/typed"
    [ "$(<"$work/typed")" = $'echo a\recho ä b\r' ]
    [ "$(status_of $type -X POST)" = 413 ]
    [ "$(status_of $type --data-binary @<(head -c 4097 /dev/zero))" = 413 ]
    [ "$(status_of $type -d x -H 'Origin: http://evil.example')" = 403 ]
    [ "$(status_of $type)" = 405 ]
    run vmctl console web </dev/null
    [ "$status" -ne 0 ]
    is_left() { ! find "/proc/$server/fd" -mindepth 1 -printf '%l\n' | grep -q console.log; }
    await is_left # some seconds after the last text the console is free again
    socat -u "UNIX-LISTEN:$data/vms/web/console.sock,mode=600,fork" OPEN:/dev/null 3>&- &
    servers+=($!)
    await test -S "$data/vms/web/console.sock"
    mkfifo "$work/keys"
    exec 7<>"$work/keys"
    vmctl console web <"$work/keys" >"$work/console" 2>&1 3>&- 7>&- &
    servers+=($!)
    await grep -q connected "$work/console"
    run ask $type -d x
    echo "$output"
    [[ $output == *"the console of vm 'web' is in use by another"* ]]
    exec 7>&-
}

# view [--origin ORIGIN] [--protocol NAME] [--token TOKEN] [--say TEXT] : as a browser's WebSocket on /v1/vms/web/vnc;
# prints "refused", or what it is sent until the server ends it, or it has as many bytes as it said
view() { python3 "$BATS_TEST_DIRNAME/../support/websocket_client.py" "${url#http://}" "$@"; }

@test "serve: the screen goes to a viewer with the token, of no other origin, where changes are allowed" {
    vmfile web
    vmctl up -q
    serve --listen 127.0.0.1:0
    local token
    token=$(<"$data/serve.token")
    [ "$(view --token "$token")" = refused ] # nothing may be changed
    kill "$server"
    serve --allow-changes --listen 127.0.0.1:0
    [ "$(view --token "$token")" = "1000 the VM is not running, so it has no screen" ]
    mkdir -p "$data/vms/web"
    socat "UNIX-LISTEN:$data/vms/web/vnc.sock,fork" EXEC:cat 3>&- &
    servers+=($!)
    await test -S "$data/vms/web/vnc.sock"
    [ "$(view --token "$token" --say "RFB 003.008")" = "RFB 003.008" ]
    [ "$(view --token "$token" --origin "http://$(sed 's,.*//,,' <<<"$url")" --say seen)" = seen ]
    [ "$(view --token "${token}0" --say secret)" = "1000 the token is missing or wrong" ]
    [ "$(view --token "" --say secret)" = "1000 the token is missing or wrong" ]
    [ "$(view --token "$token" --origin http://127.0.0.1:1 --say secret)" = refused ]
    [ "$(view --token "$token" --host evil.example --say secret)" = refused ]
    [ "$(view --token "$token" --protocol "" --say secret)" = refused ]
    [ "$(view --token "$token" --protocol raw --say secret)" = refused ]
    [ "$(view --token "$token" --path /v1/vms --say secret)" = refused ]
    # Each that ends gives its place back: of connections there are 512, of viewers 32.
    [ "$(view --token "$token" --say seen --times 600 | sort | uniq -c | tr -s ' ')" = " 600 seen" ]
}

# says_and_ends: what a QEMU does that is killed while its screen is drawn
says_and_ends() {
    python3 -c 'import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    viewer = server.accept()[0]
    viewer.sendall(b"x" * 150000)
    viewer.close()' "$data/vms/web/vnc.sock" 3>&- &
    servers+=($!)
    await test -S "$data/vms/web/vnc.sock"
}

@test "serve: all that a screen said before its VM ended is sent, with libev and without" {
    vmfile web
    vmctl up -q
    mkdir -p "$data/vms/web"
    says_and_ends
    serve --allow-changes --listen 127.0.0.1:0
    local all="150000 bytes, 1000 the VM closed the connection"
    [ "$(view --token "$(<"$data/serve.token")" --count --times 5 | sort -u)" = "$all" ]
    kill "$server"
    # As where its plugin for libev is not installed: it is asked for first.
    printf '%s\n' '#define _GNU_SOURCE' '#include <dlfcn.h>' 'void *lws_create_context(const void *info) { static int n;' \
        'void *(*real)(const void *) = dlsym(RTLD_NEXT, "lws_create_context"); return n++ ? real(info) : 0; }' >"$work/poll.c"
    cc -shared -fPIC -o "$work/poll.so" "$work/poll.c" -ldl || skip "no compiler"
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
    LD_PRELOAD=$work/poll.so serve --allow-changes --listen 127.0.0.1:0
    [ "$(view --token "$(<"$data/serve.token")" --count --times 5 | sort -u)" = "$all" ]
    kill -0 "$server"
}

@test "serve: of the packages of the page only scripts and style sheets are sent" {
    serve
    [ -e /usr/share/novnc/core/rfb.js ] || skip "no novnc"
    [ -e /usr/share/nodejs/xterm/lib/public/Terminal.js ] || skip "no node-xterm"
    ask /novnc/core/rfb.js | cmp - /usr/share/novnc/core/rfb.js
    ask /xterm/modules.js | grep -Fx 'modules["public/Terminal"] = function (module, exports, require) {'
    local path
    for path in /novnc/vnc.html /novnc/package.json /novnc/core/../vnc.html /novnc/core/.hidden.js /novnc/core/%2e%2e/app/ui.js /xterm/ \
        /xterm/passwd.css /novnc/core/nothing.js; do
        echo "$path"
        [ "$(status_of "$path" --path-as-is)" = 404 ]
    done
}

@test "serve: what is answered is what its OpenAPI document says" {
    vmfile web
    vmctl up -q
    serve
    mkdir "$work/answers"
    local path n=0
    for path in /healthz /readyz /v1/server /v1/vms /v1/vms/web /v1/vms/nope /v1/vms/web/screen /v1/vms/web/vnc /v1/events /v1/images /v1/openapi.json '/v1/events?after=x'; do
        n=$((n + 1))
        ask "$path" -o "$work/answers/$n.body" -w '%{http_code} %{content_type}\n' >"$work/answers/$n.head"
        echo "$path" >"$work/answers/$n.path"
    done
    ask /v1/openapi.json >"$work/openapi.json"
    python3 - "$work/openapi.json" "$work/answers" <<'P'
import glob, json, re, sys
from jsonschema import Draft202012Validator
document = json.load(open(sys.argv[1]))
checked = 0
for head in glob.glob(sys.argv[2] + "/*.head"):
    status, kind = open(head).read().split(" ", 1)
    path = open(head[:-4] + "path").read().strip().split("?")[0]
    body = open(head[:-4] + "body").read()
    path = re.sub("^/v1/vms/[^/]+", "/v1/vms/{name}", path)
    answer = document["paths"][path]["get"]["responses"][status]
    kind = kind.strip().split(";")[0]
    schema = answer["content"][kind]["schema"]
    schema = {**schema, "components": document["components"]}
    Draft202012Validator(schema).validate(json.loads(body) if kind == "application/json" else body)
    checked += 1
assert checked == 12, checked
P
}

@test "serve: a log is sent as far as it is kept, and followed when asked" {
    vmfile web
    vmctl up -q
    serve
    local log=$data/vms/web/console.log
    mkdir -p "${log%/*}"
    head -c 70000 /dev/zero | tr '\0' a >"$log"
    [ "$(ask /v1/vms/web/console | wc -c)" -eq 65536 ]
    [ "$(status_of /v1/vms/nope/console)" = 404 ]
    [ "$(status_of '/v1/vms/web/console?follow=2')" = 400 ]
    curl -sSN -m 100 --unix-socket "$data/serve.sock" 'http://localhost/v1/vms/web/console?follow=1' >"$work/console" 3>&- &
    servers+=($!)
    is_followed() { [ "$(stat -c %s "$work/console")" -ge 65536 ]; }
    await is_followed
    echo "login:" >>"$log"
    await grep -q 'login:$' "$work/console"
    echo "begun anew" >"$log"
    await grep -qx 'begun anew' "$work/console"
    echo "before the rotation" >"$log.1"
    [ "$(ask /v1/vms/web/console)" = $'before the rotation\nbegun anew' ]
    rm "$log"
    ln -s /etc/passwd "$log"
    [ "$(ask /v1/vms/web/console | wc -c)" -eq 0 ]
}

@test "serve: the page loads nothing from elsewhere, and no other page may show it" {
    serve
    ask / -i >"$work/page"
    grep -qi "^content-security-policy: default-src 'none'; script-src 'self'.*frame-ancestors 'none'" "$work/page"
    refute grep -Eq '(src|href)="(https?:)?//' "$work/page"
    [ "$(status_of /page.js)" = 200 ]
    [ "$(status_of /page.css)" = 200 ]
}

# strace counts every system call of the process for two seconds.
@test "serve: without a client nothing wakes it, whatever changes" {
    command -v strace >/dev/null || skip "no strace"
    vmfile web
    vmctl up -q
    serve
    ask /healthz
    strace -f -qq -o "$work/trace" -p "$server" 3>&- &
    local tracer=$!
    servers+=("$tracer")
    is_traced() { ! grep -q '^TracerPid:.0$' "/proc/$server/status"; }
    await is_traced || skip "may not trace"
    vmctl restart web -q
    vmctl stop web -q
    kill "$tracer"
    wait "$tracer" || true
    refute grep -vE 'resuming interrupted|<unfinished|<detached|^[0-9]+ +(epoll_wait|epoll_pwait|poll|restart_syscall)' "$work/trace"
}

@test "a project's VM is found by the name of its files, however that is written" {
    vmfile web
    vmctl --project shop up
    serve
    [ "$(ask /v1/vms/shop+web | jq -r .name)" = shop/web ]
    [ "$(ask /v1/vms/shop%2Bweb | jq -r .name)" = shop/web ]
    vmctl stop shop/web
    displays shop+web Stopped
    [ "$(status_of /v1/vms/web)" = 404 ]
}
