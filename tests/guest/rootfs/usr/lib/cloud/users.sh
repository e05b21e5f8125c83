# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# users, ssh_authorized_keys, disable_root.
#
# As in cloud-init: without "users" there is the image's default user; with it,
# only where the list has an entry "default". The top-level keys go to the
# default user (and to root, where disable_root is false), not to the others.

default_user=tiny
newline='
'
sudoers=/etc/sudoers.d/90-cloud-init-users

# find_user NAME: sets $uid, $gid and $home; false if there is none.
find_user() {
    while IFS=: read -r name _ uid gid _ home _; do
        [ "$name" = "$1" ] && return 0
    done </etc/passwd
    return 1
}

free_uid() {
    free=1000
    while IFS=: read -r _ _ uid _; do
        [ "$uid" -lt "$free" ] || [ "$uid" -ge 60000 ] || free=$((uid + 1))
    done </etc/passwd
}

# add_user NAME PATH: PATH is where yaml.awk has put the entry.
add_user() {
    free_uid
    get "$2__uid" && uid=${value:-$free}
    get "$2__homedir" && home=${value:-/home/$1}
    get "$2__shell" && shell=$value
    [ -x "$shell" ] || shell=/bin/sh
    get "$2__gecos" && gecos=$value
    get "$2__passwd" && hash=${value:-*}
    gid=$uid
    echo "$1:x:$uid:$gid:$gecos:$home:$shell" >>/etc/passwd
    echo "$1:$hash:19000:0:99999:7:::" >>/etc/shadow
    echo "$1:x:$gid:" >>/etc/group
    grep -qx "$shell" /etc/shells || echo "$shell" >>/etc/shells
    mkdir -p "$home"
    chown "$uid:$gid" "$home"
}

# join_group USER GROUP: makes the group if it is not there.
join_group() {
    grep -q "^$2:" /etc/group || {
        gid_free=100
        while grep -q "^[^:]*:[^:]*:$gid_free:" /etc/group; do
            gid_free=$((gid_free + 1))
        done
        echo "$2:x:$gid_free:" >>/etc/group
    }
    grep -q "^$2:.*[:,]$1\(,\|\$\)" /etc/group ||
        sed -i "s/^$2:.*[^:]\$/&,$1/; s/^$2:.*:\$/&$1/" /etc/group
}

# authorize USER KEYS
authorize() {
    find_user "$1" || return
    (
        umask 077
        mkdir -p "$home/.ssh"
        printf '%s\n' "$2" >"$home/.ssh/authorized_keys"
    )
    chown -R "$uid:$gid" "$home/.ssh"
}

# set_up_user NAME PATH
set_up_user() {
    find_user "$1" || add_user "$1" "$2"
    IFS=" ,$newline"
    for group in $(scalars "$2__groups"); do
        join_group "$1" "$group"
    done
    IFS=$newline
    for rule in $(scalars "$2__sudo"); do
        is_false "$rule" || echo "$1 $rule" >>$sudoers
    done
    unset IFS
    keys=$(scalars "$2__ssh_authorized_keys")
    [ "$1" != "$default_user" ] || keys=$keys$newline$top_level_keys
    [ -z "$keys" ] || authorize "$1" "$keys"
    log "user $1"
}

set_up_default_user() {
    # shellcheck disable=SC2034 # set_up_user reads them by name
    {
        default__gecos="Default user"
        default__shell=/bin/bash
        default__sudo="ALL=(ALL) NOPASSWD:ALL"
    }
    set_up_user $default_user default
}

top_level_keys=$(scalars ud__ssh_authorized_keys)
rm -f $sudoers

count ud__users
users=$count
[ -n "${ud__users__count:-}" ] || set_up_default_user
i=0
while [ $i -lt "$users" ]; do
    get "ud__users__$i"
    if [ "$value" = default ]; then
        set_up_default_user
    else
        get "ud__users__${i}__name"
        [ -z "$value" ] || set_up_user "$value" "ud__users__$i"
    fi
    i=$((i + 1))
done
if [ -n "$top_level_keys" ] && is_false "${ud__disable_root:-}"; then
    authorize root "$top_level_keys"
fi
[ ! -e $sudoers ] || chmod 440 $sudoers
