# Sourced by the scripts beside it: what is packaged, and when it was made.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The programs: beside VICAR_BIN, or a release build.
programs=$(dirname "${VICAR_BIN:-$root/target/release/vicar}")
programs=$(cd "$programs" 2>/dev/null && pwd) && [ -x "$programs/vicar" ] && [ -x "$programs/vicar-demo" ] || {
  echo "vicar and vicar-demo are not there; build them: cargo build --locked --release --workspace" >&2
  exit 1
}

# shellcheck disable=SC2034  # for whoever sources this
version=$(sed -nE 's/^version = "(.*)"/\1/p' "$root/Cargo.toml" | head -n 1)

# Everything that is made is as old as the last commit, so the same sources make the same files.
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/Cargo.lock")}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

# install_program NAME DIR: without symbols, which a debug build has
install_program() {
  install -m 755 "$programs/$1" "$2/$1"
  strip --strip-unneeded "$2/$1"
}

# install_pages DIR: manual pages of both programs. vicar-demo's own page replaces the one of `vicar demo`.
install_pages() {
  "$programs/vicar" generate man "$1"
  (cd "$1" && "$programs/vicar-demo" --generate man)
}

# install_completions DIR: for bash, zsh and fish, of both programs
install_completions() {
  "$programs/vicar" generate completions "$1"
  (cd "$1" && "$programs/vicar-demo" --generate completions)
}

# settle DIR: times and modes that do not depend on who made it
settle() {
  find "$1" -type d -exec chmod u=rwx,go=rx {} +
  find "$1" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}
