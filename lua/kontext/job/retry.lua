--- Judges what an answer means, and what may be sent again. A submit costs money, and the service
--- cannot tell a repetition from a new one: it is sent again only if it provably did not arrive, or
--- was refused before work began. Nothing here uses a clock, a file or a socket.
local answer = require "kontext.job.answer"
local api = require "kontext.api"
local kinds = require "kontext.kinds"

local retry = {
  link_gone_after = 30, -- seconds that a link must fail if only our clock says that it has expired
  submit_tries = 2, -- further submits when one was not sent, or refused with a 503
  lost_answers = 5, -- "Task not found" this often,
  lost_after = 60, -- and for so many seconds without another answer, and the task is lost
}

local transient = { network = true, tls = true, timeout = true }

-- Statuses with which HTTP says that a request was refused before anything was done.
local refusals = {}
for _, status in ipairs { 400, 401, 402, 403, 404, 405, 406, 407, 411, 413, 414, 415, 417, 422, 426,
  428, 431, 451 } do
  refusals[status] = true
end

--- Judges how a submit ended.
---@param event table of the engine
---@param object table? of answer.read
---@param task table? of answer.task
---@return "accepted"|"limited"|"refused"|"unsent"|"final"|"ambiguous" verdict refused and unsent:
--- it may go again; ambiguous: it may have been paid for, and never goes again by itself
function retry.judge_submit(event, object, task)
  local status, whole = event.status or 0, not event.kind
  local success, unsent = status >= 200 and status < 300, event.sent < event.total
  local told = task and not task.nested
  if success and told then
    return "accepted" -- whatever broke afterwards: the id is what was paid for
  elseif told and (task.is_shown or status == 429 or status == 503) then
    return "ambiguous" -- where there is an id, there may be a task
  elseif whole and status == 429 then
    return "limited"
  elseif whole and status == 503 and answer.is_own(object) then
    return "refused"
  elseif status >= 300 and status < 400 or refusals[status] then
    return "final"
  elseif unsent and event.kind and not transient[event.kind] then
    return "final" -- the input changed while it was read, and the like
  elseif unsent and not success then
    return "unsent"
  end
  return "ambiguous"
end

-- The error kind of a final answer in the service's own shape; else it is "http".
local own_kinds = { [400] = "invalid", [401] = "auth", [402] = "credits", [403] = "auth",
  [404] = "not_found", [413] = "invalid", [422] = "invalid", [429] = "rate_limited" }

-- Returns whether an answer reports an error, in any format that JSON APIs use.
local function complains(object)
  return object ~= nil
    and (object.detail or object.message or object.error or object.errors) ~= nil
end

-- An answer that broke off shows its format at its beginning.
local function read_beginning(body)
  return body and body:find '^%s*{%s*"detail"%s*:' and { detail = "" } or nil
end

--- Names the error of a submit that was refused with an HTTP status.
---@param status integer
---@param object table? of answer.read
---@param body? string
---@return string kind
function retry.refusal_kind(status, object, body)
  local kind = own_kinds[status]
  object = object or read_beginning(body)
  if status == 422 and object and type(object.detail) == "string"
    and object.detail:sub(1, 300):lower():find("api key", 1, true) then
    return "auth"
  elseif kind == "rate_limited" or status == 413 then
    return kind
  elseif kind and kinds[kind].stops_queue then -- a gateway's page must not be taken for one
    return answer.is_own(object) and kind or "http"
  end
  return kind and complains(object) and kind or "http"
end

--- Returns whether every further submit would end like this one: the key is refused, or the credits
--- are spent.
---@param err kontext.Error? of a job
---@return boolean
function retry.is_hopeless(err)
  return err ~= nil and err.stage == "submit" and err.status ~= nil
    and kinds[err.kind] ~= nil and kinds[err.kind].stops_queue == true
end

-- Returns the form of an id, such as that of a UUID, of "job-17" or of a number.
local function form_of(id)
  return (id:gsub("%w+", "w"))
end

-- Returns whether a poll's answer is about another task. Some gateways leave the id out, or replace
-- it by a word or a number: only another id of the same form counts, or that of another task in
-- flight.
local function is_anothers(object, id, is_known)
  local told = answer.id(object)
  if told == nil or told:lower() == id:lower() then return false end
  return form_of(told) == form_of(id) or is_known(told)
end

local plain_statuses = {}
for name, class in pairs(api.statuses) do plain_statuses[name:lower()] = class end

-- Returns the class of a known status in capitals of its own or between spaces, or nil.
local function unusual_case(status)
  return #status <= 64 and plain_statuses[status:lower():match "^%s*(.-)%s*$"] or nil
end

local endings = { failed = true, moderated = true }

-- Returns whether an answer that would end a paid task is the service's own: it is about the task,
-- or it is a plain one that has nothing of a gateway's error.
local function is_own_end(event, object, id, exact)
  local told = answer.id(object)
  if told and told:lower() == id:lower() then return true end
  local status = event.status or 0
  return exact and (told ~= nil or status >= 200 and status < 300 or object.details ~= nil)
    and not (object.message or object.error or object.code)
end

