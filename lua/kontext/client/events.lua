--- The events for the option on_event: what happens to each edit, without secrets.
local wording = require "kontext.wording"

local events = {}

---@class kontext.Events
local Events = {}
Events.__index = Events

--- Makes the events of a client.
---@param system kontext.System
---@param on_event fun(event: table)? nil: no events
---@return kontext.Events
function events.new(system, on_event)
  -- job → its number and when its first event came
  return setmetatable({ _system = system, _on_event = on_event, _count = 0,
    _jobs = setmetatable({}, { __mode = "k" }) }, Events)
end

--- Returns a function that reports an event of a job to the host, or nil without on_event. The
--- client calls it at the end of a step, as it does the other callbacks.
---@param job kontext.Job
---@param name string
---@param fields? table the fields of this kind of event
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
