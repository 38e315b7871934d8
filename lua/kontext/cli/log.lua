--- --log FILE: what happens to each edit, one JSON object a line, as it happens.
local names = require "kontext.cli.names"
local report = require "kontext.cli.report"

local log = {}

-- In the order of a line; `time` is written first.
local fields = "event job id key model ms try status http code kind stage charged bytes seconds "
  .. "progress credits path message"

--- Opens a log to append to it; raises an error if that cannot be done.
---@param path string? nil: none
---@return (fun(event: table))? on_event
function log.open(path)
  if not path then return nil end
  local file, message, number = io.open(path, "ab")
  if not file then
    error({ kind = "file", code = number == 2 and "ENOENT" or nil, charged = false,
      message = "nothing was sent, because the log cannot be written: " .. message }, 0)
  end
  file:setvbuf "line"
  local told = false
  return function(event)
    local line = ('{"time":"%s",%s\n'):format(os.date("!%Y-%m-%dT%H:%M:%SZ", event.time),
      report.object(event, fields):sub(2))
    local written, why = file:write(line)
    if not written and not told then
      told = true -- once: the edits go on
      report.warn(("the log %s cannot be written: %s"):format(names.shown(path), why))
    end
  end
end

return log
