--- Polls until the task has ended. It is paid for: only the service's own word, the user or the
--- deadline ends it, and trouble on the way never does.
local answer = require "kontext.job.answer"
local api = require "kontext.api"
local download = require "kontext.job.download"
local json = require "kontext.json"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local poll = {}

local moderators = {
  request = "the service's moderation refused the request",
  content = "the service's moderation held back the result",
}

local endings = {}

function endings.moderated(self, event, object, class)
  local reasons = type(object.details) == "table" and object.details["Moderation Reasons"] or {}
  if type(reasons) ~= "table" then reasons = { reasons } end
  local shown = {}
  for i, reason in ipairs(reasons) do
    if i > 16 then break end
    shown[#shown + 1] = wording.brief(reason)
  end
  self:fail { kind = "moderated", stage = class.stage, status = event.status, charged = false,
    reasons = shown, body = event.body, message = moderators[class.stage]
      .. (#shown > 0 and ": " .. table.concat(shown, ", ") or "")
      .. "; it is not charged: change the prompt or the picture" }
end

function endings.failed(self, event, object)
  self:fail { kind = "failed", stage = "poll", status = event.status, body = event.body,
    message = "the service could not make the picture" .. wording.server_detail(object) }
end

-- Returns the digits of an integer as a number, where one holds them exactly.
local function seed_value(digits)
  local number = tonumber(digits)
  return json.integer(number) == digits and number or digits
end

-- Polls again after an answer that does not end a paid task.
local function trouble(self, event)
  self._failures = self._failures + 1
  local told = (event.status == 429 or event.status == 503) and event.headers
    and retry.after(event.headers["retry-after"], self._client.system.wall())
  self:later(told or retry.trouble_gap(self._failures, self._client.system.random), poll.ask)
end

-- Returns a link with what a sloppy server forgot to encode.
local function encoded(link)
  return (link:gsub("[^\33-\126]", function(char) return ("%%%02X"):format(char:byte()) end))
end

function endings.ready(self, event, object)
  local client = self._client
  local first = not self._result -- a new poll only asks for another link
  if first then client.pace:learn(self, self._last_pending) end
  local result = type(object.result) == "table" and object.result or {}
  local sample = result.sample
  if type(sample) ~= "string" or #sample > api.limits.link then return trouble(self, event) end
  local seconds, from, to = result.duration, result.start_time, result.end_time
  if type(from) == "number" and type(to) == "number" then seconds = seconds or to - from end
  self._result = {
    id = self.id,
    cost = self.cost,
    prompt = self._params.prompt or type(result.prompt) == "string" and result.prompt or nil,
    seed = self._params.seed and seed_value(self._params.seed)
      or json.integer_field(event.body, "seed"),
    duration = type(seconds) == "number" and seconds or nil,
  }
  self._failures = 0
  if first then self:tell("ready", { credits = self.cost }) end
  download.begin(self, encoded(sample))
end

-- The task is lost when the service itself says so repeatedly, with no other answer between. Right
-- after the submit, after a resume, and from a lagging replica it may be a mistake; at a URL that
-- was made here, the host may be the wrong one.
function endings.missing(self, event)
  local now = self._client:clock()()
  self._missing, self._missing_since = (self._missing or 0) + 1, self._missing_since or now
  if self._own_url or self._missing < retry.lost_answers
    or now - self._missing_since < retry.lost_after then
    return trouble(self, event)
  end
  self:fail { kind = "lost", stage = "poll", status = event.status, body = event.body,
    message = ("the service accepted the edit and no longer knows its task %s: it may have been "
      .. "paid for, so it is not sent again; look at your account before you edit again"):format(
      self.id) }
end

endings.trouble = trouble

function endings.redirect(self, event)
  self._hops = self._hops + 1
  if event.headers.location and self._hops <= api.limits.hops then
    return poll.ask(self, event.headers.location)
  end
  self._hops = 0
  trouble(self, event)
end

function endings.progress(self)
  local client = self._client
  self._last_pending = client:clock()() - self._watched_at
  self._failures = 0
  self:later(self._woken and 0 or client.pace:gap(self), poll.ask)
  self._woken = nil
end

-- Takes over the cost and the progress of an answer.
local function take(self, object)
  if type(object.status) == "string" then self._status = wording.brief(object.status) end
  if type(object.cost) == "number" then
    self.cost = object.cost
    self._client.spending:told_cost(self)
  end
  if type(object.progress) == "number" then
    self.progress = math.max(0, math.min(1, object.progress))
  end
end

local function polled(self, event)
  local object = answer.read_poll(event)
  local verdict, class = retry.judge_poll(event, object, self.id, function(id)
    return self._client:has_task(id)
  end)
  if object and verdict ~= "trouble" then take(self, object) end
  if verdict ~= "redirect" then self._hops = 0 end
  if verdict ~= "missing" and verdict ~= "trouble" and verdict ~= "redirect" then
    self._missing, self._missing_since = nil, nil -- another answer came between
  end
  self:tell("poll", { http = event.status, status = object and wording.brief(object.status),
    code = event.code, progress = self.progress })
  self._client:changed(self)
  endings[verdict](self, event, object, class)
end

--- Asks for the task's status, or follows an earlier answer's redirect.
---@param self kontext.Job
---@param location? string
function poll.ask(self, location)
  self._polls = self._polls + 1
  local id, message, code = self:get(location or self.polling_url, location ~= nil, polled)
  if id then return end
  if not code and not location then -- the URL itself is unfit: ask at the base
    self.polling_url, self._own_url = self._client.transport:polling_url(nil, self.id)
  end
  trouble(self, { detail = message, headers = {} })
end

--- Begins to poll a task that was accepted just now.
---@param self kontext.Job
function poll.watch(self)
  self._polls, self._failures, self._hops = 0, 0, 0
  self._watched_at, self._last_pending = self._client:clock()(), 0
  self:answered(self._watched_at)
  self._ask = poll.ask
  self:set_status "pending"
  self:later(self._client.pace:gap(self), poll.ask)
end

--- Begins to poll a task that another process began: it may have ended long ago.
---@param self kontext.Job
function poll.resume(self)
  poll.watch(self)
  self:later(0, poll.ask)
end

return poll
