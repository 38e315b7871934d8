--- kontext requeue: makes edits of a queue wait again that have ended without a picture.
local claims = require "kontext.journal.claims"
local kinds = require "kontext.kinds"
local queue = require "kontext.cli.queue"
local report = require "kontext.cli.report"

local requeue = {}

local in_doubt = { ambiguous = true, lost = true }

--- kontext requeue --kind KIND
---@param options table
---@return integer code
function requeue.run(options)
  local kind = options.kind
  if not kinds[kind] then
    return report.fail(options, { kind = "invalid", charged = false, message = ("%s is no kind of "
      .. "errors: kontext status lists those of the queue"):format(kind) })
  elseif in_doubt[kind] and not options.consent then
    return report.fail(options, { kind = "invalid", charged = false, message = ("edits that ended "
      .. "as %s may have been paid for: look at your account, then pass --consent to pay for them "
      .. "again"):format(kind) })
  end
  local made, db = pcall(queue.connect, options)
  if not made then return report.fail(options, report.raised(db)) end
  local state = in_doubt[kind] and kind or kind == "expired" and "lost" or "failed"
  if state == "lost" and not options.consent then
    return report.fail(options, { kind = "invalid", charged = false, message = "what expired was "
      .. "paid for: pass --consent to pay for it again" })
  end
  -- What is in doubt is so whatever ended its job: a timeout, the end of its worker.
  local only = state ~= "ambiguous" and kind or nil
  local count, left, code = claims.requeue(db, state, only, options.consent or false,
    options.key, kinds[kind].charged ~= false)
  db:close()
  if not count then return report.fail(options, queue.trouble(left, code)) end
  if options.json then
    report.say_json({ requeued = count, left = left }, "requeued left")
  else
    report.note(options, ("%d edits wait again"):format(count))
  end
  if left > 0 then
    return report.fail(options, { kind = "invalid", charged = false, message = ("%d edits that "
      .. "ended as %s had been accepted and may have been paid for: look at your account, then "
      .. "pass --consent to pay for them again"):format(left, kind) })
  end
  return 0
end

return requeue
