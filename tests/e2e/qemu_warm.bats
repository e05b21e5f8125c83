#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# Templates and their clones on a real guest: made once, each clone itself, and whatever is killed.

bats_require_minimum_version 1.5.0
load qemu

setup_file() {
    use_data_dir
    cat >"$PROJECT/VMFile.kdl" <<'END'
vm "web" {
    image "guest.qcow2"
    memory 160
    label "tier" "web"
    cloud-init
    ssh { user "worker"; timeout "5m" }
    warm "disk"
    provision "shell" { inline "echo baked | sudo tee -a /var/order >/dev/null; sudo cp /etc/hostname /var/baked-by; echo id | sudo tee /etc/machine-id >/dev/null" }
    provision "shell" per-vm=#true { inline "[ $S = hush ] && echo own | sudo tee -a /var/order >/dev/null"; secret "S" from-env="S" }
}
vm "db" {
    image "guest.qcow2"
    memory 176
    cloud-init
    ssh { user "worker"; timeout "5m" }
    warm "disk"
    provision "shell" { inline "echo baked | sudo tee -a /var/order >/dev/null; sudo cp /etc/hostname /var/baked-by; echo id | sudo tee /etc/machine-id >/dev/null" }
}
END
}

teardown_file() {
    leave_data_dir
}

setup() {
    cd "$PROJECT"
    export S=hush
}

template() { vmctl template list -o name; }
reason_of_warm() { vmctl get "$1" -o json | jq -r '.. | .conditions? // empty | .[] | select(.type == "Warm") | .reason'; }

# wait_for COMMAND...: until it succeeds, for a minute
wait_for() {
    local end=$((SECONDS + 60))
    until "$@"; do ((SECONDS < end)) || return 1; read -rt 0.1 <> <(:) || true; done
}

warm_has_failed() { [ "$(reason_of_warm "$1")" = TemplateFailed ]; }
is_building() { [[ $(vmctl template list) == *"Building"* ]] && [ -s "$(echo "$DATA"/vms/~*/pidfile)" ]; }

builder_is_reachable() {
    vmctl get "$(basename "$DATA"/vms/~*)" -o json | jq -e '.status.sshPort > 0' >/dev/null
}

@test "vmctld and QEMU are killed while the template is made: it is made, and both VMs are clones" {
    env -u S vmctl template build web & # no template has run the step with the secret
    local build=$!
    wait_for is_building
    wait_for builder_is_reachable
    [ "$(vmctl inventory | jq -c .)" = '{"_meta":{"hostvars":{}}}' ] # nobody configures it
    vmctl up --detach
    kill -9 "$(vmctl controller status -o json | jq .pid)"
    kill -9 "$(cat "$DATA"/vms/~*/pidfile)"
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(template | wc -l)" -eq 1 ]
    [ "$(reason_of_warm web) $(reason_of_warm db)" = "Cloned Cloned" ]
    wait $build
    wait_for is_alone
}

is_alone() { [ "$(vmctl list -o name)" = $'db\nweb' ] && [ "$(ls "$DATA/vms")" = $'db\nweb' ]; }

@test "a clone ran the template's steps once, and its own" {
    run vmctl ssh web -- 'cat /var/order /var/baked-by'
    [ "$output" = $'baked\nown\ntemplate-'"$(template)" ]
    run vmctl ssh db -- 'cat /var/order'
    [ "$output" = baked ]
    run vmctl describe web
    [[ $output == *"template $(template)"* ]]
}

@test "each clone is itself: name, host key, login, machine-id" {
    local vm
    for vm in web db; do
        [ "$(vmctl ssh "$vm" -- hostname)" = "$vm" ]
        [ "$(vmctl ssh "$vm" -- 'cat .ssh/authorized_keys' | grep -c vmctl-)" -eq 1 ]
        [[ $(vmctl ssh "$vm" -- 'cat .ssh/authorized_keys') == *"vmctl-$vm"* ]]
        [ -z "$(vmctl ssh "$vm" -- cat /etc/machine-id)" ] # a real one is made by systemd
    done
    run ! cmp "$DATA/vms/web/ssh_host_ed25519_key.pub" "$DATA/vms/db/ssh_host_ed25519_key.pub"
}

@test "the template is private, and stays while it is used" {
    local dir
    dir=$(vmctl template show "$(template)" -o json | jq -r .path)
    [ "$(stat -c %a "$dir" "$dir/disk.qcow2" "$dir/template.json" | tr '\n' ' ')" = "700 400 600 " ]
    vmctl template verify
    run vmctl template rm "$(template)"
    [ "$status" -eq 6 ]
    [[ $output == *"in use by: db web"* ]]
    run vmctl template prune
    [[ $output == *"freed: 0.00 MB"* ]]
}

