-- R6: every call that touches a file fails in turn, in every way; the disk is full at any byte;
-- descriptors run out; files may not grow. What could not be journaled is not sent; what was paid
-- for is delivered by the next run, or its error says where it is.

local namespace = require "faults.namespace"
namespace.enter "R6"

local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"
local token = require "kontext.token"

local ITEMS = 2
local ERRORS = { "EIO", "ENOSPC", "EINTR", "short", "EIO+", "ENOSPC+" } -- "+": and all after it

local run = campaign.new { id = "R6", title = "every file operation fails", at_once = 3,
                           limit = 60 }

local image = run.temporary .. "/small.png"

-- Runs the batch once; returns the results by item, and how it ended.
local function once(place, env, limits)
  limits.stderr = run.temporary .. "/said" -- a failing interpreter may say what it likes
  local pid, fd = assert(sys.spawn({ "lua5.4", "spec/faults/killed.lua", place.base, campaign.key,
    place.journal, place.folder, image, tostring(ITEMS) }, env, limits))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  pipe:setmaxline(65536)
  pipe:onerror(function(_, _, code) return code end)
  local results, ended = {}, false
  for line in pipe:lines "*l" do
    run:scan(line, "a result")
    local index, kind, where, text = line:match "^(%d+)\t(%S+)\t(%S+)\t(.*)$"
    if index then results[tonumber(index)] = { kind = kind, where = where, text = text }
    elseif line == "end" then ended = true end
  end
  pipe:close()
  local how, number = sys.wait(pid)
  return results, ended, how, number
end

local number = 0

local function try(case)
  number = number + 1
  local place = { folder = case.folder or ("%s/%d"):format(run.temporary, number) }
  place.journal = place.folder .. "/journal"
  os.execute("mkdir -p " .. place.folder)
  local script, state = service.script { keep = true }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  place.base = state.base
  if case.before then case.before(place) end
  local first, ended, how, code = once(place, case.env, case.limits or {})
  local journal = campaign.read(place.journal) or ""
  local posts = server.submits(back.ledger)
  local wrong
  if how == "signal" and code ~= 9 and code ~= 25 then -- 25: SIGXFSZ, the host's own choice
    wrong = ("it died of signal %d"):format(code)
  end
  local _, intents = journal:gsub("%x+ INTENT ", "")
  if posts > intents then
    wrong = wrong or ("%d submits, %d intents in the journal"):format(posts, intents)
  end
  run.hit = run.hit + ((ended and first[1] and first[1].kind == "saved" and first[2]
    and first[2].kind == "saved") and 0 or 1)
  if case.after then case.after(place) end
  local second, done
  if not wrong then second, done = once(place, nil, {}) end
  local paid = {}
  for _, entry in ipairs(back.ledger) do
    local item = entry.method == "POST" and entry.complete and entry.body:match '"edit (%d+)"'
    if item then paid[tonumber(item)] = (paid[tonumber(item)] or 0) + 1 end
  end
  if not wrong and not done then wrong = "the next run did not end" end
  for item = 1, ITEMS do
    if wrong then break end
    local one, before = second[item] or { kind = "nothing" }, first[item]
    local bytes = campaign.read(("%s/%d.png"):format(place.folder, item))
    if (paid[item] or 0) > 1 then
      wrong = ("edit %d PAID %d TIMES; first %s, then %s"):format(item, paid[item],
        before and before.text or "nothing", one.kind)
    elseif bytes and bytes ~= service.result then
      wrong = ("edit %d left a torn picture"):format(item)
    elseif one.kind == "saved" then
      if paid[item] ~= 1 or not bytes then
        wrong = ("edit %d: saved, but not there"):format(item)
      end
    elseif one.kind == "ambiguous" then
      -- The answer could not be noted: then who asked was told where the edit is, or died of it.
      if paid[item] and ended and (not before or before.where ~= "recoverable") then
        wrong = ("edit %d is lost; it had been told %s %s"):format(item,
          before and before.kind or "nothing", before and before.text or "")
      end
    else
      wrong = ("edit %d: %s %s"):format(item, one.kind, one.text or "")
    end
  end
  back:close(true)
  if not case.folder then run:clear(place.folder) end
  return wrong
end

-- Leaves so many outlived lines in a journal that opening it compacts it.
local function outlived(place)
  local file = assert(io.open(place.journal, "wb"))
  for i = 1, 100 do
    local text = ("INTENT %d key=old"):format(i)
    file:write(token.sum(text), " ", text, "\n")
  end
  file:close()
  os.execute("chmod 600 " .. place.journal)
end

-- How many calls of core.so on files one run makes.
local function calls()
  local count = run.temporary .. "/count"
  local case = { env = { "LD_PRELOAD=" .. os.getenv "PWD" .. "/build/faults/inject.so",
                         "KX_INJECT=file:0:EIO", "KX_INJECT_COUNT=" .. count } }
  assert(try(case) == nil, tostring(try(case)))
  return (string.unpack("<I8", campaign.read(count)))
end

-- A disk of its own, with so many bytes left.
local function full_disk(left)
  local folder = ("%s/disk%d"):format(run.temporary, left)
  return {
    name = left .. " bytes of disk left", folder = folder,
    before = function()
      os.execute(("mount -t tmpfs -o size=%d none %s"):format(262144, folder))
      os.execute(("head -c %d /dev/zero > %s/ballast"):format(262144 - left, folder))
    end,
    after = function() os.execute(("rm -f %s/ballast"):format(folder)) end,
  }
end

run:run(function()
  run.hit = 0
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local cases = {}
  local total = calls()
  for n = 1, total + 4, campaign.size(7, 1, 1) do
    for _, fault in ipairs(ERRORS) do
      local name, onwards = fault:match "^(%a+)(%+?)$"
      cases[#cases + 1] = { name = ("call %d: %s"):format(n, fault), env = {
        "LD_PRELOAD=" .. os.getenv "PWD" .. "/build/faults/inject.so",
        ("KX_INJECT=file:%d%s:%s"):format(n, onwards, name) } }
    end
  end
  for n = 1, 24 do
    for _, fault in ipairs { "EIO", "ENOSPC", "short" } do
      cases[#cases + 1] = { name = ("compaction, call %d: %s"):format(n, fault), before = outlived,
        env = { "LD_PRELOAD=" .. os.getenv "PWD" .. "/build/faults/inject.so",
                ("KX_INJECT=file:%d:%s"):format(n, fault) } }
    end
  end
  for files = 3, 40 do
    cases[#cases + 1] = { name = files .. " descriptors", limits = { nofile = files } }
  end
  for _, size in ipairs { 0, 50, 100, 200, 300, 500, 800, 1000, 1500, 2000, 2300, 3000 } do
    cases[#cases + 1] = { name = "files of " .. size .. " bytes", limits = { fsize = size } }
  end
  for pages = 0, 10 do cases[#cases + 1] = full_disk(pages * 4096) end
  run:each(cases, function(case) return try(case) end)
  os.execute("umount " .. run.temporary .. "/disk* 2>/dev/null")
  run.notes = { ("%d calls on files a run, %d cases in which it showed"):format(total, run.hit) }
  if run.hit < #cases / 4 then run:violation(nil, "hardly any fault was felt") end
end)
