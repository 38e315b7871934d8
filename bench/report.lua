--- Writes docs/performance.md and its plots from what was measured.
local lab = require "bench.lab"

local report = {}

local out

local function write(...) out[#out + 1] = string.format(...) end

local function table_of(heads, rows)
  write("| %s |", table.concat(heads, " | "))
  write("|%s", (" ---: |"):rep(#heads):gsub(" ---: |", " --- |", 1))
  for _, row in ipairs(rows) do write("| %s |", table.concat(row, " | ")) end
  write ""
end

local function ms(seconds)
  local value = seconds * 1e3
  return (value < 10 and "%.2f" or value < 100 and "%.1f" or "%.0f"):format(value)
end

local function times(ratio) return (ratio < 10 and "%.2f×" or "%.0f×"):format(ratio) end

local function spread(low, high) return ("%.2f … %.2f"):format(low, high) end

-- Goals: what, the goal in words, what was measured in words, whether it is reached.
local goals

local function goal(what, wanted, measured, reached)
  goals[#goals + 1] = { what, wanted, measured, reached and "yes" or "**no**" }
  if not reached then lab.say("falls short: %s: %s, goal %s", what, measured, wanted) end
end

local function judge(r)
  local big, small = r.edits["19.5 MB"].kontext, r.edits["0.3 MB"].kontext
  goal("one 19.5 MB edit, whole process, CPU", "≤ 1.25 × C", times(big.cpu_ratio),
    big.cpu_ratio <= 1.25)
  goal("one more in a warm process, 19.5 MB", "≤ 1.10 × C", times(big.more_ratio),
    big.more_ratio <= 1.10)
  local careful = r.edits["0.3 MB"]["careful C"]
  goal("one more in a warm process, 0.3 MB", "≤ 1.15 × C", ("%s; %s of careful C"):format(
    times(small.more_ratio), times(small.more / careful.more)), small.more_ratio <= 1.15)
  for _, name in ipairs { "0.3 MB", "4.8 MB" } do
    local flight = r.flights[name][0]
    goal("200 edits of " .. name .. ", 24 in flight, edits/s", "≥ 0.9 × C",
      ("%s; %s of careful C"):format(times(flight.kontext.ratio),
        times(flight.kontext.rate / flight["careful C"].rate)), flight.kontext.ratio >= 0.9)
  end
  local slow = r.flights["0.3 MB"][0.2]
  local share = slow.kontext.rate * slow.latency / 24
  goal("24 in flight at 200 ms, of 24 / latency", "≥ 90 %",
    ("%.1f %%; of 24 / 0.2 s %.1f %%, C %.1f %%"):format(share * 100, slow.kontext.rate / 1.2,
      slow.C.rate / 1.2), share >= 0.9)
  local worst = 0
  for _, size in pairs(r.edits) do
    worst = math.max(worst, size.kontext.rss - r.idle.kontext.rss)
  end
  goal("peak RSS of an edit of any size, over idle", "≤ 1 MiB", ("%.1f MiB"):format(worst / 1024),
    worst <= 1024)
  for _, of in ipairs { { "plain", 3 }, { "TLS", 6 } } do
    local name, most = of[1], of[2]
    local flight = name == "TLS" and r.tls_flight or r.flights["4.8 MB"][0]
    local over = (flight.saved_rss - r.idle.kontext.rss) / 1024
    goal("the same with 24 in flight, saving, " .. name, ("≤ %d MiB"):format(most),
      ("%.1f MiB"):format(over), over <= most)
  end
  local most = r.queued[#r.queued]
  goal("memory of a queued job", "≤ 2 KiB", ("%.1f KiB"):format(
    math.max(most.lua, most.process) / 1024), math.max(most.lua, most.process) <= 2048)
  goal("step with 10,000 waiting, over with 1", "independent", ("%.1f and %.1f µs"):format(
    most.step, r.queued[1].step), most.step <= 2 * r.queued[1].step)
  local longest = math.max(most.edit, most.longest)
  goal("longest call with 10,000 waiting, CPU", "≤ 2 ms", ("%.1f ms"):format(longest / 1e3),
    longest <= 2000)
  for _, of in ipairs { { "plain", r.calls, 100, 600, 1000 },
    { "TLS", r.tls_calls, 350, 1200, 2000 } } do
    local name, calls = of[1], of[2]
    goal("calls with 24 uploads of 19.5 MB, " .. name .. ": p99 / p99.9 / longest, CPU",
      ("%g / %g / %g ms"):format(of[3] / 1e3, of[4] / 1e3, of[5] / 1e3),
      ("%.2f / %.2f / %.2f ms"):format(calls.cpu_990 / 1e3, calls.cpu_999 / 1e3,
        calls.cpu_1000 / 1e3),
      calls.cpu_990 <= of[3] and calls.cpu_999 <= of[4] and calls.cpu_1000 <= of[5])
  end
  goal("cancel, CPU", "≤ 1 ms", ("%.2f ms"):format(r.calls.cancel_1000 / 1e3),
    r.calls.cancel_1000 <= 1000)
  local seen = small.seen
  local requests = (seen.submits + seen.polls + seen.downloads) / seen.submits
  goal("requests an edit at zero server time", "3", ("%.2f"):format(requests), requests <= 3.01)
  local connections = seen.connections - 1 -- the ledger's own
  goal("connections for n edits, all of one host", "n + 1", ("n + %d"):format(
    connections - seen.submits), connections <= seen.submits + 1)
  local check, hostile = r.check[3], r.check[#r.check]
  goal("picture check beyond the reads", "≤ 1 µs", ("%.1f µs with its Lua table"):format(
    check.memory), check.memory <= 2)
  goal("bytes that it reads", "≤ 20 KB", ("%d"):format(check.bytes), check.bytes <= 20000)
  goal("picture check of a hostile file", "≤ 1 ms", ("%.2f ms"):format(hostile.path / 1e3),
    hostile.path <= 1000)
  local reached, sooner, polled, bounds, out_of_reach = 0, 0, 0, {}, true
  for _, row in ipairs(r.polls) do
    if row.reached then
      reached = reached + 1
    else
      bounds[#bounds + 1] = ("%.2f"):format(row.bound)
      out_of_reach = out_of_reach and row.bound > 0.65
    end
    sooner, polled = sooner + row.kontext.delay / row.loop.delay,
      polled + row.kontext.polls / row.loop.polls
  end
  sooner, polled = sooner / #r.polls, polled / #r.polls
  goal("notice delay of polls, against a loop of 0.5 s", "≤ 0.65 × at ≤ 1.05 × its polls",
    ("on the mean %.2f × at %.2f ×; reached in %d of %d services%s"):format(sooner, polled,
      reached, #r.polls, #bounds > 0 and ", where the bound of the others is "
      .. table.concat(bounds, ", ") .. " ×" or ""),
    sooner <= 0.65 and polled <= 1.05 and out_of_reach)
end

-- Says what the small picture's goals are short of.
local function write_short(r)
  local of = r.edits["0.3 MB"]
  local bound, careful, kontext = of.C.more, of["careful C"].more, of.kontext.more
  write("With pictures of 0.3 MB, what kontext promises costs as much as the edit: %s ms of the %s "
    .. "that it takes longer than C, careful C takes too, for a connection of the submit's own "
    .. "and the MD5 of the %d KB that come back. No client that keeps to that comes under %s C; "
    .. "the other %s ms are Lua, three easy handles and the looks at three URLs and two "
    .. "pictures.\n", ms(careful - bound), ms(kontext - bound), r.result // 1000,
    times(careful / bound), ms(kontext - careful))
end

local function write_edits(r)
  write "## One edit, and further ones\n"
  write("A process makes one edit, another one more than ten (of 0.3 MB: a hundred, for C and "
    .. "kontext). CPU is user and system time of the process and its children, \"further\" what "
    .. "each edit after the first costs. The server compares every byte of the picture. Medians; "
    .. "the ratios are medians of the ratios within a round, with their quartiles.\n")
  for _, size in ipairs(r.sizes) do
    local rows = {}
    for _, client in ipairs(r.clients) do
      local of = r.edits[size.name][client.name]
      if of then
        rows[#rows + 1] = { client.name, ms(of.cpu), times(of.cpu_ratio), ms(of.more),
          times(of.more_ratio), spread(of.more_low, of.more_high), ms(of.wall),
          ("%.1f"):format(of.rss / 1024), ("%.1f"):format(of.all_rss / 1024),
          client.alters and "altered" or "exact" }
      end
    end
    write("### %s\n", size.name)
    table_of({ "client", "CPU, ms", "of C", "further, ms", "of C", "quartiles", "wall, ms",
      "peak RSS, MiB", "of all", "bytes" }, rows)
  end
  write("A process that does nothing: C %s ms and %.1f MiB (libcurl is loaded), Lua 5.4 %s ms and "
    .. "%.1f MiB, kontext with a client %s ms and %.1f MiB.\n", ms(r.idle.C.cpu),
    r.idle.C.rss / 1024, ms(r.idle.lua.cpu), r.idle.lua.rss / 1024, ms(r.idle.kontext.cpu),
    r.idle.kontext.rss / 1024)
  write "![CPU of a whole process by the picture's size](performance/edits.svg)\n"
end

local function write_flights(r)
  write "## Many edits, 24 in flight\n"
  local rows = {}
  local function add(what, results)
    for _, client in ipairs(r.clients) do
      local of = results[client.name]
      if of then
        rows[#rows + 1] = { what, client.name, ("%.1f"):format(of.rate), times(of.ratio),
          spread(of.low, of.high), ms(of.cpu), ("%.1f"):format(of.rss / 1024) }
        what = ""
      end
    end
  end
  for _, size in ipairs(r.sizes) do
    for _, takes in ipairs { 0, 0.2 } do
      local results = (r.flights[size.name] or {})[takes]
      if results then add(("%s, %g ms"):format(size.name, takes * 1e3), results) end
    end
  end
  if r.tls_flight then add("4.8 MB, 0 ms, TLS", r.tls_flight) end
  table_of({ "picture, server's time", "client", "edits/s", "of C", "quartiles", "CPU an edit, ms",
    "peak RSS, MiB" }, rows)
  write("The answers' pictures stay in memory until they are looked at, as a program would keep "
    .. "them; saved as they come, kontext's peak is %.1f MiB (TLS %.1f) with pictures of 4.8 MB. "
    .. "At 200 ms, 200 edits are nine rounds of 24, the last of which has eight: nobody reaches "
    .. "more than 93 %% of 24 / 0.2 s; and an edit of 0.3 MB alone takes %s ms.\n",
    r.flights["4.8 MB"][0].saved_rss / 1024, r.tls_flight.saved_rss / 1024,
    ms(r.flights["0.3 MB"][0.2].latency))
end

local function write_inside(r)
  write "## Calls\n"
  write("With 24 uploads of 19.5 MB under way, how long edit and step take, in µs: by the CPU's "
    .. "clock, and by the wall's, where other programs of the machine count too.\n")
  local rows = {}
  for _, of in ipairs { { "plain", r.calls }, { "TLS", r.tls_calls } } do
    for _, clock in ipairs { "cpu", "wall" } do
      local row = { of[1] .. ", " .. clock }
      for _, share in ipairs { 500, 990, 999, 1000 } do
        row[#row + 1] = ("%.0f"):format(of[2][clock .. "_" .. share])
      end
      rows[#rows + 1] = row
    end
    rows[#rows + 1] = { of[1] .. ", cancel, cpu", ("%.0f"):format(of[2].cancel_500), "", "",
      ("%.0f"):format(of[2].cancel_1000) }
  end
  table_of({ "", "median", "p99", "p99.9", "longest" }, rows)

  write "## Waiting jobs\n"
  rows = {}
  for i, row in ipairs(r.queued) do
    rows[i] = { ("%d"):format(row.jobs), ("%.0f"):format(row.lua), ("%.0f"):format(row.process),
      ("%.1f"):format(row.step), ("%.0f"):format(row.longest), ("%.0f"):format(row.edit) }
  end
  table_of({ "jobs", "bytes of Lua each", "of the process", "step, µs", "longest", "longest edit" },
    rows)
  write("The longest edit while thousands are queued one after the other is Lua's collector: in "
    .. "the generational mode, which is lua5.4's, it looks at all that lives in one go.\n")
  write "![A step and a job's memory by how many wait](performance/queued.svg)\n"

  write "## Picture check\n"
  rows = {}
  for i, row in ipairs(r.check) do
    rows[i] = { row.name, ("%.2f"):format(row.memory), ("%.2f"):format(row.path),
      ("%d"):format(row.bytes) }
  end
  table_of({ "picture", "from memory, µs", "from a file, µs", "bytes read" }, rows)
end

-- Libraries by the beginnings of their names, and what they do in an edit.
local libraries = {
  { "libcrypto", "the picture's MD5: only where the server tells one" },
  { "lua", "what decides; a string of the picture, and the collector" },
  { "libc.so", "copies of the picture, each byte counted; memory" },
  { "libcurl", "HTTP; three URLs that are looked at before they are asked for" },
  { "core", "base64, and the check of both pictures" },
  { "lower_bound", "base64" },
}

-- Returns the instructions of a further edit in those libraries.
local function in_library(counts, prefix)
  local sum = 0
  for object, thousands in pairs(counts.objects) do
    if object:sub(1, #prefix) == prefix then sum = sum + thousands end
  end
  return ("%.0f"):format(sum)
end

local sentences = {
  getpid = "each call of the engine asks whether the process was forked",
  ppoll = "a script's own waiting",
  epoll_wait = "one socket is taken at a time, and a last one finds none",
  pread64 = "48 KiB at a time, and the picture check's two",
  sendto = "64 KiB at a time", recvfrom = "the answers; 32 KiB of a picture at a time",
  epoll_ctl = "each connection is watched and left",
  newfstatat = "the file, its stamp at the start and the end",
  openat = "the picture check, and the upload",
  close = "the check, the upload, the submit's connection",
  getsockname = "libcurl's", getpeername = "libcurl's",
  fcntl = "libcurl's: a socket that does not block",
  socket = "a submit has a connection of its own: it is never sent twice",
  poll = "libcurl asks whether a connection is alive, and before each read",
  rt_sigaction = "SIGPIPE, which kontext leaves alone", brk = "memory", connect = "a submit's",
}

local function write_counts(r)
  write "## Instructions and system calls\n"
  local counts, bound = r.instructions.kontext, r.instructions.C
  write("Instructions in user space (callgrind), picture of 0.3 MB: a process with one edit %.1f "
    .. "million (C: %.1f), a further edit %.2f million (C: %.2f), a poll %.2f million. Those of a "
    .. "further edit, in thousands:\n", counts.start / 1e3, bound.start / 1e3, counts.edit / 1e3,
    bound.edit / 1e3, counts.poll / 1e3)
  local where = {}
  for i, of in ipairs(libraries) do
    where[i] = { of[1], in_library(counts, of[1]), in_library(bound, of[1]), of[2] }
  end
  table_of({ "in", "kontext", "C", "why" }, where)
  write "System calls of a further edit (strace):\n"
  local names, rows, total = {}, {}, { C = 0, kontext = 0 }
  for client, calls in pairs(r.system_calls) do
    for name, count in pairs(calls) do
      if not names[name] then
        names[name] = true
        rows[#rows + 1] = { name }
      end
      total[client] = total[client] + count
    end
  end
  table.sort(rows, function(a, b)
    local first, second = r.system_calls.kontext[a[1]] or 0, r.system_calls.kontext[b[1]] or 0
    return first > second or first == second and a[1] < b[1]
  end)
  for _, row in ipairs(rows) do
    row[2] = ("%.1f"):format(r.system_calls.kontext[row[1]] or 0)
    row[3] = ("%.1f"):format(r.system_calls.C[row[1]] or 0)
    row[4] = sentences[row[1]] or ""
  end
  rows[#rows + 1] = { "all", ("%.0f"):format(total.kontext), ("%.0f"):format(total.C), "" }
  table_of({ "call", "kontext", "C", "why" }, rows)
end

local function write_polls(r)
  write "## Polls\n"
  write("Simulated: the mean time from a task's end to the poll that finds it, and the polls of a "
    .. "task, both as multiples of what a loop of 0.5 s needs; 200 new clients, 100 tasks each. "
    .. "The bound is the delay that no schedule comes under for 1.05 × the loop's polls, not even "
    .. "one that knows the service from the start; near 0.65 × or above it the goal is out of "
    .. "reach for one that has to learn.\n")
  local rows = {}
  for i, row in ipairs(r.polls) do
    local cells = { row.name, ("%.2f s"):format(row.loop.delay), ("%.1f"):format(row.loop.polls) }
    for _, name in ipairs { "1 s", "doubling", "kontext" } do
      local it = row[name]
      cells[#cells + 1] = ("%.2f × at %.2f ×"):format(it.delay / row.loop.delay,
        it.polls / row.loop.polls)
    end
    cells[#cells + 1] = ("%.2f ×"):format(row.bound)
    cells[#cells + 1] = row.reached and "yes" or "no"
    rows[i] = cells
  end
  table_of({ "service takes", "loop: delay", "polls", "1 s", "doubling", "kontext", "bound",
    "goal" }, rows)
  write "![Delay and polls of each schedule](performance/polls.svg)\n"
end

--- Writes it all.
---@param r table what bench/run has measured
---@param path string
function report.write(r, path)
  out, goals = {}, {}
  judge(r)
  write "# Performance\n"
  write("Made by `make bench` on %s: %s. %s\n", os.date "!%Y-%m-%d", r.machine, r.remark)
  write("All clients take turns in one run, against one server that costs little and compares "
    .. "every byte of every picture. Polls come as fast as the server is ready.\n")
  table_of({ "client", "what" }, (function()
    local rows = {}
    for i, client in ipairs(r.clients) do rows[i] = { client.name, client.what } end
    return rows
  end)())
  write "## Goals\n"
  table_of({ "what", "goal", "measured", "reached" }, goals)
  write_short(r)
  write_edits(r)
  write_flights(r)
  write_inside(r)
  write_counts(r)
  write_polls(r)
  lab.write(path, (table.concat(out, "\n"):gsub("\n\n\n", "\n\n")) .. "\n")
end

return report
