# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# ask BASE ID: prints what became of the run. The links stay: a second call prints the same.
. ./runs.sh

r=$1/vmctl-$(id -u)/$2
load "$r" || {
    echo free
    exit
}
e=
lives "$r" || e=1
s=$(target_of "$r/rc")
boot_of
if [ -n "$s" ]; then
    echo "$s"
elif [ -z "$e" ]; then
    echo running
    exit
elif [ "$b" = "$c" ]; then
    echo killed
else
    echo rebooted
fi
rm -f "$(target_of "$r/log")" "$r"/log "$r"/in.* "$r"/keep* "$r"/tail
