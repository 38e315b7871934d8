-- Any bytes as a journal: nothing raises, only lines whose checksum holds count, no more edits than
-- such lines, and what is written after them or instead of them is read again as it was. "????????"
-- in front of a line is made its checksum; "*" as the first line has the rest there 70 times.
local host = require "fuzz.host"
local journal = require "kontext.journal.file"
local system = require "kontext.system"
local token = require "kontext.token"

-- In memory where that can be: the disk's patience is not what is asked for.
local path = os.tmpname()
if io.open("/dev/shm") then path = path:gsub("^/tmp/", "/dev/shm/kontext-") end
local states = { INTENT = "unsent", SENDING = "ambiguous", ACCEPTED = "accepted", SAVED = "saved",
  FAILED = "failed", AMBIGUOUS = "ambiguous", LOST = "lost" }

-- Of several edits of one key the one that must be found.
local rank = { accepted = 4, ambiguous = 3, lost = 3, saved = 2, failed = 1, unsent = 0 }

local function sum(text)
  return host.hex(host.sha256(text):sub(1, 4))
end

-- Puts checksums where the input leaves room for them: of a token first, then of its line.
local function fill(text)
  text = text:gsub("(kontext1:[^:%s]*):%?+", function(body) return body .. ":" .. sum(body) end)
  text = text:gsub("%f[^\n%z]%?%?%?%?%?%?%?%? ([^\n]*)", function(rest)
    return sum(rest) .. " " .. rest
  end)
  return text
end

local function write(text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Returns the last whole line of each edit, and how many whole lines there are.
local function whole(text)
  local last, count = {}, 0
  for line in text:gmatch "[^\n]+" do
    local digits, rest = line:match "^(%x%x%x%x%x%x%x%x) (.*)$"
    local fact, number = (rest or ""):match "^(%u+) (%d+) "
    if states[fact] and #number <= 15 and sum(rest) == digits then
      last[tonumber(number)] = fact
      count = count + 1
    end
  end
  return last, count
end

local function open()
  return assert(journal.open(path, system, true))
end

-- Returns whether a text is refused as something else than a journal, and left as it is.
local function is_refused(text)
  local opened, message = journal.open(path, system, true)
  if opened then
    opened:close()
    return false
  end
  assert(message:find("is no journal", 1, true), message)
  local file = assert(io.open(path, "rb"))
  assert(file:read "*a" == text and not next((whole(text))), "a journal is refused, or changed")
  file:close()
  return true
end

-- Returns a job as the journal sees one.
local function make_job()
  local job = {}
  function job.known()
    return { id = "an id", polling_url = "u", key = "a key", save_as = "\n,=%", entry = job.entry }
  end
  function job.set_entry(_, number) job.entry = number end
  function job.ended() return false end
  return job
end

-- Returns the entries that outlive a compaction, by number.
local function lasting(opened)
  local kept, count = {}, 0
  for _, entry in ipairs(opened:entries()) do
    count = count + 1
    if entry.state ~= "failed" and entry.state ~= "unsent" then kept[entry.number] = entry end
  end
  return kept, count
end

local function same(a, b)
  for number, entry in pairs(a) do
    local other = assert(b[number], "an edit is lost")
    assert(other.state == entry.state and other.line == entry.line)
    if entry.line:find "[ ,]id=" then -- as every line that we write has, once there is one
      assert(other.id == entry.id, "nobody can ask for it any more")
    end
  end
end

local function check(opened, text)
  local last, count = whole(text)
  local kept, entries = lasting(opened)
  assert(entries <= count)
  for _, entry in ipairs(opened:entries()) do
    assert(states[last[entry.number]] == entry.state, "a state from nowhere")
    local found = entry.key and opened:find(entry.key)
    assert(not entry.key or rank[found.state] >= rank[entry.state], "what matters most is hidden")
  end
  return kept
end

return function(input)
  local text = fill(input)
  if text:sub(1, 2) == "*\n" then text = text:sub(3):rep(70) end
  write(text)
  if is_refused(text) then return end
  local first = open()
  local kept = check(first, text)
  local job = make_job()
  assert(first:record(job, "INTENT"))
  assert(first:record(job, "ACCEPTED"))
  local number = job.entry
  assert(not kept[number], "a number is used twice")
  kept = lasting(first)
  first:close()
  for _ = 1, 2 do
    local again = open()
    local now = lasting(again)
    same(kept, now)
    same(now, kept)
    assert(now[number].state == "accepted" and now[number].id == "an id")
    assert(again:find "a key".state == "accepted")
    again:close()
  end
  local values, message = token.read((text:gsub("\n.*", "")))
  assert(values and values.id or type(message) == "string")
  os.remove(path)
end
