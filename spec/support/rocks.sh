#!/bin/sh
# rocks.sh [VERSION…]: installs the archive and the rockspec that `make dist` left in build/dist with
# LuaRocks, in each way that a user may: as root into the system's tree, --local, into a tree with a
# space in its path, and by `luarocks make`. It never asks LuaRocks' registry: what the rock depends
# on counts as installed. It removes all of it again, and ends in "N passed, N failed". Run as root it
# writes to /usr/local, so it is meant for the systems of `make world`.
# shellcheck disable=SC2086 # $rocks is a command and its options
versions=${*:-5.1 5.2 5.3 5.4 5.5}
work=$(mktemp -d) passed=0 failed=0
trap 'rm -rf "$work"' EXIT
tar -xzf build/dist/kontext-*.tar.gz -C "$work" && cp build/dist/* "$work" || exit 1
spec=$(cd "$work" && echo kontext-*-1.rockspec)
echo 'rocks_provided = { dkjson = "2.6-1", argparse = "0.7.1-1" }' >"$work/provided.lua"
export LUAROCKS_CONFIG="$work/provided.lua" HOME="$work/a home"
mkdir "$HOME"

# Returns whether this Lua loads the module and its core from a tree that has types and a command.
is_whole() { # VERSION TREE
  found=$(cd / && LUA_PATH="$2/share/lua/$1/?.lua;$2/share/lua/$1/?/init.lua;;" \
    LUA_CPATH="$2/lib/lua/$1/?.so;;" "lua$1" -e '
      local kontext = require "kontext"
      local found = package.searchpath or function(name) return package.loaded[name] and "5.1" end
      print(kontext.info().json, found("kontext.core", package.cpath))' 2>&1) || {
    echo "$found"
    return 1
  }
  case $1$found in 5.1*) ;; *"$2/lib/lua/$1/kontext/core.so") ;; *) echo "$found" && return 1 ;; esac
  [ "$(find "$2" -path '*/types/kontext.lua' | wc -l)" -ge 1 ] || {
    echo "no types in $2"
    return 1
  }
  "$2/bin/kontext" --version
}

try() { # NAME VERSION TREE COMMAND…
  name=$1 version=$2 tree=$3
  shift 3
  if "$@" >"$work/log" 2>&1 && is_whole "$version" "$tree" >>"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "luarocks $name, Lua $version:"
    tail -n 5 "$work/log"
  fi
}

for version in $versions; do
  command -v "lua$version" >/dev/null || continue
  rocks="luarocks --lua-version $version"
  cd "$work" || exit 1
  [ "$(id -u)" != 0 ] ||
    try "install, as root" "$version" /usr/local $rocks install "$spec"
  $rocks remove kontext >/dev/null 2>&1
  try "install --local" "$version" "$HOME/.luarocks" $rocks install --local "$spec"
  try "install --tree" "$version" "$work/a tree" $rocks install --tree "$work/a tree" "$spec"
  cd "$work"/kontext-*/ || exit 1
  try "make" "$version" "$work/made" $rocks make --tree "$work/made" kontext-scm-1.rockspec
  rm -rf build "$work/made" "$work/a tree" "$HOME/.luarocks"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
