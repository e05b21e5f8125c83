#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Every example is valid, means the same twice, and names only what is there; those that need no
# internet are run, with the tiny guest.

load cli_common

# The files that examples want in ~, and a copy of the examples with what their scripts make.
setup() {
    cli_setup
    examples=$work/examples
    cp -R "$BATS_TEST_DIRNAME/../../examples" "$examples"
    mkdir -p "$HOME/images" "$HOME/.ssh"
    truncate -s 1M "$HOME/images/debian-12-generic-amd64.qcow2"
    ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
    rm -f "$examples/quickstart/demo-guest.qcow2"
    export OTHER=local # both VMs of two-boxes on this host
}
teardown() {
    [ ! -e "${work:-}/fleet" ] || "$examples/fleet/etcd" stop "$work/fleet"
    local vm
    [ -z "${work:-}" ] || for vm in $(vmctl list -o name); do vmctl destroy -q "$vm" || true; done
    cli_teardown
}

guest() {
    [ -n "${VMCTL_TEST_GUEST:-}" ] || skip "VMCTL_TEST_GUEST is not set: see tests/guest/build"
    [ -r "$VMCTL_TEST_GUEST" ]
}

pack_forger() {
    mkdir -p "$work/forger/crates/forger" "$work/forger/crates/spec-parser" "$work/forger/images"
    echo '# lock' >"$work/forger/Cargo.lock"
    echo 'fn main() {}' >"$work/forger/crates/forger/main.rs"
    FORGER_SOURCE=$work/forger "$examples/omnios-builder/scripts/pack-forger.sh"
}

@test "every example's VMFile is valid" {
    pack_forger
    ln -s "$HOME/images/debian-12-generic-amd64.qcow2" "$examples/quickstart/demo-guest.qcow2"
    local file count=0
    for file in "$examples"/*/VMFile.kdl; do
        run vmctl validate "$file"
        echo "$output"
        [ "$status" -eq 0 ]
        count=$((count + 1))
    done
    [ "$count" -ge 9 ]
}

@test "applying an example twice changes nothing" {
    pack_forger
    ln -s "$HOME/images/debian-12-generic-amd64.qcow2" "$examples/quickstart/demo-guest.qcow2"
    local file
    for file in "$examples"/*/VMFile.kdl; do
        run vmctl apply -q --file "$file"
        echo "$output"
        [ "$status" -eq 0 ]
        [[ ! $output =~ unchanged|configured ]]
        run vmctl apply -q --file "$file"
        [ "$status" -eq 0 ]
        [ -n "$output" ]
        [ "$(grep -vc ': unchanged$' <<<"$output")" -eq 0 ]
        run vmctl diff --file "$file"
        [ "$status" -eq 0 ]
        [ -z "$output" ]
        take_protection_out "$file"
        vmctl down --destroy -q --file "$file"
    done
}

# take_protection_out VMFILE : as a user does who wants to be rid of such a VM
take_protection_out() {
    grep -q '^ *protect' "$1" || return 0
    fails 1 vmctl down --destroy -q --file "$1"
    says "is protected and keeps its disk"
    sed -i '/^ *protect/d' "$1"
    vmctl apply -q --file "$1"
}

@test "multi-vm: its labels choose" {
    vmctl apply -q --file "$examples/multi-vm/VMFile.kdl"
    [ "$(vmctl list -o name -l tier=data)" = db ]
    take_protection_out "$examples/multi-vm/VMFile.kdl"
}

@test "variables: three VMs, on the release that is set, each with its number" {
    run vmctl config --set release=13 "$examples/variables/VMFile.kdl"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^    image debian:13$' <<<"$output")" -eq 3 ]
    [ "$(grep '^vm' <<<"$output" | tr '\n' ' ')" = "vm web-1 { vm web-2 { vm db { " ]
    has "            NUMBER 2"
    run vmctl validate --set relaese=13 "$examples/variables/VMFile.kdl"
    [ "$status" -eq 2 ]
    says 'did you mean `release`?'
}

@test "an example that lacks a file says which" {
    run vmctl validate "$examples/omnios-builder/VMFile.kdl"
    [ "$status" -eq 2 ]
    says "no readable file at '$examples/omnios-builder/scripts/forger-src.tar.gz'"
    rm "$HOME/.ssh/id_ed25519.pub" "$HOME/images/debian-12-generic-amd64.qcow2"
    run vmctl validate "$examples/full/VMFile.kdl"
    [ "$status" -eq 2 ]
    says "no readable file at '$HOME/.ssh/id_ed25519.pub'"
    says "no readable file at '$HOME/images/debian-12-generic-amd64.qcow2'"
}

