#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What .package/release makes a tag of, in a repository of its own.

load common

setup() {
    release=$(cd "$BATS_TEST_DIRNAME/../../.package" && pwd)/release
    cd "$BATS_TEST_TMPDIR"
    export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
    git init -q .
    git config user.name Tester
    git config user.email tester@example.org
    echo 'project(vmctl VERSION 1.2.0 LANGUAGES C)' >CMakeLists.txt
    printf '# Changelog\n\n## 1.2.0 (2026-12-01)\n\n- New: this.\n\n## 1.1.0 (2026-11-01)\n\n- Old.\n' >CHANGELOG.md
    keep
}

keep() { git add -A && git commit -qm "a change"; }

refused() { # TEXT...
    run "$release"
    [ "$status" -eq 1 ]
    says "$@"
    [ "$(git tag | wc -l)" -eq "${tags:-0}" ]
}

@test "the tag has the version's part of the changelog" {
    run "$release" --check
    [ "$status" -eq 0 ]
    [ -z "$(git tag)" ]
    "$release"
    [ "$(git tag)" = v1.2.0 ]
    run git tag -l --format='%(contents)' v1.2.0
    says "vmctl 1.2.0" "- New: this."
    refute grep -q Old <<<"$output"
    tags=1 refused "there is a tag v1.2.0 already"
}

@test "what does not match is refused" {
    echo 'project(vmctl VERSION 1.3.0 LANGUAGES C)' >CMakeLists.txt
    refused "changes that are not committed"
    keep
    refused "CMakeLists.txt has version 1.3.0, and CHANGELOG.md begins with '1.2.0 (2026-12-01)'"
    sed -i 's/1.2.0 (2026-12-01)/1.3.0 (unreleased)/' CHANGELOG.md
    keep
    refused "CHANGELOG.md gives 1.3.0 no date"
    run "$release" nowhere
    [ "$status" -eq 1 ]
    says "there is no commit 'nowhere'"
}

@test "this tree's version is that of its changelog" {
    cd "$BATS_TEST_DIRNAME/../.."
    [ "$(sed -nE 's/^project\(vmctl VERSION ([0-9.]+) .*/\1/p' CMakeLists.txt)" = "$(grep -m 1 '^## ' CHANGELOG.md | cut -d' ' -f2)" ]
}
