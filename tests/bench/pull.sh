#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A pull of 255 MiB over loopback, as it is and packed by zstd, against a shell's pipeline that does
# as little as can be. The second floor of the packed one hashes what vmctl has to hash: the bytes
# that came, which sha256= may name, and the image in them, which is called by its hash.
source "$(dirname "$0")/common.bash"
has nginx curl openssl zstd || { skip 14 'image pull' 'nginx, curl, openssl, zstd'; exit; }
for i in $(seq 85); do
    head -c 2M /dev/urandom
    head -c 1M /dev/zero | tr '\0' "\\$(printf %o $((i + 32)))"
done >"$work/disk.img"
zstd -q -k "$work/disk.img"
cat >"$work/nginx.conf" <<END
user root; pid $work/nginx.pid; error_log $work/error.log; events {}
http {
    access_log off; sendfile on; client_body_temp_path $work/1; proxy_temp_path $work/2;
    fastcgi_temp_path $work/3; uwsgi_temp_path $work/4; scgi_temp_path $work/5;
    server { listen unix:$work/unused; listen 127.0.0.1:${BENCH_PORT:-18399}; root $work; }
}
END
nginx -c "$work/nginx.conf" -p "$work" 2>/dev/null
url=http://127.0.0.1:${BENCH_PORT:-18399}/disk.img
plain() { curl -s "$url" | tee "$work/out" | openssl sha256 && sync "$work/out"; }
packed() { curl -s "$url.zst" | zstd -dc >"$work/out" && sync "$work/out"; }
hashed() {
    curl -s "$url.zst" | tee >(openssl sha256 >"$work/sum") | zstd -dc | tee "$work/out" | openssl sha256
    sync "$work/out"
}
pull() { # FILE URL
    timed "$1" "$bin/vmctl" -q image pull "$2"
    "$bin/vmctl" -q image prune >/dev/null
}
for i in $(seq "$((runs / 4 + 1))"); do
    for floor in plain packed hashed; do
        timed "$work/$floor" "$floor"
        rm "$work/out"
    done
    pull "$work/pull" "$url?$i"
    pull "$work/pull-packed" "$url.zst?$i"
done
row 14 'pull of 255 MiB' ms "$work/pull" 1.15 '`curl`, `tee`, `openssl sha256`, sync' "$work/plain"
row 14 'pull of its .zst' ms "$work/pull-packed" 1.15 '`curl`, `zstd -dc`, sync' "$work/packed"
row 14 'pull of its .zst' ms "$work/pull-packed" 1.15 'the same with both hashes' "$work/hashed"
