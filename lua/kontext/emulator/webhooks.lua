-- Deliveries to a task's webhook_url: tried again a few times, each try written in the ledger.

local need = require "kontext.emulator.need"
local encoding = require "kontext.encoding"
local json = require "kontext.emulator.json"
local loopback = require "kontext.emulator.loopback"
local cqueues = need "cqueues"
local hmac = need "openssl.hmac"

local webhooks = {}
webhooks.__index = webhooks

local PAUSES = { 0.5, 1, 2, 4 } -- seconds between the tries
local PATIENCE = 10

---@param options { ledger: table, signature: boolean }
function webhooks.new(options) return setmetatable(options, webhooks) end

function webhooks:headers(secret, text)
  local headers = { ["content-type"] = "application/json" }
  if secret then headers["x-webhook-secret"] = secret end
  if secret and self.signature then
    headers["x-bfl-signature"] = "sha256=" .. encoding.hex(hmac.new(secret, "sha256"):final(text))
  end
  return headers
end

function webhooks:try(task, text, headers)
  local url = task.params.webhook_url
  for nth = 1, #PAUSES + 1 do
    local entry = self.ledger:add("webhooks", { task = task.id, url = url, try = nth, body = text })
    self.ledger:count "webhooks"
    if not task.near or not loopback.is_near(url) then -- nobody elsewhere gets at our loopback
      entry.error = task.near and "not on this machine: not sent"
        or "asked for from another machine: not sent"
      return
    end
    local status, why = loopback.request(url, { body = text, headers = headers }, PATIENCE)
    entry.status, entry.error = status, not status and why or nil
    if status and status >= 200 and status < 300 then return end
    if PAUSES[nth] then cqueues.sleep(PAUSES[nth]) end
  end
end

--- Calls a task's webhook with how it ended; returns at once.
---@param task table
---@param result table? the result, as a poll would give it
function webhooks:deliver(task, result)
  local members = {
    { "id", task.id }, { "status", task.outcome.status }, { "result", result },
    { "details", task.outcome.details },
  }
  local text = json.encode(json.object(members))
  local headers = self:headers(task.params.webhook_secret, text)
  cqueues.running():wrap(self.try, self, task, text, headers)
end

return webhooks
