#!/bin/sh
# Make the secrets that compose.yaml reads, once; what is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { head -c 32 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 40; }
for name in webhook_secret redis_password grafana_password login_key; do
    [ -s "secrets/$name" ] || random >"secrets/$name"
done
printf 'redis://:%s@redis:6379/0' "$(cat secrets/redis_password)" >secrets/redis_url
if [ ! -s secrets/token ]; then
    printf 'Paste the token from @BotFather: '
    stty -echo 2>/dev/null || true # it is not shown
    read -r token
    stty echo 2>/dev/null || true
    printf '%s' "$token" >secrets/token
fi
# Containers run as users of their own, and read these files through Docker's mount.
chmod 644 secrets/*
chmod 700 secrets
echo "The secrets are in $(pwd)/secrets; keep them out of Git and of every backup that others read."
