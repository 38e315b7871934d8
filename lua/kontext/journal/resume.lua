--- Going on with jobs that another process began: of a token, or of a journal.
local api = require "kontext.api"
local errors = require "kontext.errors"
local job = require "kontext.job.job"
local token = require "kontext.token"

local resume = {}

--- Goes on with the job of a token.
---@param client kontext.Client
---@param text string
---@return kontext.Job
function resume.token(client, text)
  local values, message = token.read(text)
  local fields = { _params = {} }
  if not values then
    return client:_refuse(fields, { kind = "invalid", stage = "check",
      message = "cannot resume: " .. message })
  end
  fields.id = values.id
  fields._params = { model = api.endpoints[values.model] and values.model or client._model,
    save_as = values.save_as, key = values.key, output_format = values.output_format }
  if client._broken then return client:_refuse(fields, errors.copy(client._broken)) end
  fields.polling_url = client:_polling_url(fields, values.polling_url, values.id)
  fields._accepted_at, fields._first = -math.huge, "_resumed"
  return client:_queue(job.new(client, fields), true)
end

--- Goes on with the job that a journal has noted.
---@param client kontext.Client
---@param entry table
---@param given? table what a batch's edit has: save_as, on_progress
---@return kontext.Job
function resume.entry(client, entry, given)
  local resumed = resume.token(client, entry.token)
  resumed._entry = entry.number
  if given then
    resumed._params.save_as, resumed._params.on_progress = given.save_as, given.on_progress
  end
  return resumed
end

-- Returns a job that has ended the way a journal's edit did whose end nobody knows.
local function unresolved(client, entry)
  local name = entry.key and ('"%s"'):format(entry.key) or "number " .. entry.number
  return client:_refuse({ _params = { key = entry.key, save_as = entry.save_as } }, {
    kind = "ambiguous", stage = "submit",
    message = ("edit %s was sent, but no answer to it was noted: it may have been paid for, so it "
      .. "is not sent again; look at your account before you edit again"):format(name) })
end

--- Goes on with all that a journal says was begun and has no picture.
---@param client kontext.Client
---@param path string
---@return kontext.Job[]
function resume.journal(client, path)
  if not client._broken and not client._journal then client:_open_journal(path) end
  if client._broken then
    return { client:_refuse({ _params = {} }, errors.copy(client._broken)) }
  end
  if client._journal.path ~= path then
    return { client:_refuse({ _params = {} }, { kind = "invalid", stage = "check",
      message = "the client keeps another journal already: resume this one with a new client" }) }
  end
  local resumed = {}
  for _, entry in ipairs(client._journal:entries()) do
    if entry.state == "accepted" and not client._journal:is_open(entry) then
      resumed[#resumed + 1] = resume.entry(client, entry)
    elseif entry.state == "ambiguous" then
      resumed[#resumed + 1] = unresolved(client, entry)
    end
  end
  return resumed
end

return resume
