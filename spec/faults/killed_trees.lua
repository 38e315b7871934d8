-- T1: a tree of forty edits, each of which takes the result of another one, killed forty times with
-- kill -9 and run again. Where no submit is under way when a kill comes, every edit is paid once,
-- every picture is there, and each was made of its parent's own bytes. Where a kill may come at any
-- moment, nothing is paid twice; what was paid is there or in doubt, and of what hangs on a doubt
-- nothing is sent.

local cqueues = require "cqueues"
local campaign = require "faults.campaign"
local core = require "kontext.core"
local killing = require "faults.killing"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"

local ITEMS = campaign.size(12, 40, 40)
local KILLS = campaign.size(8, 40, 40)
local TREES = campaign.size(1, 3, 20) -- of each kind

local run = campaign.new { id = "T1", title = "a tree of edits, killed and run again" }

local image = run.temporary .. "/small.png"
local kills = killing.new(run, 20261128, { image = image, items = ITEMS, shape = "tree" })

-- The picture that an edit ends in: no two have the same bytes.
local pictures = {}
local function made(item)
  pictures[item] = pictures[item] or picture.png(32 + item, 24)
  return pictures[item]
end

local function item_of(entry)
  return entry.method == "POST" and tonumber(entry.body:match '"edit (%d+)"') or nil
end

-- A service that keeps an edit of a calm tree under way until so many kills have come.
local function start_service(tree)
  local polls = {}
  local script, state = service.script {
    keep = true,
    spoil = function(_, entry, route)
      local item = route == "submit" and item_of(entry)
      if not item then return end
      local one = tree.log[item] or { posts = 0 }
      tree.log[item], one.posts = one, one.posts + 1
      cqueues.sleep(kills:roll(40) / 1000)
      one.answered = cqueues.monotime()
    end,
    answers = {
      poll = function(it, id)
        local item = item_of(it.ids[id])
        polls[id] = (polls[id] or 0) + 1
        local is_ready = tree.is_wild and polls[id] > 1 or tree.kills >= item * KILLS / ITEMS
        if is_ready then return service.answers.poll(it, id) end
        return "200 OK", {}, ('{"id":"%s","status":"Pending","progress":0.5}'):format(id)
      end,
      sample = function(it, id)
        return "200 OK", { "Content-Type: image/png", "Accept-Ranges: bytes" },
          made(item_of(it.ids[id]))
      end,
    },
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  tree.base = state.base
  return back
end

-- What is wrong with the pictures that were sent: each is its parent's result. A kill may have cut
-- an upload off anywhere: the service begins nothing for it.
local function wrong_sources(back)
  for _, entry in ipairs(back.ledger) do
    local item = entry.complete and item_of(entry)
    local source = item and (item == 1 and campaign.read(image) or made(item // 2))
    if item and not entry.body:find('"input_image":"' .. core.base64(source) .. '"', 1, true) then
      return ("edit %d was not made of the result of edit %d"):format(item, item // 2)
    end
  end
end

-- What is wrong with one edit at the end. Of a wild tree a kill may have come in the middle of a
-- submit.
local function judge(tree, item, result)
  local one = tree.log[item] or { posts = 0 }
  local is_there = campaign.read(("%s/%d.png"):format(tree.folder, item)) == made(item)
  if one.posts > 1 then
    return ("PAID %d TIMES (%s)"):format(one.posts, result.kind)
  elseif result.kind == "saved" then
    local fine = one.posts == 1 and is_there
    return not fine and ("called saved: %d submits"):format(one.posts) or nil
  elseif result.kind ~= "ambiguous" or not tree.is_wild then
    return ("%s %s"):format(result.kind, result.text or "")
  elseif result.text:find("takes the result of", 1, true) then
    run.hanging = run.hanging + 1
    return one.posts > 0 and "sent, though it hangs on a doubt" or nil
  end
  run.doubts = run.doubts + 1
  if one.posts == 0 or not one.answered then return nil end
  for _, died in ipairs(tree.deaths) do
    if died <= one.answered + killing.after then return nil end
  end
  return "in doubt, though its answer had come"
end

-- Kills a calm tree forty times. Returns what is wrong.
local function kill_calmly(tree)
  while tree.kills < KILLS do
    local how = { seconds = 0.05 + kills:roll(200) / 1000, kill = kills:undoubted(tree) }
    local _, _, _, manner, number = kills:once(tree, how)
    local wrong = killing.torn(tree, made)
    if wrong then return wrong end
    if manner ~= "signal" or number ~= 9 then
      return ("after %d kills it ended by itself: %s %s"):format(tree.kills, manner, number)
    end
    tree.kills = tree.kills + 1
  end
end

-- Kills a wild tree until it survives, KILLS times at the most. Returns what is wrong.
local function kill_wildly(tree)
  for attempt = 1, KILLS + 1 do
    local how = attempt <= KILLS and kills:plan() or {}
    local _, done, died, manner, number = kills:once(tree, how)
    local wrong = killing.torn(tree, made)
    if wrong or done then return wrong end
    if manner ~= "signal" or number ~= 9 then
      return ("it ended by itself: %s %s (%s)"):format(manner, number, how.text or how.seconds)
    end
    tree.kills, tree.deaths[#tree.deaths + 1] = tree.kills + 1, died
  end
  return "it never came to its end"
end

-- One tree. Returns what is wrong.
local function try(number, is_wild)
  local tree = kills:place(("%s%d"):format(is_wild and "wild" or "calm", number), "6")
  tree.log, tree.kills, tree.is_wild, tree.deaths = {}, 0, is_wild, is_wild and {} or nil
  local back = start_service(tree)
  local wrong = (is_wild and kill_wildly or kill_calmly)(tree)
  run.kills = run.kills + tree.kills
  local results, done
  for _ = 1, wrong and 0 or 2 do -- what an earlier run has told is in the journal too
    results, done = kills:once(tree, {})
    if not done then wrong = "it never came to its end" end
  end
  wrong = wrong or wrong_sources(back)
  for item = 1, wrong and 0 or ITEMS do
    local said = judge(tree, item, results[item] or { kind = "nothing" })
    if said then wrong = wrong or ("edit %d: %s"):format(item, said) end
  end
  back:close(true)
  run:clear(tree.folder)
  return wrong, tree.kills
end

run:run(function()
  run.doubts, run.hanging, run.kills = 0, 0, 0
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local number, wild_kills = 0, 0
  while (number < TREES or wild_kills < TREES * KILLS) and #run.violations < 5 do
    number = number + 1
    for _, is_wild in ipairs { false, true } do
      if is_wild and wild_kills < TREES * KILLS or not is_wild and number <= TREES then
        local fine, broken, came = xpcall(try, debug.traceback, number, is_wild)
        run.cases = run.cases + 1
        if is_wild then wild_kills = wild_kills + (fine and came or KILLS) end
        if not fine or broken then
          run:violation(("%s tree %d"):format(is_wild and "wild" or "calm", number), broken)
        end
      end
    end
  end
  run.notes = { ("%d kills of trees of %d edits, %d of them at any moment: %d edits in doubt, %d "
    .. "not sent that hang on them"):format(run.kills, ITEMS, wild_kills, run.doubts, run.hanging) }
end)
