-- Any bytes as a journal: nothing raises, only lines whose checksum holds count, no more edits than
-- such lines, and what is written after them or instead of them is read again as it was. "????????"
-- in front of a line is made its checksum; "*" as the first line has the rest there 70 times.
local host = require "fuzz.host"
local journal = require "kontext.journal.journal"
local token = require "kontext.token"

-- In memory where that can be: the disk's patience is not what is asked for.
local path = os.tmpname()
if io.open("/dev/shm") then path = path:gsub("^/tmp/", "/dev/shm/kontext-") end
local states = { INTENT = "unsent", SENDING = "ambiguous", ACCEPTED = "accepted", SAVED = "saved",
  FAILED = "failed", AMBIGUOUS = "ambiguous" }

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
  return assert(journal.open(path))
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
    assert(entry.state ~= "accepted" or other.token == entry.token) -- else nobody asks for it
  end
end

local function check(opened, text)
  local last, count = whole(text)
  local kept, entries = lasting(opened)
  assert(entries <= count)
  for _, entry in ipairs(opened:entries()) do
    assert(states[last[entry.number]] == entry.state, "a state from nowhere")
    assert(not entry.key or opened:find(entry.key) == entry)
    if entry.state == "accepted" then
      local values, message = token.read(entry.token)
      assert(values or type(message) == "string")
    end
  end
  return kept
end

return function(input)
  local text = fill(input)
  if text:sub(1, 2) == "*\n" then text = text:sub(3):rep(70) end
  write(text)
  local first = open()
  local kept = check(first, text)
  local job = { _params = { key = "a key", save_as = "\n,=%" }, id = "an id", polling_url = "u" }
  assert(first:record(job, "INTENT"))
  assert(first:record(job, "ACCEPTED"))
  local number = job._entry
  assert(not kept[number], "a number is used twice")
  kept = lasting(first)
  first:close()
  for _ = 1, 2 do
    local again = open()
    local now = lasting(again)
    same(kept, now)
    same(now, kept)
    assert(now[number].state == "accepted" and again:find "a key" == now[number])
    again:close()
  end
  local values, message = token.read((text:gsub("\n.*", "")))
  assert(values and values.id or type(message) == "string")
  os.remove(path)
end
