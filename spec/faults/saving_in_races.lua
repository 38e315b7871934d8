-- S9: saving where somebody else moves the names. The target, or its folder, is swapped for a link
-- to the outside, a folder, a FIFO or a device before each call on files in turn, and in a race;
-- names that no file can have; umasks; folders that cannot be written. Nothing outside is written,
-- nobody ever sees half a file, nothing hangs, and each error says what to do. (A folder's name
-- counts when it is opened: what it then leads to is where the file goes, whatever comes after.
-- With save_as it is opened twice: before anything is paid, and when the picture comes.)

local namespace = require "faults.namespace"
namespace.enter "S9"

local cqueues = require "cqueues"
local campaign = require "faults.campaign"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"
local token = require "kontext.token"

local RACES = campaign.size(400, 5000, 50000) -- tries of one race with image:save
local WAYS = { "save", "save_as", "journal", "compaction" }
local MENDS = { "choose", "give the", "make its folder", "not the name of a file", "begin again" }

local run = campaign.new { id = "S9", title = "saving where names are swapped", at_once = 1,
                           limit = 100, script = "spec/faults/saving.lua" }

local pictures = { old = picture.png(64, 48, 150000), new = picture.png(32, 24, 90000) }
local back, base

local function shell(...) assert(os.execute(table.concat({ ... }, " "))) end

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

-- So many outlived lines that opening the journal compacts it.
local function outlived()
  local lines = {}
  for i = 1, 100 do
    local text = ("INTENT %d key=old"):format(i)
    lines[i] = token.sum(text) .. " " .. text .. "\n"
  end
  return table.concat(lines)
end

-- What is swapped for the target, or for its folder: made at `path`, leading to `outside`.
local decoys = {
  { name = "link to a file", make = function(path, outside)
    shell("ln -s", outside .. "/file", path)
  end },
  { name = "dangling link", make = function(path, outside)
    shell("ln -s", outside .. "/nothing", path)
  end },
  { name = "link to a folder", make = function(path, outside) shell("ln -s", outside, path) end },
  { name = "folder", make = function(path) shell("mkdir", path) end },
  { name = "FIFO", make = function(path) shell("mkfifo", path) end },
  { name = "device", make = function(path) shell("mknod", path, "c 1 3") end },
  { name = "folder, swapped for a link", of_folder = true,
    make = function(path, outside) shell("ln -s", outside, path) end },
  { name = "folder, swapped for another", of_folder = true,
    make = function(path) shell("mkdir", path) end },
}

local places = 0

-- Makes a place: the folder `inside` with the target, the decoy beside it, and `outside`.
local function make_place(way, decoy)
  places = places + 1
  local root = ("%s/%d"):format(run.temporary, places)
  local place = { root = root, inside = root .. "/inside", outside = root .. "/outside",
                  decoy = root .. "/decoy" }
  shell("mkdir -p", place.inside, place.outside)
  write(place.outside .. "/file", "outside")
  place.target = place.inside .. "/target" .. (way == "save_as" and ".png" or "")
  if way == "save" or way == "save_as" then write(place.target, pictures.old)
  elseif way == "compaction" then write(place.target, outlived()) end
  if way == "journal" then write(place.target, "") end
  if decoy then decoy.make(place.decoy, place.outside) end
  place.swap = (decoy and decoy.of_folder and place.inside or place.target) .. ":" .. place.decoy
  return place
end

