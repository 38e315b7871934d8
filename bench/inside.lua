--- What happens inside one process: the length of calls, what waiting jobs cost, the picture check,
--- instructions and system calls.
local core = require "kontext.core"
local lab = require "bench.lab"

local inside = {}

local kontext = "lua5.4 bench/peers/kontext.lua"

-- Reads "name=number" out of what a program said.
local function numbers(text)
  local read = {}
  for name, number in text:gmatch "([%w_.]+)=([%d.]+)" do read[name] = tonumber(number) end
  return read
end

--- Measures the calls of a host's loop with 24 uploads under way; the medians of some runs.
---@param server table
---@param size table
---@param rounds integer
---@return table calls cpu_990, wall_1000 … in microseconds: the 990th of 1000
function inside.calls(server, size, rounds)
  local all = {}
  for _ = 1, rounds do
    local text = lab.shell(("lua5.4 bench/calls.lua %s %s 24 24 0.02 %s"):format(server.url,
      size.path, server.ca_file or ""))
    for name, number in pairs(numbers(text)) do
      all[name] = all[name] or {}
      table.insert(all[name], number)
    end
  end
  for name, list in pairs(all) do all[name] = lab.quantile(list) end
  return all
end

--- Measures what jobs cost that wait for a slot.
---@param server table
---@param size table
---@param counts integer[]
---@return table[] rows {jobs, lua, process, edit, step, longest}
function inside.queued(server, size, counts)
  local rows = {}
  for i, count in ipairs(counts) do
    rows[i] = numbers(lab.shell(("lua5.4 bench/queued.lua %s %s %d"):format(server.url, size.path,
      count)))
  end
  return rows
end

-- Returns the microseconds of CPU that a check takes.
local function check_time(source, times)
  local from = os.clock()
  for _ = 1, times do core.check(source) end
  return (os.clock() - from) / times * 1e6
end

-- Returns how many bytes a check of the file reads.
local function check_reads(path)
  local text = lab.shell(("strace -f -e trace=pread64 -o /dev/stdout lua5.4 -e "
    .. [['require("kontext.core").check { path = "%s" }' | grep '^[0-9]*  *pread64([0-9]*, .* = ']])
    :format(path))
  local bytes, first = 0, true
  for count in text:gmatch "= (%d+)" do
    if not first then bytes = bytes + tonumber(count) end
    first = bytes < 0
  end
  return bytes
end

--- Measures the picture check on the bench's pictures and on a hostile one.
---@param sizes table[]
---@return table[] rows {name, memory, path = microseconds, bytes read}
function inside.check(sizes)
  local rows = {}
  for i, size in ipairs(sizes) do
    local head = lab.read(size.path):sub(1, 65536)
    rows[i] = { name = size.name, memory = check_time({ bytes = head }, 20000),
      path = check_time({ path = size.path }, 5000), bytes = check_reads(size.path) }
  end
  local hostile = lab.folder .. "/hostile.jpg" -- 100,000 segments before the header of a frame
  lab.write(hostile, "\xff\xd8" .. ("\xff\xe1\0\x40" .. ("x"):rep(62)):rep(100000))
  rows[#rows + 1] = { name = "100,000 segments",
    memory = check_time({ bytes = lab.read(hostile) }, 50),
    path = check_time({ path = hostile }, 50), bytes = check_reads(hostile) }
  return rows
end

-- Returns the instructions of a command, in thousands: all, and by program or library.
local function instructions(command)
  local path = lab.folder .. "/callgrind"
  local text = lab.shell(("valgrind --tool=callgrind --callgrind-out-file=%s %s 2>&1"):format(path,
    command))
  local by_object = {}
  for line in lab.shell("callgrind_annotate --threshold=100 " .. path):gmatch "[^\n]+" do
    local count, object = line:match "^%s*([%d,]+) .*%[.*/([^/%]]+)%]$"
    if count then
      by_object[object] = (by_object[object] or 0) + tonumber((count:gsub(",", ""))) / 1000
    end
  end
  return tonumber(text:match "Collected : (%d+)") / 1000, by_object
end

--- Counts the instructions in user space of a process, of a further edit, of a poll.
---@param server table
---@param size table
---@return table counts {C = {start, edit, objects}, kontext = {start, edit, objects, poll}} in
--- thousands; `objects` has those of a further edit by program or library
function inside.instructions(server, size)
  local counts = {}
  for name, command in pairs { C = "build/bench/lower_bound", kontext = kontext } do
    local function count(edits)
      return instructions(("%s %s %s %d 1 0.00001"):format(command, server.url, size.path, edits))
    end
    local one, before = count(1)
    local all, objects = count(21)
    for object, thousands in pairs(objects) do
      objects[object] = (thousands - (before[object] or 0)) / 20
    end
    counts[name] = { start = one, edit = (all - one) / 20, objects = objects }
  end
  server:ledger(0.5)
  local all = instructions(("%s %s %s 1 1 0.005"):format(kontext, server.url, size.path))
  local polls = server:ledger(0).polls
  counts.kontext.poll = (all - counts.kontext.start) / (polls - 1)
  return counts
end

-- Returns how many calls of each name a command makes.
local function system_calls(command)
  local text = lab.shell(("strace -f -c -o /dev/stdout %s"):format(command))
  local calls = {}
  for line in text:gmatch "[^\n]+" do
    local count, name = line:match "^%s*[%d.]+%s+[%d.]+%s+%d+%s+(%d+)%s+%d*%s*([%w_]+)$"
    if count and name ~= "total" then calls[name] = tonumber(count) end
  end
  return calls
end

--- Counts the system calls of a further edit.
---@param server table
---@param size table
---@return table calls [client][name] → number
function inside.system_calls(server, size)
  local counts = {}
  for name, command in pairs { C = "build/bench/lower_bound", kontext = kontext } do
    local function calls(edits)
      return system_calls(("%s %s %s %d 1 0.00001"):format(command, server.url, size.path, edits))
    end
    local one, all = calls(1), calls(21)
    counts[name] = {}
    for call, count in pairs(all) do
      local each = (count - (one[call] or 0)) / 20
      if each >= 0.5 then counts[name][call] = each end
    end
  end
  return counts
end

return inside
