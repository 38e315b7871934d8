#!/bin/sh
# deps.sh PURPOSE…: sees to it that what those purposes (build, run, demo, test …) need is there.
# Silent when all is; with apt-get it installs what is missing, elsewhere names it and fails.
# shellcheck disable=SC2005,SC2046,SC2086,SC2116 # lists of names are split on purpose

lua=lua${LUA_VERSION:-5.4} package=$lua headers=lib$lua-dev
case $lua in
  luajit) package=luajit2/luajit headers=libluajit2-5.1-dev/libluajit-5.1-dev ;;
  lua5.1) headers=liblua5.1-0-dev ;;
esac
json=cjson emulator=$lua
# What Debian builds for no Lua 5.5: another Lua then runs the emulator.
[ "$lua" != lua5.5 ] || json=dkjson emulator=lua5.4
posix=/usr/share/lua/5.1/posix/init.lua # Debian has luaposix for other Luas than 5.4
python=/usr/lib/python3/dist-packages # the guide's own Python script runs in the tests
photo=/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg # CC0

# What is needed is told by a check, not by a package: any way of having it will do. Debian's column
# names one package for each release that calls it differently: a/b is the first that this release
# has, and a/ is left out where there is no a.
table="
# for|check              |Debian              |Fedora       |Arch   |Alpine     |Homebrew|LuaRocks
build|command cc         |gcc libc6-dev       |gcc          |gcc    |build-base
build|command pkg-config |pkg-config          |pkgconf      |pkgconf|pkgconf    |pkgconf
build|pkg libcurl        |libcurl4-openssl-dev|libcurl-devel|curl   |curl-dev   |curl
build|pkg libcrypto      |libssl-dev          |openssl-devel|openssl|openssl-dev|openssl
build|pkg zlib           |zlib1g-dev          |zlib-devel   |zlib   |zlib-dev   |zlib
build|inc stb/stb_image.h|libstb-dev          |stb-devel    |stb    |stb
build|pkg $lua           |$headers            |lua-devel    |lua    |lua5.4-dev |lua
run  |command $lua       |$package            |lua          |lua    |lua5.4     |lua
run  |module $json      |lua-$json           |             |       |           |        |$json
run  |module argparse    |lua-argparse        |             |       |           |        |argparse
run  |module mime        |lua-socket          |             |       |           |        |luasocket
run  |server http.server |lua-http            |             |       |           |        |http
demo |file $photo        |lomiri-wallpapers-16.04
test |pkg libjpeg        |libjpeg62-turbo-dev |libjpeg-turbo-devel|libjpeg-turbo|libjpeg-turbo-dev|jpeg-turbo
test |module busted      |lua-busted          |             |       |           |        |busted
test |file /usr/share/lua/5.1/dkjson.lua|lua-dkjson
test |file /usr/share/lua/5.1/DBI.lua|lua-dbi-postgresql
test |file /usr/lib/postgresql|postgresql
test |command localedef  |libc-bin
test |file /usr/share/i18n/locales/de_DE|locales
test |command luacheck   |lua-check           |             |       |           |        |luacheck
test |command luarocks   |luarocks
test |command nvim       |neovim
test |command openssl    |openssl
test |command jq         |jq
test |file $python/requests|python3-requests
test |file $python/PIL   |python3-pil
test |command curl       |curl
test |command ip         |iproute2
test |command file       |file
test |command dwebp      |webp
test |command man        |man-db
test |command compare    |imagemagick
test |file $posix        |lua-posix
test |command readelf    |binutils
test |command strace     |strace
test |command lua5.3     |lua5.3
test |command lua5.2     |lua5.2
test |command lua5.1     |lua5.1
test |command luajit     |luajit2/luajit
test |command lua5.5     |lua5.5/
test |pkg lua5.5         |liblua5.5-dev/
test |pkg lua5.3         |liblua5.3-dev
test |pkg lua5.2         |liblua5.2-dev
test |pkg lua5.1         |liblua5.1-0-dev
test |pkg luajit         |libluajit2-5.1-dev/libluajit-5.1-dev
hosts|module luv         |lua-luv
hosts|file /usr/share/lua/5.1/copas.lua|lua-copas
hosts|file /usr/share/lua/5.3/lgi.lua|lua-lgi
hosts|module luaevent.core|lua-event
hosts|command prosody    |prosody
hosts|command mpv        |mpv
hosts|file /usr/lib/nginx/modules/ngx_http_lua_module.so|nginx-light libnginx-mod-http-lua
hosts|command haproxy    |haproxy
hosts|command awesome    |awesome
hosts|command darktable  |darktable
hosts|command pandoc     |pandoc
hosts|command tshark     |tshark
hosts|command love       |love
hosts|command cvlc       |vlc-bin vlc-plugin-base
hosts|command obs        |obs-studio
hosts|since gir1.2-gimp-3.0 gimp-console-3|gimp gir1.2-gimp-3.0/
hosts|file /usr/lib/python3|python3
hosts|command Xvfb       |xvfb xauth
hosts|command tmux       |tmux
hosts|command curl       |curl
hosts|command npm        |npm nodejs
world|command debootstrap|debootstrap
world|command git        |git
world|command unshare    |util-linux
compilers|command gcc-12 |gcc-12/
compilers|command gcc-13 |gcc-13/
compilers|command gcc-14 |gcc-14/
compilers|command gcc-15 |gcc-15/
compilers|command clang  |clang
lint |command clang-tidy |clang-tidy
lint |command clang-format|clang-format
lint |command cppcheck   |cppcheck
lint |command shellcheck |shellcheck
check|command valgrind   |valgrind libc6-dbg
check|command clang      |clang libclang-rt-14-dev/libclang-rt-dev
check|command gcovr      |gcovr
deb  |command dpkg-buildpackage|dpkg-dev
deb  |command dh         |debhelper
deb  |command fakeroot   |fakeroot
deb  |pkg libjpeg        |libjpeg62-turbo-dev
bench|file $photo        |lomiri-wallpapers-16.04
bench|command gnuplot    |gnuplot-nox
bench|command valgrind   |valgrind libc6-dbg
bench|command strace     |strace
bench|command openssl    |openssl
bench|command jq         |jq
bench|command curl       |curl
bench|command npm        |npm nodejs
bench|command lua5.1     |lua5.1
bench|python requests    |python3-requests
bench|python PIL         |python3-pil
bench|module51 curl      |lua-curl
bench|module51 cqueues   |lua-cqueues
bench|module51 mime      |lua-socket
bench|module51 http.request|lua-http"