-- Returns the regular files below a folder, links not followed: path → bytes; and other names.
local function files_of(folder, files, others)
  files, others = files or {}, others or {}
  for _, name in ipairs(sys.list(folder) or {}) do
    local path = folder .. "/" .. name
    local kind = sys.stat(path).kind
    if kind == "file" then files[path] = campaign.read(path)
    elseif kind == "directory" then files_of(path, files, others)
    else others[#others + 1] = path end
  end
  return files, others
end

-- What is wrong with the names and files of a place; `elsewhere` where the folder led outside when
-- it was opened.
local function look_around(place, way, outcome, elsewhere)
  local files = files_of(place.root)
  local new, journals = 0, 0
  if files[place.outside .. "/file"] ~= "outside" then return "the file outside was written" end
  for path, bytes in pairs(files) do
    local outside = path:sub(1, #place.outside + 1) == place.outside .. "/"
    if path:find "/%.kontext" then return "left behind: " .. path end
    if outside and path ~= place.outside .. "/file" and not elsewhere then
      return "written outside: " .. path
    end
    if way == "save" or way == "save_as" then
      if bytes == pictures.new then new = new + 1
      elseif bytes ~= pictures.old and bytes ~= "outside" then return "half a file: " .. path end
    elseif bytes:find " ACCEPTED " then
      journals = journals + 1
      local mode = sys.stat(path).mode
      if mode ~= 384 then return ("a journal's mode is %o, not 0600: %s"):format(mode, path) end
    end
  end
  if way == "journal" or way == "compaction" then
    if outcome.saved and journals ~= 1 then return journals .. " journals hold the edit" end
  elseif new ~= (outcome.saved or 0) then
    return ("%d new pictures, %d saved"):format(new, outcome.saved or 0)
  end
end

-- What is wrong with an error.
local function look_at_error(outcome, way)
  if outcome.saved then return nil end
  local told = false
  for _, mend in ipairs(MENDS) do told = told or outcome.text:find(mend, 1, true) ~= nil end
  if not told then return "its error does not say what to do: " .. outcome.text end
  if outcome.kind ~= "file" and outcome.kind ~= "invalid" then
    return "its error is of kind " .. outcome.kind .. ": " .. outcome.text
  end
  if way ~= "save_as" or outcome.kind ~= "file" then return nil end
  if outcome.stage == "check" then
    return outcome.posts > 0 and "paid for, though it could not be saved: " .. outcome.text or nil
  elseif outcome.kept ~= #pictures.new then
    return "the picture was lost: " .. outcome.text
  end
end

local function ask(client, way, place, more)
  local request = { how = way == "compaction" and "journal" or way, base = base,
                    key = campaign.key, path = place.target }
  for name, value in pairs(more or {}) do request[name] = value end
  local before = server.submits(back.ledger)
  local outcome = client:run(request)
  if outcome then outcome.posts = server.submits(back.ledger) - before end
  return outcome, run:sane(outcome)
end

-- Swaps before the nth call on files.
local function try_gap(case, client)
  local place = make_place(case.way, case.decoy)
  local outcome, wrong = ask(client, case.way, place, { nth = case.nth, swap = place.swap })
  if wrong then return wrong end
  case.calls = outcome.calls
  wrong = look_at_error(outcome, case.way)
    or look_around(place, case.way, outcome, case.decoy.of_folder
      and (case.nth <= 1 or case.way == "save_as" and outcome.saved))
  if outcome.saved then run.saved = run.saved + 1 else run.refused = run.refused + 1 end
  run:clear(place.root)
  return wrong
end

-- Every call of each way, for each decoy.
local function gaps()
  for _, decoy in ipairs(decoys) do
    for _, way in ipairs(WAYS) do
      local nth, calls = 1
      repeat
        local case = { name = ("%s, %s, before call %d"):format(way, decoy.name, nth), way = way,
                       decoy = decoy, nth = nth }
        run:each({ case }, try_gap)
        calls, nth = case.calls or 0, nth + campaign.size(3, 1, 1)
      until nth > calls + 1
    end
  end
end

-- Names that no file can have, and folders that cannot be written: `path(place)` is the name.
local hopeless = {
  { name = "NUL", path = function(place) return place.target .. "\0.png" end },
  { name = "nothing", path = function() return "" end },
  { name = ".", path = function() return "." end },
  { name = "..", path = function(place) return place.inside .. "/.." end },
  { name = "a slash at its end", path = function(place) return place.inside .. "/" end },
  { name = "a folder", path = function(place) return place.inside end },
  { name = "a link to a folder", decoy = decoys[3] },
  { name = "a FIFO", decoy = decoys[5] },
  { name = "a device", decoy = decoys[6] },
  { name = "a device of the system", path = function() return "/dev/full" end },
  { name = "a link to itself", path = function(place)
    shell("ln -s", place.root .. "/loop", place.root .. "/loop")
    return place.root .. "/loop"
  end },
  { name = "a link to a FIFO", path = function(place)
    shell("mkfifo", place.root .. "/fifo;", "ln -s", place.root .. "/fifo", place.root .. "/link")
    return place.root .. "/link"
  end },
  { name = "no such folder", path = function(place) return place.root .. "/none/name" end },
  { name = "a file as folder", path = function(place) return place.outside .. "/file/name" end },
  { name = "300 letters", path = function(place) return place.root .. "/" .. ("a"):rep(300) end },
  { name = "a long path", path = function(place) return place.root .. ("/a"):rep(2500) end },
  { name = "a disk that is read-only", path = function(place)
    shell("mkdir", place.root .. "/disk;", "mount -t tmpfs -o ro none", place.root .. "/disk")
    return place.root .. "/disk/name"
  end, after = function(place) shell("umount", place.root .. "/disk") end },
  { name = "a folder of others", stranger = true, path = function(place)
    shell("chmod 755", run.temporary, place.root, place.inside)
    return place.inside .. "/name"
  end },
}

local function try_hopeless(case, client)
  local place = make_place(case.way, case.hopeless.decoy)
  local path = case.hopeless.path and case.hopeless.path(place) or place.decoy
  local before = sys.stat(path)
  local outcome, wrong = ask(client, case.way, place, { path = path })
  if case.hopeless.after then case.hopeless.after(place) end
  if wrong then return wrong end
  local after = sys.stat(path)
  if outcome.saved then wrong = "it was saved" end
  if (before and before.kind) ~= (after and after.kind) then wrong = "what stood there is gone" end
  wrong = wrong or look_at_error(outcome, case.way) or look_around(place, case.way, outcome)
  run:clear(place.root)
  return wrong
end

-- A process of another user, if there may be one that can read the modules.
local function stranger()
  local argv = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "lua5.4" }
  if os.execute(table.concat(argv, " ") .. " -e 'require \"kontext\"' 2>/dev/null") then
    return run:client { interpreter = argv }
  end
end

local function refusals()
  local other = stranger()
  local cases, others = {}, {}
  for _, one in ipairs(hopeless) do
    for _, way in ipairs { "save", "save_as", "journal" } do
      local list = one.stranger and others or cases
      list[#list + 1] = { name = way .. ", " .. one.name, way = way, hopeless = one }
    end
  end
  run:each(cases, try_hopeless)
  if not other then
    run.notes[#run.notes + 1] = "no other user here to be refused by a folder"
    return
  end
  run:each(others, function(case) return try_hopeless(case, other) end)
  local how, number = other:stop()
  if how ~= "exit" or number ~= 0 then run:violation(nil, "the stranger ended badly") end
end

-- Modes: a new picture's as the umask says, that of the file that it replaces else; journals always
-- 0600, also where one stood open before.
local function modes()
  for _, mask in ipairs { 0, 18, 23, 63 } do -- 0, 022, 027, 077
    local client = run:client { interpreter = { "sh", "-c",
      ("umask %o; exec \"$@\""):format(mask), "sh", "lua5.4" } }
    local cases = {}
    for _, way in ipairs(WAYS) do
      for _, fresh in ipairs { true, false } do
        cases[#cases + 1] = { name = ("%s, umask %o"):format(way, mask), way = way, fresh = fresh }
      end
    end
    run:each(cases, function(case)
      local place = make_place(case.way)
      local before = sys.stat(place.target).mode
      if case.fresh then os.remove(place.target) end
      local outcome, wrong = ask(client, case.way, place)
      local stat = sys.stat(place.target)
      local expected = (case.way == "journal" or case.way == "compaction") and 384
        or case.fresh and 438 & ~mask or before
      if not wrong and not outcome.saved then wrong = "not saved: " .. outcome.text end
      if not wrong and stat.mode ~= expected then
        wrong = ("its mode is %o, not %o"):format(stat.mode, expected)
      end
      wrong = wrong or look_around(place, case.way, outcome)
      run:clear(place.root)
      return wrong
    end)
    client:stop()
  end
end

-- Three processes: one saves over and over, one swaps, one reads what stands there.
local function race(name, way, decoy, times, watched)
  local place = make_place(way, decoy)
  write(place.root .. "/old", pictures.old)
  write(place.root .. "/new", pictures.new)
  local stop = place.root .. "/stop"
  local saver, swapper, watcher = run:client(), run:client(), watched and run:client()
  local a, b = place.swap:match "^(.*):(.*)$"
  local swapped, seen
  local running = 1
  local function beside(act)
    running = running + 1
    run.loop:wrap(function()
      act()
      running = running - 1
    end)
  end
  beside(function() swapped = swapper:run { how = "swap", a = a, b = b, stop = stop } end)
  if watcher then
    beside(function()
      seen = watcher:run { how = "watch", path = place.target, stop = stop, whole = {
        place.root .. "/old", place.root .. "/new", place.outside .. "/file" } }
    end)
  end
  local outcome, wrong = ask(saver, way, place, { times = times })
  write(stop, "")
  running = running - 1
  while running > 0 do cqueues.sleep(0.01) end
  for _, client in ipairs { saver, swapper, watcher or nil } do client:stop() end
  os.remove(place.root .. "/old")
  os.remove(place.root .. "/new")
  os.remove(stop)
  wrong = wrong or run:sane(swapped) or watcher and run:sane(seen)
  if wrong then return run:violation(name, wrong) end
  if swapped.times < times / 10 then run:violation(name, "hardly any swap") end
  if seen and seen.half + seen.missing > 0 then
    run:violation(name, ("of %d looks %d saw half a file, %d none"):format(seen.times, seen.half,
      seen.missing))
  end
  for path, bytes in pairs((files_of(place.root))) do
    local inside = path:sub(1, #place.outside + 1) ~= place.outside .. "/"
    if path:find "/%.kontext" then run:violation(name, "left behind:", path) end
    if inside and way ~= "journal" and bytes ~= pictures.old and bytes ~= pictures.new then
      run:violation(name, "half a file:", path)
    end
  end
  local outside = files_of(place.outside)
  if outside[place.outside .. "/file"] ~= "outside" then
    run:violation(name, "the file outside was written")
  end
  outside[place.outside .. "/file"] = nil
  if next(outside) then run:violation(name, "written outside:", (next(outside))) end
  for code, count in pairs(outcome.codes or {}) do
    run.codes[code] = (run.codes[code] or 0) + count
  end
  run.cases = run.cases + times
  run.swaps = run.swaps + swapped.times
  run.looks = run.looks + (seen and seen.times or 0)
  run.saved = run.saved + (outcome.saved or 0)
  run.refused = run.refused + times - (outcome.saved or 0)
  run:clear(place.root)
end

-- A picture that was saved, and a FIFO in its place: its bytes are gone, and nobody waits for them.
local function try_read(_, client)
  local place = make_place("save_as", decoys[5])
  local outcome, wrong = ask(client, "read", place, { decoy = place.decoy })
  run:clear(place.root)
  return wrong or outcome.read ~= false and "something was read" or nil
end

run:run(function()
  run.saved, run.refused, run.swaps, run.looks, run.codes = 0, 0, 0, 0, {}
  local script, state = service.script { keep = true, answers = {
    sample = function(of, id)
      return "200 OK", { "Content-Type: image/png" },
        pictures[of.ids[id].body:match '"prompt":"(%l+)"']
    end } }
  back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  base = state.base
  shell("mkdir", run.temporary .. "/aside")
  run.shared = run:client { env = { "LD_PRELOAD=" .. os.getenv "PWD" .. "/build/faults/inject.so",
    "TMPDIR=" .. run.temporary .. "/aside" } }
  gaps()
  refusals()
  modes()
  run:each({ { name = "a FIFO in a saved picture's place" } }, try_read)
  for i, decoy in ipairs(decoys) do
    if not decoy.of_folder or i == #decoys then
      race("race: save, " .. decoy.name, "save", decoy, RACES // (i == 1 and 1 or 4), i == 1)
    end
  end
  race("race: save_as", "save_as", decoys[1], RACES // 10, true)
  race("race: journal", "journal", decoys[1], RACES // 10)
  local codes = {}
  for code, count in pairs(run.codes) do
    codes[#codes + 1] = ("%s %d"):format(code, count)
  end
  table.sort(codes)
  run.notes[#run.notes + 1] = ("%d saved, %d refused, %d swaps, %d looks; in races: %s"):format(
    run.saved, run.refused, run.swaps, run.looks, table.concat(codes, ", "))
end)
