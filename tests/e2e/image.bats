#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# vmctl image against real servers: nginx, and Debian's docker-registry over HTTP, both of the test.
bats_require_minimum_version 1.5.0
load cli_common

setup() {
    cli_setup
    mkdir "$work/www"
    qemu-img create -q -f qcow2 "$work/www/disk.qcow2" 1G
    head -c 20M /dev/urandom >"$work/www/raw.img"
}

teardown() {
    local pid
    for pid in ${servers:-}; do kill "$pid" 2>/dev/null || :; done
    cli_teardown
}

# one that nobody listens at
free_port() {
    local candidate
    while candidate=$((20000 + RANDOM % 12000)); do
        (: <"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || break
    done
    echo "$candidate"
}

serve_www() {
    port=$(free_port)
    cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 64; }
http {
    access_log $work/access.log; root $work/www; limit_rate ${1:-0};
    client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
    uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
    server { listen 127.0.0.1:$port; }
}
CONF
    nginx -c "$work/nginx.conf" -p "$work" 3>&- &
    servers="${servers:-} $!"
    await curl -sf -o /dev/null -r 0-0 "http://127.0.0.1:$port/disk.qcow2"
    www=http://127.0.0.1:$port
}

# serve_registry [login]: where "login" wants tester:s3cret
serve_registry() {
    local registry_port
    registry_port=$(free_port)
    registry=127.0.0.1:$registry_port
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\n' "$work/registry" >"$work/registry.yml"
    printf 'http: {addr: "%s", secret: test}\n' "$registry" >>"$work/registry.yml"
    if [ "${1:-}" = login ]; then
        # bcrypt of s3cret, as `htpasswd -nbB tester s3cret` makes it
        printf '%s\n' 'tester:$2y$05$eChuFisbSzmhkYB1Cgync.9KX5AxJ79xWwty.9mSgsCxLUpxt71Wy' >"$work/htpasswd"
        printf 'auth: {htpasswd: {realm: test, path: %s}}\n' "$work/htpasswd" >>"$work/registry.yml"
    fi
    docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 3>&- &
    servers="${servers:-} $!"
    await curl -s -o /dev/null "http://$registry/v2/"
}

digest_of() { sha256sum "$1" | cut -d' ' -f1; }

push_blob() { # REPOSITORY FILE
    local location
    location=$(curl -sf -u tester:s3cret -D - -o /dev/null -X POST "http://$registry/v2/$1/blobs/uploads/" |
        tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    curl -sf -u tester:s3cret -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' \
        --data-binary "@$2" "$location&digest=sha256:$(digest_of "$2")"
}

push() { # REPOSITORY TAG FILE
    printf '{}' >"$work/empty.json"
    push_blob "$1" "$work/empty.json"
    push_blob "$1" "$3"
    cat >"$work/manifest.json" <<JSON
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": "sha256:$(digest_of "$work/empty.json")"},
 "layers": [{"mediaType": "application/vnd.cloudnebula.qcow2.layer.v1", "size": $(stat -c %s "$3"), "digest": "sha256:$(digest_of "$3")"}]}
JSON
    curl -sf -u tester:s3cret -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$work/manifest.json" "http://$registry/v2/$1/manifests/$2"
}

has_part() { compgen -G "$data/images/.part/*.part" >/dev/null; }

@test "list of nothing is the book's header" {
    run vmctl image list
    [ "$status" -eq 0 ]
    [ "$output" = "NAME   SIZE   PATH" ]
    run vmctl image list -o json
    [ "$output" = "[]" ]
}

@test "pull prints the path, list has the book's columns, inspect the header" {
    serve_www
    run --separate-stderr vmctl image pull "$www/disk.qcow2"
    [ "$status" -eq 0 ]
    [ "$output" = "$data/images/$(digest_of "$work/www/disk.qcow2").qcow2" ]
    cmp "$output" "$work/www/disk.qcow2"
    run vmctl image list
    [[ "${lines[1]}" =~ ^disk\.qcow2\ +0\.20\ MB\ +"$data"/images/[0-9a-f]{64}\.qcow2$ ]]
    run vmctl image inspect disk.qcow2
    has "Format:        qcow2"
    has "Virtual size:  1.07 GB (1073741824 bytes)"
    has "URL:           $www/disk.qcow2"
}

@test "inspect tells of any file, as the book has it" {
    qemu-img create -q -f qcow2 -b "$work/www/disk.qcow2" -F qcow2 ./overlay.qcow2
    run vmctl image inspect ./overlay.qcow2
    [ "$status" -eq 0 ]
    has "Backing file:  $work/www/disk.qcow2"
    run vmctl image inspect "$work/www/raw.img"
    has "Format:        raw"
    echo hello >junk
    run vmctl image inspect junk
    [ "$status" -eq 1 ]
    says "not a disk image"
    run vmctl image inspect absent
    [ "$status" -eq 1 ]
    says "vmctl::image::not_found"
}

