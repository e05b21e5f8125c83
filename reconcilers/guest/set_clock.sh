# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# set_clock NOW NEXT LEFT: sets the clock to NOW, in seconds with a fraction of UTC. A date that
# knows no fractions (busybox) sets it to the whole second NEXT, which begins in LEFT seconds. Fails
# with the reason.

run=
[ "$(id -u)" = 0 ] || run='sudo -n'
$run date -u -s "@$1" >/dev/null 2>&1 && exit 0
sleep "$3"
reason=$($run date -u -s "@$2" 2>&1 >/dev/null) && exit 0
echo "user '$(id -un)' may not set it: $reason"
exit 1
