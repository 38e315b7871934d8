-- One of two actors: a process that carries out what two_actors.lua asks for, one act or two with
-- one client, and says what came of each, a JSON object a line. Argument: the request as JSON.

local canary = require "faults.canary"
local cjson = require "cjson"
local kontext = require "kontext"

local request = cjson.decode(arg[1])
local client = kontext.new { base_url = request.base, api_key = request.key, poll_interval = 0.01,
                             timeout = 20, journal = request.journal }

local function tell(outcome)
  io.stdout:write(cjson.encode(outcome), "\n"):flush()
end

local function tell_job(act, job)
  local image, message, err = job:wait(30)
  tell { act = act, saved = image and image.path, text = message, kind = err and err.kind,
         token = err and err.token }
end

local function params(given)
  return { prompt = given.prompt, input_image = given.image, output_format = "png",
           save_as = given.save_as, no_replace = given.no_replace, key = given.key,
           webhook_secret = canary.secret }
end

-- Each begins, and returns what waits for the end.
local acts = {}

function acts.edit(act, given)
  local job = client:edit(params(given))
  return function() tell_job(act, job) end
end

function acts.batch(act, given)
  local item = params(given)
  local batch = client:batch { item }
  return function()
    local results = assert(batch:wait(30))
    local err = results[1].error
    tell { act = act, saved = results[1].saved, text = err and err.message,
           kind = err and err.kind, token = err and err.token }
  end
end

function acts.resume(act, given)
  if given.token then
    local job = client:resume(given.token, { save_as = given.save_as,
                                             no_replace = given.no_replace })
    return function() tell_job(act, job) end
  end
  local jobs = client:resume { journal = request.journal }
  return function()
    for _, job in ipairs(jobs) do tell_job(act, job) end
    tell { act = act, jobs = #jobs }
  end
end

-- Leaves an edit where it is once it was accepted; tells its token.
function acts.begin(act, given)
  local job = client:edit(params(given))
  return function()
    while not (job.id or job:ended()) do client:poll(0.01) end
    tell { act = act, token = job:token() }
  end
end

local ends = {}
for i, given in ipairs(request.acts) do ends[i] = acts[given.how](i, given) end
for _, wait in ipairs(ends) do wait() end
client:close()
