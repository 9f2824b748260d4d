#!/bin/bash
# words.sh [--lower]: is there less of the private dialect than there was?
# In names, comments, pages and messages this project speaks the English of Rust's standard library and of
# OpenStack. Each pattern below is a habit that readers stumble over. docs/words.allow says how many lines
# of which file still have one; a number may only fall, and a file that is not named has none.
# --lower writes what has fallen. The last line is `N passed, M failed`.
set -u
cd "$(dirname "$0")/.." || exit 2
patterns=(
  # For clients a string is a string.
  'must be a text' 'in a text\b' 'as text\b'
  # Things appear or are given; they do not stand.
  '\bstands? (in|twice|once|more than once|several times|beside|before|after|behind|at the head)\b' '\b(may|can|must|shall|does not) stand\b'
  # A user is they, or "the user".
  '\b(he|him|himself|his)\b'
  "\b(nobody|somebody|anybody|everybody)'s\b" 'whose (it|they) (is|are)' '\bthat (is|are) (his|theirs)\b'
  # Main clauses without a subject: "Who stays away counts as disabled".
  '(^|[.:;,/] )who (stays|has|may|is|was|asks|wants|connects)\b.* (is|are|counts|gets|has|can)\b'
  # "Abandoned", "never ends", "dependent rows".
  'given up in the middle' '\bfor ever\b' 'goes? with (him|it|them)\b' '\bas long as (he|they) likes?\b'
  # A function returns something; a predicate says whether.
  '/// (Says|Gives|Tells) ' '/// (Is|Are|Does|Do|May|Has|Have|Can|Was) [^.]*\?'
)
joined=$(IFS='|'; echo "${patterns[*]}")
list=docs/words.allow
declare -A allowed
while read -r count file; do allowed[$file]=$count; done < <(grep -v '^#' "$list")
passed=0
failed=0
lines=()
while read -r file; do
  [ -e "$file" ] || continue
  count=$(grep -ciE "$joined" "$file")
  most=${allowed[$file]:-0}
  unset "allowed[$file]"
  [ "$count" = 0 ] || lines+=("$((count < most ? count : most)) $file")
  if [ "$count" = "$most" ]; then
    passed=$((passed + 1))
    continue
  fi
  [ "${1-}" = --lower ] && [ "$count" -lt "$most" ] && continue
  failed=$((failed + 1))
  if [ "$count" -gt "$most" ]; then
    echo "FAIL  $file: $count lines, allowed are $most:"
    grep -niE "$joined" "$file" | cut -c1-160 | sed 's/^/        /'
  else
    echo "FAIL  $file: $count lines where $most are allowed: docs/words.sh --lower"
  fi
done < <(find . \( -name target -o -name .cache -o -name .git \) -prune -o -type f \
  \( -name '*.rs' -o -name '*.md' -o -name '*.py' -o -name '*.sh' -o -path ./test -o -path ./.ci/run \) -print |
  cut -c3- | grep -vxF docs/words.sh | LC_ALL=C sort)
for file in "${!allowed[@]}"; do
  [ "${1-}" = --lower ] && continue
  echo "FAIL  $list names $file, which is not there"
  failed=$((failed + 1))
done
if [ "${1-}" = --lower ]; then
  { grep '^#' "$list"; printf '%s\n' "${lines[@]}" | grep -v '^0 '; } > "$list.new" && mv "$list.new" "$list"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
