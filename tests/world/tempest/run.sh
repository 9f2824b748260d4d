#!/bin/bash
# run.sh AUTH_URL ADMIN_PASSWORD OUTDIR [REGEX]
# Runs OpenStack's own black-box identity tests (tempest.api.identity and
# keystone_tempest_plugin) against any server that speaks the Identity v3 API.
# AUTH_URL like http://127.0.0.1:5100/v3. Uses the API only.
# Writes in OUTDIR: passed.txt failed.txt skipped.txt (one test id a line),
#   failures.log (tracebacks), failed-why.txt skipped-why.txt (grouped by
#   reason), modules.txt, selected.txt, subunit, console.log, ws/ (workspace)
# Last line: "N passed, M failed, K skipped". Exit 0: none failed. 2: no run.
# Environment (defaults):
#   TEMPEST_CONCURRENCY  1 = serial, N workers otherwise (2)
#   TEMPEST_EXCLUDE      exclusion regex (tests that need an IdP)
#   TEMPEST_LOAD_LIST    file of test ids to run instead of REGEX
#   TEMPEST_ADMIN_SYSTEM all = admin uses a system-scoped token ('')
#   TEMPEST_SYSTEM_TOKEN true = [identity]use_system_token (false)
#   TEMPEST_ENFORCE_SCOPE false skips the RBAC tests (true)
#   TEMPEST_SECURITY_COMPLIANCE true for a server with lockout etc. (false)
#   TEMPEST_BASELINE     passed list to compare with (must-pass.txt)
#   TEMPEST_VENV         (.cache/tempest, see ../setup.sh)
#   TEMPEST_OTHER_ENDPOINT 1: run though the catalog names another URL than
#                        AUTH_URL (tempest talks to the catalog's URL)
#   OS_TEST_TIMEOUT      seconds one test may take (600)
#   OS_USERNAME admin, OS_PROJECT_NAME admin, OS_DOMAIN_NAME Default,
#   OS_DOMAIN_ID default, OS_REGION_NAME RegionOne, OS_CACERT, OS_INSECURE
set -u
[ $# -ge 3 ] || { sed -n '2,/^set -u/p' "$0" | grep '^#' >&2; exit 2; }
HERE=$(cd "$(dirname "$0")" && pwd)
URL=${1%/}; PW=$2; OUT=$3
REGEX=${4:-'^(tempest\.api\.identity|keystone_tempest_plugin)\.'}
EXCLUDE=${TEMPEST_EXCLUDE:-'^keystone_tempest_plugin\.tests\.scenario\.'}
CONC=${TEMPEST_CONCURRENCY:-2}
CACHE=${VICAR_CACHE:-$(cd "$HERE/../../.." && pwd)/.cache}
V=${TEMPEST_VENV:-$CACHE/tempest}
[ -n "${TEMPEST_VENV:-}" ] || "$HERE/../setup.sh" tempest > /dev/null || exit 2
mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd)
rm -rf "$OUT/ws"; mkdir -p "$OUT/ws/etc" "$OUT/ws/logs" "$OUT/ws/tempest_lock"
rm -f "$OUT"/{passed,failed,skipped,selected,modules,failed-why,skipped-why,regressions}.txt "$OUT"/{failures.log,subunit,console.log}
export OS_USERNAME=${OS_USERNAME:-admin} OS_PROJECT_NAME=${OS_PROJECT_NAME:-admin}
export OS_DOMAIN_NAME=${OS_DOMAIN_NAME:-Default} OS_REGION_NAME=${OS_REGION_NAME:-RegionOne}
export OS_CACERT=${OS_CACERT:-} OS_INSECURE=${OS_INSECURE:-}
"$V/bin/python" "$HERE/prepare.py" "$URL" "$PW" || exit 2

SP=$("$V/bin/python" -c 'import tempest,os;print(os.path.dirname(os.path.dirname(tempest.__file__)))')
cat > "$OUT/ws/.stestr.conf" <<C
[DEFAULT]
test_path=$SP/tempest/test_discover
top_dir=$SP
group_regex=([^\.]*\.)*
C
cat > "$OUT/ws/etc/tempest.conf" <<C
[DEFAULT]
log_dir = $OUT/ws/logs
log_file = tempest.log
debug = true
resource_name_prefix = tempest
[oslo_concurrency]
lock_path = $OUT/ws/tempest_lock
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
default_credentials_domain_name = $OS_DOMAIN_NAME
admin_username = $OS_USERNAME
admin_password = ${PW//\$/\$\$}
admin_domain_name = $OS_DOMAIN_NAME
$([ -n "${TEMPEST_ADMIN_SYSTEM:-}" ] && echo "admin_system = $TEMPEST_ADMIN_SYSTEM" || echo "admin_project_name = $OS_PROJECT_NAME")
[identity]
uri_v3 = $URL
auth_version = v3
v3_endpoint_type = public
region = $OS_REGION_NAME
admin_role = admin
default_domain_id = ${OS_DOMAIN_ID:-default}
use_system_token = ${TEMPEST_SYSTEM_TOKEN:-false}
$([ -n "$OS_CACERT" ] && echo "ca_certificates_file = $OS_CACERT")
$([ -n "$OS_INSECURE" ] && echo "disable_ssl_certificate_validation = true")
[identity-feature-enabled]
trust = true
api_extensions = all
access_rules = true
security_compliance = ${TEMPEST_SECURITY_COMPLIANCE:-false}
immutable_user_source = false
domain_specific_drivers = false
federation = false
external_idp = false
[enforce_scope]
keystone = ${TEMPEST_ENFORCE_SCOPE:-true}
[service_available]
cinder = false
neutron = false
glance = false
swift = false
nova = false
horizon = false
C
cd "$OUT/ws" || exit 2
export TEMPEST_CONFIG_DIR=$OUT/ws/etc TEMPEST_CONFIG=tempest.conf HOME=$OUT/ws PYTHON=$V/bin/python PYTHONWARNINGS=ignore
export PATH=$V/bin:$PATH OS_TEST_TIMEOUT=${OS_TEST_TIMEOUT:-600}
stestr init > /dev/null || exit 2
if [ -n "${TEMPEST_LOAD_LIST:-}" ]; then
  cp "$TEMPEST_LOAD_LIST" "$OUT/selected.txt"
else
  tempest run --config-file etc/tempest.conf --list-tests --regex "$REGEX" --exclude-regex "$EXCLUDE" > list.out 2> list.err
  grep -E '^(tempest|keystone_tempest_plugin)\.' list.out > "$OUT/selected.txt"
fi
[ -s "$OUT/selected.txt" ] || { echo "no test selected" >&2; cat list.err >&2; exit 2; }
[ "$CONC" = 1 ] && how=(--serial) || how=(--concurrency "$CONC")
t0=$(date +%s.%N)
tempest run --config-file etc/tempest.conf "${how[@]}" --load-list "$OUT/selected.txt" > "$OUT/console.log" 2>&1
t1=$(date +%s.%N)
stestr last --subunit > "$OUT/subunit" 2> stestr.err
echo "wall time $(echo "$t1 $t0" | awk '{printf "%.1f", $1-$2}') s, $(wc -l < "$OUT/selected.txt") tests selected, concurrency $CONC"
export TEMPEST_BASELINE=${TEMPEST_BASELINE-$HERE/must-pass.txt}
"$V/bin/python" "$HERE/results.py" "$OUT/selected.txt" "$OUT/subunit" "$OUT"
