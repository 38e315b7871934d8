-- R2: kill -9 at random moments and at each call that writes, syncs, renames or sends, in the
-- middle of a batch; then the batch again, until it ends. Nothing accepted is lost, nothing is paid
-- for twice, no picture is torn; in doubt is only what was under way when the kill came. And forty
-- kills of one batch while no submit is under way leave no doubt at all: every picture is there.

local cqueues = require "cqueues"
local campaign = require "faults.campaign"
local killing = require "faults.killing"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"

local KILLS = campaign.size(60, 1000, 10000)
local ITEMS = 24
local ROUND_KILLS = 40

local run = campaign.new { id = "R2", title = "killed and run again", at_once = 3, limit = 60 }

local image = run.temporary .. "/small.png"
local kills = killing.new(run, 20260102, { image = image, items = ITEMS })
local function roll(n) return kills:roll(n) end
local function wanted() return service.result end

-- What may come in place of a poll's or a download's answer, before a kill and after a resume: a
-- replica that lags, a gateway, a web filter, a link that storage does not know yet.
local strays = {
  { "404 Not Found", '{"detail":"Task not found"}' },
  { "404 Not Found", "<html>Not Found</html>" },
  { "502 Bad Gateway", "<html>Bad Gateway</html>" },
  { "403 Forbidden", "<html>Blocked</html>" },
  { "200 OK", "" },
  { "200 OK", '{"id":"00000000-0000-4000-8000-999999999999","status":"Error"}' },
}

