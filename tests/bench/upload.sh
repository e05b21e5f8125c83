#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# 16 MiB to the tiny guest: as a `file` step against `sftp put -f`, which syncs as the step does, by its
# own choice of algorithms and by those that libssh2 1.10 has; `vmctl cp` against scp. Each logs in.
source "$(dirname "$0")/common.bash"
has sftp scp || { skip 15 '`file` step' 'sftp, scp'; exit; }
guest=$("$(dirname "$0")/../guest/build" | tail -n 1)
head -c 16M /dev/urandom >"$work/big"
cat >"$work/VMFile.kdl" <<END
vm "guest" {
    image "$guest"; memory 320; accel "tcg"; ssh { user "root" }; cloud-init { hostname "guest" }
    provision "file" { source "big"; destination "/tmp/step" }
}
END
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
"$bin/vmctl" ssh-config guest >"$work/config"
echo "put -f $work/big /tmp/put" >"$work/batch"
for _ in $(seq "$((runs / 4 + 1))"); do
    timed "$work/sftp" sftp -q -F "$work/config" -b "$work/batch" guest
    timed "$work/aes" sftp -q -F "$work/config" -o Ciphers=aes256-ctr -o MACs=hmac-sha2-256 -b "$work/batch" guest
    timed "$work/step" "$bin/vmctl" -q provision --file "$work/VMFile.kdl"
    timed "$work/scp" scp -q -F "$work/config" "$work/big" guest:/tmp/scp
    timed "$work/cp" "$bin/vmctl" cp "$work/big" guest:/tmp/cp
done
[ "$("$bin/vmctl" exec guest -- sha256sum /tmp/step | cut -c1-64)" = "$(sha256sum <"$work/big" | cut -c1-64)" ]
row 15 '`file` step of 16 MiB' ms "$work/step" 1.15 '`sftp put -f`' "$work/sftp"
row 15 'the same' ms "$work/step" - 'and AES with SHA-256' "$work/aes"
row 15 '`cp` of 16 MiB' ms "$work/cp" 1.15 scp "$work/scp"
