# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash
# The Debian packages that a recipe needs on the building machine. Each recipe has a function
# "requirements": a command or a file, and the package that brings it, a line each; and a function
# "ingredients": those files that go into the guest, or make it bootable.

# The ordinary "busybox" package is dynamic and must be replaced.
is_right_kind() {
    [[ $2 != *-static ]] || ! type -P readelf >/dev/null || is_static "$(type -P "$1")"
}

is_static() {
    ! readelf --program-headers "$1" | grep -q INTERP
}

missing_packages() {
    local need package
    while read -r need package; do
        if [[ $need = /* ]]; then
            [[ -e $need ]] || echo "$package"
        else
            type -P "$need" >/dev/null && is_right_kind "$need" "$package" || echo "$package"
        fi
    done < <(requirements) | sort -u
}

require_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || die "missing Debian packages; install them with" \
        "\"apt-get install ${missing[*]}\" (or run tests/guest/${0##*/} --install)"
}

install_packages() {
    local missing root=()
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || root=(sudo)
    say "installing ${missing[*]}"
    "${root[@]}" apt-get -q update >&2 || say "apt-get update failed; trying with what apt knows"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install ${missing[*]}"
}
