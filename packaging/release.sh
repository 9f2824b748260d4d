#!/bin/bash
# release.sh [DIR]: everything that a release consists of, from built programs (those of target/release, or beside
# $VICAR_BIN), in DIR (target/dist):
#   vicar-VERSION-ARCH-linux.tar.xz   programs, manual pages, completions, documentation, the service's files
#   vicar_VERSION-1_ARCH.deb          the Debian package
#   vicar-VERSION-ARCH.image.tar      the container image, where podman or docker is
#   vicar-VERSION.cdx.json            what is linked into the programs (CycloneDX)
#   SHA256SUMS
# The same programs and sources make the same files, whenever and by whom they are made (but for the image, which holds
# the builder's C library). Needs dpkg-dev and xz-utils.
set -eu
# shellcheck source=packaging/common.sh
. "$(dirname "$0")/common.sh"
out=${1:-$root/target/dist}
umask 022
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

name=vicar-$version-$(uname -m)-linux
tree=$work/$name
mkdir -p "$tree"/{bin,man/man1,completions,packaging}
install_program vicar "$tree/bin"
install_program vicar-demo "$tree/bin"
install_pages "$tree/man/man1"
install_completions "$tree/completions"
install -m 644 "$root"/{README.md,CHANGELOG.md,LICENSE} "$tree/"
cp -r "$root/docs" "$tree/docs"
rm -f "$tree"/docs/*.py "$tree"/docs/*.sh
[ ! -d "$root/contrib" ] || cp -r "$root/contrib" "$tree/"
install -m 644 "$root"/packaging/vicar.{conf,default,service,sysusers,tmpfiles} "$tree/packaging/"
"$root/packaging/sbom.py" notices "$tree/THIRD-PARTY-LICENCES"
settle "$tree"
tar -C "$work" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
  xz -T1 > "$out/$name.tar.xz"
files=("$name.tar.xz")

package=$("$root/packaging/deb.sh" "$out" | tail -n 1)
files+=("$(basename "$package")")
"$root/packaging/sbom.py" cyclonedx "$out/vicar-$version.cdx.json"
files+=("vicar-$version.cdx.json")
if command -v podman > /dev/null || command -v docker > /dev/null; then
  files+=("$(basename "$("$root/packaging/container.sh" "$package" "$out" | tail -n 1)")")
else
  echo 'release.sh: neither podman nor docker is there, so no image is made' >&2
fi
cd "$out"
sha256sum "${files[@]}" > SHA256SUMS
printf '%s\n' "${files[@]}" SHA256SUMS