@test "a copy for one job is a clone, and leaves nothing" {
    run --separate-stderr vmctl run --rm --name web -- cat /var/order
    echo "$stderr"
    [ "$status" -eq 0 ]
    [ "$output" = $'baked\nown' ]
    [ "$(template | wc -l)" -eq 1 ]
}

# bats test_tags=long
@test "the disk is replaced by a clone of what fits now, and the guest runs until then" {
    local pid
    pid=$(pid_of db)
    sed -i '0,/echo baked/! s/echo baked/echo baked anew/' VMFile.kdl
    vmctl reload --name db -y --detach
    wait_for is_building
    [ "$(pid_of db)" = "$pid" ]
    vmctl wait db --ready --timeout 120s
    [ "$(vmctl ssh db -- cat /var/order)" = "baked anew" ]
    [ "$(template | wc -l)" -eq 2 ]
    [[ $(vmctl events db) == *"does not match any more: step 1"* ]]
}

@test "a template that is built before a VM wants it is there; what no VM uses is removed" {
    vmctl destroy db -y
    fails 3 vmctl template build other
    fails 0 env -u S vmctl template build web
    says "web: template $(vmctl template list -o json | jq -r '.[] | select(.clones | index("web")) | .digest[:12]') is ready"
    [ "$(vmctl list -o name)" = web ]
    # no name of a copy; whichever of the two came first had the first one made
    [ "$(vmctl template list -o json | jq -r '[.[].vm] - ["db", "web"] | length')" -eq 0 ]
    [ "$(vmctl template list -o json | jq -r '[.[].clones[]] | unique | join(" ")')" = web ]
    run --separate-stderr vmctl template build web -o json
    [ "$(jq -r '.vm + " " + .state' <<<"$output")" = "web Ready" ]
    run vmctl template prune
    echo "$output"
    [ "$(template | wc -l)" -eq 1 ]
    [ -z "$(ls "$DATA/trash")" ] || wait_for test -z "$(ls "$DATA/trash")"
    vmctl ssh web -- true
}

# bats test_tags=long
@test "a template that cannot be made leads to the image, in words" {
    sed -i 's/echo baked anew/[ $(hostname) = db ] || exit 7; echo other/' VMFile.kdl
    sed -i '/vm "db"/,$ s/memory 176/memory 160/' VMFile.kdl
    run vmctl up --name db
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(reason_of_warm db)" = TemplateFailed ]
    run vmctl template list
    [[ $output == *"Failed:"*"exit"* ]]
    run vmctl status db
    [[ $output == *"could not be made"*"vmctl template rm"* ]]
    fails 1 vmctl template build db
    says "vm 'db' has no template" "could not be made"
    run ! pgrep -f "guest=~.*$DATA"
}

@test "a template whose bytes were changed is not cloned" {
    local dir
    dir=$(vmctl template list -o json | jq -r '.[] | select(.clones | index("web")) | .path')
    vmctl destroy web -y
    chmod u+w "$dir/disk.qcow2"
    printf x | dd of="$dir/disk.qcow2" bs=1 seek=400000 conv=notrunc status=none
    run vmctl template verify
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"was changed since it was sealed"* ]]
    vmctl up --name web --detach
    wait_for warm_has_failed web
}

# ---- with memory ----

events_of() { vmctl events "$1"; }
was_woken() { [[ $(events_of "$1") == *"woken from the memory of template"* ]]; }
with_memory() { vmctl template list -o json | jq -r '.[] | select(.vm == "now") | .digest'; }

