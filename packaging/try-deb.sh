#!/bin/sh
# Packs the debug build that is there, in two versions, and tries them in a clean root of this
# Debian's release. The root is made once, from Debian's mirror, and kept in the target folder.
set -eu
cd "$(dirname "$0")/.."

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
folder=${CARGO_TARGET_DIR:-target}/try-deb
mkdir -p "$folder"
for number in 1 2; do
    packaging/build-deb.sh --no-build --deb-version "0.1.0-$number" --output "$folder/$number.deb" \
        >/dev/null
done
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
root=$folder/$codename.tar
if ! [ -f "$root" ]; then
    $as_root mmdebstrap --quiet --variant=essential --include=adduser,ca-certificates \
        "$codename" "$folder/unfinished.tar"
    $as_root mv "$folder/unfinished.tar" "$root"
fi
$as_root python3 packaging/try_deb.py "$folder/1.deb" "$folder/2.deb" "$root"