@test "a name is a link to the image, and a second pull asks the server for what is new" {
    serve_www
    vmctl image pull --name base "$www/disk.qcow2"
    cmp "$data/images/base" "$work/www/disk.qcow2"
    run vmctl image list -o name
    [ "$output" = base ]
    run vmctl image pull "$www/disk.qcow2"
    [ "$status" -eq 0 ]
    says "up to date: $www/disk.qcow2"
    fails 1 env http_proxy=http://127.0.0.1:1 no_proxy= vmctl image pull --name x "$www/disk.qcow2"
    says "through the proxy http://127.0.0.1:1"
    kill $servers
    fails 1 vmctl image pull "$www/disk.qcow2"
    says "vmctl::image::download_failed"
    run vmctl image pull --sha256 "$(digest_of "$work/www/disk.qcow2")" "$www/disk.qcow2"
    [ "$status" -eq 0 ]
    [ "$(vmctl image list -o name)" = base ]
    run vmctl image pull "$www/other.qcow2"
    [ "$status" -eq 1 ]
    says "vmctl::image::download_failed"
    run vmctl image pull --sha256 "$(digest_of "$work/www/raw.img")" --refresh "file://$work/www/disk.qcow2"
    [ "$status" -eq 1 ]
    says "vmctl::image::checksum_mismatch"
}

@test "a pull that is killed goes on, also through a killed controller" {
    serve_www 8m
    vmctl image pull "$www/raw.img" >/dev/null 2>&1 3>&- &
    local pull=$!
    await has_part
    kill -KILL "$pull"
    local result=0
    wait "$pull" || result=$?
    [ "$result" -eq 137 ]
    kill_controller
    run vmctl image pull "$www/raw.img"
    [ "$status" -eq 0 ]
    cmp "$data/images/$(digest_of "$work/www/raw.img").qcow2" "$work/www/raw.img"
    grep -q ' 206 ' "$work/access.log"
}

@test "rm and prune leave what a VM uses" {
    serve_www
    vmctl image pull "$www/disk.qcow2"
    vmctl image pull --name spare "$www/raw.img"
    printf 'vm "web" { backend "noop"; image-url "%s"; }\n' "$www/disk.qcow2" >VMFile.kdl
    vmctl up -q
    run vmctl image rm disk.qcow2
    [ "$status" -eq 6 ]
    says "in use by: web"
    says "vmctl destroy web"
    run vmctl image list -o wide
    says " web "
    run vmctl image prune --dry-run
    says "would be removed (20.97 MB)"
    [ -e "$data/images/spare" ]
    run vmctl image prune
    [ "$status" -eq 0 ]
    says "freed: 20.97 MB"
    run vmctl image list -o name
    [ "$output" = disk.qcow2 ]
    vmctl destroy web
    run vmctl image rm disk.qcow2
    [ "$status" -eq 0 ]
    run vmctl image list
    [ "$output" = "NAME   SIZE   PATH" ]
}

@test "an image comes from a registry" {
    serve_registry
    push org/debian 12 "$work/www/disk.qcow2"
    run --separate-stderr vmctl image pull "oci://$registry/org/debian:12"
    [ "$status" -eq 0 ]
    cmp "$output" "$work/www/disk.qcow2"
    run vmctl image list -o name
    [ "$output" = debian:12 ]
    run vmctl image pull "oci://$registry/org/debian:13"
    [ "$status" -eq 1 ]
    says "vmctl::image::not_found"
}

@test "a private registry wants docker's login" {
    serve_registry login
    push org/debian 12 "$work/www/disk.qcow2"
    run vmctl image pull "oci://$registry/org/debian:12"
    [ "$status" -eq 1 ]
    says "docker login $registry"
    mkdir "$HOME/.docker"
    printf '{"auths": {"%s": {"auth": "%s"}}}' "$registry" "$(printf tester:s3cret | base64)" >"$HOME/.docker/config.json"
    run vmctl image pull "oci://$registry/org/debian:12"
    [ "$status" -eq 0 ]
    run grep -r s3cret "$data"
    [ "$status" -eq 1 ]
}

