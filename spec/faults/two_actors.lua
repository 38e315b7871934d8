-- A1: two actors at once on one name, key, journal, folder or client: every pair of an edit, a
-- batch and a resume, as calls and as commands. Nothing is paid twice, no picture is overwritten
-- that nobody named, what was paid for is there in the end, and who is refused is told so.

local cjson = require "cjson"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local canary = require "faults.canary"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"

local run = campaign.new { id = "A1", title = "two actors on one thing", at_once = 4, limit = 60 }

local random = 20260303
local function roll(n)
  random = (random * 1103515245 + 12345) % 2147483648
  return (random >> 8) % n
end

local kinds = { "edit", "batch", "resume", "command edit", "command batch", "command resume" }
local shares = { "name", "default name", "key", "journal" }

local home = os.getenv "PWD"
local input = picture.png(24, 16)

-- The picture that an edit ends in: each prompt has its own.
local results = {}
local function result_of(prompt)
  results[prompt] = results[prompt]
    or picture.png(32, 24, #prompt * 1000 + tonumber(prompt:match "%d+$"))
  return results[prompt]
end

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

local function start_service(pace)
  local polls, prompts = {}, {}
  local script, state = service.script {
    keep = true,
    spoil = function(_, entry, route)
      if route == "submit" then prompts[entry.id] = entry.body:match '"prompt":"([^"]*)"' end
      cqueues.sleep(roll(pace) / 1000)
    end,
    answers = {
      poll = function(of, id)
        polls[id] = (polls[id] or 0) + 1
        if polls[id] > 2 then return service.answers.poll(of, id) end
        return "200 OK", {}, ('{"id":"%s","status":"Pending"}'):format(id)
      end,
      sample = function(_, id)
        return "200 OK", { "Content-Type: image/png" }, result_of(prompts[id])
      end,
    },
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  return back, state.base
end

-- Runs a program in the case's folder; returns what it printed, what it said, and its exit code.
local function perform(place, name, argv)
  local said = ("%s.%s.said"):format(place.folder, name)
  local argv_there = { "sh", "-c", 'cd "$0" && exec "$@"', place.folder }
  for _, word in ipairs(argv) do argv_there[#argv_there + 1] = word end
  local pid, fd = assert(sys.spawn(argv_there, { "BFL_BASE_URL=" .. place.base,
    "BFL_API_KEY=" .. campaign.key, "XDG_STATE_HOME=" .. place.folder .. ".state",
    "TMPDIR=" .. place.folder .. ".aside" }, { stderr = said }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("bn", "bn")
  pipe:onerror(function(_, _, code) return code end)
  local printed = pipe:read "*a" or ""
  pipe:close()
  local how, code = sys.wait(pid)
  local words = campaign.read(said) or ""
  os.remove(said) -- a token is the user's own to see
  run:scan(printed:gsub('"token":"[^"]*"', "") .. words:gsub("kontext1:%S*", ""), name)
  return printed, words, how == "exit" and code or how
end

local function act_with_calls(place, name, acts, journal)
  local printed, words, code = perform(place, name, { "lua5.4",
    home .. "/spec/faults/actor.lua", cjson.encode { base = place.base, key = campaign.key,
      journal = journal, acts = acts } })
  local told = {}
  for line in printed:gmatch "[^\n]+" do told[#told + 1] = cjson.decode(line) end
  return told, code ~= 0 and ("%s ended with %s: %s"):format(name, tostring(code), words) or nil
end

-- A command's outcome: the paths that it printed, or why it failed.
local function act_with_command(place, name, argv)
  local all = { "lua5.4", home .. "/bin/kontext" }
  for _, word in ipairs(argv) do all[#all + 1] = word end
  local printed, words, code = perform(place, name, all)
  local told = {}
  for path in printed:gmatch "[^\n]+" do told[#told + 1] = { saved = path } end
  if code ~= 0 then told[#told + 1] = { text = words, kind = "exit " .. tostring(code) } end
  return told, type(code) ~= "number" and ("%s died: %s"):format(name, words) or nil
end

-- What an actor is asked for. Actors that share a key share all but how they go about it.
local function plan(place, share, kind, number)
  local prompt = share == "key" and kind:find "edit" == nil and "same 1" or "own " .. number
  local given = { prompt = prompt, image = place.image, how = kind:match "%a+$" }
  if share == "name" then
    given.save_as = place.folder .. "/one.png"
  elseif share == "default name" then
    given.save_as, given.no_replace = place.folder .. "/input-edit.png", true
  else
    given.save_as = ("%s/%s.png"):format(place.folder, prompt:gsub(" ", "-"))
  end
  given.key = (share == "key" or share == "journal") and prompt or nil
  return given
end

local function commands(place, share, given)
  local journal = place.journal and { "--journal", place.journal } or {}
  local argv
  if given.how == "edit" then
    argv = { "edit", place.image, given.prompt, "--format", "png" }
  elseif given.how == "batch" then
    local list = ("%s.%s.list"):format(place.folder, given.prompt:gsub(" ", "-"))
    write(list, cjson.encode { prompt = given.prompt, input_image = place.image, key = given.key,
      output_format = "png", save_as = not given.no_replace and given.save_as or nil } .. "\n")
    argv = { "batch", list, "-d", place.folder }
  elseif given.token then
    argv = { "resume", given.token }
  else
    argv = { "resume" }
  end
  if (given.how == "edit" or given.token) and share ~= "default name" then
    argv[#argv + 1], argv[#argv + 2] = "-o", given.save_as
  end
  for _, word in ipairs(given.token and {} or journal) do argv[#argv + 1] = word end
  return argv
end

-- What was paid for, by prompt.
local function paid_of(back)
  local paid = {}
  for _, entry in ipairs(back.ledger) do
    local prompt = entry.method == "POST" and entry.complete
      and entry.body:match '"prompt":"([^"]*)"'
    if prompt then paid[prompt] = (paid[prompt] or 0) + 1 end
  end
  return paid
end

-- What is wrong with the folder: each file is an input or a whole picture of a paid edit.
local function look_around(place, paid, share)
  local found = {}
  for _, name in ipairs(sys.list(place.folder) or {}) do
    local bytes, whose = campaign.read(place.folder .. "/" .. name), nil
    for prompt in pairs(paid) do
      if bytes == result_of(prompt) then whose = prompt end
    end
    if name == "input.png" then
      if bytes ~= input then return "the input was overwritten" end
    elseif not whose then
      return ("%s is no whole picture of an edit that was paid (%d bytes)"):format(name, #bytes)
    else
      found[whose] = (found[whose] or 0) + 1
    end
  end
  for prompt in pairs(paid) do
    -- Who names a file may replace it, with another process's picture too.
    if not found[prompt] and (share ~= "name" or not next(found)) then
      return ("the picture of %q was paid for and is nowhere"):format(prompt)
    end
  end
end

local function try(case)
  run.serial = (run.serial or 0) + 1
  local place = { folder = ("%s/%d"):format(run.temporary, run.serial) }
  os.execute(("mkdir '%s' '%s.state' '%s.aside'"):format(place.folder, place.folder, place.folder))
  place.image = place.folder .. "/input.png"
  write(place.image, input)
  local back
  back, place.base = start_service(case.pace)
  local kept = case.share == "key" or case.share == "journal"
  place.journal = kept and place.folder .. ".journal" or nil
  local plans, told, wrong, running = {}, {}, nil, 0
  for i, kind in ipairs(case.pair) do
    plans[i] = plan(place, case.share, kind, i)
    if plans[i].how == "resume" then -- something that is to be resumed
      local begin = {}
      for name, value in pairs(plans[i]) do begin[name] = value end
      begin.how, begin.no_replace = "begin", nil
      if not case.begun or case.share ~= "key" then
        local made, why = act_with_calls(place, "begin" .. i, { begin }, place.journal)
        wrong = wrong or why
        case.begun = true
        if not place.journal then plans[i].token = made[1] and made[1].token end
      end
    end
  end
  local done = require "cqueues.condition".new()
  local function act(name, fn)
    running = running + 1
    run.loop:wrap(function()
      local fine, outcomes, why = xpcall(fn, debug.traceback)
      if not fine then why = outcomes end
      for _, outcome in ipairs(fine and outcomes or {}) do
        outcome.by = name
        told[#told + 1] = outcome
      end
      wrong = wrong or why
      running = running - 1
      done:signal()
    end)
  end
  if case.one_client then
    act("one client", function()
      return act_with_calls(place, "client", plans, place.journal)
    end)
  else
    for i, kind in ipairs(case.pair) do
      act(kind, function()
        cqueues.sleep(i == 2 and case.delay or 0)
        if kind:find "^command" then
          return act_with_command(place, "actor" .. i, commands(place, case.share, plans[i]))
        end
        return act_with_calls(place, "actor" .. i, { plans[i] }, place.journal)
      end)
    end
  end
  while running > 0 do done:wait() end
  -- What was refused because the other held the journal is fetched by the next run.
  if not wrong and place.journal then
    local _, why = act_with_calls(place, "last", { { how = "resume" } }, place.journal)
    wrong = why
  end
  local paid, count = paid_of(back), 0
  for prompt, times in pairs(paid) do
    count = count + times
    if times > 1 then wrong = wrong or ("%q PAID %d TIMES"):format(prompt, times) end
  end
  wrong = wrong or look_around(place, paid, case.share)
  for _, outcome in ipairs(told) do
    local refused = outcome.text or outcome.kind
    if refused then run.refused = run.refused + 1 end
    if refused and (outcome.text or "") == "" then
      wrong = wrong or ("%s was refused without a word"):format(outcome.by)
    elseif outcome.saved and not (campaign.read(outcome.saved)
      or campaign.read(place.folder .. "/" .. outcome.saved)) then
      wrong = wrong or ("%s says that it saved %s, which is not there"):format(outcome.by,
        outcome.saved)
    elseif outcome.saved then
      run.saved = run.saved + 1
    end
  end
  run.paid = run.paid + count
  back:close(true)
  run:clear(place.folder)
  if wrong then
    local words = {}
    for i, outcome in ipairs(told) do
      words[i] = ("%s: %s"):format(outcome.by, outcome.saved or outcome.text or "-")
    end
    return wrong .. " | " .. table.concat(words, " | ")
  end
end

run:run(function()
  run.refused, run.saved, run.paid = 0, 0, 0
  assert(canary.key == campaign.key)
  local cases = {}
  local function add(pair, share, one_client, round)
    cases[#cases + 1] = { pair = pair, share = share, one_client = one_client,
      delay = round == 1 and 0 or roll(150) / 1000, pace = 1 + roll(30),
      name = ("%s and %s on one %s%s, round %d"):format(pair[1], pair[2], share,
        one_client and " in one client" or "", round) }
  end
  for round = 1, campaign.size(1, 1, 50) do
    for i, one in ipairs(kinds) do
      for j = i, #kinds do
        for _, share in ipairs(shares) do
          add({ one, kinds[j] }, share, false, round)
          if not one:find "^command" and not kinds[j]:find "^command" then
            add({ one, kinds[j] }, share, true, round)
          end
        end
      end
    end
  end
  if campaign.quick then -- a share
    local all = cases
    cases = {}
    for i = 1, #all, 7 do cases[#cases + 1] = all[i] end
  end
  run:each(cases, function(case) return try(case) end)
  run.notes = { ("%d paid, %d saved, %d refused"):format(run.paid, run.saved, run.refused) }
end)
