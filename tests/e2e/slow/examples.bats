#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Every example but OmniOS's and variables is brought up as its first lines say. The tiny guest stands in for the
# cloud images, and programs that a step of ours leaves in it for the packages that steps install; all
# else is as it is in the example, in a network namespace, so its ports are free and br0 is there.
# Needs root and /dev/net/tun.

VMCTL_BIN=${VMCTL_BIN:-$BATS_TEST_DIRNAME/../../../build/bin}
load ../qemu
load ../tap

setup_file() {
    OBSTACLE=$(obstacle)
    export OBSTACLE
    [ -z "$OBSTACLE" ] || return 0
    VMCTL_TEST_GUEST=${VMCTL_TEST_GUEST:-$("$BATS_TEST_DIRNAME/../../guest/build" | tail -n 1)}
    use_data_dir
    make_network
    export HOME=$BATS_FILE_TMPDIR/home
    mkdir -p "$HOME/.ssh" "$HOME/images"
    ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
    ln -s "$VMCTL_TEST_GUEST" "$HOME/images/debian-12-generic-amd64.qcow2"
    cp -R "$BATS_TEST_DIRNAME/../../../examples" "$PROJECT/"
    sed -i "s|ssh-ed25519 AAAA.*|$(cat "$HOME/.ssh/id_ed25519.pub")|" examples/custom-user-data/cloud-config.yaml
    sed -i 's/- systemctl .*/- true/' examples/custom-user-data/cloud-config.yaml # there is none yet
    stand_in
    local file
    for file in examples/*/VMFile.kdl; do use_tiny_guest "$file"; done
}

teardown_file() {
    [ -n "${DNSMASQ_PID:-}" ] || return 0
    leave_data_dir
    kill "$DNSMASQ_PID"
}

setup() {
    [ -z "$OBSTACLE" ] || skip "$OBSTACLE"
}

teardown() {
    local vm
    [ -n "$OBSTACLE" ] || for vm in $(vmctl list -o name); do vmctl destroy -q "$vm"; done
}

# use_tiny_guest VMFILE : its images and sizes become the tiny guest's, the first step of each VM
# that has steps is ours, and all may be destroyed.
use_tiny_guest() {
    awk -v image="$VMCTL_TEST_GUEST" -v script="$PROJECT/stand-in.sh" '
        /^vm / { is_ours = 0 }
        /^ *image-url / { print "    image \"" image "\""; next }
        /^ *memory / { print "    memory 192"; next }
        /^ *vcpus / { print "    vcpus 1"; next }
        /^ *disk [0-9]/ { print "    disk 2"; next }
        /^ *protect / { next }
        /^ *provision / && !is_ours++ { print "    provision \"shell\" { script \"" script "\" }" }
        { print }
    ' "$1" >"$1.tiny"
    mv "$1.tiny" "$1"
}

# What apt-get, and what it installs, are in the guest.
stand_in() {
    cat >"$PROJECT/stand-in.sh" <<'SCRIPT'
#!/bin/sh
set -eu
program() { sudo tee "/usr/bin/$1" >/dev/null && sudo chmod 755 "/usr/bin/$1"; }
program apt-get <<'END'
#!/bin/sh
[ "$(id -u)" = 0 ] || exit 100
echo "apt-get $*" >>/var/log/apt-get
case " $* " in
*" nginx "*)
    mkdir -p /var/www/html /etc/nginx/sites-enabled
    echo "Welcome to nginx" >/var/www/html/index.html
    pidof httpd >/dev/null || httpd -p 80 -h /var/www/html
    ;;
*" postgresql "*) nc -ll -p 5432 -e cat </dev/null >/dev/null 2>&1 & ;;
esac
END
program systemctl <<'END'
#!/bin/sh
case $* in "is-active nginx") pidof httpd ;; "reload nginx") ;; *) exit 1 ;; esac
END
program gcc <<'END'
#!/bin/sh
echo "gcc: tests"
END
program git <<'END'
#!/bin/sh
echo "$*" >"$HOME/git-said"
END
program curl <<'END'
#!/bin/sh
END
program make <<'END'
#!/bin/sh
[ "$1" = -C ] && cd "$2" && grep -q '^hello: hello.c$' Makefile || exit 2
{ echo '#!/bin/sh'; sed -n 's/.*puts("\(.*\)").*/echo "\1"/p' hello.c; } >hello
chmod +x hello
END
SCRIPT
    chmod +x "$PROJECT/stand-in.sh"
}

# use EXAMPLE : and that VMFile is valid with what stands in
use() {
    cd "$PROJECT/examples/$1" || return
    fails 0 vmctl validate
}

# answers VM|"" COMMAND LINES : what the guest says; "": the VMFile's only VM
answers() {
    local vm=()
    [ -z "$1" ] || vm=("$1")
    run vmctl ssh "${vm[@]}" -- "$2"
    [ "$output" = "$3" ] || { echo "$2: '$output' instead of '$3'"; return 1; }
}

