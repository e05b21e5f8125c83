# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# For the scripts of this folder: messages, and access to what yaml.awk has
# made of the seed. Values are shell variables, so looking one up costs no
# process; a process start is what is slow in an emulated guest.

# shellcheck disable=SC2034 # for the scripts that source this
{
    instance=/var/lib/cloud/instance # about the current instance
    seed=/run/cloud-seed             # the seed's files, copied
    host_keys=/etc/dropbear
}

log() {
    read -r up _ </proc/uptime
    echo "cloud[$up]: $*" >/dev/kmsg
    echo "[$up] $*" >>/var/log/cloud-init.log
}

# progress STAGE ERRORS: where cloud-init has it, in its form. STAGE: null or "a name", ERRORS: of JSON.
# Only of an instance with commands: to read it costs whoever waits for this guest a second.
progress() {
    mkdir -p /run/cloud-init
    echo "{\"v1\":{\"stage\":$1,\"modules-final\":{\"errors\":[$2]}}}" >/run/cloud-init/status.json
}

# get PATH: sets $value to the scalar at PATH ("" if there is none).
get() {
    eval "value=\${$1-}"
}

# count PATH: sets $count to the length of the sequence at PATH.
count() {
    eval "count=\${$1__count:-0}"
}

# scalars PATH: prints a scalar, or every scalar of a sequence, one a line.
scalars() {
    get "$1"
    [ -z "$value" ] || printf '%s\n' "$value"
    count "$1"
    item=0
    while [ $item -lt "$count" ]; do
        get "$1__$item"
        [ -z "$value" ] || printf '%s\n' "$value"
        item=$((item + 1))
    done
}

is_false() {
    case $1 in [Ff]alse | FALSE | [Nn]o | NO | [Oo]ff | OFF | 0) return 0 ;; esac
    return 1
}
