--- kontext queue init: makes the tables of a queue, or brings them to this release's version.
local database = require "kontext.journal.database"
local report = require "kontext.cli.report"
local schema = require "kontext.journal.schema"
local system = require "kontext.system"

local queue = {}

--- Returns the address that the options or the environment give; or nil and an error.
---@param options table
---@return string? address
---@return table? err
function queue.address(options)
  local address = options.queue or os.getenv "KONTEXT_QUEUE"
  if not address or address == "" then
    return nil, { kind = "invalid", charged = false, message = "there is no queue: pass --queue "
      .. "postgres://HOST/DATABASE, or set KONTEXT_QUEUE" }
  elseif not require("kontext.journal.journal").is_address(address) then
    return nil, { kind = "invalid", charged = false, message = ("%s is no address of a queue: it "
      .. "begins with postgres://"):format(database.shown(address)) }
  end
  return address
end

--- Returns the error of a database that does not do what it was asked.
---@param message string?
---@param code string?
---@return table err
function queue.trouble(message, code)
  return { kind = "file", code = code, stage = "check", charged = false,
    message = message or "the database does not answer" }
end

--- Connects to the queue of the options, whose tables must be of this release; raises where that
--- cannot be.
---@param options table
---@return kontext.Database db
function queue.connect(options)
  local address, err = queue.address(options)
  if not address then error(err, 0) end
  local db, message, code = database.new(address, system)
  local fit
  if db then fit, message, code = schema.check(db) end
  if not fit then error(queue.trouble(message, code), 0) end
  return db
end

--- kontext queue init
---@param options table
---@return integer code
function queue.run(options)
  local address, err = queue.address(options)
  if not address then return report.fail(options, err) end
  local db, message, code = database.new(address, system)
  local before
  if db then before, message, code = schema.make(db) end
  if not before then return report.fail(options, queue.trouble(message, code)) end
  db:close()
  if options.json then
    report.say_json({ version = schema.version, before = before }, "version before")
  elseif before == schema.version then
    report.note(options, ("the queue in %s is ready: nothing was to be done"):format(db.shown))
  else
    report.note(options, before == 0 and ("the queue in %s is made"):format(db.shown)
      or ("the queue in %s is now of version %d, and was of %d"):format(db.shown, schema.version,
        before))
  end
  return 0
end

return queue
