# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# find_place DESTINATION: prints "beside" when the user may write beside it, "sudo" when only root
# may and `sudo -n` works; else prints the reason and fails.

p=${1%/*}
[ -n "$p" ] || p=/
no() {
    echo "$1"
    exit 1
}
[ -d "$1" ] && no 'it is a directory in the guest'
if [ -d "$p" ] && [ -w "$p" ]; then
    echo beside
    exit 0
fi
if sudo -n true 2>/dev/null; then
    sudo -n test -d "$p" || no "directory '$p' does not exist in the guest"
    sudo -n test -d "$1" && no 'it is a directory in the guest'
    echo sudo
    exit 0
fi
[ -d "$p" ] || no "directory '$p' does not exist in the guest, or may not be seen"
no "user '$(id -un)' may not write to '$p', and 'sudo -n' does not work in the guest"
