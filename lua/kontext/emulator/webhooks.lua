-- Deliveries to a task's webhook_url: tried again a few times, each try written in the ledger.

local need = require "kontext.emulator.need"
local json = require "kontext.emulator.json"
local cqueues = need "cqueues"
local http_request = need "http.request"
local hmac = need "openssl.hmac"

local webhooks = {}
webhooks.__index = webhooks

local PAUSES = { 0.5, 1, 2, 4 } -- seconds between the tries
local PATIENCE = 10

---@param options { ledger: table, signature: boolean }
function webhooks.new(options) return setmetatable(options, webhooks) end

-- The emulator speaks to this machine only.
local function is_near(url)
  local host = url:match "^https?://%[?([^/?#%]]+)" or ""
  host = host:gsub(":%d+$", "")
  return host == "localhost" or host == "::1" or host:match "^127%.[%d.]+$"
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function post(url, text, headers)
  local request = http_request.new_from_uri(url)
  request.follow_redirects = false
  request.headers:upsert(":method", "POST")
  for name, value in pairs(headers) do request.headers:upsert(name, value) end
  request:set_body(text)
  local answer, stream = request:go(PATIENCE)
  if not answer then return nil, tostring(stream) end
  stream:shutdown()
  return tonumber(answer:get ":status")
end

--- Tells a task's webhook how it ended; returns at once.
---@param task table
---@param result table? the result, as a poll would give it
function webhooks:deliver(task, result)
  local params = task.params
  local members = { { "id", task.id }, { "status", task.outcome.status }, { "result", result } }
  if task.outcome.details then members[3] = { "details", task.outcome.details } end
  local text = json.encode(json.object(members))
  local headers = { ["content-type"] = "application/json" }
  local secret = params.webhook_secret
  if secret then
    headers["x-webhook-secret"] = secret
    if self.signature then
      headers["x-bfl-signature"] = "sha256=" .. hex(hmac.new(secret, "sha256"):final(text))
    end
  end
  cqueues.running():wrap(self.attempt, self, task, text, headers)
end

function webhooks:attempt(task, text, headers)
  local url = task.params.webhook_url
  for nth = 1, #PAUSES + 1 do
    local entry = self.ledger:add("webhooks", { task = task.id, url = url, try = nth, body = text })
    self.ledger:count "webhooks"
    if not is_near(url) then
      entry.error = "not on this machine: not sent"
      return
    end
    local ok, status, message = pcall(post, url, text, headers)
    entry.status = ok and status or nil
    entry.error = not ok and tostring(status) or message
    if ok and status and status >= 200 and status < 300 then return end
    if PAUSES[nth] then cqueues.sleep(PAUSES[nth]) end
  end
end

return webhooks
