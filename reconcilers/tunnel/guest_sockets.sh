# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
#
# guest_sockets [+ ID RUN PATH | - ID RUN PATH]...: makes PATH a link to the socket that sshd is to
# listen on, which is in a directory of the user's alone, or removes it. RUN differs for each login,
# so that the sockets of earlier ones, which sshd leaves behind, are known and removed. Prints for
# each "+ ID TARGET" or "- ID TARGET", or "x ID WHY".

umask 077
dir=$HOME/.vmctl

# as_needed COMMAND...: as root where the user may not
as_needed() {
    "$@" 2>/dev/null || sudo -n "$@" 2>/dev/null
}

is_ours() {
    case $(readlink "$path" 2>/dev/null) in
    */.vmctl/forward-"$id"-*.sock) return 0 ;;
    esac
    return 1
}

while [ $# -ge 4 ]; do
    order=$1 id=$2 run=$3 path=$4
    shift 4
    target=$dir/forward-$id-$run.sock
    if [ "$order" = - ]; then
        if is_ours; then
            as_needed rm -f "$path"
        fi
        rm -f "$dir/forward-$id-"*.sock
        echo "- $id $target"
        continue
    fi
    if mkdir -p "$dir" 2>/dev/null && chmod 700 "$dir"; then
        :
    else
        echo "x $id cannot make the directory $dir in the guest"
        continue
    fi
    for old in "$dir/forward-$id-"*.sock; do
        [ "$old" = "$target" ] || rm -f "$old"
    done
    if is_ours; then
        [ "$(readlink "$path")" = "$target" ] || as_needed rm -f "$path"
    elif [ -e "$path" ] || [ -L "$path" ]; then
        echo "x $id in the guest, something is there that is not vmctl's"
        continue
    fi
    if [ -L "$path" ] || as_needed ln -s "$target" "$path"; then
        echo "+ $id $target"
    else
        echo "x $id its user may not make it in the guest"
    fi
done
