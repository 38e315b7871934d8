#!/bin/sh
# make screens: makes the pictures of README again, from runs on the emulator: the page of --gallery,
# kontext show, and Neovim in tmux.
set -e
here=$(pwd) lua=${LUA:-lua5.4}
work=$(mktemp -d)
trap 'kill $emulator 2>/dev/null; tmux -L screens kill-server 2>/dev/null; rm -rf "$work"' EXIT
export XDG_STATE_HOME="$work/state" COLORTERM=truecolor
unset BFL_API_KEY

$lua bin/kontext emulator --ready-after 0.5 >"$work/address" 2>/dev/null &
emulator=$!
until [ -s "$work/address" ]; do sleep 0.1; done
BFL_BASE_URL=$(head -n 1 "$work/address")
export BFL_BASE_URL

run() { "$lua" "$here/bin/kontext" "$@"; }
# A picture no wider than this, as JPEG.
small() {
  FROM=$1 TO=$2 WIDTH=$3 $lua -e 'local core = require "kontext.core"
    local from, width = os.getenv "FROM", tonumber(os.getenv "WIDTH")
    local info = core.check { path = from }
    width = math.min(width, info.width)
    local height = math.floor(info.height * width / info.width + 0.5)
    assert(core.save(os.getenv "TO", (assert(core.thumbnail({ path = from }, width, height, "jpeg")))))'
}

cp docs/before.jpg "$work/car.jpg"
cd "$work"
run edit car.jpg "Change the sunset to a clear night under a full moon" --seed 7 --quiet \
  --gallery page.html
node "$here/spec/gallery/browser.mjs" "$here/build/gallery" "$work/page.html" "$work" >/dev/null

screen() { # NAME COLUMNS ROWS SECONDS COMMAND: what stands on a terminal of that size then
  tmux -L screens -f /dev/null new-session -d -x "$2" -y "$3" "$5"
  sleep "$4"
  tmux -L screens capture-pane -e -p >"$1.ansi"
  tmux -L screens kill-server
  node "$here/spec/gallery/terminal.mjs" "$here/build/gallery" "$2" "$work/$1.png" <"$1.ansi"
}
screen show 100 22 "${PAUSE:-8}" \
  "$lua $here/bin/kontext show car.jpg car-edit.jpg --graphics cells; sleep 100"
screen nvim 100 26 "${PAUSE:-8}" "nvim --clean --cmd 'set rtp+=$here termguicolors' \
  +'Kontext edit car.jpg Change the sunset to a clear night' car.txt"

cd "$here"
small "$work/light.png" docs/gallery.jpg 900
small "$work/show.png" docs/show.jpg 900
small "$work/nvim.png" docs/nvim.jpg 900
