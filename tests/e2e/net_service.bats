#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# A service of three real guests: nginx in front of two backends, which it finds by name. The tests
# run in order and build on each other.

load qemu

PORT=18480

why_not() { type -P nginx >/dev/null || echo "no nginx here"; }

# This host's nginx with its libraries, for a guest that has none of them.
pack_nginx() {
    local library
    mkdir -p nginx/lib
    cp "$(type -P nginx)" nginx/nginx
    for library in $(ldd nginx/nginx | grep -o '/[^ ]*'); do cp -L "$library" nginx/lib/; done
    cat >nginx/nginx.conf <<'END'
user root;
daemon off;
pid /run/nginx.pid;
events { }
http {
    access_log off;
    client_body_temp_path /tmp/nginx1;
    proxy_temp_path /tmp/nginx2;
    fastcgi_temp_path /tmp/nginx3;
    uwsgi_temp_path /tmp/nginx4;
    scgi_temp_path /tmp/nginx5;
    upstream apps {
        server app1 max_fails=1 fail_timeout=2s;
        server app2 max_fails=1 fail_timeout=2s;
    }
    server {
        listen 80;
        location / {
            proxy_pass http://apps;
            proxy_connect_timeout 2s;
        }
    }
}
END
    tar -czf nginx.tar.gz nginx
}

setup_file() {
    [ -z "$(why_not)" ] || return 0
    use_data_dir
    mkdir -p "$PROJECT/service"
    cd "$PROJECT/service"
    pack_nginx
    cat >VMFile.kdl <<END
defaults {
    image "$VMCTL_TEST_GUEST"
    memory 128
    cloud-init
    ssh { user "worker" }
}
template "app" {
    network "project"
    provision "shell" {
        inline "sudo mkdir /www; hostname | sudo tee /www/index.html; echo '::respawn:/usr/bin/httpd -f -p 80 -h /www' | sudo tee -a /etc/inittab; sync; sudo kill -HUP 1"
    }
    ready period="1s" { http "/" port=80; }
}
vm "app1" like="app"
vm "app2" like="app"
vm "front" {
    network "project"
    forward host=$PORT guest=80
    depends-on "app1" "app2"
    provision "file" { source "nginx.tar.gz"; destination "/tmp/nginx.tar.gz"; }
    provision "shell" {
        inline "sudo tar -xzf /tmp/nginx.tar.gz -C /; cd /nginx/lib; echo '::respawn:/nginx/lib/ld-linux-x86-64.so.2 --library-path /nginx/lib /nginx/nginx -c /nginx/nginx.conf' | sudo tee -a /etc/inittab; sync; sudo kill -HUP 1"
    }
    ready period="1s" { http "/" port=80; }
}
END
}

teardown_file() { [ -z "${DATA:-}" ] || leave_data_dir; }

setup() {
    [ -z "$(why_not)" ] || skip "$(why_not)"
    cd "$PROJECT/service"
}

# Who answered four requests in a row, each once.
answering() {
    local i
    for i in 1 2 3 4; do curl -fs --max-time 10 "http://127.0.0.1:$PORT/"; done | sort -u | tr '\n' ' '
}
answers() { [ "$(answering)" = "$1" ]; }
is_new() { local now; now=$(pid_of app1) && [ "$now" != "$1" ] && [ "$now" != - ]; }

# bats test_tags=long
@test "three VMs become one service, the front after what it depends on" {
    run vmctl up
    echo "$output"
    [ "$status" -eq 0 ]
    answers "app1 app2 "
    vmctl events -o json | jq -s -e '
        (flatten | map(select(.reason == "Ready"))) as $ready
        | ($ready | map(.vm) | index("front")) > ($ready | map(.vm) | index("app1"))'
}

# bats test_tags=long
@test "a backend is killed: the service goes on without it, and has it back when it is healed" {
    local pid
    pid=$(pid_of app1)
    kill_hard "$pid"
    [ -n "$(answering)" ]
    await 60 is_new "$pid"
    vmctl wait app1 --ready --timeout 120s
    await 30 answers "app1 app2 "
}
