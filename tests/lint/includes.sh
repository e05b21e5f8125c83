#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The include rule: which folder may include which, and where a foreign header may appear.
set -u
cd "${1:-.}" || exit 2
failed=0

# folder, folders it may include (itself always may)
allowed() {
    case $1 in
    specs) echo "specs" ;;
    store) echo "specs store" ;;
    controller) echo "specs store controller" ;;
    reconcilers) echo "specs controller reconcilers" ;;
    cli) echo "specs store cli" ;;
    esac
}

# A reconciler reads records and fills the batch of its patch; only the controller commits it.
readonly patch_headers=" store/store.h store/batch.h store/source/sources.h "

complain() {
    echo "$1"
    failed=1
}

for folder in specs store controller reconcilers cli; do
    into_these=" $(allowed $folder) "
    while IFS=: read -r file line target; do
        into=${target%%/*}
        # the composition root is the one place that plugs the reconcilers in
        if [ "$file" = controller/main.c ] && [ "$into" = reconcilers ]; then continue; fi
        if [ $folder = reconcilers ] && [[ $patch_headers = *" $target "* ]]; then continue; fi
        [[ $into_these = *" $into "* ]] || complain "$file:$line: $folder/ may not include $target"
    done < <(grep -rnoE '^#include "[^"]+"' --include='*.[ch]' $folder | sed -E 's/#include "([^"]+)"/\1/')
done

# a foreign header and the only files (a pattern) that may name it
only_in() {
    local header=$1 pattern=$2 file
    while IFS=: read -r file _; do
        [[ $file =~ $pattern ]] || complain "$file: <$header> belongs elsewhere ($pattern)"
    done < <(grep -rnE "#include <$header>" --include='*.[ch]' specs store controller reconcilers cli)
}
only_in 'jansson\.h' '^specs/base/json\.h$'
only_in 'nettle/.*\.h' '^(specs/base/digest|reconcilers/media/keys)\.c$'
only_in 'lmdb\.h' '^store/'
only_in 'sys/inotify\.h' '^(store|controller)/'
only_in 'ev\.h' '^controller/loop/loop\.c$'
only_in 'libssh2(_sftp)?\.h' '^reconcilers/ssh/'
only_in 'curl/curl\.h' '^(controller/(http|fleet)|reconcilers/(fetch|backend/propolis))/'
only_in '(etcd\.pb-c|protobuf-c/.*)\.h' '^controller/fleet/etcd/'
only_in 'zstd\.h' '^((reconcilers|cli)/archive/|specs/image/image_unpack\.c)'
only_in 'archive(_entry)?\.h' '^(reconcilers/archive/|specs/image/image_unpack\.c)'
only_in 'libwebsockets\.h' '^cli/serve/exchange\.h$'
only_in 'getopt\.h' '^(cli/|controller/main\.c)'

while IFS= read -r line; do
    complain "$line: a reconciler never commits: its patch does"
done < <(grep -rnE '\<(store_commit|writer_[a-z]+)\(' --include='*.[ch]' reconcilers)

exit $failed
