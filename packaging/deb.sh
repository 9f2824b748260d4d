#!/bin/bash
# deb.sh [--version VERSION] [DIR]: makes the Debian package from built programs, by dpkg-deb.
# DIR is target/dist without one; VERSION, a Debian version, is Cargo.toml's with the revision 1. The programs are
# those of target/release, or beside $VICAR_BIN. The last line is the package's path.
# Needs dpkg-dev. DEBFULLNAME and DEBEMAIL say who maintains the package.
set -eu
shopt -s extglob
# shellcheck source=packaging/common.sh
. "$(dirname "$0")/common.sh"
debian=
while [ $# -gt 0 ]; do
  case $1 in
    --version) debian=$2; shift 2;;
    -*) sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2;;
    *) break;;
  esac
done
debian=${debian:-$version-1}
out=${1:-$root/target/dist}
maintainer="${DEBFULLNAME:-The authors of Vicar} <${DEBEMAIL:-vicar@vicar.invalid}>"
arch=$(dpkg --print-architecture)
here=$root/packaging
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
doc=$tree/usr/share/doc/vicar
umask 022

mkdir -p "$tree"/{DEBIAN,etc/default,etc/vicar,usr/bin,usr/share/man/man1,lib/systemd/system,usr/lib/sysusers.d,usr/lib/tmpfiles.d} \
  "$tree"/usr/share/{lintian/overrides,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d} "$doc"
install_program vicar "$tree/usr/bin"
install_program vicar-demo "$tree/usr/bin"

mkdir "$work/completions"
install_completions "$work/completions"
for name in vicar vicar-demo; do
  install -m 644 "$work/completions/$name.bash" "$tree/usr/share/bash-completion/completions/$name"
  install -m 644 "$work/completions/_$name" "$tree/usr/share/zsh/vendor-completions/"
  install -m 644 "$work/completions/$name.fish" "$tree/usr/share/fish/vendor_completions.d/"
done
install_pages "$tree/usr/share/man/man1"
gzip -9n "$tree"/usr/share/man/man1/*

install -m 644 "$here/vicar.service" "$tree/lib/systemd/system/"
install -m 644 "$here/vicar.sysusers" "$tree/usr/lib/sysusers.d/vicar.conf"
install -m 644 "$here/vicar.tmpfiles" "$tree/usr/lib/tmpfiles.d/vicar.conf"
install -m 644 "$here/vicar.default" "$tree/etc/default/vicar"
# It may hold the database's password. postinst gives it to the group vicar.
install -m 640 "$here/vicar.conf" "$tree/etc/vicar/vicar.conf"

install -m 644 "$root"/docs/*.md "$root/docs/openapi.json" "$doc/"
cp -r "$root/docs/decisions" "$doc/"
[ ! -d "$root/contrib" ] || cp -r "$root/contrib" "$doc/"
gzip -9nc "$root/CHANGELOG.md" > "$doc/changelog.gz"
gzip -9n > "$doc/changelog.Debian.gz" <<END
vicar ($debian) bookworm; urgency=medium

  * Vicar $version; changelog.gz says what is new.

 -- $maintainer  $(date -Rd "@$SOURCE_DATE_EPOCH")
END
"$here/sbom.py" notices "$work/notices"
gzip -9nc "$work/notices" > "$doc/third-party-licences.gz"
cat > "$doc/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Vicar

Files: *
Copyright: 2026 the authors of Vicar
License: Apache-2.0
 On Debian systems the text of this licence is in
 /usr/share/common-licenses/Apache-2.0.
Comment:
 The programs contain libraries of others, linked statically. Their licences
 are in /usr/share/doc/vicar/third-party-licences.gz.
END

install -m 644 "$here/debian/lintian-overrides" "$tree/usr/share/lintian/overrides/vicar"

install -m 755 "$here"/debian/{postinst,prerm,postrm} "$tree/DEBIAN/"
install -m 644 "$here/debian/templates" "$tree/DEBIAN/"
printf '%s\n' /etc/default/vicar /etc/vicar/vicar.conf > "$tree/DEBIAN/conffiles"

# What the programs need of the C library, as its symbols say.
mkdir "$work/debian"
printf 'Source: vicar\n\nPackage: vicar\nArchitecture: any\n' > "$work/debian/control"
needs=$(cd "$work" && dpkg-shlibdeps --warnings=1 -O tree/usr/bin/* | sed -n 's/^shlibs:Depends=//p')
settle "$tree"
chmod 750 "$tree/etc/vicar"
size=$(du -k --apparent-size -s --exclude=DEBIAN "$tree" | cut -f1)
cat > "$tree/DEBIAN/control" <<END
Package: vicar
Version: $debian
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size
Depends: $needs, systemd | systemd-standalone-sysusers | systemd-sysusers, debconf (>= 0.5) | debconf-2.0
Recommends: ca-certificates
Suggests: python3-openstackclient, postgresql, mariadb-server
Section: net
Priority: optional
Description: identity service with delegated authority at its heart
 Vicar speaks OpenStack Identity v3, the API of Keystone: users, projects,
 roles, the catalog, tokens, trusts and EC2 keypairs. Authority that is
 delegated by a trust can be passed on, never grows, and ends everywhere when
 it ends anywhere above.
 .
 It is one program, with SQLite inside, or on PostgreSQL or MariaDB; it reads
 Keystone's database, keys, configuration and policy files.
END
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs md5sum > DEBIAN/md5sums)
settle "$tree"
chmod 750 "$tree/etc/vicar"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/vicar_${debian}_$arch.deb" > /dev/null
echo "$out/vicar_${debian}_$arch.deb"
