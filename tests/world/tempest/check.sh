#!/bin/bash
# check.sh AUTH_URL ADMIN_PASSWORD OUTDIR
# Runs exactly the tests of must-pass.txt: those that an unmodified Keystone 30.0.0
# passes, for the areas that are built. Exit 1 unless every one of them passes; a
# skipped test has not passed. OUTDIR and the environment are as for run.sh; a
# narrower list is fine in TEMPEST_LOAD_LIST.
set -u
[ $# -eq 3 ] || { sed -n '2,/^set -u/p' "$0" | grep '^#' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
list=${TEMPEST_LOAD_LIST:-$here/must-pass.txt}
TEMPEST_LOAD_LIST=$list TEMPEST_BASELINE=$list "$here/run.sh" "$1" "$2" "$3"
[ $? -ne 2 ] || exit 2
[ -f "$3/passed.txt" ] || { echo "no results in $3" >&2; exit 2; }
lost=$(comm -23 <(sort -u "$list") <(sort -u "$3/passed.txt"))
wanted=$(sort -u "$list" | grep -c .)
if [ -n "$lost" ]; then
  n=$(printf '%s\n' "$lost" | wc -l)
  printf '%s\n' "$lost" | head -20 | sed 's/^/not passed: /'
  [ "$n" -le 20 ] || echo "... all of them in $3/regressions.txt"
  echo "$((wanted - n)) passed, $n failed"
  exit 1
fi
echo "$wanted passed, 0 failed"
