#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The packages, made twice and looked at by lintian and rpm; and the deb's life in a Debian 12 that has
# nothing yet: installed, an upgrade while a user's VM runs, removed, purged. Root only.

setup_file() {
    root=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)
    export root
    [ -n "${VMCTL_TEST_GUEST:-}" ] || VMCTL_TEST_GUEST=$("$root/tests/guest/build" | tail -n 1)
    export VMCTL_TEST_GUEST
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    deb=$(BUILD_DIR="$BATS_FILE_TMPDIR/build" "$root/.package/build" deb)
    export deb
}

copy_tree() { # DIRECTORY : without what was built in it
    mkdir "$1"
    (cd "$root" && git ls-files -z | xargs -0 cp --parents --target-directory="$1")
}

@test "a second build, elsewhere, gives the same bytes" {
    copy_tree "$BATS_TEST_TMPDIR/elsewhere"
    cd "$BATS_TEST_TMPDIR/elsewhere"
    second=$(.package/build deb)
    cmp "$deb" "$second"
    cmp "$BATS_FILE_TMPDIR/build/vmctl.spdx.json" build-package/vmctl.spdx.json
    BUILD_DIR=$BATS_FILE_TMPDIR/build "$root/.package/build" rpm
    .package/build rpm
    cmp "$BATS_FILE_TMPDIR"/build/*.rpm build-package/*.rpm
    run rpm -qlp build-package/*.rpm
    [ "$status" -eq 0 ]
    for file in /usr/bin/vmctl /usr/bin/vmctld /usr/share/man/man8/vmctld.8.gz /usr/lib/vmctl/vmctl-qemu-guard.so \
        /usr/lib/systemd/user/vmctld.service /usr/share/zsh/site-functions/_vmctl /usr/share/licenses/vmctl/LICENSE; do
        grep -qx "$file" <<<"$output"
    done
}

@test "an sbom names what its programs load and what it depends on, the same twice" {
    local sbom=$BATS_FILE_TMPDIR/build/vmctl.spdx.json library package
    [ "$(jq -r '.spdxVersion + " " + .packages[0].name' "$sbom")" = "SPDX-2.3 vmctl" ]
    [ "$(jq -r '.packages[0].checksums[0].checksumValue' "$sbom")" = "$(sha256sum <"$deb" | cut -d' ' -f1)" ]
    for package in $(dpkg-deb -f "$deb" Depends | tr ',' '\n' | sed 's/([^)]*)//g; /|/d; s/ //g'); do
        jq -e --arg name "$package" '.packages[] | select(.name == $name)' "$sbom" >/dev/null
    done
    dpkg-deb -x "$deb" "$BATS_TEST_TMPDIR/root"
    for library in $(readelf -d "$BATS_TEST_TMPDIR/root/usr/bin/vmctld" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        package=$(dpkg-query -S "*/$library" | sed -n '/-cross:/d; s/:.*//p' | head -n 1)
        [ "$(jq -r --arg id "SPDXRef-$package" '.relationships[] | select(.relatedSpdxElement == $id) | .relationshipType' "$sbom")" = DYNAMIC_LINK ]
    done
    # every element that is named is described
    [ -z "$(jq -r '([.packages[].SPDXID] + [.SPDXID]) as $known | .relationships[] | .spdxElementId, .relatedSpdxElement |
        select(IN($known[]) | not)' "$sbom")" ]
    # libarchive is in vmctl itself
    jq -e '.relationships[] | select(.relationshipType == "STATIC_LINK" and .relatedSpdxElement == "SPDXRef-libarchive-dev")' "$sbom"
    "$root/.package/sbom" "$deb" "$BATS_FILE_TMPDIR/build" | cmp - "$sbom"
}

@test "lintian has nothing to say that is not explained" {
    run lintian --fail-on error,warning "$deb"
    echo "$output"
    [ "$status" -eq 0 ]
}

# The steps of the GitHub action and of GitLab's job as plain shell programs.
jobs_of_others() { # DIRECTORY
    python3 - "$root" "$1" <<'END'
import re, shlex, sys, yaml

root, to = sys.argv[1:]
given = {"package": "/pkg/new.deb", "command": "cat hello", "timeout": "10m"}

def program(path, inputs, pattern, steps):
    values = {name: given.get(name, spec.get("default", "")) for name, spec in inputs.items()}
    fill = lambda text: re.sub(pattern, lambda found: values[found.group(1)], text)
    with open(path, "w") as file:
        file.write("set -e\n")
        for variables, text in steps:
            exports = "".join("export %s=%s\n" % (name, shlex.quote(fill(value))) for name, value in variables.items())
            file.write("(\n%s%s\n)\n" % (exports, text))

action = yaml.safe_load(open(root + "/.github/actions/run/action.yml"))
program(to + "/github-job", action["inputs"], r"\$\{\{ inputs\.(\w+) \}\}",
        [(step.get("env", {}), step["run"]) for step in action["runs"]["steps"]])
header, jobs = yaml.safe_load_all(open(root + "/.gitlab/run.yml"))
(job,) = jobs.values()
program(to + "/gitlab-job", header["spec"]["inputs"], r"\$\[\[ inputs\.(\w+) \]\]",
        [(job["variables"], "\n".join(job["before_script"] + job["script"]))])
END
}

# The whole life is one script: its processes end with its namespace.
life() {
    cat <<'END'
set -eux
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -qq update; apt-get -qq install -y --no-install-recommends "$1" >/dev/null; }
as_user() { runuser -u dev -- env -C /home/dev HOME=/home/dev "$@"; }
seconds() { perl -e 'printf "%.1f", $ARGV[1] - $ARGV[0]' "$1" "$2"; }
# The same guest by hand, with its seed, until its sshd greets.
bare_boot() {
    local started=$EPOCHREALTIME line= qemu
    qemu-img create -q -f qcow2 -F qcow2 -b /pkg/demo-guest.qcow2 /tmp/bare.qcow2
    cp /home/dev/.local/share/vmctl/vms/demo/seed.* /tmp/seed
    qemu-system-x86_64 -accel tcg -machine q35 -m 192 -display none -drive file=/tmp/bare.qcow2,if=virtio \
        -device virtio-scsi-pci -drive if=none,id=seed,file=/tmp/seed,format=raw,readonly=on,media=cdrom \
        -device scsi-cd,drive=seed -netdev user,id=n,hostfwd=tcp:127.0.0.1:10999-:22 -device virtio-net-pci,netdev=n &
    qemu=$!
    until [[ $line = SSH-* ]]; do { read -rt 1 line </dev/tcp/127.0.0.1/10999 || line=; sleep 0.1; } 2>/dev/null; done
    echo "PATH: 3 commands, 0 prompts: installed in $(seconds "$begun" "$installed") s, Ready with its steps $(
        )$(seconds "$asked" "$ready") s after up; a bare QEMU's sshd greets after $(seconds "$started" "$EPOCHREALTIME") s"
    kill "$qemu"
}
pid_of_demo() { as_user vmctl get demo -o json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | head -n 1; }

