#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# On the host: packs what forger needs to build, from the source tree $FORGER_SOURCE (default: the
# current directory), into forger-src.tar.gz beside this script.
set -euo pipefail
source_tree=${FORGER_SOURCE:-$PWD}
tarball=$(cd "$(dirname "$0")" && pwd)/forger-src.tar.gz

for part in crates/forger crates/spec-parser images Cargo.lock; do
    [ -e "$source_tree/$part" ] || {
        echo "pack-forger.sh: no $part in $source_tree; set FORGER_SOURCE" >&2
        exit 1
    }
done

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir "$staging/crates"
cp -R "$source_tree/crates/forger" "$source_tree/crates/spec-parser" "$staging/crates/"
cp -R "$source_tree/images" "$staging/"
cp "$source_tree/Cargo.lock" "$staging/"
cat >"$staging/Cargo.toml" <<'END'
[workspace]
resolver = "3"
members = ["crates/forger", "crates/spec-parser"]
END
tar -C "$staging" -czf "$tarball.new" .
mv "$tarball.new" "$tarball"
echo "$tarball"
