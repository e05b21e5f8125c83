# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# run_script UPLOADED SCRIPT: runs the uploaded program under its name, removes it and exits as it
# did. Renamed and not written in place: an earlier run that was given up may still read its copy.

mv -f -- "$1" "$2" && "$2"
status=$?
rm -f -- "$2"
exit $status
