--- kontext status: how far a queue is.
local claims = require "kontext.journal.claims"
local core = require "kontext.core"
local queue = require "kontext.cli.queue"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local service = require "kontext.cli.service"

local status = {}

local pause = 2 -- seconds between two looks of --watch

local fields = "total waiting active done failed ambiguous lost credits rate eta workers slots "
  .. "allowed strays oldest kinds"

-- Returns a number of things as people say it.
local function count(n)
  return ("%.0f"):format(n)
end

-- Returns the lines that say it to people.
local function lines(found)
  local text = { ("%s edits: %s waiting, %s active, %s done, %s failed, %s ambiguous, %s lost")
    :format(count(found.total), count(found.waiting), count(found.active), count(found.done),
      count(found.failed), count(found.ambiguous), count(found.lost)) }
  for _, each in ipairs(found.kinds) do
    text[#text + 1] = ("  failed as %s: %s"):format(each.kind, count(each.n))
  end
  text[#text + 1] = ("%.14g credits (%.2f USD), %.2f edits a second%s"):format(found.credits,
    found.credits / 100, found.rate, found.eta and found.eta > 0
      and ", about " .. screen.time(found.eta) .. " left" or "")
  text[#text + 1] = ("%d workers, %d of %d slots taken"):format(found.workers, found.slots,
    found.allowed)
  if found.ambiguous + found.lost > 0 then
    text[#text + 1] = "ambiguous and lost ones may have been paid for: look at your account, then "
      .. "kontext requeue --kind ambiguous --consent sends them again"
  end
  if found.strays > 0 then
    text[#text + 1] = ("%d answers came for edits that had been sent once more by consent: they "
      .. "are in kontext.strays, and are paid for"):format(found.strays)
  end
  return text
end

local function tell(options, found)
  if not options.json then
    for _, line in ipairs(lines(found)) do report.say(line) end
    return
  end
  local kinds = {}
  for _, each in ipairs(found.kinds) do kinds[#kinds + 1] = each.kind .. "=" .. count(each.n) end
  found.kinds = kinds
  report.say_json(found, fields)
end

local function begin(options)
  local db = queue.connect(options)
  while true do
    local found, message, code = claims.status(db)
    if found then
      tell(options, found)
    elseif options.watch then
      report.warn(message)
    else
      return report.fail(options, queue.trouble(message, code))
    end
    if not options.watch then return 0 end
    local stop = core.now() + pause
    while core.now() < stop do
      core.sleep(0.2)
      service.heed_signals()
    end
  end
end

--- kontext status
---@param options table
---@return integer code
function status.run(options)
  if options.watch then core.watch_signals() end
  local done, code = pcall(begin, options)
  if done then return code end
  local err = report.raised(code)
  if err.signal then return 0 end -- how --watch ends
  return report.fail(options, err)
end

return status
