#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What goes into a guest and comes out of it, with an ssh that tells how it was called.
load cli_common
setup() {
    cli_setup
    mkdir "$work/bin"
    cat >"$work/bin/ssh" <<'EOF'
#!/bin/sh
printf '<%s>\n' "$@"
exit 7
EOF
    chmod +x "$work/bin/ssh"
    PATH=$work/bin:$PATH
}
teardown() { cli_teardown; }

@test "ssh gets address, user, keys and the command, and its status is ours" {
    vmfile web
    vmctl up -q
    mkdir "$HOME/.ssh"
    : >"$HOME/.ssh/id_ed25519"
    run vmctl ssh web -- uname -a
    [ "$status" -eq 7 ]
    has "<HostName=127.0.0.1>"
    has "<Port=$(field SSH web | cut -d: -f2)>"
    has "<User=vm>"
    has "<IdentityFile=\"$HOME/.ssh/id_ed25519\">"
    has "<IdentitiesOnly=yes>"
    has "<StrictHostKeyChecking=no>"
    has "<UserKnownHostsFile=/dev/null>"
    [ "${lines[-4]} ${lines[-3]} ${lines[-2]} ${lines[-1]}" = "<--> <web> <uname> <-a>" ]
}

@test "ssh without a name means the VMFile's only VM, with and without a command" {
    vmfile web
    vmctl up -q
    run vmctl ssh
    [ "$status" -eq 7 ]
    [ "${lines[-1]}" = "<web>" ]
    run vmctl ssh -- id
    [ "${lines[-2]} ${lines[-1]}" = "<web> <id>" ]
    run vmctl ssh --name web id
    [ "${lines[-2]} ${lines[-1]}" = "<web> <id>" ]
}

@test "ssh without a name is refused with several VMs in the VMFile, also while only one of them exists" {
    vmfile web db
    vmctl up -q --name web
    fails 2 vmctl ssh -- id
    says "one VM, not several: web, db" "such as: web"
    vmfile web
    vmctl destroy -q web
    fails 3 vmctl ssh -- id
    says "no vm of" "vmctl up"
}

@test "the user's own user and key come first" {
    vmfile web
    vmctl up -q
    (umask 077 && : >"$work/my key%")
    install -m 600 /dev/null "$data/vms/web/id_ed25519_generated"
    run vmctl ssh web --user root --key "$work/my key%"
    [ "$status" -eq 7 ]
    has "<User=root>"
    [ "$(grep IdentityFile <<<"$output" | head -n 1)" = "<IdentityFile=\"$work/my key%%\">" ]
    [ "$(grep -c IdentityFile <<<"$output")" -eq 2 ]
    run vmctl ssh web --key "$work/nothing"
    [ "$status" -eq 1 ]
    says "vmctl::ssh::key_unreadable"
}

@test "the keys of a guest: its own, the VMFile's, those of the home directory" {
    mkdir "$HOME/.ssh"
    (umask 077 && : >mine && : >"$HOME/.ssh/id_ed25519" && : >"$HOME/.ssh/id_rsa" && : >"$HOME/.ssh/id_ecdsa")
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; ssh { private-key "mine" }; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    install -m 600 /dev/null "$data/vms/web/id_ed25519_generated"
    run vmctl ssh web
    grep IdentityFile= <<<"$output" | tee "$work/keys"
    diff "$work/keys" - <<END
<IdentityFile="$data/vms/web/id_ed25519_generated">
<IdentityFile="$PWD/mine">
<IdentityFile="$HOME/.ssh/id_ed25519">
<IdentityFile="$HOME/.ssh/id_ecdsa">
<IdentityFile="$HOME/.ssh/id_rsa">
END
}

@test "a host key that vmctl gave the guest is pinned" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    echo "vmctl-web ssh-ed25519 AAAA" >"$data/vms/web/known_hosts"
    run vmctl ssh web
    has "<StrictHostKeyChecking=yes>"
    has "<HostKeyAlias=vmctl-web>"
    has "<UserKnownHostsFile=\"$data/vms/web/known_hosts\">"
    run vmctl ssh-config web
    [ "${lines[0]}" = "Host web" ]
    has "  HostKeyAlias vmctl-web"
}

