#!/bin/bash
# setup.sh [clients|gateways|keystone|keystone27|keystone28|keystone29|ldap|provider|dashboard|tempest|heat|octavia|fuzz|lint|packages|watching|site|bench|services|databases|cluster|proxies|federation|gophercloud|counts]...
#     (no name: all)
# Makes, or reuses, the Python environments of these tests, under
# ${VICAR_CACHE:-<repository>/.cache}/<name>, from requirements-<name>.txt; `provider` is one of Node's, from provider/.
# An environment is made anew only when its requirements file has changed.
# The last eight are none: Debian's packages, whose own servers are not started. `bench` is what a
# benchmark needs, `services` what Heat needs, `databases` what Vicar can use, `cluster` what makes several
# machines of one, `proxies` what there is in front of one, `federation` what
# speaks with providers there, and a provider of SAML, `gophercloud` the library with Go,
# `counts` what counts instructions.
set -eu
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
cache=${VICAR_CACHE:-$(cd "$here/../.." && pwd)/.cache}
[ $# -gt 0 ] || set -- clients gateways keystone keystone27 keystone28 keystone29 ldap provider dashboard tempest heat octavia fuzz lint packages watching site bench services databases cluster proxies federation gophercloud counts

want=()
# What makes an environment usable is in a package of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)
for name in "$@"; do
  case $name in
    keystone|heat)     # uwsgi comes as source
      command -v cc >/dev/null || want+=(gcc libc6-dev)
      [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] || want+=(python3-dev);;
    bench)
      for program in wrk memcached; do
        command -v $program >/dev/null || want+=("$program")
      done;;
    gateways)     # their caches
      command -v memcached >/dev/null || want+=(memcached);;
    counts)
      command -v valgrind >/dev/null || want+=(valgrind);;
    gophercloud)
      command -v go >/dev/null || want+=(golang-go)
      [ -d /usr/share/gocode/src/github.com/gophercloud ] || want+=(golang-github-gophercloud-gophercloud-dev);;
    watching)     # prometheus brings promtool
      for program in prometheus openssl; do
        command -v $program >/dev/null || want+=("$program")
      done;;
    site)         # what the pages' commands use
      for program in curl jq openssl; do
        command -v $program >/dev/null || want+=("$program")
      done;;
    clients)      # certificates
      command -v openssl >/dev/null || want+=(openssl);;
    ldap)         # the server, and what python-ldap is made with
      command -v slapd >/dev/null || want+=(slapd)
      command -v ldapmodify >/dev/null || want+=(ldap-utils)
      command -v openssl >/dev/null || want+=(openssl)
      command -v cc >/dev/null || want+=(gcc libc6-dev)
      [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] || want+=(python3-dev)
      [ -e /usr/include/ldap.h ] || want+=(libldap2-dev)
      command -v samba >/dev/null || want+=(samba)      # a domain controller
      [ -e /usr/share/samba/setup/provision.ldif ] || want+=(samba-ad-provision)
      compgen -G '/usr/lib/*/samba/ldb/samldb.so' >/dev/null || want+=(samba-dsdb-modules)
      compgen -G '/usr/lib/*/samba/vfs/acl_xattr.so' >/dev/null || want+=(samba-vfs-modules)
      [ -e /usr/include/sasl/sasl.h ] || want+=(libsasl2-dev);;
    provider)
      command -v node >/dev/null || want+=(nodejs)
      command -v npm >/dev/null || want+=(npm);;
    octavia|dashboard|fuzz|tempest|lint|keystone27|keystone28|keystone29) ;;
    packages)     # what makes packages, judges them, and is a clean machine for them
      for each in dpkg-shlibdeps:dpkg-dev lintian:lintian debootstrap:debootstrap systemd-nspawn:systemd-container \
          xz:xz-utils podman:podman crun:crun; do
        command -v "${each%:*}" >/dev/null || want+=("${each#*:}")
      done
      [ -e /etc/ssl/certs/ca-certificates.crt ] || want+=(ca-certificates);;
    services)
      command -v mariadbd >/dev/null || want+=(mariadb-server-core mariadb-client)
      command -v openssl >/dev/null || want+=(openssl)
      [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || want+=(rabbitmq-server);;
    databases)
      command -v mariadbd >/dev/null || want+=(mariadb-server-core mariadb-client)
      compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || want+=(postgresql);;
    cluster)
      command -v wsrep_sst_rsync >/dev/null || want+=(mariadb-server)
      [ -e /usr/lib/galera/libgalera_smm.so ] || want+=(galera-4)
      for program in haproxy rsync lsof; do
        command -v $program >/dev/null || want+=("$program")
      done;;
    proxies)
      for program in haproxy openssl curl; do
        command -v $program >/dev/null || want+=("$program")
      done
      command -v nginx >/dev/null || want+=(nginx-light)
      command -v apache2 >/dev/null || want+=(apache2-bin);;
    federation)
      command -v apache2 >/dev/null || want+=(apache2-bin)
      command -v openssl >/dev/null || want+=(openssl)
      for module in openidc mellon; do
        [ -e /usr/lib/apache2/modules/mod_auth_$module.so ] || want+=("libapache2-mod-auth-$module")
      done
      command -v php >/dev/null || want+=(php-cli php-mbstring php-xml)
      [ -e /usr/share/simplesamlphp/www ] || want+=(simplesamlphp);;
    *) echo "setup.sh: no such environment: $name" >&2; exit 2;;
  esac