@test "pack-forger.sh packs what the builder unpacks" {
    run pack_forger
    [ "$status" -eq 0 ]
    tar -tzf "$examples/omnios-builder/scripts/forger-src.tar.gz" >"$work/names"
    local name
    for name in ./Cargo.toml ./Cargo.lock ./crates/forger/main.rs ./crates/spec-parser/ ./images/; do
        grep -Fxq "$name" "$work/names"
    done
    rm -r "$work/forger/images"
    FORGER_SOURCE=$work/forger run "$examples/omnios-builder/scripts/pack-forger.sh"
    [ "$status" -eq 1 ]
    says "no images in $work/forger"
}

@test "the scripts of the examples are bash and sh without mistakes" {
    local script
    while read -r script; do
        head -n 1 "$script" | grep -q '^#!' || { echo "$script: no interpreter"; return 1; }
        "$(head -n 1 "$script" | grep -q bash && echo bash || echo sh)" -n "$script"
    done < <(find "$examples" -type f -perm -u+x)
}

@test "fleet: members of etcd that serve, lose one, and go back to a snapshot" {
    type -P etcd etcdctl openssl >/dev/null || skip "no etcd (packages etcd-server, etcd-client)"
    local etcd=$examples/fleet/etcd store=$work/fleet
    export PORT=$((RANDOM % 9000 + 20000))
    "$etcd" start "$store" 3>&-
    "$etcd" user "$store" a
    "$etcd" ctl "$store" put /vmctl/x kept
    "$etcd" save "$store" "$work/snapshot"
    "$etcd" kill "$store" 1
    until "$etcd" ctl "$store" put /vmctl/x lost; do :; done # it may have been the leader
    "$etcd" restore "$store" "$work/snapshot" 3>&-
    run "$etcd" ctl "$store" get /vmctl/x
    says kept
    export ETCDCTL_API=3 ETCDCTL_CACERT=$store/tls/ca.pem ETCDCTL_CERT=$store/tls/a.pem ETCDCTL_KEY=$store/tls/a.key
    etcdctl --endpoints "https://127.0.0.1:$PORT" put /vmctl/y by-a
    run etcdctl --endpoints "https://127.0.0.1:$PORT" put /other by-a
    [ "$status" -ne 0 ]
    says "permission denied"
    "$etcd" stop "$store"
}

@test "every folder of the examples says what it shows" {
    local folder
    for folder in "$examples"/*/; do
        grep -Fq "| [$(basename "$folder")]" "$examples/README.md" ||
            { echo "$folder is not in README.md"; return 1; }
    done
    local file
    for file in "$examples"/*/VMFile.kdl; do
        head -n 1 "$file" | grep -Eq '^// [A-Z].{20}' || { echo "$file: no header"; return 1; }
    done
}

@test "the container installs the packages that the tests install" {
    local file=$examples/container/Containerfile package
    for package in $(awk '/^ *build\) echo/ { is_on = 1 } /^ *test\) echo/ { is_on = 0 } is_on' \
        "$BATS_TEST_DIRNAME/../support/packages" | sed -E 's/^ *[a-z]+\) echo//; s/[\\;]//g'); do
        grep -Eq "[ ]$package( |\$)" "$file" || { echo "$file: no $package"; return 1; }
    done
}

# What Docker does with the Containerfile: its command as the container's main process, the others of
# its first lines beside that one, SIGTERM at the end.
@test "container: the commands of its header work beside its main process" {
    local file=$examples/container/Containerfile main words
    mapfile -t main < <(sed -n 's/^ENTRYPOINT //p; s/^CMD //p' "$file" | jq -r '.[]')
    [ "${main[*]}" = "vmctl controller run" ]
    grep -Fxq 'ENTRYPOINT ["vmctl"]' "$file" # as the book's: docker run … vmctl list
    grep -q '^ENV XDG_DATA_HOME=' "$file"
    vmfile web
    "${main[@]}" 3>&- &
    local pid=$!
    await knows_controller
    [ "$(controller_pid)" = "$pid" ]
    mapfile -t words < <(sed -nE 's/^# +docker exec (-it )?vmctl (vmctl [a-z]+).*/\2/p' "$file")
    [ "${words[*]}" = "vmctl up vmctl ssh vmctl down" ]
    run ${words[0]}
    echo "$output"
    [ "$status" -eq 0 ]
    says "web: ready"
    run ${words[2]}
    [ "$status" -eq 0 ]
    [ "$(field State web)" = stopped ]
    kill "$pid"
    wait "$pid"
    [ "$(vmctl list -o name)" = web ]
}