-- Sends a stray answer, one in four times; returns whether it did.
local function stray(conn, entry, route)
  if route ~= "poll" and route ~= "sample" or roll(4) > 0 then return false end
  local one = strays[1 + roll(route == "poll" and #strays or 4)]
  conn:answer(one[1], {}, one[2])
  entry.stray = true
  return true
end

-- A service that takes its time, as long as a kill takes to come.
local function start_service(log)
  local polls = {}
  local script, state = service.script {
    keep = true,
    spoil = function(conn, entry, route)
      if stray(conn, entry, route) then
        run.strays = run.strays + 1
        return true
      elseif route == "submit" then
        local item = tonumber(entry.body:match '"edit (%d+)"')
        local one = log[item] or { posts = 0 }
        log[item], one.posts = one, one.posts + 1
        cqueues.sleep(roll(8) / 1000)
        one.answered = cqueues.monotime()
      elseif route == "sample" then
        cqueues.sleep(roll(4) / 1000)
      end
    end,
    answers = { poll = function(it, id)
      polls[id] = (polls[id] or 0) + 1
      if polls[id] > 1 then return service.answers.poll(it, id) end
      return "200 OK", {}, ('{"id":"%s","status":"Pending","progress":0.5}'):format(id)
    end },
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  return back, state.base
end

-- A batch, killed until it survives. Returns what is wrong.
local function try(case)
  local place = kills:place(tostring(case.number))
  place.log = {}
  local back
  back, place.base = start_service(place.log)
  local deaths, results, done = {}, nil, false
  local wrong
  for attempt = 1, ROUND_KILLS + 1 do
    local how = (run.kills >= KILLS or attempt > ROUND_KILLS) and {} or kills:plan()
    local died, manner, number
    results, done, died, manner, number = kills:once(place, how)
    wrong = killing.torn(place, wanted)
    if wrong then break end
    if done then break end
    if manner ~= "signal" or number ~= 9 then
      wrong = ("it ended by itself: %s %s (%s)"):format(manner, number, how.text or how.seconds)
      break
    end
    run.kills = run.kills + 1
    deaths[#deaths + 1] = died
  end
  if not done and not wrong then wrong = "it never came to its end" end
  -- What an earlier run printed is in the journal too: once more, and all must be as it was.
  if not wrong then results, done = kills:once(place, {}) end
  if not wrong and not done then wrong = "the last run did not end" end
  for item = 1, ITEMS do
    if wrong then break end
    local one, result = place.log[item] or { posts = 0 }, results[item] or { kind = "nothing" }
    if one.posts > 1 then
      wrong = ("edit %d PAID %d TIMES (%s)"):format(item, one.posts, result.kind)
    elseif result.kind == "saved" then
      if one.posts ~= 1 or not campaign.read(("%s/%d.png"):format(place.folder, item)) then
        wrong = ("edit %d is called saved: %d submits"):format(item, one.posts)
      end
    elseif result.kind == "ambiguous" then
      run.doubts = run.doubts + 1
      local excused = one.posts == 0
      if excused then run.unsent = run.unsent + 1 end
      for _, died in ipairs(deaths) do
        if one.answered and died <= one.answered + killing.after then excused = true end
        if one.posts == 1 and not one.answered then excused = true end
      end
      if not excused then
        wrong = ("edit %d is in doubt, though its answer came %.0f ms before the kill"):format(
          item, (deaths[#deaths] - one.answered) * 1000)
      end
    else
      wrong = ("edit %d: %s %s"):format(item, result.kind, result.text or "")
    end
  end
  back:close(true)
  run:clear(place.folder)
  return wrong
end

-- One batch, four edits at once, killed forty times; the service is as slow as the kills are many.
local function forty(round)
  local place = kills:place("forty" .. round, "4")
  local done_kills = 0
  local script, state = service.script {
    keep = true,
    spoil = function(_, _, route)
      if route == "submit" then cqueues.sleep(roll(40) / 1000) end
    end,
    answers = { poll = function(it, id)
      local item = tonumber(it.ids[id].body:match '"edit (%d+)"')
      if done_kills >= item * ROUND_KILLS / ITEMS then return service.answers.poll(it, id) end
      return "200 OK", {}, ('{"id":"%s","status":"Pending","progress":0.5}'):format(id)
    end },
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  place.base = state.base
  local wrong, results, done
  while done_kills < ROUND_KILLS and not wrong do
    local how = { seconds = 0.05 + roll(200) / 1000, kill = kills:undoubted(place) }
    local _, _, _, manner, number = kills:once(place, how)
    wrong = killing.torn(place, wanted)
    if manner == "signal" and number == 9 then done_kills = done_kills + 1
    else wrong = wrong or ("after %d kills it ended by itself"):format(done_kills) end
  end
  if not wrong then results, done = kills:once(place, {}) end
  if not wrong and not done then wrong = "it never came to its end" end
  local paid = {}
  for _, entry in ipairs(back.ledger) do
    local item = entry.method == "POST" and tonumber(entry.body:match '"edit (%d+)"')
    if item then paid[item] = (paid[item] or 0) + 1 end
  end
  for item = 1, wrong and 0 or ITEMS do
    local result = results[item] or { kind = "nothing" }
    if paid[item] ~= 1 then
      wrong = ("edit %d was paid %d times (%s)"):format(item, paid[item] or 0, result.kind)
    elseif campaign.read(("%s/%d.png"):format(place.folder, item)) ~= service.result then
      wrong = ("edit %d: %s %s"):format(item, result.kind, result.text or "no picture")
    end
  end
  back:close(true)
  run:clear(place.folder)
  run.cases, run.undoubted = run.cases + 1, run.undoubted + done_kills
  if wrong then run:violation("forty kills", wrong) end
end

run:run(function()
  run.undoubted = 0
  run.kills, run.doubts, run.unsent, run.strays = 0, 0, 0, 0
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local number, running = 0, 0
  for _ = 1, run.at_once do
    running = running + 1
    run.loop:wrap(function()
      while run.kills < KILLS and #run.violations < 5 do
        number = number + 1
        local mine = number
        local fine, broken = xpcall(try, debug.traceback, { number = mine })
        run.cases = run.cases + 1
        if not fine or broken then run:violation("batch " .. mine, broken) end
      end
      running = running - 1
    end)
  end
  for round = 1, campaign.size(0, 2, 10) do forty(round) end
  while running > 0 do cqueues.sleep(0.05) end
  run.notes = { ("%d kills, %d edits in doubt (%d of them never sent), %d stray answers; %d kills "
    .. "of %d-picture batches with none in doubt"):format(run.kills, run.doubts, run.unsent,
    run.strays, run.undoubted, ITEMS) }
end)
