#!/bin/bash
# check.sh: do the tests exist that delegation.md names, and the files that the pages name and link to? Can programs be called? A path
# in backquotes begins at the root or where sources are. A cell `TEST?` is a rule that names no test. The last
# line is `N passed, M failed`.
# shellcheck disable=SC2016  # backquotes are what is searched for
set -u
cd "$(dirname "$0")/.." || exit 2
passed=0
failed=0
look() {
  if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL  $1"; fi
}
known=$(grep -rhoE 'fn [a-z0-9_]+' rules/tests rules/src server/tests server/src | cut -c4- | sort -u)
exists() { grep -qxF "$1" <<< "$known"; }
while read -r name; do
  look "docs/delegation.md names the test $name, which is not there" exists "$name"
done < <(grep '^|' docs/delegation.md | grep -oE '`[a-z0-9]+(_[a-z0-9]+){2,}`' | tr -d '`' | grep -vE '^(trustor_user_id|trustee_user_id|max_token_ttl|max_login_age|applies_to_existing|application_credential_id|last_used_at|last_validated_at|last_validated_by)$' | sort -u)
while read -r rule; do
  look "docs/delegation.md: rule $rule names no test" false
done < <(sed -nE 's/^\| ([0-9]+) \|.*TEST\?.*/\1/p' docs/delegation.md)
is_there() {
  test -e "$1" || test -e "server/src/$1" || test -e "rules/src/$1" || test -e "server/tests/$1"
}
while IFS=: read -r file path; do
  look "$file names $path, which is not there" is_there "$path"
done < <(grep -oE '`[a-z0-9_]+/[A-Za-z0-9_./]*`' ./*.md docs/*.md docs/decisions/*.md | tr -d '`' | sort -u)
while IFS=: read -r file target; do
  look "$file links to $target, which is not there" test -e "$(dirname "$file")/$target"
done < <(grep -oE '\]\([^)#:]+\)' ./*.md docs/*.md docs/decisions/*.md | sed -E 's/\]\(([^)]*)\)/\1/' | sort -u)
while read -r file; do
  look "$file begins like a program and cannot be called" test -x "$file"
done < <(git ls-files tests docs | grep -E '\.(py|sh)$' | while read -r file; do
  head -n 1 "$file" | grep -q '^#!' && echo "$file"
done)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