# said "<COMMAND>" : what the command that was handed to ssh prints
said() {
    local command=${1#<}
    SHELL=/bin/sh sh -c "${command%>}"
}

@test "an agent is for guests that do not know the VM's own key" {
    export SSH_AUTH_SOCK=$work/agent
    : >id.pub
    vmfile web
    vmctl up -q
    run vmctl ssh web
    refute has "<IdentityAgent=none>"
    has "<IdentitiesOnly=no>"
    run vmctl ssh web --key id.pub
    refute has "<IdentityAgent=none>"
    has "<IdentitiesOnly=yes>"
    printf 'vm "two" { backend "noop"; image "%s"; cloud-init { ssh-key "id.pub"; }; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    run vmctl ssh two # a VM of before there was a key of its own beside the user's
    refute has "<IdentityAgent=none>"
    has "<IdentitiesOnly=yes>"
    has "<IdentityFile=\"$PWD/id.pub\">"
    : >"$data/vms/two/id_ed25519_generated"
    (umask 077 && : >id)
    run vmctl ssh two
    has "<IdentityAgent=none>"
    has "<IdentityFile=\"$PWD/id\">"
}

@test "~/.ssh/config takes no part, and what --ssh-opt names comes first" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    install -m 600 /dev/null "$data/vms/web/id_ed25519_generated"
    run vmctl ssh web --ssh-opt -L8080:localhost:80 --ssh-opt ForwardAgent=yes -- true
    [ "${lines[0]} ${lines[1]}" = "<-F> </dev/null>" ]
    [ "${lines[2]} ${lines[3]}" = "<-L8080:localhost:80> <-oForwardAgent=yes>" ]
    has "<IdentityAgent=none>"
    run vmctl ssh -NAX -L 8080:localhost:80 -R 9:localhost:9 -D1080 -L 81:localhost:81 --ssh-opt -4 web
    [ "${lines[*]:2:8}" = "<-4> <-L8080:localhost:80> <-L81:localhost:81> <-R9:localhost:9> <-D1080> <-N> <-X> <-oForwardAgent=yes>" ]
    [ "${lines[10]}" = "<-oIdentityAgent=SSH_AUTH_SOCK>" ]
    run vmctl exec --ssh-opt IdentityAgent=SSH_AUTH_SOCK web -- true
    [ "${lines[2]}" = "<-oIdentityAgent=SSH_AUTH_SOCK>" ]
    cp "$work/bin/ssh" "$work/bin/scp"
    run vmctl cp --ssh-opt -l100 'web:a b*' ./-x
    [ "${lines[0]} ${lines[1]} ${lines[2]}" = "<-F> </dev/null> <-l100>" ]
    [ "${lines[-2]} ${lines[-1]}" = '<web:a b\*> <./-x>' ]
    run vmctl cp -O 'web:a b*' 'c d' web:'it'\''s'
    [ "${lines[-3]} ${lines[-2]} ${lines[-1]}" = '<web:a\ b\*> <c d> <web:it\'\''s>' ]
    fails 2 vmctl cp -O $'web:a\nb' .
    says "a name cannot have a line break"
}

@test "a private key that others may read is used by way of a copy that nobody else may" {
    vmfile web
    printf 'vm "web" { backend "noop"; image "%s"; ssh { private-key "key"; }; }\n' "$work/image" >VMFile.kdl
    ssh-keygen -q -t ed25519 -N '' -f key
    vmctl up -q
    run vmctl ssh web
    has "<IdentityFile=\"$PWD/key\">"
    chmod 644 key
    run vmctl ssh web
    local copy
    copy=$(grep -o "$data/vms/web/private-key-[0-9a-f]*" <<<"$output")
    [ "$(stat -c %a "$copy")" = 600 ]
    cmp key "$copy"
}

@test "the VM's own key is closed to others again before ssh refuses it" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; ssh; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    local key=$data/vms/web/id_ed25519_generated
    [ -e "$key" ] || ssh-keygen -q -t ed25519 -N '' -f "$key"
    chmod 644 "$key"
    run vmctl ssh web
    says "the key '$key' was readable by others"
    has "<IdentityFile=\"$key\">"
    [ "$(stat -c %a "$key")" = 600 ]
}