# A new user's path: three commands, and nobody to answer a question.
useradd --create-home dev
begun=$EPOCHREALTIME
install /pkg/old.deb </dev/null
installed=$EPOCHREALTIME
getent passwd vmctl
cp /usr/share/doc/vmctl/examples/quickstart/* /pkg/demo-guest.qcow2 /home/dev
chown -R dev: /home/dev
asked=$EPOCHREALTIME
as_user vmctl up --timeout 10m </dev/null
ready=$EPOCHREALTIME
as_user vmctl ssh demo -- 'hostname; touch /tmp/before' </dev/null
before=$(pid_of_demo)
[ -n "$before" ]

install /pkg/new.deb
[ "$(pid_of_demo)" = "$before" ]
as_user vmctl up 2>&1 | grep 'replacing the controller of version 0.0.9'
as_user vmctl controller status | grep "$NEW_VERSION"
[ "$(pid_of_demo)" = "$before" ]
as_user vmctl ssh demo -- 'ls /tmp/before'

# What the CI of other people's repositories includes, step by step.
mkdir /home/dev/job
sed 's|"demo-guest|"/pkg/demo-guest|; /^    provision/,$d' /home/dev/VMFile.kdl >/home/dev/job/VMFile.kdl
echo '}' >>/home/dev/job/VMFile.kdl
echo 'from the work tree' >/home/dev/job/hello
chown -R dev: /home/dev/job
as_user env -C /home/dev/job bash /pkg/github-job | grep 'from the work tree'
env -C /home/dev/job bash /pkg/gitlab-job | grep 'from the work tree'
[ "$(as_user vmctl list -o name)" = demo ]

# The metrics and the page's program.
ask() {
    perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(shift) or exit 1;
        print $s "GET $ARGV[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"; print while <$s>' \
        /home/dev/.local/share/vmctl/serve.sock "$1"
}
as_user vmctl serve &
serve=$!
for _ in $(seq 300); do if ask /healthz >/dev/null; then break; fi; sleep 0.1; done
ask /healthz | head -n 1 | grep '^HTTP/1.1 200'
ask /metrics | grep '^vmctl_' | head -n 3
kill "$serve"

bash -c '. /usr/share/bash-completion/completions/vmctl && complete -p vmctl'
as_user vmctl image search debian:12 -o name | grep -x debian:12

apt-get -qq remove -y vmctl >/dev/null
[ ! -e /usr/bin/vmctl ]
[ -d "/proc/$before" ]
install /pkg/new.deb
[ "$(pid_of_demo)" = "$before" ]
as_user vmctl stop demo
bare_boot
mkdir -p /var/lib/vmctl
apt-get -qq purge -y vmctl | grep 'the disks in /var/lib/vmctl stay'
[ -e /home/dev/.local/share/vmctl/vms/demo/overlay.qcow2 ]
[ -d /var/lib/vmctl ]
END
}

@test "installed, upgraded under a running VM, removed, purged: a user's VM and disk stay" {
    [ "$(id -u)" = 0 ] || skip "mounts a Debian of its own, so it is for root"
    command -v mmdebstrap >/dev/null || skip "mmdebstrap is not installed"
    local debian=$BATS_TEST_TMPDIR/debian old=$BATS_TEST_TMPDIR/old version
    version=$(dpkg-deb -f "$deb" Version)
    copy_tree "$old"
    sed -i '/^project(/s/VERSION [0-9.]*/VERSION 0.0.9/' "$old/CMakeLists.txt"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,sudo bookworm "$debian"
    mkdir "$debian/pkg"
    cp "$(cd "$old" && .package/build deb)" "$debian/pkg/old.deb"
    cp "$deb" "$debian/pkg/new.deb"
    cp "$VMCTL_TEST_GUEST" "$debian/pkg/demo-guest.qcow2"
    cp /etc/resolv.conf "$debian/etc/resolv.conf"
    life >"$debian/pkg/life"
    jobs_of_others "$debian/pkg"
    echo 'dev ALL=(ALL) NOPASSWD: ALL' >"$debian/etc/sudoers.d/dev"
    run unshare --mount --pid --fork --kill-child -- bash -euc '
        mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --rbind /sys "$1/sys"
        [ ! -e /dev/kvm ] || mount --bind /dev/null "$1/dev/kvm" # the job may change its mode
        mount -t tmpfs tmp "$1/tmp"
        exec chroot "$1" env -i NEW_VERSION="${2%-*}" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            bash /pkg/life' inside "$debian" "$version"
    echo "$output"
    [ "$status" -eq 0 ]
    grep '^PATH: ' <<<"$output" | sed 's/^/# /' >&3
}
