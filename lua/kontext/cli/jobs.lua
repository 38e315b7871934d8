--- kontext jobs: what the journals hold.
local names = require "kontext.cli.names"
local report = require "kontext.cli.report"
local core = require "kontext.core"
local screen = require "kontext.cli.screen"
local state = require "kontext.cli.state"

local jobs = {}

-- Returns how long ago the journal was written, in whole seconds.
local function age_of(path)
  return math.max(0, math.floor(os.time() - (core.modified(path) or os.time())))
end

local function tell(options, row)
  if options.json then
    return report.say_json(row, "state id key file age journal")
  end
  report.say(screen.escape(("%-9s  %s  %s  %s ago"):format(row.state, row.id or row.key or "-",
    row.file and names.shown(row.file) or "-", screen.time(row.age))))
end

-- Removes a journal, unless an edit in it can still be fetched.
local function forget(options, path)
  local entries, message, code = nil, "there is no such journal", "ENOENT"
  if state.is_there(path) then entries, message, code = state.entries(path) end
  if not entries then
    return report.fail(options, { kind = "file", code = code, message = path .. ": " .. message })
  end
  for _, entry in ipairs(entries) do
    if entry.state == "accepted" then
      return report.fail(options, { kind = "invalid", message = ("%s holds edit %s, which was "
        .. "accepted: fetch it first with kontext resume"):format(path, entry.id or entry.key) })
    end
  end
  local done, why = os.remove(path)
  return done and 0 or report.fail(options, { kind = "file", message = why })
end

--- kontext jobs
---@param options table
---@return integer code
function jobs.run(options)
  if options.forget then return forget(options, options.forget) end
  local code = 0
  if not options.journal then state.must_be_readable() end
  local list = options.journal and { options.journal } or state.journals()
  if options.journal and not state.is_there(options.journal) then
    return report.fail(options, { kind = "file", code = "ENOENT",
      message = "there is no journal " .. options.journal })
  end
  for _, path in ipairs(list) do
    local age = age_of(path)
    local entries, message, why = state.entries(path)
    if why == "EAGAIN" then
      tell(options, { state = "running", age = age, journal = path })
    elseif not entries then
      local each = report.fail(options, { kind = "file", code = why, message = message })
      code = code == 0 and each or code
    end
    for _, entry in ipairs(entries or {}) do
      if options.all or state.is_unfinished(entry) then
        tell(options, { state = entry.state, id = entry.id, key = entry.key, age = age,
          file = entry.path or entry.save_as, journal = path })
      end
    end
  end
  return code
end

return jobs
