#!/bin/sh
# Copy the bot's database, whole even while the bot writes, check the copy, and keep the latest 14.
#   backup.sh DATABASE FOLDER
set -eu
database=$1 folder=$2 keep=14
umask 077
mkdir -p "$folder"
name="$folder/bot-$(date -u +%Y%m%dT%H%M%SZ).db"
sqlite3 "$database" ".timeout 30000" ".backup '$name.part'"
[ "$(sqlite3 "$name.part" 'PRAGMA integrity_check')" = ok ] || {
    echo "the copy $name.part is damaged, so the earlier ones stay" >&2
    exit 1
}
gzip "$name.part"
mv "$name.part.gz" "$name.gz"
ls -1 "$folder"/bot-*.db.gz | sort -r | tail -n "+$((keep + 1))" | xargs -r rm --
echo "saved $name.gz"
