# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# place_as_root UPLOADED DESTINATION BESIDE: copies the file to BESIDE and renames it to its
# destination: /tmp may be another file system, across which mv is not atomic.

# shellcheck disable=SC2016 # the inner shell expands them
sudo -n sh -c 'cp -p -- "$1" "$3" && chown 0:0 "$3" && mv -f -- "$3" "$2"' sh "$1" "$2" "$3" &&
    rm -f -- "$1"
