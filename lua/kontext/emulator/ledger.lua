-- What the emulator saw, for tests to read at GET /_ledger. The newest entries of each kind are
-- kept; the totals count everything.

local json = require "kontext.emulator.json"

local ledger = {}
ledger.__index = ledger

--- A ledger that keeps up to `limit` entries of each kind.
---@param limit integer
function ledger.new(limit)
  local self = setmetatable({ limit = limit }, ledger)
  self:clear()
  return self
end

--- Forgets all entries and totals.
function ledger:clear()
  self.lists = { requests = json.array {}, tasks = json.array {}, webhooks = json.array {} }
  self.totals = {
    connections = 0, requests = 0, incomplete = 0, submits = 0, accepted = 0, polls = 0,
    downloads = 0, charged = 0, webhooks = 0, faults = 0,
  }
end

--- Adds to a total.
---@param name string
---@param amount number?
function ledger:count(name, amount) self.totals[name] = self.totals[name] + (amount or 1) end

--- Writes an entry, which may be filled in further, and drops the oldest beyond twice the limit:
--- in one go, so that it costs nothing on the way.
---@param kind "requests"|"tasks"|"webhooks"
---@param entry table
---@return table entry
function ledger:add(kind, entry)
  local list = self.lists[kind]
  list[#list + 1] = entry
  if #list >= 2 * self.limit then
    local newest = {}
    for i = #list - self.limit + 1, #list do newest[#newest + 1] = list[i] end
    self.lists[kind] = json.array(newest)
  end
  return entry
end

--- The whole as JSON.
---@return string
function ledger:encode()
  return json.encode {
    totals = self.totals, requests = self.lists.requests, tasks = self.lists.tasks,
    webhooks = self.lists.webhooks,
  }
end

return ledger
