-- What a process of S9 does, asked for in one JSON line each: it saves, while another swaps names
-- and a third reads what stands there.
--
-- A request: { id, how = "save" | "save_as" | "journal" | "read" | "swap" | "watch", path, … }
--   the first three: base, key; nth and swap ("a:b"): the names are swapped before the nth call on
--   files; times: how often, with the pictures "old" and "new" in turn
--   swap: a, b, and watch: whole (paths of what may be seen): until the file `stop` is there

local canary = require "faults.canary"
local cjson = require "cjson"
local core = require "kontext.core"
local kontext = require "kontext"
local read = require "faults.read"
local sys = require "faults.sys"

local LONGEST = 90 -- seconds of a race, should nobody stop it

local acts, images, clients = {}, {}, {}

local function client_of(request, journal)
  local options = { base_url = request.base, api_key = request.key, poll_interval = 0.001,
                    timeout = 20, journal = journal }
  if journal then return kontext.new(options) end
  clients[request.base] = clients[request.base] or kontext.new(options)
  return clients[request.base]
end

local function image_of(request, prompt)
  local name = request.base .. prompt
  images[name] = images[name] or assert(client_of(request):edit {
    prompt = prompt, webhook_secret = canary.secret }:wait())
  return images[name]
end

-- Each saves a picture; returns whether it is saved, or nil, message, err; and the job, if any.
local ways = {}

function ways.save(request, prompt)
  return image_of(request, prompt):save(request.path)
end

function ways.save_as(request, prompt)
  local job = client_of(request):edit { prompt = prompt, save_as = request.path,
                                        output_format = "png", webhook_secret = canary.secret }
  local image, message, err = job:wait()
  return image and true, message, err, job
end

function ways.journal(request, prompt)
  local client = client_of(request, request.path)
  local job = client:edit { prompt = prompt }
  local image, message, err = job:wait()
  client:close()
  return image and true, message, err
end

-- Tells what came of it.
local function note(outcome, saved, message, err, job)
  if saved then
    outcome.saved = (outcome.saved or 0) + 1
    return
  end
  outcome.text, outcome.kind, outcome.code = message, err.kind, err.code
  outcome.stage = err.stage
  outcome.kept = job and job.image and #job.image.bytes or nil
  outcome.codes = outcome.codes or {}
  local name = tostring(err.code or err.kind)
  outcome.codes[name] = (outcome.codes[name] or 0) + 1
end

for name, way in pairs(ways) do
  acts[name] = function(request, outcome)
    if name == "save" then
      for _, prompt in ipairs { "old", "new" } do image_of(request, prompt) end
    end
    for i = 1, request.times or 1 do
      if request.nth then sys.inject(("file:%d:swap"):format(request.nth), request.swap) end
      note(outcome, way(request, (request.times or 1) > 1 and i % 2 == 1 and "old" or "new"))
      if request.nth then outcome.calls = sys.inject "" end
    end
  end
end

-- The bytes of a picture that was saved and whose name then came to lead elsewhere.
function acts.read(request, outcome)
  local _, _, _, job = ways.save_as(request, "new")
  sys.exchange(request.path, request.decoy)
  outcome.saved = job.image and 1 or nil
  outcome.read = job.image.bytes and #job.image.bytes or false
end

local function until_stopped(request, act)
  local limit, times = core.now() + LONGEST, 0
  repeat
    for _ = 1, 16 do act() end
    times = times + 16
  until sys.stat(request.stop) or core.now() > limit
  return times
end

-- A save puts a file in place of the decoy that it finds: then there is another of the same.
function acts.swap(request, outcome)
  local kind, spare = sys.stat(request.b).kind, request.b .. "-spare"
  if kind ~= "directory" then assert(sys.link(request.b, spare)) end
  outcome.times = until_stopped(request, function()
    assert(sys.exchange(request.a, request.b))
    assert(sys.exchange(request.a, request.b))
    if sys.stat(request.b).kind ~= kind then
      os.remove(request.b)
      assert(sys.link(spare, request.b))
    end
  end)
  os.remove(spare)
end

function acts.watch(request, outcome)
  local whole = {}
  for _, path in ipairs(request.whole) do whole[assert(read(path))] = true end
  outcome.half, outcome.missing = 0, 0
  outcome.times = until_stopped(request, function()
    local bytes = read(request.path)
    if not bytes then outcome.missing = outcome.missing + 1
    elseif not whole[bytes] then outcome.half = outcome.half + 1 end
  end)
end

for line in io.lines() do
  local request = cjson.decode(line)
  local outcome = { id = request.id, worst = {} }
  local fine, why = xpcall(acts[request.how], debug.traceback, request, outcome)
  if not fine then outcome.raised = why end
  io.stdout:write(cjson.encode(outcome), "\n"):flush()
end