page() { in_net curl -sS --max-time 20 "http://127.0.0.1:$1/"; }

@test "declarative: up, ssh, up again, provision, reload, down" {
    use declarative
    fails 0 vmctl up
    says "webserver: created" "Hello from vmctl!" "webserver: ready"
    answers "" 'id -un; hostname; cat /var/www/html/index.html' $'ubuntu\nwebserver\nHello from vmctl!'
    fails 0 vmctl up
    has "webserver: unchanged"
    answers "" 'touch kept; grep -c install /var/log/apt-get' 1
    fails 0 vmctl provision
    answers "" 'ls; grep -c install /var/log/apt-get' $'kept\n2'
    fails 0 vmctl reload
    answers "" 'ls; cat /var/www/html/index.html' "Hello from vmctl!"
    fails 0 vmctl down
    has "webserver: stopped"
    fails 0 vmctl down --destroy
    [ -z "$(vmctl list -o name)" ]
}

@test "debian: the README's first VMFile serves a page on the host's port 8080" {
    use debian
    fails 0 vmctl up
    [ "$(page 8080)" = "Welcome to nginx" ]
    answers "" 'id -un; hostname' $'debian\nweb'
}

@test "provisioning: the stages end with a program that was built in the guest" {
    use provisioning
    fails 0 vmctl up
    says "gcc: tests" "built in a VM"
    run vmctl log builder --provision
    says "built in a VM"
    answers "" '/tmp/hello/hello; hostname' $'built in a VM\nbuilder'
}

@test "project: front starts after the two that it finds by name, and is reached on the host" {
    use project
    fails 0 vmctl up
    answers front 'wget -qO- http://app1/; wget -qO- http://app2.project.internal/' $'app1\napp2'
    [ "$(page 8080)" = "Welcome to nginx" ]
    [ "$(vmctl port app1 -o json | jq length)" = 1 ] # SSH
}

@test "limits: the VM is ready with its disks throttled, and shows whether the kernel limits the rest" {
    use limits
    fails 0 vmctl up
    run vmctl describe builder
    says '1.5 CPUs, 2560 MB' 'disks read="100M" write="50M" iops=2000'
    [[ $output == *"(uses "*" MB)"* || $output == *"(not enforced)"*LimitsNotEnforced* ]]
    sed -i 's/cpu-limit 1.5/cpu-limit 2.5/' VMFile.kdl
    fails 0 vmctl up
    says "builder: configured (live): cpu-limit 1.5 -> 2.5"
}

@test "multi-vm: web starts when db answers, both are reached on the host, one is stopped alone" {
    use multi-vm
    fails 0 vmctl up
    says "db | " "web | " "db: ready" "web: ready"
    local since='.status | (.conditions[] | select(.type == "Ready").lastTransition)'
    [ "$(status_of db "$since")" -le "$(status_of web .status.instance.startedAt)" ]
    [ "$(page 8080)" = "Welcome to nginx" ]
    [ "$(in_net timeout 20 socat -t 5 - TCP:127.0.0.1:5432 <<<"a query")" = "a query" ]
    fails 2 vmctl ssh -- true
    says "db, web"
    answers web 'hostname' web
    fails 0 vmctl wait --ready
    fails 0 vmctl down --name web
    [ "$(state_of web) $(state_of db)" = "Stopped Ready" ]
}

@test "custom-user-data: the cloud-config is the user's own, and so is the key" {
    use custom-user-data
    fails 0 vmctl up
    answers "" 'id -un; sudo -n id -un; grep -c "listen 80;" /etc/nginx/sites-available/default' $'deploy\nroot\n1'
    [ ! -e "$DATA/vms/custom/id_ed25519_generated" ]
}

@test "full and tap: three VMs of one file, and two on the bridge at addresses of their own" {
    use tap
    fails 0 vmctl up -d
    use full
    fails 0 vmctl up
    says "full-example: ready" "tap-example: ready" "minimal: ready" "gcc    /usr/bin/gcc"
    answers full-example 'id -un; hostname; head -n 1 .bashrc; ls -d src; cat git-said' \
        $'ubuntu\nfull-example\n# ~/.bashrc of full-example, uploaded by a "file" step.\nsrc\nconfig --global init.defaultBranch main'
    answers tap-example 'id -un; hostname' $'debian\ntap-vm'
    [ "$(state_of minimal)" = Ready ]
    fails 0 vmctl down --name minimal
    [ "$(state_of minimal)" = Stopped ]
    cd ../tap
    fails 0 vmctl wait --ready
    answers "" 'id -un; hostname' $'ubuntu\nmyvm'
    local vm
    for vm in myvm tap-example; do
        [[ $(leased_to "$vm") == 10.77.0.* ]]
        [ "$(status_of "$vm" .status.sshHost)" = "$(leased_to "$vm")" ]
    done
    has_taps 2
}
