# SPDX-License-Identifier: MPL-2.0
# What the fault suites share: lives of a VM in a few commands, in a data directory of its own, and
# what the world looks like after each. VMCTL_BIN: vmctl, vmctld, fakeqemu, dump and the shim.
#
#   life=noop   a VM with cloud-init, provision steps, one of them appended while it runs, and a
#               forward, no hypervisor
#   life=qemu   a VM of the QEMU backend with tests/support/fakeqemu.c in QEMU's place
#   life=watch  a noop VM whose VMFile is watched: saved in place and by rename, broken, put right,
#               and no longer watched
#   life=disks  of the same backend: a snapshot, put back and removed; a clone and its end
#   life=volumes  of the same backend: a volume of the VMFile, another one attached to the running
#               machine and detached, and both removed in the end
#   life=warm   noop VMs with a template: made by a builder, frozen, and two are woken from it
#   life=renamed  a noop VM of a VMFile that is given another name there, after `vmctl rename`
#   life=saved  a noop VM that is suspended to disk, and continues; and is given up there
#   life=project  a noop VM of a project, renamed as above
#   life=nets   a VM of the QEMU backend, as above, on two networks of its project: their switches
#   life=tunnel  a noop VM with a socket forwarded over SSH, and `forward "auto"`
#   life=agent  a noop VM whose agent freezes its file systems for a snapshot, and for one that is
#               suspended to disk
# LIVES="watch" chooses among them.
BIN=${VMCTL_BIN:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build-test/bin}
PATH=$BIN:$PATH
SHIM=$BIN/libfault.so
LIVES=${LIVES:-noop qemu watch disks volumes warm saved renamed project nets tunnel agent}
# The sanitizers' library comes after the shim, and that is meant.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}:verify_asan_link_order=0

# scratch DIRECTORY LIFE: the project and the data directory, empty
scratch() {
    work=$1 patience=60s vm=web
    export life=$2
    data=$work/data/vmctl
    export XDG_DATA_HOME=$work/data HOME=$work/home NO_COLOR=1
    unset VMCTL_FILE VMCTL_LOG FAULT_DO FAULT_AT FAULT_STICKY FAULT_LOG LD_PRELOAD
    mkdir -p "$work/project" "$HOME"
    cd "$work/project" || return
    STEPS=(up change down again destroy)
    : >"$work/image"
    case $life in
    noop) STEPS=(up append change down again destroy) ;;
    watch) STEPS=(watch edit replace break repair unwatch destroy) ;;
    renamed | project) STEPS=(up down rename again destroy) ;;
    tunnel) STEPS=(up another-socket down again destroy); script '{"guestPort": 18082}' ;;
    agent) STEPS=(up snapshot save resume unsnapshot down again destroy); script '{"agent": true}' ;;
    saved) STEPS=(up save resume save again save down destroy) ;;
    warm) STEPS=(up another recreate down again destroy untemplate) ;;
    qemu | disks | volumes | nets)
        STEPS=(up change recreate down again destroy)
        [ "$life" != disks ] || STEPS=(up down snapshot restore unsnapshot clone unclone destroy)
        [ "$life" != nets ] || STEPS=(up change down again destroy)
        [ "$life" != volumes ] || STEPS=(up attach detach down again destroy unvolume)
        qemu-img create -q -f qcow2 "$work/image" 64M
        printf '#!/bin/sh\necho "$$" >>"%s/launches"\nexec "%s/fakeqemu" "$@"\n' "$work" "$BIN" >"$work/qemu"
        chmod +x "$work/qemu"
        export VMCTL_QEMU=$work/qemu
        ;;
    esac
    vmfile 512
}

# Marked, so that processes() finds what comes of it and nothing else.
vmctl() { VMCTL_FAULT_WORK=$work command vmctl "$@"; }

# What the noop machines do (tests/support/noop_script.c).
script() { mkdir -p "$work/data" && mkdir -m 700 "$data" "$data/noop" && echo "$1" >"$data/noop/default.json"; }