@test "ssh-config --install: ssh(1) knows each VM while it is there" {
    local ssh=/usr/bin/ssh config=$HOME/.ssh/config
    [ -x "$ssh" ] || skip "no ssh"
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; ssh { user "me"; }; }\n' "$work/image" >VMFile.kdl
    run vmctl ssh-config --install
    says "$config: includes the VMs from now on"
    says "use ssh -F $config" # HOME is not that of passwd
    [ "$(stat -c %a "$HOME/.ssh" "$config" | tr '\n' ' ')" = "700 600 " ]
    run vmctl ssh-config --install
    says "includes the VMs already"
    vmctl up -q
    resolved() { "$ssh" -G -F "$config" web | sed -n "s/^$1 //p"; }
    [ "$(resolved hostname)" = 127.0.0.1 ]
    [ "$(resolved user)" = me ]
    [ "$(resolved port)" = "$(vmctl get web -o json | jq .status.sshPort)" ]
    [ "$(resolved hostkeyalias)" = "$("$ssh" -G -F <(vmctl ssh-config web) web | sed -n 's/^hostkeyalias //p')" ]
    [ "$(resolved identityfile | head -n1)" = "$data/vms/web/id_ed25519_generated" ]
    sed -i 's/user "me"/user "other"/' VMFile.kdl # followed
    vmctl up -q
    [ "$(resolved user)" = other ]
    rm "$data/vms/web/ssh_config" # as another program might
    vmctl stop -q web
    vmctl start -q web
    [ "$(resolved user)" = other ]
    # what another vmctld wrote is not written again; without a port there is none
    local inode
    inode=$(stat -c %i "$data/vms/web/ssh_config")
    vmctl controller stop -q
    vmctl stop -q web
    vmctl start -q web
    [ "$(stat -c %i "$data/vms/web/ssh_config")" = "$inode" ]
    cp VMFile.kdl with-a-port.kdl
    printf 'vm "web" { backend "noop"; image "%s"; network "none"; }\n' "$work/image" >VMFile.kdl
    vmctl up -q --restart
    await refute test -e "$data/vms/web/ssh_config"
    cp with-a-port.kdl VMFile.kdl
    vmctl up -q --restart
    [ "$(resolved user)" = other ]
    vmctl destroy -q -y web
    [ "$(resolved hostname)" = web ]
    fails 2 vmctl ssh-config --install --uninstall
    fails 2 vmctl ssh-config --install web
    # a link stays one, and what else is in the file stays
    mkdir dotfiles
    printf 'Host a\r\n  Port 1' >dotfiles/config
    chmod 640 dotfiles/config
    ln -sf "$PWD/dotfiles/config" "$config"
    vmctl ssh-config --install
    [ -L "$config" ]
    [ "$(stat -c %a dotfiles/config)" = 640 ]
    [ "$(tail -n +2 "$config"; echo .)" = "$(printf 'Host a\r\n  Port 1.')" ]
    vmctl ssh-config --uninstall
    [ -L "$config" ]
    [ "$(cat "$config"; echo .)" = "$(printf 'Host a\r\n  Port 1.')" ]
    run vmctl ssh-config --uninstall
    says "does not include the VMs"
    rm dotfiles/config
    fails 1 vmctl ssh-config --install
    says "is a dangling symbolic link"
}

@test "ssh-config of a directory with a line end in its name is refused" {
    vmfile web
    XDG_DATA_HOME=$work/$'two\nlines'
    mkdir -p "$XDG_DATA_HOME/vmctl/noop"
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; }\n' "$work/image" >VMFile.kdl
    vmctl up -q
    : >"$XDG_DATA_HOME/vmctl/vms/web/known_hosts"
    fails 2 vmctl ssh-config web
    says "line break in its name" "vmctl ssh web"
}

