--- What may be sent again and when. A submit costs money, and the service cannot tell a repetition
--- from a new one: only what provably did not arrive, or was refused before work began, goes again.
local api = require "kontext.api"
local core = require "kontext.core"
local json = require "kontext.json"

local retry = {
  unsent_tries = 2, -- further submits when one was not sent, or refused with a 503
  limited_tries = 5, -- further submits after a 429
  download_tries = 3,
}

local transient = { network = true, tls = true, timeout = true }
local passing = { [408] = true, [429] = true } -- and all from 500

-- Returns the decoded body when it is the JSON object that a whole answer is.
local function object(body)
  local value = body and body ~= "" and json.decode(body)
  return type(value) == "table" and value or nil
end

-- Returns whether an answer tells of an error the way the service itself does, not a gateway.
local function own_error(answer)
  return answer ~= nil
    and (answer.detail or answer.message or answer.error or answer.errors) ~= nil
end

--- Judges how a submit ended.
---@param event table of the engine
---@return string verdict "accepted"; "unsent" or "refused" (again, a few times); "limited" (429);
--- "final"; "ambiguous" (it may have been paid for: never again by itself)
---@return table? answer the decoded body
function retry.judge_submit(event)
  local status, answer = event.status or 0, object(event.body)
  if status >= 200 and status < 300 and answer and type(answer.id) == "string"
    and answer.id ~= "" then
    return "accepted", answer -- whatever broke afterwards: the id is what was paid for
  elseif status >= 300 and status < 500 and status ~= 408 and status ~= 429 then
    return "final", answer
  elseif not event.kind and status == 429 then
    return "limited", answer
  elseif not event.kind and status == 503 and own_error(answer) then
    return "refused", answer
  elseif event.kind and not transient[event.kind] and event.sent < event.total then
    return "final", answer -- the input changed while it was read, and the like
  elseif event.sent < event.total and not (status >= 200 and status < 300) then
    return "unsent", answer
  end
  return "ambiguous", answer
end

local hopeless = { auth = true, credits = true }

--- Tells whether every further submit would end like this one: the key is refused, or the credits
--- are spent.
---@param err kontext.Error? of a job
---@return boolean
function retry.is_hopeless(err)
  return err ~= nil and err.stage == "submit" and err.status ~= nil and hopeless[err.kind] == true
end

--- Judges a poll's answer: its `status` counts before the HTTP code.
---@param event table of the engine
---@param age number seconds since the submit
---@return string verdict "progress", "ready", "moderated", "failed", "missing", "redirect",
--- "trouble" (again), "final"
---@return table? answer the decoded body
---@return table? class of the status
function retry.judge_poll(event, age)
  local status, answer = event.status or 0, object(event.body)
  if answer and type(answer.status) == "string" then
    local known = api.statuses[answer.status]
    if known and known.class == "missing" and age < api.limits.lag then return "trouble", answer end
    return known and known.class or "progress", answer, known
  elseif status == 404 then
    return age < api.limits.lag and "trouble" or "missing", answer
  elseif event.kind then
    local passes = transient[event.kind] or status >= 500 or passing[status]
    return passes and "trouble" or "final", answer -- a gateway's page may be as long as it likes
  elseif status >= 300 and status < 400 then
    return "redirect", answer
  elseif status < 300 or status >= 500 or passing[status] then
    return "trouble", answer
  end
  return "final", answer
end

--- Judges how a download ended.
---@param event table of the engine
---@return string verdict "arrived", "redirect", "expired", "trouble" (again), "final"
function retry.judge_download(event)
  local status = event.status or 0
  if event.kind then
    return (transient[event.kind] or event.kind == "protocol") and "trouble" or "final"
  elseif status == 200 or status == 206 then
    return "arrived"
  elseif status >= 300 and status < 400 then
    return "redirect"
  elseif status == 416 or status >= 500 or passing[status] then
    return "trouble"
  end
  return "expired" -- 403 with an XML body, or 404 and 410 when it is gone for good
end

-- Returns a number in [0, 1). The host's seed is left alone, and two processes still differ.
local function random()
  return (math.random() + core.now() * 1e3) % 1
end

--- Returns how long to wait before the n-th try after the first: full jitter over a doubling base.
---@param n integer
---@return number seconds
function retry.backoff(n)
  return random() * math.min(8, 0.5 * 2 ^ (n - 1))
end

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

-- Returns the seconds from now to an HTTP date such as "Thu, 18 Dec 2025 15:39:07 GMT".
local function until_date(text)
  local day, month, year, hour, min, sec = text:match("(%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$")
  if not months[month] then return nil end
  local utc = os.date("!*t")
  utc.isdst = false
  return os.difftime(os.time { year = year, month = months[month], day = day, hour = hour,
    min = min, sec = sec, isdst = false }, os.time(utc))
end

--- Reads a Retry-After header, a number or a date.
---@param text string?
---@return number? seconds clamped to 0.5 … 60; nil where there is none to be read
function retry.after(text)
  local seconds = text and (tonumber(text:match("^%s*(%d+%.?%d*)%s*$")) or until_date(text))
  local limits = api.limits.retry_after
  return seconds and math.max(limits.min, math.min(limits.max, seconds))
end

--- Returns how long to wait for the next poll of a task whose end a webhook tells: polling is only
--- the fallback. That of any other is schedule.lua's.
---@param polls integer
---@return number seconds
function retry.webhook_gap(polls)
  return math.min(60, 10 * 1.5 ^ polls)
end

--- Returns how long to wait after a poll that failed.
---@param failures integer in a row
---@return number seconds
function retry.trouble_gap(failures)
  return math.min(8, 0.5 * 2 ^ (failures - 1)) * (0.5 + random() / 2)
end

return retry
