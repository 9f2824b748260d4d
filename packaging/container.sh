#!/bin/bash
# container.sh [--rootfs-only] PACKAGE [DIR]: makes the container image vicar:VERSION from a Debian package.
# The programs get the C library of this machine, as the package needs it, and its certificate authorities. The image is
# built by podman or docker, and written to DIR (target/dist) as vicar-VERSION-ARCH.image.tar. With
# --rootfs-only what it contains is all that is made: DIR/rootfs.tar.
set -eu
# shellcheck source=packaging/common.sh
. "$(dirname "$0")/common.sh"
only=
[ "${1:-}" != --rootfs-only ] || { only=yes; shift; }
[ $# -ge 1 ] || { sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2; }
package=$1
out=${2:-$root/target/dist}
user=10101
arch=$(dpkg-deb -f "$package" Architecture)
authorities=/etc/ssl/certs/ca-certificates.crt
[ -e $authorities ] || { echo "container.sh: $authorities is not there: apt-get install ca-certificates" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

dpkg-deb -x "$package" "$work/package"
files=$work/context/rootfs
mkdir -p "$files"/{etc/ssl/certs,etc/vicar,tmp,usr/bin,usr/share/doc/vicar,var/lib/vicar}
cp "$work"/package/usr/bin/* "$files/usr/bin/"
cp "$work"/package/usr/share/doc/vicar/{copyright,third-party-licences.gz} "$files/usr/share/doc/vicar/"
cp $authorities "$files/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/nonexistent\nvicar:x:%d:%d:Vicar:/var/lib/vicar:/nonexistent\n' $user $user > "$files/etc/passwd"
printf 'root:x:0:\nvicar:x:%d:\n' $user > "$files/etc/group"
printf 'hosts: files dns\n' > "$files/etc/nsswitch.conf"
# Each library at the path by which the loader finds it, the loader itself too.
ldd "$files"/usr/bin/* | grep -oE '/[^ )]+' | grep -F .so | sort -u | while read -r library; do
  mkdir -p "$files$(dirname "$library")"
  cp -L "$library" "$files$library"
done
settle "$files"
chmod 1777 "$files/tmp"
chmod 700 "$files/var/lib/vicar"
# A tar file keeps owners, whoever builds.
tar=$work/context/rootfs.tar
tar -C "$files" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
  --exclude=./var/lib/vicar -cf "$tar" .
tar -C "$files" --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=$user --group=$user --numeric-owner \
  -rf "$tar" ./var/lib/vicar
rm -rf "$files"
mkdir -p "$out"
if [ -n "$only" ]; then
  cp "$tar" "$out/rootfs.tar"
  echo "$out/rootfs.tar"
  exit
fi

image=vicar:$version
file=$out/vicar-$version-$arch.image.tar
recipe=$root/packaging/Containerfile
rm -f "$file"
# The form of Docker is the one that has health checks.
if command -v podman > /dev/null; then
  podman build --quiet --format docker --timestamp "$SOURCE_DATE_EPOCH" -t "$image" -f "$recipe" "$work/context" > /dev/null
  podman save --quiet -o "$file" "$image"
elif command -v docker > /dev/null; then
  docker build --quiet -t "$image" -f "$recipe" "$work/context" > /dev/null
  docker save -o "$file" "$image"
else
  echo 'container.sh: podman or docker is needed' >&2
  exit 1
fi
echo "$file"
