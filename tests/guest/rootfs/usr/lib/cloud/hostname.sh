# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# hostname, fqdn (user-data); local-hostname (meta-data).

fqdn=${ud__fqdn:-${ud__hostname:-${md__local_hostname:-}}}
name=${ud__hostname:-$fqdn}
name=${name%%.*}
if [ -n "$name" ]; then
    echo "$name" >/etc/hostname
    {
        echo "127.0.0.1 localhost"
        echo "127.0.1.1 $fqdn $name"
        echo "::1 localhost ip6-localhost"
    } >/etc/hosts
fi
