# SPDX-License-Identifier: MPL-2.0
# Shared by the files of tests/e2e/slow: what a real guest with a real cloud-init says of itself.

# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE%/*}/../qemu.bash"

# seconds from QEMU's start to the moment a condition became what it is
seconds_to() { # VM CONDITION
    vmctl get "$1" -o json | jq -r --arg type "$2" '(if type == "array" then .[0] else . end).status |
        ((.conditions[] | select(.type == $type).lastTransition) - .instance.startedAt) / 1000 | floor'
}

report() { # VM
    echo "# $1: $(seconds_to "$1" GuestReachable) s to SSH, $(seconds_to "$1" CloudInitDone) s to the" \
        "end of cloud-init, $(seconds_to "$1" Ready) s to Ready" >&3
}

is_up() { # VM : `up` has just ended so
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(state_of "$1")" = Ready ]
    report "$1"
}

bring_up() { # VM
    run vmctl up --timeout 30m "$1"
    is_up "$1"
}

in_guest() { # VM COMMAND
    vmctl ssh "$1" -- "$2"
}

answers() { # VM COMMAND EXPECTED
    local answer
    answer=$(in_guest "$1" "$2")
    [ "$answer" = "$3" ] || { printf '%s\nhave: %s\nwant: %s\n' "$2" "$answer" "$3"; return 1; }
}

# cloud-init has ended when `up` has, and has nothing to complain about. Since 23.4 it lists its errors.
is_clean() { # VM
    local complaints
    answers "$1" 'cloud-init status' 'status: done'
    run in_guest "$1" 'cloud-init status --long'
    echo "$output"
    [ "$status" -eq 0 ]
    complaints=$(grep -E '^(recoverable_)?errors:' <<<"$output" | grep -vE ': *(\[\]|\{\})$' || true)
    [ -z "$complaints" ]
    answers "$1" "sudo grep -E '\[(WARNING|ERROR|CRITICAL)\]' /var/log/cloud-init.log || true" ''
}

is_the_user() { # VM USER
    answers "$1" 'id -un; id -gn; sudo -n id -un; stat -c %U:%G ~' "$2
$2
root
$2:$2"
    answers "$1" 'sudo sshd -T | grep ^passwordauthentication' 'passwordauthentication no'
    grep -qF "$(cut -d' ' -f2 "$DATA/vms/$1/ssh_host_ed25519_key.pub")" "$DATA/vms/$1/known_hosts"
    [ "$(vmctl up "$1" 2>/dev/null)" = "$1: unchanged" ]
}

has_grown() { # VM : its root file system, to the 4 GiB of its disk
    local mib
    mib=$(in_guest "$1" 'df -m --output=size / | tail -n 1')
    ((mib > 3500))
}

# keeps_through_a_second_boot VM : its files, its instance; cloud-init sets nothing up again
keeps_through_a_second_boot() {
    local instance
    instance=$(in_guest "$1" 'touch kept && sync && cat /var/lib/cloud/data/instance-id')
    vmctl down "$1"
    [ "$(state_of "$1")" = Stopped ]
    bring_up "$1"
    is_clean "$1"
    answers "$1" 'ls kept; cat /var/lib/cloud/data/instance-id' "kept
$instance"
}
