#!/bin/sh
# Fetches the pictures of other projects' tests into build/corpus: Debian's source packages, from
# where this machine gets its packages, through an index of our own: apt's settings stay as they are.
# shellcheck disable=SC1091,SC2086 # lists of names are split on purpose
set -e
cd "$(dirname "$0")/../.."
mkdir -p build/corpus/apt/lists/partial build/corpus/apt/cache build/corpus/apt/sources
cd build/corpus
test -e complete && exit 0
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources
do
  test -e "$list" || continue
  sed -e 's/^deb /deb-src /' -e 's/^Types: *deb *$/Types: deb-src/' "$list" \
    > apt/sources/"${list##*/}"
done
release=$(. /etc/os-release; echo "$VERSION_CODENAME")
apt="-qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$PWD/apt/sources
  -o Dir::State::lists=$PWD/apt/lists -o Dir::Cache=$PWD/apt/cache -o APT::Sandbox::User=root"
apt-get $apt update
for package in pillow libpng1.6 golang-1.19; do
  mkdir -p $package
  (cd $package && apt-get $apt source --download-only $package/$release && for tarball in *.orig.tar.*; do
    tar -xf "$tarball" --wildcards --strip-components=1 \
      '*.png' '*.jpg' '*.jpeg' '*.webp' '*.gif' '*.bmp' '*.tif' '*.tiff' \
      2>/dev/null || true
  done
  rm -f ./*.tar.* ./*.dsc)
done
touch complete
