-- Kills a batch (killed.lua in a process of its own) at seeded moments, and runs it again: for the
-- campaigns that ask what is paid and what is there afterwards.

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local sys = require "faults.sys"

local Killing = {}
Killing.__index = Killing

local killing = {}

--- Seconds from an answer's last byte to its ACCEPTED on the disk, at most.
killing.after = 0.25

-- Calls that may be the last; `from` whose they are. The number is how far into a run they reach.
local points = {
  { names = "write", reach = 90 }, { names = "fsync", reach = 120 },
  { names = "renameat", reach = 24 }, { names = "openat,open,openat64,open64", reach = 60 },
  { names = "flock", reach = 1 }, { names = "pread,pread64", reach = 100 },
  { names = "send", reach = 150, from = "libcurl" }, { names = "recv", reach = 300,
    from = "libcurl" }, { names = "connect", reach = 72, from = "libcurl" },
}
local manners = { "kill", "died", "torn" }

--- Kills for a campaign. options: `image` (a picture's path), `items` (how many edits), `shape`
--- ("list", or "tree": edit N takes the result of edit N // 2).
---@param run table the campaign
---@param seed integer
---@param options table
function killing.new(run, seed, options)
  return setmetatable({ run = run, random = seed, options = options }, Killing)
end

--- A whole number from 0 to n - 1, of a generator of our own, so that a run can be repeated.
function Killing:roll(n)
  self.random = (self.random * 1103515245 + 12345) % 2147483648
  return (self.random >> 8) % n
end

--- How a process is to die: {env} for a preloaded library, or {seconds}.
function Killing:plan()
  if self:roll(2) == 0 then return { seconds = 0.02 + self:roll(250) / 1000 } end
  local point = points[1 + self:roll(#points)]
  local manner = manners[1 + self:roll(#manners)]
  return { text = point.names .. " " .. manner, env = {
    "LD_PRELOAD=" .. os.getenv "PWD" .. "/build/faults/inject.so",
    ("KX_INJECT=%s:%d:%s"):format(point.names, 1 + self:roll(point.reach), manner),
    "KX_INJECT_FROM=" .. (point.from or "core.so"),
  } }
end

--- A folder for the pictures of a batch, and the journal beside it.
function Killing:place(name, at_once)
  local place = { folder = ("%s/%s"):format(self.run.temporary, name), at_once = at_once }
  place.journal = place.folder .. ".journal"
  os.execute("mkdir " .. place.folder)
  return place
end

--- Runs the batch once; returns its results, whether it came to its end, when and how it died.
--- `place` has base, journal, folder and at_once.
function Killing:once(place, how)
  local run, options = self.run, self.options
  local pid, fd = assert(sys.spawn({ "lua5.4", "spec/faults/killed.lua", place.base, campaign.key,
    place.journal, place.folder, options.image, tostring(options.items),
    place.at_once or tostring(options.items), options.shape }, how.env,
    { stderr = run.temporary .. "/stderr" }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  pipe:setmaxline(65536)
  pipe:onerror(function(_, _, code) return code end)
  if how.seconds then
    run.loop:wrap(function()
      cqueues.sleep(how.seconds)
      if not how.dead and (how.kill or sys.kill)(pid, 9, how) then
        how.killed = cqueues.monotime()
      end
    end)
  end
  local results, ended = {}, false
  for line in pipe:lines "*l" do
    run:scan(line, "a result")
    local index, kind, text = line:match "^(%d+)\t(%S+)\t%S+\t(.*)$"
    if index then results[tonumber(index)] = { kind = kind, text = text }
    elseif line == "end" then ended = true end
  end
  how.dead = true
  local died = how.killed or cqueues.monotime()
  pipe:close()
  local manner, number = sys.wait(pid)
  return results, ended and manner == "exit" and number == 0, died, manner, number
end

--- What is wrong with the files that are there, at any moment; `wanted(item)` is a whole picture.
function killing.torn(place, wanted)
  for _, name in ipairs(sys.list(place.folder)) do
    local item = tonumber(name:match "^(%d+)%.")
    if item and campaign.read(place.folder .. "/" .. name) ~= wanted(item) then
      return "torn picture " .. name
    end
  end
  local journal = sys.stat(place.journal)
  if journal and journal.mode ~= 384 then return "the journal's mode is not 0600" end
end

-- Whether an edit of the journal has begun to be sent, and what came of it is not noted.
local function in_doubt(journal)
  local sending = {}
  for fact, number in journal:gmatch "%x+ (%u+) (%d+) [^\n]*\n" do
    sending[number] = fact == "SENDING" or nil
  end
  return next(sending) ~= nil
end

--- A kill where nothing is in doubt: the batch is halted, looked at, and goes on if something is.
function Killing:undoubted(place)
  return function(pid, signal, how)
    local patience = cqueues.monotime() + 5 -- no doubt lasts longer than a submit
    while not how.dead do
      sys.kill(pid, 19) -- SIGSTOP
      repeat cqueues.sleep(0.001)
      until how.dead or (campaign.read("/proc/" .. pid .. "/stat") or ") T"):find "%) [TZ]"
      if cqueues.monotime() > patience or not in_doubt(campaign.read(place.journal) or "") then
        return sys.kill(pid, signal)
      end
      sys.kill(pid, 18) -- SIGCONT
      cqueues.sleep(0.002 + self:roll(10) / 1000)
    end
  end
end

return killing