vmfile_text() { # MEMORY [STOP-TIMEOUT | STEPS]
    local more='network "none"'
    case $life in
    noop) more='backend "noop"; cloud-init
  forward host=18080 guest=80
  provision "shell" { inline "true"; }
  provision "shell" { inline "false || true"; }
  '${2:-} ;;
    volumes) more='network "none"; volume "data" size=1' ;;
    nets) more='network "project"; network "project" name="back" { isolate }' ;;
    tunnel)
        more="backend \"noop\"; cloud-init; forward \"auto\"
  forward socket=\"$work/${2:-one}\" guest=\"/run/one\""
        ;;
    agent) more='backend "noop"; network "none"' ;;
    warm)
        more='backend "noop"; cloud-init; warm "auto"
  provision "shell" { inline "true"; }
  '
        ;;
    saved) more='backend "noop"; cloud-init' ;;
    watch) more="backend \"noop\"; stop-timeout ${2:-5}" ;;
    esac
    [ "$life" != renamed ] && [ "$life" != project ] || more='backend "noop"; cloud-init; forward host=18081 guest=80'
    [ "$life" != project ] || echo 'project "shop"'
    printf 'vm "%s" {\n  image "%s"; accel "tcg"; memory %s\n  %s\n}\n' "${vm:-web}" "$work/image" "$1" "$more"
}

vmfile() { vmfile_text "$@" >VMFile.kdl; }

appended='provision "shell" { inline "echo more"; }'

# One command of the life, by name.
step() {
    case $1 in
    up) vmfile 512; vmctl up -q --timeout "$patience" ;;
    append) vmfile 512 "$appended"; vmctl up -q --timeout "$patience" ;;
    another-socket) vmfile 512 two; vmctl up -q --timeout "$patience" ;;
    change) vmfile 768 "$appended"; vmctl up -q --restart --timeout "$patience" ;;
    recreate) vmctl reload -q --timeout "$patience" ;;
    down) vmctl down -q --timeout "$patience" ;;
    save) vmctl suspend -q --disk --timeout "$patience" ;;
    resume) vmctl resume -q --timeout "$patience" ;;
    snapshot) vmctl snapshot create -q web kept --timeout "$patience" || has_snapshot ;;
    restore) vmctl snapshot restore -q web kept --timeout "$patience" ;;
    unsnapshot) vmctl snapshot rm -q web kept --timeout "$patience" || lacks_snapshot ;;
    clone) later vmctl clone -q web copy --timeout "$patience" || has_copy ;;
    unclone) vmctl destroy -q -y copy --timeout "$patience" || [ -z "$(vmctl list -o name | grep copy)" ] ;;
    rename) later vmctl rename -q web www --timeout "$patience" || is_renamed; vm=www; vmfile 512 ;;
    attach) vmctl volume attach -q --size 1 web more --timeout "$patience" || has_volume ;;
    detach) vmctl volume detach -q web more --timeout "$patience" || lacks_volume ;;
    unvolume) for volume in data more; do vmctl volume rm -q $volume || [ ! -e "$data/volumes/$volume" ]; done ;;
    another) vmfile_text 512 | sed 's/"web"/"db"/' >db.kdl; vmctl up -q --file db.kdl --timeout "$patience"; vmctl destroy -q -y db --timeout "$patience" || [ -z "$(vmctl list -o name | grep db)" ] ;;
    untemplate) vmctl template prune -q --timeout "$patience" ;;
    again) vmctl up -q --timeout "$patience" ;;
    destroy) vmctl down -q --destroy --timeout "$patience" ;;
    watch) vmfile 512 5; vmctl up -q --watch --timeout "$patience" ;;
    edit) vmfile 512 6; vmctl wait --file VMFile.kdl --ready --timeout "$patience" ;;
    replace) vmfile_text 512 7 >new.kdl; mv new.kdl VMFile.kdl; vmctl wait --file VMFile.kdl --ready --timeout "$patience" ;;
    break) echo 'vm "web" {' >VMFile.kdl; vmctl wait web --for=condition=Synced=False --timeout "$patience" ;;
    repair) vmfile 512 8; vmctl wait --file VMFile.kdl --ready --timeout "$patience" ;;
    unwatch) vmctl unwatch -q && vmfile 512 9 ;;
    esac
}