--- Judges a poll's answer: its `status` counts before the HTTP code. An answer that is not the
--- service's own is trouble on the way, which never ends a paid task.
---@param event table of the engine
---@param object table? of answer.read
---@param id string the task's
---@param is_known fun(id: string): boolean whether another task in flight has that id
---@return "progress"|"ready"|"moderated"|"failed"|"missing"|"redirect"|"trouble" verdict
---@return table? class of the status
function retry.judge_poll(event, object, id, is_known)
  local status = event.status or 0
  if object and is_anothers(object, id, is_known) then return "trouble" end
  if object and type(object.status) == "string" then
    local exact = api.statuses[object.status]
    local known = exact or unusual_case(object.status)
    if known and endings[known.class] and not is_own_end(event, object, id, exact) then
      return "trouble"
    end
    return known and known.class or "progress", known
  elseif status >= 300 and status < 400 and not event.kind then
    return "redirect"
  elseif status == 404 and answer.is_own(object) then
    return "missing"
  end
  return "trouble"
end

--- Judges how a download ended.
---@param event table of the engine
---@return "arrived"|"redirect"|"gone"|"trouble" verdict gone: the link does not work, now or any
--- more
function retry.judge_download(event)
  local status = event.status or 0
  if event.kind then return "trouble" end
  if status == 200 or status == 201 or status == 203 or status == 206 then return "arrived" end
  if status >= 300 and status < 400 then return "redirect" end
  return (status == 403 or status == 404 or status == 410) and "gone" or "trouble"
end

--- Returns how long to wait before the n-th try after the first: full jitter over a doubling base.
---@param n integer
---@param random fun(): number
---@return number seconds
function retry.backoff(n, random)
  return random() * math.min(8, 0.5 * 2 ^ math.min(n - 1, 8))
end

--- Returns how long to wait after trouble with a task that is paid for, growing to 8 s.
---@param failures integer in a row
---@param random fun(): number
---@return number seconds
function retry.trouble_gap(failures, random)
  return math.min(8, 0.5 * 2 ^ math.min(failures - 1, 8)) * (0.5 + random() / 2)
end

--- Returns how long to wait for the next poll of a task whose end a webhook reports: polling is
--- only the fallback. schedule.lua has the gaps of all others.
---@param polls integer
---@return number seconds
function retry.webhook_gap(polls)
  return math.min(60, 10 * 1.5 ^ math.min(polls, 8))
end

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

-- Returns seconds since 1970 of a UTC time. os.time would raise for some years, and would read
-- local time.
local function epoch(year, month, day, hour, min, sec)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if year < 1970 or month < 1 or month > 12 or day < 1 or day > 31 then return nil end
  local y = month <= 2 and year - 1 or year -- a year that begins in March has its leap day last
  local era = math.floor(y / 400)
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local year_of_era = y - era * 400
  local days = era * 146097 + year_of_era * 365 + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100) + day_of_year - 719468
  return days * 86400 + tonumber(hour) * 3600 + tonumber(min) * 60 + tonumber(sec)
end

--- Reads an HTTP date such as "Thu, 18 Dec 2025 15:39:07 GMT".
---@param text string?
---@return number? seconds since 1970
function retry.http_date(text)
  local day, month, year, hour, min, sec =
    (text or ""):sub(1, 64):match("(%d%d?) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not months[month] then return nil end
  return epoch(year, months[month], day, hour, min, sec)
end

--- Returns when a signed link ends, by its `se`, such as "2025-12-18T15:39:07Z".
---@param url string
---@return number? seconds since 1970
function retry.link_end(url)
  local text = url:match("[?&]se=([^&#]*)")
  if not text or #text > 64 then return nil end
  text = text:gsub("%%3[Aa]", ":")
  local year, month, day, hour, min, sec =
    text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)")
  if not year then return nil end
  return epoch(year, month, day, hour, min, sec)
end

--- Reads a Retry-After header, a number or a date, independently of the process's locale.
---@param text string?
---@param wall number seconds since 1970, now
---@return number? seconds clamped to 0.5 … 60; nil where there is none to be read
function retry.after(text, wall)
  if not text then return nil end
  text = text:sub(1, 64)
  local whole, fraction = text:match("^%s*(%d+)%.?(%d*)%s*$")
  local seconds
  if whole then
    seconds = tonumber(whole) + (fraction ~= "" and tonumber(fraction) / 10 ^ #fraction or 0)
  else
    local date = retry.http_date(text)
    seconds = date and date - wall
  end
  local limits = api.limits.retry_after
  return seconds and math.max(limits.min, math.min(limits.max, seconds))
end

-- A quota for all tries of a client, so that a bad hour does not multiply the load.
local quota_full, try_costs, success_returns = 500, 5, 1

---@class kontext.RetryQuota
local Quota = {}
Quota.__index = Quota

--- Returns a full quota.
---@return kontext.RetryQuota
function retry.quota()
  return setmetatable({ left = quota_full }, Quota)
end

--- Takes one try; returns whether it was there.
---@return boolean
function Quota:take()
  if self.left < try_costs then return false end
  self.left = self.left - try_costs
  return true
end

--- Gives back after a submit that was accepted.
function Quota:succeed()
  self.left = math.min(quota_full, self.left + success_returns)
end

return retry
