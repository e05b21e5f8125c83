# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# What scp(1) runs in place of ssh for a VM of another node: the last of the words, a command of the
# guest or with -s a subsystem, is run by the vmctl there. $VMCTL_SCP_ADDRESS is the node as ssh
# takes it, $VMCTL_SCP_SSH is `vmctl ssh VM` there, for a shell.
is_subsystem=
for word; do
    if [ "$word" = -s ]; then is_subsystem=--ssh-opt=-s; fi
    command=$word
done
quoted=$(printf '%s' "$command" | sed "s/'/'\\\\''/g")
exec ssh -oServerAliveInterval=15 -- "$VMCTL_SCP_ADDRESS" "$VMCTL_SCP_SSH $is_subsystem -- '$quoted'"