# What a command that was killed may have done already: given again it says so, and that is right.
# So does one that finds the killed one's request under way: status 6.
later() {
    local status deadline=$((SECONDS + 10))
    until "$@"; do
        status=$?
        [ $status = 6 ] && [ $SECONDS -lt $deadline ] || return $status
    done
}
user_of_more() { vmctl volume list -o json | jq -r '.[] | select(.name == "more") | .vm'; }
has_volume() { [ "$(user_of_more)" = web ]; }
lacks_volume() {
    local deadline=$((SECONDS + 10))
    while [ "$(user_of_more)" = web ]; do [ $SECONDS -lt $deadline ] || return; done
}
has_snapshot() { come_to kept; }
lacks_snapshot() { come_to ''; }
come_to() { # NAME: what the list of snapshots has of that one, once the first request is carried out
    local deadline=$((SECONDS + 10))
    until [ "$(vmctl snapshot list web | grep -ow kept)" = "$1" ]; do [ $SECONDS -lt $deadline ] || return; done
}
is_renamed() { vmctl wait -q www --stopped --timeout "$patience" && ! vmctl get web >/dev/null 2>&1; }
has_copy() { vmctl wait copy --for=condition=Prepared --timeout "$patience"; }

# with_fault PROGRAM COMMAND... : FAULT_DO, FAULT_AT … are set by the caller
with_fault() {
    local program=$1
    shift
    FAULT_PROGRAM=$program LD_PRELOAD=$SHIM "$@"
}

# Trash is swept in the background, and by the next vmctld where one was killed.
has_trash() { [ -n "$(ls -A "$data/trash" 2>/dev/null)" ]; }

# A watched VMFile that no vmctld has looked at yet.
is_pending() { [[ $(vmctl watch --list -o json 2>/dev/null) == *'"Pending"'* ]]; }

# Once it is at rest, without what differs from run to run: times, pids, which controller looked
# last, the digest of a base image, which is hashed behind all else, and how a QEMU ended whose
# parent was killed. The noop backend's own temporary files
# are no part of the product.
world() {
    local status passing deadline=$((SECONDS + 10))
    while status=$(vmctl status "$vm" -o json 2>/dev/null); { [[ $status == *'"Reconciling"'* ]] || has_trash || is_pending; } && [ $SECONDS -lt $deadline ]; do
        vmctl controller start >/dev/null 2>&1 # the one that was killed leaves its last step undone
    done
    # a clone that was killed leaves the copy that was made for it, for an hour
    passing=$(jq -r '.. | .snapshots? // empty | .[] | select(.name | startswith("~")) | .file' <<<"$status")
    status=$(jq '(.. | .snapshots? | arrays) |= map(select(.name | startswith("~") | not)) | del(.. | objects | select(.snapshots == []).snapshots)' <<<"$status")
    vmctl list -o name 2>&1
    sed -E "s#$work#WORK#g"'
        s/: [0-9]{13},?$/: TIME/; /": "[0-9T:-]+Z",?$/d; s/template [0-9a-f]{12}/template DIGEST/; s/"(pid|startTicks|startDeadline|stopDeadline|revision)": [0-9]+/"\1": N/
        s/"reason": "Adopted"/"reason": "Running"/; /"message": "the guest shut down"/d; /"(observer|fileBytes|filesInode|crashConsistent|lastExitStatus|lastMessage|durationMs|imageSha256|imageSize)":/d' <<<"$status"
    dump "$data" | sed "s#$work#WORK#g"
    (cd "$data" && find . -mindepth 1 -printf '%p %m\n' | grep -vF "${passing:-no such file}" |
        sed -E 's#(images|templates)/[0-9a-f]{64}#\1/DIGEST#; s#snapshots/[0-9a-f]{32}#snapshots/ID#' |
        grep -vE '^\./(trash|vms|images/\.part|images/\.by-source|images|controller.log|noop/images|noop) |/(noop\.(json|disk)|DIGEST)\.tmp-' | sort)
}

