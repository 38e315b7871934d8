-- Any answers to an edit, its polls and its download, to one that is resumed by any token, and to
-- the question for credits: nothing raises, no upload follows one that may have been paid for, an
-- id that came is kept, the key goes to the service alone and never after a redirect, and what is
-- said at the end shows no secret.
local cjson = require "cjson.safe"
local life = require "fuzz.support.life"
local token = require "kontext.token"

local json = cjson.new()
json.decode_max_depth(64)

local kinds, stages = {}, {}
for kind in ([[image file invalid auth credits rate_limited moderated failed not_found expired
  network tls timeout http protocol ambiguous cancelled closed fork internal]]):gmatch "%S+" do
  kinds[kind] = true
end
for stage in ("check submit poll download save wait"):gmatch "%a+" do stages[stage] = true end

-- Returns the id that a submit's answer gives.
local function id_of(event)
  local body = (event.status or 0) // 100 == 2 and json.decode(event.body)
  local id = type(body) == "table" and body.id
  return type(id) == "string" and id ~= "" and id or nil
end

-- Returns whether a submit that ended like this was surely not taken.
local function is_harmless(event)
  if id_of(event) then return false end
  return event.sent < event.total or not event.kind and (event.status == 429 or event.status == 503)
end

local function is_refused(event)
  local status = event.status or 0
  return status >= 300 and status < 500 and status ~= 408
end

local function on_edit(engine)
  for _, event in ipairs(engine.edits) do
    assert(is_harmless(event), "an upload follows one that may have been taken")
  end
  assert(#engine.edits < 8, "there is no end of uploads")
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

return function(text)
  local job, engine = life.lead(text, begin, on_edit)
  local last = engine.edits[#engine.edits]
  local id = last and id_of(last)
  if id then assert(job.id == id, "an id is lost") end
  if job.id then
    assert(job.id == id or not last, "an id from nowhere")
    local values = assert(token.read(job:token()))
    assert(values.id == job.id and values.polling_url == job.polling_url)
  end
  if job._asks then
    assert(job.status ~= "ready" or type(job:wait()) == "number", "credits that are no number")
  elseif job.status == "ready" then
    assert(engine.picture and job.image.bytes == engine.picture, "ready without a picture")
    local told, md5 = engine.last.headers["content-md5"], engine.last.md5
    assert(not (told and md5) or told == md5, "ready with other bytes than were sent")
  end
  if not job:ended() then
    job._client:_each(function(left) left:cancel() end)
    assert(job.status == "cancelled")
  end
  if job.error then check_error(job.error, last, job._params.webhook_secret) end
  if job.progress then assert(job.progress >= 0 and job.progress <= 1) end
end