@test "the proxies of a download are its caller's, not those of vmctld" {
    serve_www
    http_proxy=http://127.0.0.1:1 vmctl controller start
    run vmctl image pull "$www/disk.qcow2"
    [ "$status" -eq 0 ]
    vmctl controller stop
    vmctl controller start
    http_proxy=http://me:s3cret@127.0.0.1:1 run vmctl image pull --name raw "$www/raw.img"
    [ "$status" -eq 1 ]
    says "through the proxy http://127.0.0.1:1 (http_proxy of the command)"
    says "unset http_proxy"
    http_proxy=http://me:s3cret@127.0.0.1:1 no_proxy=127.0.0.1 run vmctl image pull --name raw "$www/raw.img"
    [ "$status" -eq 0 ]
    # of a VM: recorded with it, hidden wherever it is shown
    export ALL_PROXY=me:s3cret@127.0.0.1:1
    vmctl create --name web --image-url "$www/other.img" --detach
    run vmctl get web -o json
    says '"http": "http://127.0.0.1:1"'
    refute grep -q s3cret <<<"$output"
    run vmctl wait web --ready
    [ "$status" -eq 1 ]
    says "through the proxy http://127.0.0.1:1 (ALL_PROXY of the command)"
    run grep -r s3cret "$data" --include='*.log'
    [ "$status" -eq 1 ]
}

@test "each URL of one content keeps a name of its own" {
    serve_www
    cp "$work/www/disk.qcow2" "$work/www/other.qcow2"
    vmctl image pull "$www/disk.qcow2"
    vmctl image pull "$www/other.qcow2"
    vmctl image pull --name third "$www/disk.qcow2?v=3"
    run vmctl image list
    [ "${#lines[@]}" -eq 4 ]
    [[ "${lines[1]}" = disk.qcow2\ * && "${lines[2]}" = other.qcow2\ * && "${lines[3]}" = third\ * ]]
    run vmctl image list -o name
    [ "$output" = disk.qcow2 ]
    # a name that is given again leads elsewhere: its first URL is called as it ends
    vmctl image pull --name third "$www/raw.img"
    run vmctl image list
    [ "${#lines[@]}" -eq 4 ]
    [[ "${lines[2]}" = other.qcow2\ * && "${lines[3]}" = third\ * ]]
    run vmctl image inspect other.qcow2
    has "Format:        qcow2"
    vmctl image rm other.qcow2
    run vmctl image list -o name
    [ "$output" = third ]
}

# catalogue [SUMS]: an entry "tiny:1" of the user's
catalogue() {
    mkdir -p "$HOME/.config/vmctl"
    echo "image \"tiny:1\" \"tiny\" { about \"Tiny one\"; url \"$www/disk.qcow2\"; sums \"$www/${1:-SHA256SUMS}\"; user \"tiny\" }" \
        >"$HOME/.config/vmctl/images.kdl"
}
sums() { (cd "$work/www" && sha256sum disk.qcow2 raw.img >SHA256SUMS); }

@test "an image is got by its name, checked against its publisher's list, and kept until the next pull" {
    serve_www
    catalogue
    sums
    run vmctl image search tin
    [[ $output == *tiny:1*tiny*"Tiny one"* && $output != *debian* ]]
    fails 1 vmctl image search nosuch
    fails 1 vmctl image pull nosuch:1
    says "vmctl image search"
    run vmctl image outdated
    says "no image of the catalogue was downloaded yet"
    vmctl image pull tiny
    cmp "$data/images/$(digest_of "$work/www/disk.qcow2").qcow2" "$work/www/disk.qcow2"
    [ "$(vmctl image outdated -o json | jq -r '.[].state')" = "up to date" ]
    [ "$(vmctl image list -o name)" = tiny:1 ]

    # a VM with the name: no network is needed, and the entry's user logs in
    kill $servers
    echo 'vm "a" { image "tiny:1"; network "none"; memory 32; stop-timeout 0; restart "never" }' >"$work/project/VMFile.kdl"
    (cd "$work/project" && vmctl up --timeout 60)
    [ "$(vmctl get a -o json | jq -r '.desired.spec.ssh.user, .desired.spec.image.kind')" = "tiny"$'\n'name ]
    first=$(jq -r .status.prepared.imageSha256 <<<"$(vmctl get a -o json)")
    run vmctl image outdated -o json
    [ "$(jq -r '.[0].state' <<<"$output")" = unknown ]

    # the publisher has a newer one: nothing changes but by a pull, and under the VM nothing at all
    qemu-img create -q -f qcow2 "$work/www/disk.qcow2" 2G
    serve_www
    catalogue
    sums
    run vmctl image outdated
    [[ $output == *tiny:1*outdated*"vmctl image pull tiny:1"* ]]
    vmctl image pull tiny:1
    [ "$(vmctl image outdated -o json | jq -r '.[].state')" = "up to date" ]
    [ "$(cd "$work/project" && vmctl diff 2>&1)" = "a: unchanged" ] || { cd "$work/project" && vmctl diff; }
    [ "$(vmctl get a -o json | jq -r .status.prepared.imageSha256)" = "$first" ]
    vmctl destroy -y a

    # wrong sums, and a list that was moved
    echo "$(digest_of "$work/www/raw.img")  disk.qcow2" >"$work/www/SHA256SUMS"
    fails 1 vmctl image pull tiny:1
    says "vmctl::image::checksum_mismatch"
    catalogue moved/SHA256SUMS
    fails 1 vmctl image pull tiny:1
    says "$www/moved/SHA256SUMS: HTTP status 404"
    says "images.kdl"
}