done
mkdir -p "$cache"
if [ ${#want[@]} -gt 0 ]; then
  exec 8> "$cache/.packages.lock"
  flock 8                   # two runs at once: one after another
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  # The tests start servers of their own: those of the packages stay down.
  deny=/usr/sbin/policy-rc.d
  made=
  if [ ! -e $deny ]; then
    made=$deny
    trap '[ -z "$made" ] || "${as_root[@]}" rm -f "$made"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $deny >/dev/null
    "${as_root[@]}" chmod 755 $deny
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${want[@]}"
  [ -z "$made" ] || "${as_root[@]}" rm -f "$made"
  made=
  exec 8>&-
fi

for name in "$@"; do
  case $name in bench|services|databases|cluster|proxies|federation|gophercloud|counts) continue;; esac
  list=$here/requirements-$name.txt
  env=$cache/$name
  lists=("$list")
  maker=(python3 --version)
  # An older Keystone runs on what the newest one brings.
  case $name in
    keystone??|ldap) lists+=("$here/requirements-keystone.txt");;
    octavia) lists+=("$here/requirements-heat.txt");;
    provider) lists=("$here/provider/package.json" "$here/provider/package-lock.json") maker=(node --version);;
  esac
  stamp=$({ "${maker[@]}"; cat "${lists[@]}"; } | sha256sum | cut -d' ' -f1)
  (
    flock 9                 # two runs at once: the second finds it made
    if [ "$(cat "$env/.stamp" 2>/dev/null)" = "$stamp" ]; then
      echo "$name: ready ($env)"
      exit 0
    fi
    rm -rf "$env"
    if [ "$name" = provider ]; then
      mkdir "$env"
      cp "${lists[@]}" "$env"
      npm ci --prefix "$env" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
      echo "$stamp" > "$env/.stamp"
      echo "$name: made ($env)"
      exit 0
    fi
    python3 -m venv "$env"
    # What is used is compiled when it is imported: a third of all that there is.
    pip=("$env/bin/python" -m pip -q --disable-pip-version-check install --no-compile -r "$list")
    if [ ${#lists[@]} = 1 ]; then
      "${pip[@]}"
    else
      grep -v '^keystone==' "${lists[1]}" > "$env/constraints.txt"
      "${pip[@]}" -c "$env/constraints.txt"
    fi
    echo "$stamp" > "$env/.stamp"
    echo "$name: made ($env)"
  ) 9> "$cache/.$name.lock"
done
