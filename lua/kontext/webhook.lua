--- Webhooks: verifies that a call comes from the service, and reads its event.
local api = require "kontext.api"
local core = require "kontext.core"
local encoding = require "kontext.encoding"
local errors = require "kontext.errors"
local json = require "kontext.json"
local wording = require "kontext.wording"

local webhook = {}

-- The statuses of both dialects, in lower case, → the status in an answer to a poll.
local statuses = {
  ["ready"] = "Ready",
  ["success"] = "Ready",
  ["pending"] = "Pending",
  ["processing"] = "Pending",
  ["reasoning"] = "Reasoning",
  ["generating"] = "Generating",
  ["request moderated"] = "Request Moderated",
  ["content moderated"] = "Content Moderated",
  ["generated content moderated"] = "Content Moderated",
  ["error"] = "Error",
  ["failed"] = "Failed",
  ["task not found"] = "Task not found",
}

local longest_id = 4096 -- bytes
local longest_header = 64 -- bytes of what is no secret

-- Adds what a host has for one header to `list`: a value, or some (HAProxy counts them from 0).
local function add(list, value)
  if type(value) == "table" then
    for _, item in pairs(value) do add(list, item) end
  elseif value ~= nil then
    list[#list + 1] = value
  end
end

-- Returns all values of the header `name` in a table: of names and values, or a list of pairs.
local function listed(headers, name)
  local list = {}
  for key, value in pairs(headers) do
    local called = key
    if type(value) == "table" and type(key) == "number" then
      called, value = value.name or value[1], value.value or value[2]
    end
    if type(called) == "string" and called:lower() == name then add(list, value) end
  end
  return list
end

-- Returns all values that `ask` gives for the header, under the name that the host uses.
local function asked(ask, ...)
  for _, name in ipairs { ... } do
    local list = {}
    add(list, { ask(name) })
    if #list > 0 then return list end
  end
  return {}
end

-- Returns all values of a header in any host's form: besides tables a function, an object with
-- `get` (lua-http), a userdata with fields (Apache).
local function values(headers, name)
  local lower = name:lower()
  if type(headers) == "function" then return asked(headers, name, lower) end
  local get = headers.get
  if type(get) == "function" then
    return asked(function(key) return get(headers, key) end, lower, name)
  elseif type(headers) == "table" then
    return listed(headers, lower)
  end
  return asked(function(key) return headers[key] end, name, lower)
end

-- Returns whether the one value of `list` is what was expected, in constant time.
local function matches(list, expected)
  return #list == 1 and type(list[1]) == "string" and core.equal(list[1], expected)
end

-- Returns nil when the headers prove that the sender knows the secret, else a sentence.
local function distrust(headers, body, secret)
  local plain = values(headers, "X-Webhook-Secret")
  local signed = values(headers, "X-BFL-Signature")
  if type(signed[1]) == "string" then -- "sha256=" and hexadecimal digits
    signed[1] = signed[1]:sub(1, longest_header + #"sha256=" + 1):lower()
  end
  if #plain == 0 and #signed == 0 then
    return "neither X-Webhook-Secret nor X-BFL-Signature is there: this is not the service's call"
  elseif #plain > 0 and not matches(plain, secret) then
    return "X-Webhook-Secret is not the secret of this webhook"
  elseif #signed > 0 and not matches(signed,
    "sha256=" .. encoding.hex(core.hmac_sha256(secret, body))) then
    return "X-BFL-Signature does not sign this body with the secret of this webhook"
  end
  return nil
end

-- Returns the event that a body reports, or nil and a sentence.
local function read(body)
  if #body > api.limits.answer then
    return nil, ("the webhook's body has %d bytes, more than the %d that are read"):format(#body,
      api.limits.answer)
  end
  local told, message = json.decode(body)
  if type(told) ~= "table" then
    return nil, "the webhook's body is no JSON object: " .. (message or type(told))
  end
  local id, status, result = told.id or told.task_id, told.status, told.result
  if type(id) ~= "string" or id == "" then return nil, "the webhook names no task" end
  if #id > longest_id then return nil, "the webhook names a task by more than 4 KB" end
  if type(status) ~= "string" then return nil, "the webhook tells no status" end
  result = type(result) == "table" and result or nil
  if result and result.seed then
    result.seed = json.integer_field(body, "seed") or result.seed
  end
  return { id = id, status = statuses[status:sub(1, 64):lower()] or wording.brief(status),
    result = result }
end

--- Verifies a webhook's call. `X-Webhook-Secret` must be the secret, or `X-BFL-Signature` must be
--- its signature of the body; if both headers are there, both must be right. A call may come twice.
--- The event's URLs are not trusted: `client:notify` makes the job ask its own URL.
---@param headers table|userdata|function the request's headers as the host has them
---@param body string the request's body, byte for byte
---@param secret string the `webhook_secret` of the edit
---@return kontext.Event? event
---@return string? message
---@return kontext.Error? err kind "auth" (not the service's) or "protocol" (not to be understood)
function webhook.verify(headers, body, secret)
  local kind = type(headers)
  if kind ~= "table" and kind ~= "userdata" and kind ~= "function" then
    error("verify: the headers must be a table, a userdata or a function, not " .. kind, 2)
  elseif type(body) ~= "string" then
    error("verify: the body must be a string, not " .. type(body), 2)
  elseif type(secret) ~= "string" or secret == "" then
    error("verify: the secret must be a string that is not empty", 2)
  end
  local message = distrust(headers, body, secret)
  if message then return errors.result(errors.new { kind = "auth", message = message }) end
  local event
  event, message = read(body)
  if event then return event end
  return errors.result(errors.new { kind = "protocol", message = message })
end

return webhook
