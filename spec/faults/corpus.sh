#!/bin/sh
# Fetches the pictures of other projects' tests into build/corpus: Debian's source packages, found
# through an index of our own, so that the machine's apt settings stay as they are.
set -e
cd "$(dirname "$0")/../.."
mkdir -p build/corpus/apt/lists/partial build/corpus/apt/cache
cd build/corpus
test -e complete && exit 0
release=$(. /etc/os-release; echo "$VERSION_CODENAME")
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
  "http://deb.debian.org/debian $release main" > apt/sources.list
apt="-qq -o Dir::Etc::sourcelist=$PWD/apt/sources.list -o Dir::Etc::sourceparts=/dev/null
  -o Dir::State::lists=$PWD/apt/lists -o Dir::Cache=$PWD/apt/cache -o APT::Sandbox::User=root"
apt-get $apt update
for package in pillow libpng1.6 golang-1.19; do
  mkdir -p $package
  (cd $package && apt-get $apt source --download-only $package && for tarball in *.orig.tar.*; do
    tar -xf "$tarball" --wildcards --strip-components=1 \
      '*.png' '*.jpg' '*.jpeg' '*.webp' '*.gif' '*.bmp' '*.tif' '*.tiff' \
      2>/dev/null || true
  done
  rm -f ./*.tar.* ./*.dsc)
done
touch complete
