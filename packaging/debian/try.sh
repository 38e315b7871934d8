#!/bin/sh
# packaging/debian/try.sh ROOT DEB: installs the package into the bare system in the folder ROOT (made
# by debootstrap --variant=minbase) and edits a picture there on the emulator. Needs root.
set -e
root=$1 deb=$2
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$deb" "$root/tmp/kontext.deb"
cp docs/before.jpg "$root/root/car.jpg"
cat >"$root/tmp/try.sh" <<'END'
set -e
export DEBIAN_FRONTEND=noninteractive HOME=/root XDG_STATE_HOME=/root/state
cd /root
apt-get -qq update
apt-get -qq install -y /tmp/kontext.deb >/dev/null 2>&1
! command -v cc && ! command -v gcc
lua5.4 -e 'print(require("kontext")._VERSION)'
kontext emulator --port 8391 >/tmp/address 2>/tmp/hint &
emulator=$!
trap 'kill $emulator' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -s /tmp/address ] || sleep 3; done
cat /tmp/address /tmp/hint
export BFL_BASE_URL=http://127.0.0.1:8391
rm -f car-edit.jpg red.jpg door.jpg
kontext edit car.jpg "Make it snow"
kontext edit car.jpg "Change the car color to red" -o red.jpg --gallery red.html
kontext edit car.jpg "Paint the door green" --region 25%,30%,50%,50% -o door.jpg -q
kontext show car.jpg red.jpg | head -n 1
kontext edit car.jpg "Make it snow" --count 4 --dry-run
kontext size car.jpg
kontext batch --prompt "Make it snow" car.jpg -q
kontext credits
kontext doctor
kontext jobs
for file in /usr/share/man/man1/kontext.1.gz /usr/share/zsh/vendor-completions/_kontext \
  /usr/share/bash-completion/completions/kontext /usr/share/fish/vendor_completions.d/kontext.fish; do
  [ -s $file ] || ls $file
done
echo "installed and tried on $(. /etc/os-release; echo "$PRETTY_NAME")"
END
exec timeout -k 10 1500 unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh /tmp/try.sh