# bats test_tags=long
@test "a template's memory wakes a guest that is itself, and boots again as itself" {
    cat >VMFile.kdl <<'END'
vm "now" {
    image "guest.qcow2"
    memory 144
    cloud-init
    ssh { user "worker"; timeout "5m" }
    warm "require"
    provision "shell" { inline "echo baked | sudo tee -a /var/order >/dev/null" }
    provision "shell" per-vm=#true { inline "[ $S = hush ] && echo own | sudo tee -a /var/order >/dev/null"; secret "S" from-env="S" }
}
vm "may" {
    image "guest.qcow2"
    memory 144
    cloud-init
    ssh { user "worker"; timeout "5m" }
    warm "auto"
    provision "shell" { inline "echo baked | sudo tee -a /var/order >/dev/null" }
}
END
    run vmctl up --name now
    echo "$output"
    [ "$status" -eq 0 ]
    was_woken now
    vmctl template verify "$(with_memory)"
    run vmctl ssh now -- cat /var/order
    [ "$output" = $'baked\nown' ]
    local id
    id=$(vmctl ssh now -- cat /etc/machine-id)
    [ ${#id} -eq 32 ]
    run vmctl suspend --disk now # part of its memory is the template's
    [ "$status" -eq 1 ]
    says "it was started from a template's memory"
    vmctl restart now
    [ "$(vmctl ssh now -- cat /etc/hostname /etc/machine-id)" = "now"$'\n'"$id" ]
    vmctl suspend -q --disk now # it has booted since
    vmctl resume -q now
    [ "$(vmctl ssh now -- cat /etc/machine-id)" = "$id" ]
}

# bats test_tags=long
@test "four woken at once have no name, key, random number or clock in common" {
    local i pids=()
    for i in 1 2 3 4; do
        vmctl run --rm --name now -- sh -c 'cat /proc/sys/kernel/random/uuid /etc/machine-id /etc/hostname
            head -c 16 /dev/urandom | od -An -tx1; sudo dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep ssh-
            date +%s' >"$BATS_TEST_TMPDIR/$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    cat "$BATS_TEST_TMPDIR"/[1-4]
    for i in 1 2 3 4 5; do
        [ "$(for copy in 1 2 3 4; do sed -n "${i}p" "$BATS_TEST_TMPDIR/$copy"; done | sort -u | wc -l)" -eq 4 ]
    done
    for i in 1 2 3 4; do
        local behind=$(($(stat -c %Y "$BATS_TEST_TMPDIR/$i") - $(sed -n 6p "$BATS_TEST_TMPDIR/$i")))
        ((behind >= -2 && behind <= 2))
    done
}

# bats test_tags=long
@test "a helper that is killed is noticed at once, in the template and in the clone: the guest boots, and why is told" {
    local vm begun
    cat >Deaf.kdl <<'END'
defaults {
    image "guest.qcow2"
    cloud-init
    ssh { user "worker"; timeout "5m" }
    warm "auto"
}
// its helper does not live to see the clone
vm "deaf" {
    memory 148
    provision "shell" {
        inline "sudo setsid sh -c 'until kill -9 $(pidof identity); do usleep 50000; done' </dev/null >/dev/null 2>&1 &"
    }
}
// its helper is killed once it has named the clone
vm "late" {
    memory 152
    provision "shell" {
        inline "sudo setsid sh -c 'until [ $(hostname) = late ] && kill -9 $(pidof identity); do usleep 1000; done' </dev/null >/dev/null 2>&1 &"
    }
}
END
    for vm in deaf late; do
        begun=$SECONDS
        run vmctl up --file Deaf.kdl --name "$vm"
        echo "$output"
        [ "$status" -eq 0 ]
        ((SECONDS - begun < 150)) # one that does not answer is given up after 180
        run vmctl events "$vm"
        echo "$output"
        says "the helper in the guest has ended"
        [ "$(vmctl ssh "$vm" -- cat /etc/hostname)" = "$vm" ]
        vmctl destroy "$vm" -y
    done
}

is_waking() { [ -s "$DATA/vms/may/pidfile" ]; }

# bats test_tags=long
@test "vmctld or QEMU is killed while a guest wakes: its disk has one life only" {
    local end
    for end in vmctld qemu both; do
        vmctl up --name may --detach
        wait_for is_waking
        [ "$end" = qemu ] || kill -9 "$(vmctl controller status -o json | jq .pid)"
        [ "$end" = vmctld ] || kill -9 "$(cat "$DATA/vms/may/pidfile")" || true
        run vmctl up --name may
        echo "$output"
        [ "$status" -eq 0 ]
        [ "$(vmctl ssh may -- cat /etc/hostname /var/order)" = $'may\nbaked' ]
        vmctl destroy may -y
    done
    [ ! -e "$DATA/vms/may" ]
}

# bats test_tags=long
@test "memory that was changed is not loaded: one VM boots from the disk, and one says why it cannot" {
    local dir
    dir=$(vmctl template list -o json | jq -r '.[] | select(.vm == "now") | .path')
    chmod u+w "$dir/machine-state"
    printf x | dd of="$dir/machine-state" bs=1 seek=300000 conv=notrunc status=none
    run vmctl template verify "$(with_memory)"
    [ "$status" -eq 1 ]
    [[ $output == *"machine-state"* ]]
    vmctl up --name may
    [ "$(reason_of_warm may)" = Cloned ]
    [[ $(vmctl get may -o json) == *"its disk alone: "*"was changed since it was sealed"* ]]
    vmctl destroy now -y
    run vmctl up --name now
    echo "$output"
    [ "$status" -ne 0 ]
    [[ $output == *"cannot be woken from a template"* ]]
    vmctl destroy now -y
}
