# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# take_identity USER, as root, in a guest that was woken from the memory of another: gives USER the
# keys that may log in to this one, and sshd its own, and lets what settle_guest.sh stopped run on.
# Its files are there before it: /run/vmctl-keys, vmctl-host-key, vmctl-host-key.pub.

cd /run || exit
umask 077
failed=0
line=$(grep "^$1:" /etc/passwd) || exit
home=$(echo "$line" | cut -d: -f6)
owner=$(echo "$line" | cut -d: -f3,4)
mkdir -p "$home/.ssh" && cat vmctl-keys >>"$home/.ssh/authorized_keys" || failed=1
chown -R "$owner" "$home/.ssh" || failed=1

if [ -d /etc/ssh ]; then
    cp vmctl-host-key /etc/ssh/ssh_host_ed25519_key || failed=1
    cat vmctl-host-key.pub >/etc/ssh/ssh_host_ed25519_key.pub || failed=1
    chmod 644 /etc/ssh/ssh_host_ed25519_key.pub
fi
if [ -d /etc/dropbear ]; then
    dropbearconvert openssh dropbear vmctl-host-key /etc/dropbear/dropbear_ed25519_host_key || failed=1
fi
rm -f vmctl-keys vmctl-host-key vmctl-host-key.pub vmctl-take-identity

for slice in system user; do
    freeze=/sys/fs/cgroup/$slice.slice/cgroup.freeze
    [ -w "$freeze" ] && echo 0 >"$freeze"
done

# sshd reads its keys when it starts; one that systemd starts for each connection needs no more.
if [ -d /run/systemd/system ]; then
    systemctl --no-block try-reload-or-restart ssh.service sshd.service
elif [ -s sshd.pid ]; then
    kill -HUP "$(cat sshd.pid)" || failed=1
fi
# The one that listens is a child of the first process; those of sessions are its own.
for pid in $(pidof dropbear); do
    [ "$(cut -d' ' -f4 "/proc/$pid/stat")" = 1 ] || continue
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    kill "$pid"
    while [ -d "/proc/$pid" ]; do :; done
    umask 022
    $command || failed=1
done
exit $failed
