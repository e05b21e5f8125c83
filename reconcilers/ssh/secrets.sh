# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh disable=SC2034 # st is for the programs that include this
#
# The secrets of a step: lines, which come before all else on standard input, and are kept in
# variables alone. By what every shell has built in: the arguments of a program are no secret.

# read_secrets LINES: sets v to so many lines of standard input
read_secrets() {
    v=
    sn=$1
    nl=$(printf '\n.')
    nl=${nl%.}
    while [ "$sn" -gt 0 ]; do
        IFS= read -r st || return
        v=$v$st$nl
        sn=$((sn - 1))
    done
}

# take LINES: sets st to the next lines of v
take() {
    sn=$1
    nl=$(printf '\n.')
    nl=${nl%.}
    st=${v%%"$nl"*}
    v=${v#*"$nl"}
    while [ "$sn" -gt 1 ]; do
        st=$st$nl${v%%"$nl"*}
        v=${v#*"$nl"}
        sn=$((sn - 1))
    done
}
