#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl-serve with what people use it with: a real browser, a real Prometheus, a real QEMU. The tests
# build on each other.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load guest

setup_file() {
    use_data_dir
    printf 'vm "real" { image "guest.qcow2"; memory 192; cloud-init { hostname "real" }; ssh { user "worker" } }\nvm "idle" { backend "noop"; image "guest.qcow2"; }\n' \
        >VMFile.kdl
    vmctl up --timeout 10m
    cat >"$BATS_FILE_TMPDIR/serve" <<'S'
#!/usr/bin/env bash
# serve PORT
cd "${0%/*}" || exit
vmctl serve --allow-changes --listen "127.0.0.1:$1" 2>serve.log >/dev/null 3>&- &
echo $! >serve.pid
S
    chmod +x "$BATS_FILE_TMPDIR/serve"
    "$BATS_FILE_TMPDIR/serve" 0
    await grep -q '^listening: ' "$BATS_FILE_TMPDIR/serve.log"
}

teardown_file() {
    kill "$(<"$BATS_FILE_TMPDIR/serve.pid")" || true
    leave_data_dir
}

setup() {
    cd "$PROJECT" || return
    url=$(sed -n 's/^listening: //p' "$BATS_FILE_TMPDIR/serve.log")
    token=$(<"$DATA/serve.token")
}

browser() {
    if ! command -v chromedriver >/dev/null; then skip "no chromedriver (package chromium-driver)"; fi
    timeout 180 "$BATS_TEST_DIRNAME/../../support/browser.py" "$@"
}

@test "a browser shows a kill -9 of a QEMU within a second" {
    vmctl wait real
    browser live "$url/#token=$token" real "$(pid_of real)"
}

@test "what is typed on the page is echoed by a VM's console" {
    vmctl wait real
    browser type "$url/#token=$token" real
}

@test "the page shows what a VM's screen shows" {
    vmctl wait real
    browser screen "$url/#token=$token" real
}

@test "where neither xterm.js nor noVNC is installed, the page shows text and pictures" {
    vmctl wait real
    local flags=(--mount)
    [ "$(id -u)" = 0 ] || flags+=(--map-root-user)
    cat >"$BATS_TEST_TMPDIR/bare" <<'S'
for directory in /usr/share/novnc /usr/share/nodejs/xterm; do
    [ ! -d "$directory" ] || mount -t tmpfs none "$directory" || exit
done
exec vmctl serve --allow-changes --listen 127.0.0.1:0
S
    unshare "${flags[@]}" bash "$BATS_TEST_TMPDIR/bare" 2>"$BATS_TEST_TMPDIR/log" >/dev/null 3>&- &
    local bare=$!
    await grep -q '^listening: ' "$BATS_TEST_TMPDIR/log" || { cat "$BATS_TEST_TMPDIR/log"; return 1; }
    run browser plain "$(sed -n 's/^listening: //p' "$BATS_TEST_TMPDIR/log")/#token=$token" real
    kill "$bare"
    [ "$status" -eq 0 ]
}

@test "without a mouse a VM is looked at and stopped" {
    mkdir -p "$DATA/vms/idle"
    printf '\033[1mbooted\033[0m\r\n' >>"$DATA/vms/idle/console.log"
    browser keyboard "$url/#token=$token" idle
}

@test "a page whose server is started again misses nothing of what came meanwhile" {
    vmctl start idle
    mkdir -p "$DATA/vms/idle"
    echo booted >>"$DATA/vms/idle/console.log"
    cat >"$BATS_TEST_TMPDIR/again" <<S
#!/usr/bin/env bash
kill $(<"$BATS_FILE_TMPDIR/serve.pid")
tail --pid=$(<"$BATS_FILE_TMPDIR/serve.pid") -f /dev/null
echo again >>"$DATA/vms/idle/console.log"
"$BATS_FILE_TMPDIR/serve" ${url##*:}
S
    chmod +x "$BATS_TEST_TMPDIR/again"
    browser reconnect "$url/#token=$token" idle "$BATS_TEST_TMPDIR/again"
}

@test "a page of another origin reads nothing and changes nothing" {
    vmctl start idle
    browser foreign "$url" "$token" idle
    [ "$(state_of idle)" = Ready ]
}

asked() { curl -sS -m 20 --get "http://127.0.0.1:$port/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1] // empty'; }
is_scraped() { [ "$(asked 'up{job="vmctl"}')" = 1 ]; }

@test "a Prometheus scrapes it" {
    command -v prometheus >/dev/null || skip "no prometheus"
    vmctl wait real
    cat >"$BATS_TEST_TMPDIR/prometheus.yml" <<Y
scrape_configs:
  - job_name: vmctl
    scrape_interval: 1s
    authorization: { credentials_file: "$DATA/serve.token" }
    static_configs: [ { targets: [ "${url#http://}" ] } ]
Y
    port=$((20000 + BASHPID % 10000))
    prometheus --config.file="$BATS_TEST_TMPDIR/prometheus.yml" --storage.tsdb.path="$BATS_TEST_TMPDIR/data" \
        --web.listen-address="127.0.0.1:$port" >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
    local prometheus=$!
    await is_scraped || { kill "$prometheus"; tail "$BATS_TEST_TMPDIR/log"; return 1; }
    local cpu resident ready restarts
    cpu=$(asked 'vmctl_vm_cpu_seconds_total{vm="real"}')
    resident=$(asked 'vmctl_vm_resident_memory_bytes{vm="real"}')
    ready=$(asked 'vmctl_ready_duration_seconds_count')
    restarts=$(asked 'vmctl_vm_restarts_total{vm="real"}') # after the kill -9
    kill "$prometheus"
    wait "$prometheus" || true
    awk "BEGIN { exit !($cpu > 0 && $resident > 50000000 && $ready >= 1 && $restarts == 1) }"
}
