-- R1: a paid submit arrives at most once, whatever breaks, and its outcome is told for what it is;
-- an id that can be read is never dropped.
--
-- Each answer is cut, reset and stalled at its bytes, and the upload at 64 points, with one and
-- with eight idle connections, over HTTP and HTTPS. The submit's connection is spoiled by the
-- proxy, on the wire, handshake and TLS records included; polls and downloads by the server. Last,
-- the answer to a submit ends in every bad way of endings.lua.

local campaign = require "faults.campaign"
local certs = require "faults.certs"
local endings = require "faults.endings"
local picture = require "faults.picture"
local proxy = require "faults.proxy"
local server = require "faults.server"
local service = require "faults.service"

local STALL = 1.5 -- far more than a busy machine keeps the service from answering
local SILENCE = 5 -- after the last byte of an upload only the deadline ends the wait

local run = campaign.new { id = "R1", title = "at most one paid submit under faults",
                           at_once = 64, limit = 60 }

-- The proxy's faults, and how the server does the same to an answer of its own.
local breaks = {
  { kind = "limit_data", server = function(conn) conn:finish() end },
  { kind = "reset_peer", server = function(conn) conn:reset() end },
  { kind = "timeout", server = function(conn) conn.wire:read(1, STALL * 2) end },
}

local small, large = run.temporary .. "/small.png", run.temporary .. "/large.png"

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

-- Starts the service behind a proxy; returns both, and how to stop them.
local function world(case, fault)
  local script, state = service.script { spoil = case.spoil, timeout = 20 }
  local back = server.start(run.loop, script,
    { tls = case.tls and certs.context "good" or nil, receive_buffer = case.receive_buffer })
  local front = proxy.start(run.loop,
    { to = back.port, fault = fault, receive_buffer = case.receive_buffer })
  state.base = ("%s://127.0.0.1:%d"):format(case.tls and "https" or "http", front.port)
  state.signature = campaign.signature
  return back, front, state.base
end

-- What the client is asked to do in a case.
local function request(case, base)
  return {
    new = { base_url = base, api_key = campaign.key, poll_interval = 0.02, stall_timeout = STALL,
            timeout = case.timeout or 30, ca_file = case.tls and certs.bundle() or nil },
    warm = case.warm,
    edit = { prompt = "case", input_image = case.picture, output_format = "png" },
  }
end

-- What is wrong with an outcome, seen from the server's ledger.
local function judge(case, back, front, outcome)
  local wrong = run:sane(outcome)
  if wrong then return wrong end
  local paid = server.submits(back.ledger)
  local kind = outcome.error and outcome.error.kind
  local told = campaign.told(outcome)
  if outcome.warm then return "it could not warm up: " .. outcome.warm end
  if paid > 1 then return ("PAID %d TIMES; told: %s"):format(paid, told) end
  if outcome.status == "ready" then
    if paid ~= 1 then return "ready, and the server saw no submit" end
    if outcome.bytes ~= #service.result then return "another picture than was sent" end
  elseif kind == "timeout" and case.silent then
    -- The answer never ended: the id that was in it is kept, or nothing was sent whole.
    if not outcome.token and paid > 0 then return "paid for, and lost: " .. told end
    if outcome.token and outcome.error.retryable then return "accepted, and called retryable" end
  elseif kind ~= "ambiguous" then
    return "neither ready nor ambiguous: " .. told
  else
    if outcome.error.retryable then return "an ambiguous edit is called retryable" end
    if not outcome.total or outcome.sent < outcome.total then
      return ("ambiguous after %s of %s bytes"):format(outcome.sent, outcome.total)
    end
  end
  local first = case.first and case.first(back, front)
  local last = outcome.status == "failed" and kind or outcome.status
  if first and last ~= first then return "told " .. told .. ", expected " .. first end
end

-- How many requests of a kind came to the server.
local function came(back, route)
  local count = 0
  for _, entry in ipairs(back.ledger) do
    if entry.route == route then count = count + 1 end
  end
  return count
end

local function try(case, client)
  local back, front, base, met
  -- The submit's connection is the first new one once all credits are told: on a busy machine fewer
  -- connections than were asked for are warm, as one that is free again is used again.
  back, front, base = world(case, function()
    if met or came(back, "credits") < (case.warm or 0) then return nil end
    met = true
    return case.fault
  end)
  local outcome = client:run(request(case, base))
  local wrong = judge(case, back, front, outcome)
  front:close(true)
  back:close(true)
  return wrong
end

-- How many bytes a submit's connection carries each way when nothing is spoiled, and how many of
-- the answer it takes to read the id.
local function measure(tls, image)
  local readable
  local case = { tls = tls, picture = image, spoil = function(_, _, route, bytes)
    if route == "submit" then readable = select(2, bytes:find '"id":"[^"]+"') end
  end }
  local back, front, base = world(case, function() return nil end)
  run.shared = run.shared or run:client()
  local outcome = run.shared:run(request(case, base))
  assert(outcome and outcome.status == "ready", "an edit without faults fails: "
    .. tostring(outcome and (outcome.raised or outcome.error and outcome.error.text)))
  local submit = front.links[1]
  front:close(true)
  back:close(true)
  return submit.client.received, submit.client.sent, readable
