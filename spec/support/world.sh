#!/bin/sh
# world.sh SUITE TARGET…: makes the targets in an installed Debian of that suite, in a clean clone of
# what is committed here. $WORLD is the folder of the installations, which are kept between runs;
# AGAIN=1 installs anew. $LIMIT: seconds for all targets; $JOBS: how many at a time. Ends in "N
# passed, N failed"; a machine that cannot do it says so by name as skipped. Leaves a row for
# docs/systems.md in $WORLD/SUITE.row.
# shellcheck disable=SC2015,SC2016 # what other shells and programs expand

suite=$1
shift
world=${WORLD:-build/world} limit=${LIMIT:-3600}
mkdir -p "$world" || exit 1
world=$(cd "$world" && pwd) root=$world/$suite

skip() { # as busted reports what it skips
  printf 'Pending -> %s\n%s: %s\n0 passed, 0 failed, 1 skipped\n' "$0" "$suite" "$1"
  exit 0
}

fail() {
  printf '%s: %s\n0 passed, 1 failed\n' "$suite" "$1"
  exit 1
}

# A process tree and mounts of its own, which end with the command.
inside() {
  timeout -k 10 "$1" unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    sh -c "mount -t tmpfs tmpfs /dev/shm
      mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx
      $2" </dev/null
}

[ "$(id -u)" = 0 ] || skip "only root can install a system into a folder"
./deps.sh world || skip "debootstrap is not there"
unshare --mount --pid --fork true 2>/dev/null || skip "this machine allows no mounts of one's own"

# The mirror that this machine installs from, whose main packages of its own release it has.
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
  sed -n "s/^$release main //p" | head -n 1)
[ "$mirror" ] || skip "apt's sources name no mirror of $release"

[ -z "$AGAIN" ] || rm -rf --one-file-system "$root"
if [ ! -e "$root/etc/apt/apt.conf.d/80world" ]; then
  rm -rf --one-file-system "$root"
  script=$suite
  [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=sid # a newer name than debootstrap is
  timeout -k 10 900 debootstrap --variant=minbase "$suite" "$root" "$mirror" \
    "/usr/share/debootstrap/scripts/$script" >"$world/$suite.log" 2>&1 || {
    tail -n 3 "$world/$suite.log"
    skip "debootstrap could not install it"
  }
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/world"
  # Testing's lists expire within days; signed they are all the same.
  echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/80world"
fi
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

# build/ stays from run to run only where the installation is older than this run.
rm -rf --one-file-system "$root/kontext"
git -c safe.directory='*' archive --prefix=kontext/ HEAD | tar -xf - -C "$root" ||
  fail "git could not copy the tree"
case " $* " in *" test-rocks "*) # there is no git repository inside
  make dist >"$world/$suite.log" && mkdir -p "$root/kontext/build/dist" &&
    cp build/dist/kontext-* "$root/kontext/build/dist" || fail "make dist failed" ;;
esac
inside 900 "apt-get -qq update && apt-get -qq install -y --no-install-recommends make git lua5.4" \
  >"$world/$suite.apt.log" 2>&1 || { tail -n 5 "$world/$suite.apt.log"; fail "apt failed"; }

case " $* " in *" compilers "*) more="./deps.sh compilers;" ;; *) more= ;; esac
inside "$limit" "cd /kontext && make deps deps-demo deps-test && { $more make -j2 all &&
    lua5.4 spec/run -j${JOBS:-1} $*; }" \
  >"$world/$suite.out" 2>&1
status=$?
cat "$world/$suite.out"
[ "$status" != 124 ] && [ "$status" != 137 ] || fail "not done after $limit seconds"
tail -n 1 "$world/$suite.out" | grep -q ' passed, ' || fail "nothing was counted"

versions=$(inside 60 'v() { dpkg-query -W -f "\${Version}" "$1" 2>/dev/null | sed "s/^[0-9]*://; s/[-+~].*//"; }
  echo "$(cat /etc/debian_version) | $(gcc -dumpversion) | $(v libcurl4-openssl-dev) |" \
    "$(sed -n "1s/.*v\([0-9.]*\).*/\1/p" /usr/include/stb/stb_image.h) | $(v neovim) | $(v imagemagick) |" \
    "$(ls /usr/bin | sed -n "s/^lua\(5\.[0-9]\)$/\1/p" | tail -n 1)"')
awk -v suite="$suite" -v versions="$versions" '
  match($0, /^(ok|FAIL) +[^ ]+ +[0-9]+ kept/) {
    done = done (done ? "; " : "") $2 " " $3 ($5 ? ", **" $5 " failed**" : "")
    if ($7) done = done ", " $7 " skipped"
  }
  END { printf "| %s | %s | %s |\n", suite, versions, done }' "$world/$suite.out" >"$world/$suite.row"
exit "$status"
