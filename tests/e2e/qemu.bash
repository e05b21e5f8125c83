# SPDX-License-Identifier: MPL-2.0
# Shared by qemu_*.bats: real QEMU under TCG and the tiny guest. Each file has its own data directory
# and boots as few guests as it can; the tests of a file run in order and build on each other.

# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE%/*}/common.bash"

# A data directory whose sockets' paths are longer than the 108 bytes of sun_path, and nothing of the
# user's own settings.
use_data_dir() {
    export NO_COLOR=1
    unset VMCTL_QEMU VMCTL_FILE
    export XDG_DATA_HOME=$BATS_FILE_TMPDIR/a-directory-with-a-name-long-enough-to-be-longer-than-what-fits/into-sun-path
    export DATA=$XDG_DATA_HOME/vmctl
    export PROJECT=$BATS_FILE_TMPDIR/project
    mkdir -p "$PROJECT"
    cd "$PROJECT" || return
    [ -n "${VMCTL_TEST_GUEST:-}" ] || VMCTL_TEST_GUEST=$("$BATS_TEST_DIRNAME/../guest/build" | tail -n 1)
    ln -sf "$VMCTL_TEST_GUEST" "$PROJECT/guest.qcow2"
}

# Ends everything of this data directory: VMs first, then the controller.
leave_data_dir() {
    local vm
    for vm in $(vmctl list -o name); do vmctl destroy "$vm" --timeout 60s || true; done
    vmctl controller stop || true
}

pid_of() { vmctl list | awk -v vm="$1" '$1 == vm { print $6 }'; }
state_of() { vmctl list | awk -v vm="$1" 'NR > 1 && $1 == vm { print $8 }'; }

# The start time of a process: with the pid it is an identity (field 22 of /proc/PID/stat).
start_ticks() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