@test "usage errors end with 2" {
    local words
    for words in "" "eat" "pull" "pull a b" "pull /file" "inspect" "rm" "list x" "prune x" "list --name x" \
        "rm --dry-run x" "pull --name ../x http://x/y" "pull --sha256 12 http://x/y"; do
        # shellcheck disable=SC2086
        run vmctl image $words
        [ "$status" -eq 2 ] || { echo "vmctl image $words: $status $output"; return 1; }
    done
}

# is_getting FILTER : the image being got is so
is_getting() { vmctl image list -o json | jq -e "[.[] | select(.state == \"getting\")] | length == 1 and (.[0] | $1)" >/dev/null; }
is_got_by_no_one() { [ -z "$(vmctl image list -o json | jq '.[] | select(.state == "getting")')" ]; }

@test "what is being got is listed with its progress, said every ten seconds, and can be cancelled" {
    serve_www 200k
    vmctl image pull "$www/raw.img" 2>"$work/pull.err" 3>&- &
    local puller=$! ended=0
    await is_getting '.progress | .have > 0 and .total == 20971520 and .bytesPerSecond > 0 and .pulls == 1'
    run vmctl image list -o wide
    [[ "${lines[1]}" =~ ^raw\.img\ +20\.97\ MB\ +-\ +-\ +-\ +"$www/raw.img"\ +downloading\ +[0-9]+%,\ [0-9]+/21\ MB,\ 0\.[0-9]\ MB/s,\ .*left$ ]]
    [ -z "$(vmctl image list -o name)" ]
    fails 1 vmctl image inspect raw.img
    says "image 'raw.img' is still being downloaded" "vmctl image cancel raw.img"
    await grep -q '^raw.img: downloading' "$work/pull.err"
    fails 1 vmctl image cancel other.img
    run vmctl image cancel raw.img
    [ "$output" = "raw.img: cancelled" ]
    wait "$puller" || ended=$?
    [ "$ended" -eq 1 ]
    grep -q 'error\[vmctl::cancelled\]: the pull of .*/raw.img was cancelled' "$work/pull.err"
    await is_got_by_no_one
    has_part
    fails 1 vmctl image cancel raw.img
    says "no pull of image 'raw.img' is in progress" "vmctl image list"
}

@test "Ctrl-C ends a pull; one that a VM wants goes on without it, and only the VM ends it" {
    serve_www 200k
    env --default-signal=INT vmctl image pull "$www/raw.img" 2>"$work/first.err" 3>&- &
    local puller=$! ended=0
    await is_getting '.progress.pulls == 1'
    kill -INT "$puller"
    wait "$puller" || ended=$?
    [ "$ended" -eq 130 ]
    grep -q 'interrupted; what was downloaded is kept: the next pull resumes it' "$work/first.err"
    await is_got_by_no_one
    vmctl create --name web --image-url "$www/raw.img" --memory 128 -d
    env --default-signal=INT vmctl image pull "$www/raw.img" 2>"$work/second.err" 3>&- &
    puller=$!
    await is_getting '.progress.pulls == 1 and .progress.vms == 1 and .usedBy == ["web"]'
    kill -INT "$puller"
    wait "$puller" || :
    grep -q 'interrupted; a VM still wants the image: vmctl image list' "$work/second.err"
    await is_getting '.progress.pulls == 0 and .progress.vms == 1'
    fails 6 vmctl image cancel raw.img
    says "image 'raw.img' is being downloaded for a VM" "vmctl image list -o wide"
    has_event() { vmctl events web | grep -q "Downloading.*getting $www/raw.img"; }
    await has_event
    run timeout 20 env TERM=xterm script -qec "stty rows 10 cols 79; '$(command -v vmctl)' wait web --for=condition=ImageReady --timeout 2s" /dev/null </dev/null
    says "raw.img  " "░" "/21 MB" "for 1 VM"
    vmctl destroy web
    await is_got_by_no_one
}
