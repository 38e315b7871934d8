--- What the option on_event is told: what happens to each edit, and nothing secret.
local wording = require "kontext.wording"

local events = {}

---@class kontext.Events
local Events = {}
Events.__index = Events

--- Makes the events of a client.
---@param system kontext.System
---@param on_event fun(event: table)? nil: nobody is told
---@return kontext.Events
function events.new(system, on_event)
  -- job → its number and when its first event came
  return setmetatable({ _system = system, _on_event = on_event, _count = 0,
    _jobs = setmetatable({}, { __mode = "k" }) }, Events)
end

--- Returns a function that tells the host what has happened to a job; nil where nobody is told.
--- The client calls it among its other callbacks, at the end of a step.
---@param job kontext.Job
---@param name string
---@param fields? table what belongs to this kind of event
---@return fun()?
function Events:notice(job, name, fields)
  local on_event = self._on_event
  if not on_event or not job:is_edit() then return nil end
  local now, known = self._system.now(), self._jobs[job]
  if not known then
    self._count = self._count + 1
    known = { number = self._count, began = now }
    self._jobs[job] = known
  end
  local event = fields or {}
  event.event, event.job, event.time = name, known.number, self._system.wall()
  event.ms = math.floor((now - known.began) * 1000 + 0.5)
  event.id, event.key, event.model = wording.brief(job.id), job:key(), job:model()
  return function() on_event(event) end
end

return events
