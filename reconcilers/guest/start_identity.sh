# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# start_identity HELPER, as root: the very last of a template whose memory is kept. Leaves the helper
# (identity_helper.c, as text for printf) waiting on the second serial port, in a group of its own:
# it has to run while the services and users of the guest are stopped. If the helper ends before its
# work is done, the shell that started it says "gone", again for each line, so that vmctl does not
# wait for an answer in vain.

set -e
[ -c /dev/ttyS1 ] || {
    echo 'the guest has no second serial port (/dev/ttyS1): its memory cannot be kept'
    exit 1
}
mkdir -p /var/lib/vmctl
chmod 700 /var/lib/vmctl
# shellcheck disable=SC2059
printf "$1" >/var/lib/vmctl/identity
chmod 700 /var/lib/vmctl/identity
sync
session=$(command -v setsid) || session=
# The port is opened before setsid: else it would become the terminal that controls the session.
# shellcheck disable=SC2016
own_group='[ -w /sys/fs/cgroup/cgroup.procs ] && echo $$ >/sys/fs/cgroup/cgroup.procs
exec 3<>/dev/ttyS1
exec $0 sh -c "/var/lib/vmctl/identity /dev/ttyS1 3>&- && exit; echo gone >&3; while read -r line <&3; do echo gone >&3; done"'
sh -c "$own_group" "$session" </dev/null >/dev/null 2>&1 &
