-- S4: bombs. Whatever size an answer pretends to, or has, memory stays under a cap and an error
-- comes soon; no text keeps a pattern busy; the job, where it was paid for, is not lost over it.

local campaign = require "faults.campaign"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"

local MIB = 1024 -- in KiB, as the system counts
local CAP = 1 * MIB -- what an answer that is no picture may take, generously
local ROOM = 8 * MIB
local SOON = 2 -- seconds of processor time
local LATE = 20 -- seconds, on a machine that others use

local run = campaign.new { id = "S4", title = "bombs go off outside", at_once = 3, limit = 30 }

local image = run.temporary .. "/small.png"

local function forever(conn, bytes)
  while conn:send(bytes) do end
end

local function gzip(bytes)
  local path = run.temporary .. "/bomb"
  local file = assert(io.popen("gzip -9 > " .. path, "w"))
  file:write(bytes)
  file:close()
  file = assert(io.open(path, "rb"))
  bytes = file:read "a"
  file:close()
  return bytes
end

local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
local chunk = ("%x\r\n%s\r\n"):format(65536, ("x"):rep(65536))

local function json(conn, body)
  conn:send(HEAD, "Content-Length: ", #body, "\r\n\r\n", body)
end

-- Each sends its bomb in place of an answer.
local bombs = {
  ["endless chunks"] = function(conn)
    conn:send(HEAD, "Transfer-Encoding: chunked\r\n\r\n")
    forever(conn, chunk)
  end,
  ["endless body without length"] = function(conn)
    conn:send(HEAD, "Connection: close\r\n\r\n")
    forever(conn, ("x"):rep(65536))
  end,
  ["length of 10^18"] = function(conn)
    conn:send(HEAD, "Content-Length: 1000000000000000000\r\n\r\n")
    forever(conn, ("x"):rep(65536))
  end,
  ["endless 1xx"] = function(conn)
    forever(conn, ("HTTP/1.1 103 Early Hints\r\n\r\n"):rep(1000))
  end,
  ["endless 100"] = function(conn) forever(conn, ("HTTP/1.1 100 Continue\r\n\r\n"):rep(1000)) end,
  ["endless headers"] = function(conn)
    conn:send(HEAD)
    forever(conn, ("X-A: " .. ("b"):rep(1000) .. "\r\n"):rep(60))
  end,
  ["one endless header"] = function(conn)
    conn:send(HEAD, "X-A: ")
    forever(conn, ("b"):rep(65536))
  end,
  ["endless trailers"] = function(conn)
    conn:send(HEAD, "Transfer-Encoding: chunked\r\n\r\n0\r\n")
    forever(conn, ("X-A: " .. ("b"):rep(1000) .. "\r\n"):rep(60))
  end,
  ["endless chunk extension"] = function(conn)
    conn:send(HEAD, "Transfer-Encoding: chunked\r\n\r\n5;a=")
    forever(conn, ("b"):rep(65536))
  end,
  ["chunk of 2^64"] = function(conn)
    conn:send(HEAD, "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n")
    forever(conn, ("b"):rep(65536))
  end,
  ["gzip"] = function(conn)
    local body = gzip(("\0"):rep(50000000))
    conn:send(HEAD, "Content-Encoding: gzip\r\nContent-Length: ", #body, "\r\n\r\n", body)
  end,
  ["gzip over gzip"] = function(conn)
    local body = gzip(gzip(("\0"):rep(50000000)))
    conn:send(HEAD, "Content-Encoding: gzip, gzip\r\nContent-Length: ", #body, "\r\n\r\n", body)
  end,
  ["100,000-deep arrays"] = function(conn) json(conn, ("["):rep(100000) .. ("]"):rep(100000)) end,
  ["100,000-deep objects"] = function(conn) json(conn, ('{"a":'):rep(50000)) end,
  ["a 200 KB number"] = function(conn) json(conn, '{"id":' .. ("9"):rep(200000) .. "}") end,
  ["a 300 KB id"] = function(conn)
    json(conn, '{"id":"' .. ("a"):rep(300000) .. '","polling_url":"https://x"}')
  end,
  ["50,000 keys"] = function(conn)
    local keys = {}
    for i = 1, 20000 do keys[i] = ('"k%d":%d'):format(i, i) end
    json(conn, "{" .. table.concat(keys, ",") .. "}")
  end,
  ["an error of 100 MB"] = function(conn)
    conn:send "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 100000000\r\n\r\n"
    for _ = 1, 1600 do
      if not conn:send(("x"):rep(65536)) then return end
    end
  end,
}

-- Texts that keep a pattern busy which looks at all of them from each of their places: 60 KB of
-- them held one step for half a minute.
local function answer(conn, status, headers, body)
  conn:send("HTTP/1.1 ", status, "\r\n", headers, "Content-Length: ", #body, "\r\n\r\n", body)
end

local LONG = 60000
local texts = { ["<"] = ("<"):rep(LONG), digits = ("9"):rep(LONG), spaces = (" "):rep(LONG) .. "x",
  quotes = ('"'):rep(LONG), percents = ("%"):rep(LONG), letters = ("a"):rep(LONG),
  braces = ("{"):rep(LONG), escapes = ("\\"):rep(LONG), controls = ("\27["):rep(LONG / 2),
  ["half a character"] = ("\195"):rep(LONG) }

local patterns = {}
for name, text in pairs(texts) do
  patterns["an error page of " .. name] = function(conn)
    answer(conn, "500 Internal Server Error", "Content-Type: text/html\r\n", text)
  end
  patterns["a cut object of " .. name] = function(conn)
    answer(conn, "200 OK", "", '{"detail":"' .. text)
  end
  local safe = text:gsub('[%c"\\\195]', "'")
  patterns["a status of " .. name] = function(conn, id)
    answer(conn, "200 OK", "", ('{"id":"%s","status":"%s"}'):format(id or "", safe))
  end
  patterns["reasons of " .. name] = function(conn, id)
    answer(conn, "200 OK", "", ('{"id":"%s","status":"Request Moderated",'
      .. '"details":{"Moderation Reasons":["%s"]}}'):format(id or "", safe))
  end
  local value = text:gsub("%c", "<")
  for _, header in ipairs { "Retry-After", "Content-Type", "Content-Range", "Content-MD5", "Date",
                            "Location", "Content-Encoding" } do
    patterns[header .. " of " .. name] = function(conn)
      answer(conn, header == "Location" and "302 Found" or "429 Too Many Requests",
        ("%s: %s\r\n"):format(header, value), '{"detail":"wait"}')
    end
  end
end

-- Pictures that promise more than they hold; the last one really is larger than any result.
local function chunked_png(parts) return picture.signature .. table.concat(parts) end
local pictures = {
  ["65535 x 65535"] = function() return picture.png(65535, 1):gsub("^(.-IHDR....)....",
    "%1\0\0\255\255") end,
  ["2^31 x 2^31"] = function()
    return chunked_png { picture.chunk("IHDR", string.pack(">I4I4BBBBB", 2147483647, 2147483647,
      8, 2, 0, 0, 0)), picture.chunk("IDAT", ""), picture.chunk("IEND", "") }
  end,
  ["IDAT of 2 GB"] = function()
    return chunked_png { picture.header(1024, 1024), string.pack(">I4", 0x7FFFFFFF), "IDAT", "xx" }
  end,
  ["no picture"] = function() return ("k"):rep(100000) end,
}

local function endless_picture(conn)
  conn:send("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n",
    picture.png(32, 24))
  forever(conn, ("x"):rep(65536))
end

local function try(case)
  local script, state = service.script {
    answers = case.result and { sample = function()
      return "200 OK", { "Content-Type: image/png" }, case.result
    end } or nil,
    spoil = case.bomb and function(conn, entry, route)
      if route ~= case.route then return nil end
      case.bomb(conn, entry.id)
      conn:finish()
      return false
    end or nil,
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  -- A process of its own, for its peak of memory; it has done an edit before.
  local client = run:client()
  local calm_script, calm = service.script {}
  local calm_server = server.start(run.loop, calm_script)
  calm.base = "http://127.0.0.1:" .. calm_server.port
  local function request(base)
    return { new = { base_url = base, api_key = campaign.key, poll_interval = 0.05, timeout = 1.2,
                     stall_timeout = 1 },
             edit = { prompt = "case", input_image = image, output_format = "png",
                      save_as = case.save and run.temporary .. "/out.png" or nil } }
  end
  local before = client:run(request(calm.base))
  local wrong = run:sane(before)
  local base = client:memory "VmHWM"
  local cpu = client:cpu()
  local outcome = client:run(request(state.base))
  cpu = client:cpu() - cpu
  local peak = client:memory "VmHWM"
  client:stop()
  back:close(true)
  calm_server:close(true)
  wrong = wrong or run:sane(outcome)
  if wrong then return wrong end
  run.peak = math.max(run.peak or 0, peak - base)
  local told = campaign.told(outcome)
  local paid = server.submits(back.ledger)
  if paid > 1 and not case.limited then return ("%d submits; told: %s"):format(paid, told) end
  if peak - base > CAP + (case.cap or 0) + ROOM then
    return ("memory grew by %d KiB; told: %s"):format(peak - base, told)
  end
  if cpu > SOON or outcome.seconds > LATE then
    return ("%.1f s, %.1f s of the processor; told: %s"):format(outcome.seconds, cpu, told)
  end
  run:latency("error's processor time", cpu)
  if outcome.status == "ready" then
    -- What arrived whole is kept whatever it is, and said to be odd; an id is an id.
    local fine = case.accepted or case.fine and outcome.warnings > 0
    return not fine and "it is called ready" or nil
  end
  if case.route == "submit" then
    local kind = outcome.error and outcome.error.kind
    if kind ~= (case.kind or "ambiguous") then return "told " .. told end
  elseif not outcome.token then
    return "the job is lost: " .. told
  end
end

run:run(function()
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local cases = {}
  for _, route in ipairs { "submit", "poll", "sample" } do
    for name, bomb in pairs(bombs) do
      cases[#cases + 1] = { name = route .. ": " .. name, route = route, bomb = bomb,
                            cap = route == "sample" and 64 * MIB or 0,
                            kind = name == "an error of 100 MB" and "http" or nil }
    end
    local names = {}
    for name in pairs(patterns) do names[#names + 1] = name end
    table.sort(names)
    for i = 1, #names, campaign.size(15, 3, 1) do
      local name = names[i]
      local limited = name:find "^%u" and not name:find "^Location"
      cases[#cases + 1] = { name = route .. ": " .. name, route = route, bomb = patterns[name],
        limited = limited, cap = route == "sample" and 64 * MIB or 0,
        fine = route == "sample", -- a body of a length that was told arrived whole
        accepted = route == "submit" and (name:find "^reasons" or name:find "^a status") ~= nil,
        kind = limited and "rate_limited" or name:find "^Location" and "http" or nil }
    end
  end
  for name, make in pairs(pictures) do
    cases[#cases + 1] = { name = "result: " .. name, route = "sample", result = (make()),
                          fine = true, cap = 64 * MIB }
  end
  for _, save in ipairs { false, true } do
    cases[#cases + 1] = { name = "result: endless", route = "sample", bomb = endless_picture,
                          save = save, cap = save and 0 or 64 * MIB }
  end
  table.sort(cases, function(a, b) return a.name < b.name end)
  run:each(cases, try)
  run.notes = { ("memory grew by %.1f MiB at most"):format((run.peak or 0) / MIB) }
end)