have() {
  case $1 in
    command) command -v "$2" ;;
    file) test -e "$2" ;;
    pkg) pkg-config --exists "$2" ;;
    since) ! apt-cache show "$2" || command -v "$3" ;; # what only newer releases have
    inc) echo "#include <$2>" | cc -E ${STB_INCDIR:+-I"$STB_INCDIR"} - ;;
    # Debian 12 has lua-http for 5.1 to 5.3 only, but its files for 5.1 serve every Lua.
    python) /usr/bin/python3 -c "import $2" ;;
    module51) lua5.1 -e "require '$2'" ;;
    server) LUA_PATH=";;/usr/share/lua/5.1/?.lua" "$emulator" -e "require '$2'" ;;
    module) LUA_PATH=";;/usr/share/lua/5.1/?.lua" "$lua" -e "require '$2'" ;;
  esac >/dev/null 2>&1
}

while IFS='|' read -r purpose check debian fedora arch alpine homebrew rocks; do
  case " $* " in *" ${purpose%% *} "*) ;; *) continue ;; esac
  have $check && continue
  DEBIAN="$DEBIAN $debian" FEDORA="$FEDORA $fedora" ARCH="$ARCH $arch"
  ALPINE="$ALPINE $alpine" HOMEBREW="$HOMEBREW $homebrew" ROCKS="$ROCKS $rocks"
done <<EOF
$table
EOF

DEBIAN=$(echo $DEBIAN)
[ "$DEBIAN" ] || exit 0

# The packages of a list by the names that this release has.
known() {
  for package; do
    for name in $(echo "$package" | tr / ' '); do
      [ "$name" = "$package" ] || apt-cache policy "$name" | grep -q 'Candidate: [^(]' && break
      name=
    done
    case $package in */) ;; *) name=${name:-${package%%/*}} ;; esac
    [ -z "$name" ] || echo "$name"
  done
}

if command -v apt-get >/dev/null; then
  [ "$(known $DEBIAN)" ] || exit 0
  [ "$(id -u)" = 0 ] && sudo= || sudo=$(command -v sudo) || sudo=none
  if [ "$sudo" != none ]; then
    apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@"; }
    apt update >/dev/null 2>&1 # what fails here may be a source that is not needed
    DEBIAN=$(echo $(known $DEBIAN))
    echo "installing $DEBIAN"
    said=$(apt install -y --no-install-recommends $DEBIAN 2>&1) && exit 0
    echo "$said" >&2
  fi
fi

say() { [ -z "$3" ] || printf '  %-15s %s %s\n' "$@"; }
{
  echo "kontext needs what these packages hold; install them, then make again:"
  say "Debian, Ubuntu" "apt-get install" "$(echo $DEBIAN)"
  say "Fedora" "dnf install" "$(echo $FEDORA)"
  say "Arch" "pacman -S" "$(echo $ARCH)"
  say "Alpine" "apk add" "$(echo $ALPINE)"
  say "Homebrew" "brew install" "$(echo $HOMEBREW)"
  say "LuaRocks" "luarocks install" "$(echo $ROCKS)"
  echo "where there is no package of stb: STB_INCDIR= names the folder that holds stb/stb_image.h"
} >&2
exit 1