# Ids, digests, addresses and the ports we choose (others use the host, too) by the order in which
# they appear, so that it still shows whether one stayed what it was: number_ids <WORLDS
number_ids() {
    perl -pe 's/\bproject-[0-9a-f]{8}\b/project-ID/g; s/^lease mac\/[0-9a-f:]{17}/lease mac\/MAC/; s/\b10(\.\d{1,3}){3}\b/"10.#" . ($known{$&} ||= ++$n)/ge;
        s/"recreated-\d{8}-\d{6}"/"recreated-TIME"/; s/"(~?[0-9a-f-]{32,64}|52:54:00:[0-9a-f:]{8})"/"#" . ($known{$1} ||= ++$n)/ge;
        # the switches of several runs do listen there
        s/("sshPort": |lease tcp\/)10\d{3}\b/$1PORT/ if $ENV{life} eq "nets";
        s/("sshPort": |lease tcp\/)(10\d{3})\b/"$1#" . ($known{$2} ||= ++$n)/ge;
        s/("\w*[gG]eneration": )(\d+)/"$1#" . ($known{"generation $2"} ||= ++$n)/ge'
}

# What vmctl has started in this directory and still lives.
processes() {
    local entry
    # a switch has an environment of its own, and its network's directory
    for entry in $(grep -lsz "^VMCTL_FAULT_WORK=$work\$" /proc/[0-9]*/environ; find /proc/[0-9]*/cwd -lname "$data/networks/*" 2>/dev/null); do
        entry=${entry%/*}
        printf '%s %s\n' "${entry#/proc/}" "$(tr '\0' ' ' <"$entry/cmdline" | cut -c1-120)"
    done 2>/dev/null
}

# Stops the controller and tells what is left; "end: nothing lives" when all is well.
finish() {
    local left deadline=$((SECONDS + 5))
    vmctl controller stop >/dev/null 2>&1
    while left=$(processes) && [ -n "$left" ] && [ $SECONDS -lt $deadline ]; do :; done
    echo "${left:-end: nothing lives}"
}

# compare WORLD REFERENCE RUN: the line of the run's result
compare() {
    if [ ! -e "$work/token" ]; then
        echo "ok: $3 was not reached" # of threads: one run makes fewer calls than another
    elif diff -u "$2" "$1" >"$work/diff" && [ ! -s "$work/errors" ]; then
        echo "ok: $3"
    else
        echo "FAILED: ONLY='$3'"
        cat "$work/diff" "$work/errors"
        tail -n 20 "$data/controller.log"
    fi
}

# What no fault may bring about, from the controller's log.
crashes() {
    grep -hE 'AddressSanitizer|LeakSanitizer|runtime error|Assertion|assertion' "$data/controller.log" "$work"/out.* 2>/dev/null
}

# Ends what a failed run has left, by process id.
clean_up() {
    local pid
    processes | while read -r pid _; do kill -9 "$pid" 2>/dev/null; done
    cd / && rm -rf "$work"
}

# run_all SUITE SCRIPT: SCRIPT --one LINE for each line of $PARENT/runs, TEST_JOBS at once; each says
# "ok …" or "FAILED: …". Then the closing line; 1 when one failed, or said nothing.
run_all() {
    local tried failures runs unreached
    xargs -P "${TEST_JOBS:-$(nproc)}" -L 1 "$2" --one <"$PARENT/runs" >"$PARENT/results" 2>&1
    runs=$(wc -l <"$PARENT/runs")
    failures=$(grep -c '^FAILED' "$PARENT/results")
    tried=$(($(grep -c '^ok' "$PARENT/results") + failures))
    unreached=$(grep -c '^ok: .* was not reached$' "$PARENT/results")
    grep -v '^ok' "$PARENT/results" | head -n 300
    [ "$tried" = "$runs" ] || echo "$1: $runs were to be tried"
    echo "$1: $tried tried ($unreached not reached), $failures failures"
    [ "$failures" = 0 ] && [ "$tried" = "$runs" ] && [ "$tried" -gt 0 ]
}

# In memory where there is such a place: fsync() costs nothing there.
scratch_parent() { mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/vmctl-fault.XXXXXX"; }