@test "exec keeps the words as they are" {
    vmfile web
    vmctl up -q
    run vmctl exec web -- sh -c 'echo "$HOME" "it'\''s"'
    [ "$status" -eq 7 ]
    [ "$(said "${lines[-1]}")" = "$HOME it's" ]
    run vmctl exec web -- printf '[%s]' 'a  b' '$HOME' '*'
    [ "$(said "${lines[-1]}")" = '[a  b][$HOME][*]' ]
    run vmctl exec web
    [ "$status" -eq 2 ]
}

# ssh(1) ends as the command in the guest does, whatever became of the output.
@test "output of a guest that cannot be written is an error; a file gets all of it, in its place" {
    vmfile web
    vmctl up -q
    cat >"$work/bin/ssh" <<'EOF'
#!/bin/sh
seq 1 100000 2>/dev/null
cat
exit "${STATUS:-0}"
EOF
    local command
    for command in 'ssh web -- seq' 'ssh web' 'exec web seq' 'run -q --rm -- seq'; do
        fails 1 bash -c "vmctl $command 2>&1 >/dev/full </dev/null"
        says "cannot write to the standard output: No space left on device"
        fails 1 bash -c "vmctl $command 2>&1 >&- </dev/null"
        says "cannot write to the standard output"
        echo first >out
        STATUS=7 fails 7 bash -c "echo last | vmctl $command >>out"
        cmp out <(echo first; seq 1 100000; echo last)
        fails 0 bash -c "vmctl $command </dev/null >/dev/null"
    done
    fails 1 bash -c 'ulimit -f 100; vmctl exec web seq 2>&1 >out </dev/null'
    says "cannot write to the standard output: File too large"
    [ "$(stat -c %s out)" -eq 102400 ]
}

@test "ssh waits for a guest that boots" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; }\n' "$work/image" >VMFile.kdl
    script '{"failProbe": 2}'
    vmctl up -d
    run vmctl ssh web
    [ "$status" -eq 7 ]
    [ "$(vmctl status web -o json | grep -c '"SSHReady"')" -eq 1 ]
}

@test "ssh to a VM that is off says how to start it" {
    vmfile web
    vmctl apply -q
    run vmctl ssh web
    [ "$status" -eq 1 ]
    says "help: start it: vmctl start web"
}

@test "an ssh that is missing is a failed transport" {
    vmfile web
    vmctl up -q
    rm "$work/bin/ssh"
    mkdir "$work/only"
    ln -s "$(command -v vmctl)" "$(command -v vmctld)" "$work/only/"
    PATH=$work/only run vmctl ssh web
    [ "$status" -eq 255 ]
    says "error[vmctl::ssh::failed]" "openssh-client"
}

@test "up shows the provision output that comes after it, with the VM's name when there are several" {
    printf 'vm "%s" { backend "noop"; image "%s"; cloud-init; provision "shell" { inline "true"; }; }\n' \
        web "$work/image" db "$work/image" >VMFile.kdl
    script '{"stepMs": 60000}'
    vmctl up -d
    vmctl wait web db --for=condition=GuestReachable
    echo before >"$data/vms/web/provision.log"
    vmctl up >"$work/out" 2>&1 3>&- &
    local follower=$!
    await grep -q Provisioning "$work/out"
    printf 'hello \033[31mred\033[0m\n' >>"$data/vms/web/provision.log"
    await grep -q 'web | hello red' "$work/out"
    kill "$follower"
    local rc=0
    wait "$follower" || rc=$?
    [ "$rc" -eq 143 ]
    refute grep -q before "$work/out"
}

