# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# write_files: path, content, encoding, append, permissions, owner.

# decode ENCODING: standard input to standard output.
decode() {
    case $1 in
    b64 | base64) base64 -d ;;
    gz | gzip) gunzip ;;
    gz+b64 | gz+base64 | gzip+b64 | gzip+base64) base64 -d | gunzip ;;
    *) cat ;;
    esac
}

# write_file PATH: PATH is where yaml.awk has put the entry.
write_file() {
    get "$1__path" && file=$value
    get "$1__encoding" && encoding=$value
    get "$1__append" && append=$value
    get "$1__content"
    mkdir -p "${file%/*}/"
    case $append in
    [Tt]rue) printf '%s' "$value" | decode "$encoding" >>"$file" ;;
    *) printf '%s' "$value" | decode "$encoding" >"$file" ;;
    esac
    get "$1__permissions"
    chmod "${value:-644}" "$file"
    get "$1__owner"
    chown "${value:-root:root}" "$file"
    log "file $file"
}

count ud__write_files
files=$count
i=0
while [ $i -lt "$files" ]; do
    write_file "ud__write_files__$i"
    i=$((i + 1))
done
