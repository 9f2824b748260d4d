#!/bin/bash
# words.sh: is there none of the private dialect?
# In names, comments, pages and messages this project speaks the English of Rust's standard library and of
# OpenStack. Each pattern below is a habit that readers stumble over; no file has one. The last line is `N passed, M
# failed`, in files.
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
passed=0
failed=0
while read -r file; do
  [ -e "$file" ] || continue
  if found=$(grep -niE "$joined" "$file"); then
    failed=$((failed + 1))
    echo "FAIL  $file:"
    cut -c1-160 <<<"$found" | sed 's/^/        /'
  else
    passed=$((passed + 1))
  fi
done < <(find . \( -name target -o -name .cache -o -name .git \) -prune -o -type f \
  \( -name '*.rs' -o -name '*.md' -o -name '*.py' -o -name '*.sh' -o -path ./test -o -path ./.ci/run \) -print |
  cut -c3- | grep -vxF docs/words.sh | LC_ALL=C sort)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
