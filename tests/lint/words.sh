#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Words that do not belong in code, comments, messages and documents, each with what to write.
set -u
cd "${1:-.}" || exit 2
failed=0
documents="README.md examples specs/VMFILE.md specs/man cli/man controller/man"

ban() { # PATTERN INSTEAD
    # shellcheck disable=SC2086
    if grep -rniE --include='*.[ch]' --include='*.sh' --include='*.md' --include='*.[0-9]' --include='*.kdl' \
        "$1" specs store controller reconcilers cli $documents | sort -u | grep .; then
        echo "    ^ $2"
        failed=1
    fi
}
ban '\bfor ever\b' 'forever'
ban '\bwhoever\b' 'name who: the caller, the waiter'
ban '\b(told|tells|tell)\b' 'report, return, log, print, notify'
ban '\bwish(es|ed)?\b[^/]' 'change, request, desired state'
ban '\banew\b' 'again; make again: recreate'
ban '\bgoes on\b|\bgo on\b' 'continue, resume'
ban '\blets? go of\b' 'release'
ban '\bput(s)? right\b|\bmend(s|ed)?\b' 'fix, repair'
ban '[^e] is no (file|object|text|image|name|option|disk|key|level|export|archive|backup|qcow2|tar|zstd)\b' 'is not a'
ban '\b(was|were|being|been) got\b' 'downloaded, fetched'
ban '\bno use any more\b' 'no longer needed, no longer valid'
ban '\bmade good\b|\bis void\b' 'repaired; is invalid'
ban '\bthe (nouns|heart|hands|mouth|memory of vmctl)\b' 'one plain sentence'
exit $failed