@test "port-forward: what ssh is to lead where, on free ports and on those that are asked for" {
    vmfile web
    vmctl up -q
    local port taken=$((20000 + BASHPID % 10000))
    fails 7 vmctl port-forward web ":80" "$taken:5432"
    port=$(sed -n 's/^<-L127.0.0.1:\([0-9]*\):localhost:80>$/\1/p' <<<"$output")
    [ "$port" -gt 0 ]
    has "<-N>"
    has "<-L127.0.0.1:$taken:localhost:5432>"
    has "<-oExitOnForwardFailure=yes>"
    has "<-oLocalCommand=printf '%%s\\n' '127.0.0.1:$port -> 80' '127.0.0.1:$taken -> 5432'>"
    [ "${lines[-2]} ${lines[-1]}" = "<--> <web>" ]
    fails 7 vmctl port-forward --address 0.0.0.0 --open :443 # of the VMFile's only VM
    says "<-L0.0.0.0:" ":localhost:443>" "; xdg-open https://127.0.0.1:"
    fails 7 vmctl port-forward --name web "$taken"
    has "<-L127.0.0.1:$taken:localhost:$taken>"
    python3 -c "
import signal, socket
s = socket.socket(); s.bind(('127.0.0.1', $taken)); s.listen()
print('listening', flush=True); signal.pause()" >"$work/listens" 3>&- &
    local pid=$!
    await grep -q listening "$work/listens"
    fails 1 vmctl port-forward web "$taken:80"
    says "error[vmctl::network::port_taken]: cannot listen on 127.0.0.1:$taken" "vmctl port-forward web :80"
    kill "$pid"
}

@test "port-forward refuses what is not a pair of ports" {
    local pair
    vmfile web
    vmctl up -q
    for pair in 0:80 8080:0 : 8080: a:80 80:65536 1:2:3; do
        fails 2 vmctl port-forward web "$pair"
        says "'$pair' is not a pair of ports" "8080:80"
    done
    fails 2 vmctl port-forward
    says "port-forward needs a port"
    fails 2 vmctl port-forward web
    says "'web' is not a pair of ports"
    fails 2 vmctl port-forward --name web
    says "port-forward needs a port"
    fails 2 vmctl port-forward --address nowhere web :80
    says "'nowhere' is not an IPv4 address"
    fails 3 vmctl port-forward wed :80
    says "there is no vm 'wed'"
}

@test "port --open opens the first forward that is made, and says what it is" {
    printf '#!/bin/sh\necho "opens $*"\n' >"$work/bin/xdg-open"
    chmod +x "$work/bin/xdg-open"
    vmfile web
    vmctl up -q
    fails 1 vmctl port web --open
    says "no TCP port of vm 'web' is forwarded now" "vmctl port-forward web :80 --open"
    printf 'vm "web" { backend "noop"; image "%s"; forward host=%d guest=53 proto="udp"; forward host=%d guest=80; }\n' \
        "$work/image" $((30000 + BASHPID % 10000)) $((31000 + BASHPID % 1000)) >VMFile.kdl
    vmctl up -q
    fails 0 vmctl port web --open
    [ "$output" = "http://127.0.0.1:$((31000 + BASHPID % 1000))/"$'\n'"opens http://127.0.0.1:$((31000 + BASHPID % 1000))/" ]
    rm "$work/bin/xdg-open"
    PATH=$work/bin:$(dirname "$(command -v vmctl)") fails 1 vmctl port web --open
    says "cannot run xdg-open" "xdg-utils"
}

@test "provision --shell: a step that fails leads to a shell in the guest, a success to none" {
    printf 'vm "web" { backend "noop"; image "%s"; cloud-init; provision "shell" { inline "one"; }; provision "shell" { inline "two"; }; }\n' \
        "$work/image" >VMFile.kdl
    vmctl up -q
    fails 0 vmctl provision --shell
    refute grep -q '^<' <<<"$output"
    script '{"failStep": 1000}'
    fails 1 vmctl provision --from 2 --shell
    has "web: a shell where step 2 failed; then: vmctl provision --name web --from 2"
    [ "${lines[-3]} ${lines[-2]} ${lines[-1]}" = "<-t> <--> <web>" ]
    fails 2 vmctl provision --shell -d
    says "--shell takes one VM"
    vmfile web db
    fails 2 vmctl provision --shell
    says "one VM, not several"
}
