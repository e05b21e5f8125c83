# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# Messages; standard output belongs to the result.

say() {
    echo "guest: $*" >&2
}

die() {
    say "error: $*"
    exit 1
}