@test "CI files use options that exist" {
    local words
    while read -r words; do
        local command=${words%% *} option
        vmctl "$command" --help >"$work/help"
        for option in $(grep -oE -- ' --?[a-z]+' <<<" $words"); do
            grep -Eq -- "(^| )$option(,| |\$)" "$work/help" ||
                { echo "vmctl $words: no $option"; return 1; }
        done
    done < <(grep -hoE 'vmctl (up|down|wait|log|status|validate|run|doctor)[a-z0-9 -]*' "$examples"/ci/*.yml | cut -c7-)
}

# ci_script FILE PATH... : the script at this path of a CI file, as the runner would run it
ci_script() {
    python3 - "$@" <<'EOF'
import sys, yaml
node = yaml.safe_load(open(sys.argv[1]))
for key in sys.argv[2:]:
    node = next(s for s in node if s.get("name") == key) if isinstance(node, list) else node[key]
print(node if isinstance(node, str) else "\n".join(node))
EOF
}

# A work tree as a repository would have it: the tiny guest in place of a cloud image, a Makefile,
# and a make for the guest, which has none.
ci_project() {
    cp "$examples/ci/github-actions.yml" "$examples/ci/gitlab-ci.yml" "$work/"
    printf 'vm "ci" { image "%s"; memory 192; cloud-init { hostname "ci" }; ssh { user "demo" }\n' \
        "$VMCTL_TEST_GUEST" >VMFile.kdl
    cat >>VMFile.kdl <<'EOF'
    provision "shell" { inline "printf 'sh $2/test.sh' | sudo tee /usr/bin/make >/dev/null; sudo chmod +x /usr/bin/make" }
}
EOF
    echo 'echo "tested on $(hostname)"; exit 5' >test.sh
}

@test "ci: the files are YAML, and their jobs have what a runner asks for" {
    python3 -c 'import yaml' || skip "no YAML for python3 (package python3-yaml)"
    run ci_script "$examples/ci/github-actions.yml" jobs test steps test run
    [ "$status" -eq 0 ]
    says "vmctl run --rm"
    [ "$(ci_script "$examples/ci/github-actions.yml" jobs test runs-on)" = ubuntu-24.04 ]
    run ci_script "$examples/ci/gitlab-ci.yml" vm-test script
    says "vmctl wait --ready"
    run ci_script "$examples/ci/gitlab-ci.yml" vm-test after_script
    says "vmctl down --destroy"
}

@test "ci: the GitHub job's test runs in a VM of its own and ends as the test does" {
    guest
    python3 -c 'import yaml' || skip "no YAML for python3 (package python3-yaml)"
    ci_project
    ci_script "$work/github-actions.yml" jobs test steps test run >"$work/script"
    run bash -e -o pipefail "$work/script"
    echo "$output"
    [ "$status" -eq 5 ]
    says "tested on ci"
    [ -z "$(vmctl list -o name)" ]
}

# bats test_tags=long
@test "ci: the GitLab job's scripts run the test and leave nothing" {
    guest
    python3 -c 'import yaml' || skip "no YAML for python3 (package python3-yaml)"
    ci_project
    ci_script "$work/gitlab-ci.yml" vm-test script >"$work/script"
    run bash -e -o pipefail "$work/script"
    echo "$output"
    [ "$status" -eq 5 ]
    says "tested on ci"
    ci_script "$work/gitlab-ci.yml" vm-test after_script >"$work/after"
    CI_JOB_STATUS=failed run bash "$work/after"
    [ "$status" -eq 0 ]
    [ -z "$(vmctl list -o name)" ]
}

# bats test_tags=long
@test "imperative: the life of a VM, and nothing is left" {
    guest
    run env MEMORY=160 "$examples/imperative/run" "$VMCTL_TEST_GUEST"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *$'tutorial: created'*$'tutorial: started'*'Linux '*$'tutorial: suspended'*$'tutorial: resumed'*$'tutorial: stopped'*$'tutorial: started'*$'tutorial: destroyed' ]]
    [ -z "$(vmctl list -o name)" ]
}

@test "quickstart: up provisions the demo guest" {
    guest
    cd "$examples/quickstart"
    ln -s "$VMCTL_TEST_GUEST" demo-guest.qcow2
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    says "hello from demo, set up by demo"
    run vmctl ssh -- cat /etc/motd
    [ "$output" = "$(cat motd)" ]
    vmctl down --destroy -q
}
