-- Any answers to an edit, its polls and its download, to one that is resumed by any token, and to
-- the question for credits: nothing raises, no upload follows one that may have been paid for, an
-- id that came is kept, what was accepted ends by the service's word or the deadline alone, the key
-- goes to the service alone and never after a redirect, and what is said shows no secret.
local api = require "kontext.api"
local cjson = require "cjson.safe"
local life = require "fuzz.support.life"
local token = require "kontext.token"

local json = cjson.new()
json.decode_max_depth(64)

local kinds, stages = {}, {}
for kind in ([[image file invalid auth credits rate_limited moderated failed not_found expired
  lost network tls timeout http protocol ambiguous cancelled closed fork internal]]):gmatch "%S+" do
  kinds[kind] = true
end
for stage in ("check submit poll download save wait"):gmatch "%a+" do stages[stage] = true end

-- Kinds that may end what was accepted.
local ends = { moderated = true, failed = true, lost = true, expired = true, timeout = true,
  cancelled = true }

-- Returns the id that a submit's whole answer gives.
local function id_of(event)
  local body = (event.status or 0) // 100 == 2 and json.decode(event.body)
  local id = type(body) == "table" and body.id
  return type(id) == "string" and id ~= "" and #id <= api.limits.id and id or nil
end

-- Returns whether an answer is an error in the service's own shape.
local function is_own(event)
  local body = json.decode(event.body)
  return type(body) == "table" and body.detail ~= nil
end

-- Returns whether a submit that ended like this was surely not taken.
local function is_harmless(event)
  if id_of(event) then return false end
  return event.sent < event.total
    or not event.kind and (event.status == 429 or event.status == 503 and is_own(event))
end

-- Returns whether an id may stand in an answer that is cut, broken, escaped or compressed.
local function may_hold(event, id)
  return event.headers["content-encoding"] or event.body:find "[\\%%\31]"
    or event.body:find(id, 1, true)
end

local function is_refused(event)
  local status = event.status or 0
  return status >= 300 and status < 500 and status ~= 408
end

local function on_edit(engine)
  for _, event in ipairs(engine.edits) do
    assert(is_harmless(event), "an upload follows one that may have been taken")
  end
end

-- The secret is the one that the job knows: one that is resumed knows none.
local function check_secrets(text, secret)
  assert(not text:find(life.key, 1, true), "the key is shown")
  assert(not secret or not text:find(secret, 1, true), "the secret is shown")
end

local function check_words(text, secret)
  assert(not text:find("[%z\1-\8\11-\31\127]"), "control characters: " .. text)
  check_secrets(text, secret)
end

local function check_error(err, last, secret)
  assert(kinds[err.kind], err.kind)
  assert(err.stage == nil or stages[err.stage] or err.kind == "moderated", err.stage)
  assert(err.message ~= "" and tostring(err) == err.message)
  check_words(err.message, secret)
  for _, reason in ipairs(err.reasons or {}) do check_words(reason, secret) end
  assert(#(err.body or "") <= 2048)
  check_secrets(err.body or "", secret)
  if err.kind == "moderated" then assert(err.charged == false) end
  if err.retryable then
    assert(not last or is_harmless(last) or is_refused(last), "a second charge is called safe")
  end
end

local function begin(client, told)
  if told.credits then return client:credits() end
  if told.token then
    local body = "kontext1:" .. told.token
    return client:resume(body .. ":" .. token.sum(body))
  end
  return client:edit { prompt = "Make it snow", webhook_secret = life.secret,
    webhook_url = "https://example.com/hook" }
end

-- What was accepted is ended by nothing but the service's own word or the deadline.
local function check_end(job, engine)
  local kind = job.error.kind
  assert(ends[kind], "what is paid for ends as " .. kind .. ": " .. job.error.message)
  if kind == "lost" then
    assert(engine.took >= 60 and engine.asked >= 5, "a task is given up too soon")
  elseif kind == "timeout" then
    assert(engine.took >= 299, "its time is not over")
  elseif kind == "moderated" or kind == "failed" then
    assert(engine.last.body ~= "", "a task ends without a word")
  end
  if not (kind == "moderated" or kind == "failed" or kind == "lost" or kind == "expired") then
    assert(job.error.token, "its error has no token")
  end
end

return function(text)
  local job, engine, told = life.lead(text, begin, on_edit)
  local last = engine.edits[#engine.edits]
  local id = last and id_of(last)
  if id then assert(job.id == id, "an id is lost") end
  if job.id then
    assert(job.id == id or not last or may_hold(last, job.id), "an id from nowhere")
    local values = assert(token.read(job:token()))
    assert(values.id == job.id and values.polling_url == job.polling_url)
  end
  if told.credits then
    assert(job.status ~= "ready" or type(job:wait()) == "number", "credits that are no number")
  elseif job.status == "ready" then
    assert(engine.picture and job.image.bytes == engine.picture, "ready without a picture")
    local sum, md5 = engine.last.headers["content-md5"] or "", engine.last.md5
    local is_sum = #sum == 24 and sum:find "^[%w+/]+==$"
    assert(not (is_sum and md5) or sum == md5, "ready with other bytes than were sent")
  end
  if not job:ended() then
    job:cancel()
    assert(job.status == "cancelled")
  end
  if job.error then
    check_error(job.error, last, not (told.token or told.credits) and life.secret or nil)
    if job.id and not told.credits then check_end(job, engine) end
  end
  if job.progress then assert(job.progress >= 0 and job.progress <= 1) end
end