end

local function add(cases, case)
  cases[#cases + 1] = case
  case.name = ("%s %s %s at %d, %d idle"):format(case.tls and "https" or "http",
    case.where, case.how, case.at, case.warm or 0)
end

-- The submit's answer, on the wire: `last` bytes are the whole of it, and from `readable` on they
-- hold the id.
local function submit_cases(cases, tls, last, readable, stride)
  for at = 0, last, stride do
    for _, broken in ipairs(breaks) do
      for _, warm in ipairs { 1, 8 } do
        add(cases, {
          tls = tls, warm = warm, where = "submit's answer", how = broken.kind, at = at,
          picture = small, fault = { kind = broken.kind, at = at, direction = "down" },
          silent = broken.kind == "timeout", timeout = broken.kind == "timeout" and SILENCE or nil,
          -- Over plain HTTP each byte's meaning is known: the id is there, or it is not.
          -- At its byte 0 the fault may come before the upload's end.
          first = not tls and at > 0 and function()
            if at < readable then return "ambiguous" end
            return broken.kind == "timeout" and at < last and "timeout" or "ready"
          end or nil,
        })
      end
    end
  end
end

local function upload_cases(cases, tls, total, points, warms)
  for point = 0, points - 1 do
    for _, broken in ipairs(breaks) do
      for _, warm in ipairs(warms) do
        add(cases, {
          tls = tls, warm = warm, where = "upload", how = broken.kind,
          at = math.floor(total * point / points), picture = large, receive_buffer = 65536,
          fault = { kind = broken.kind, direction = "up",
                    at = math.floor(total * point / points) },
        })
      end
    end
  end
end

-- Polls and downloads: the first answer of that kind is spoiled, the job must end well.
local function later_cases(cases, tls, route, length, stride)
  for at = 0, length - 1, stride do
    for _, broken in ipairs(breaks) do
      local done
      add(cases, {
        tls = tls, where = route, how = broken.kind, at = at, picture = small,
        first = function() return "ready" end,
        spoil = function(conn, _, answered, bytes)
          if answered ~= route or done then return nil end
          done = true
          if at > 0 then conn:send(bytes:sub(1, at)) end
          broken.server(conn)
          return false
        end,
      })
    end
  end
end

local function ending_cases(cases, tls)
  for _, ending in ipairs(endings) do
    for _, warm in ipairs { 1, 8 } do
      cases[#cases + 1] = {
        name = ("%s: %s, %d idle"):format(tls and "https" or "http", ending.name, warm),
        tls = tls, warm = warm, picture = small, ending = ending,
        timeout = ending.silent and SILENCE or nil,
        spoil = function(conn, entry, route, bytes)
          if route ~= "submit" then return nil end
          ending.act(conn, bytes, entry)
          return false
        end,
      }
    end
  end
end

-- An ending's error is known by its kind, and the server's status by its number.
local function judge_ending(case, back, outcome)
  local ending, told = case.ending, campaign.told(outcome)
  local posts, kind = server.submits(back.ledger), outcome.error and outcome.error.kind
  if ending.posts ~= "any" and posts ~= (ending.posts or 1) or posts < 1 then
    return ("%d submits; told: %s"):format(posts, told)
  end
  if kind ~= ending.kind then return ("told %s, not %s"):format(told, ending.kind or "ready") end
  if not kind then return outcome.status ~= "ready" and "told " .. told or nil end
  if kind == "ambiguous" and outcome.error.retryable then return "it is called retryable" end
  if outcome.error.status ~= ending.status then
    return ("status %s, not %s; told %s"):format(outcome.error.status, ending.status, told)
  end
end

local function try_ending(case, client)
  local back, front, base = world(case, function() return nil end)
  local outcome = client:run(request(case, base))
  local wrong = run:sane(outcome) or judge_ending(case, back, outcome)
  front:close(true)
  back:close(true)
  return wrong
end

run:run(function()
  write(small, picture.png(24, 16))
  write(large, picture.png(24, 16, 6000000))
  certs.make()
  local cases = {}
  for _, tls in ipairs { false, true } do
    local _, down, readable = measure(tls, small)
    local up = measure(tls, large)
    submit_cases(cases, tls, down, readable, campaign.size(tls and 61 or 9, tls and 7 or 1, 1))
    upload_cases(cases, tls, up, campaign.size(8, 64, 64), campaign.size({ 8 }, { 1, 8 }, { 1, 8 }))
    later_cases(cases, tls, "poll", 420, campaign.size(29, 7, 1))
    later_cases(cases, tls, "sample", #service.result + 150, campaign.size(307, 41, 1))
  end
  run:each(cases, try)
  cases = {}
  for _, tls in ipairs { false, true } do ending_cases(cases, tls) end
  run:each(cases, try_ending)
  run.notes = { ("%d of them bad endings of %d kinds"):format(#cases, #endings) }
end)
