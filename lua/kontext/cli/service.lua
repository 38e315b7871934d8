--- The command's client: made from the options, it watches signals and redraws the terminal while
--- it waits, and reports the edits that a signal cut off.
local core = require "kontext.core"
local kontext = require "kontext"
local log = require "kontext.cli.log"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"

local service = {}

local glance = 0.1 -- seconds between two looks at signals and the live line
local grace = 3 -- seconds that an answer may take to an edit that was sent whole, after a signal

-- Raises an error whose message is a sentence for the person who typed the command.
local function refuse(kind, message)
  error({ kind = kind, message = message, stage = "check", charged = false }, 0)
end

-- Returns the first line of a key's file.
local function key_of_file(path)
  local text, message, code = core.read(path)
  if not text then
    error({ kind = "file", code = code, message = "cannot read the key: " .. message }, 0)
  end
  local key = (text:sub(1, 4096):match "^%s*([^\r\n]*)" or ""):match "^(.-)%s*$"
  if key == "" then refuse("auth", path .. " is empty: it must hold the key in its first line") end
  return key
end

-- Returns the first line that the command in $BFL_API_KEY_CMD writes, such as a password manager.
local function key_of_command(command)
  local pipe = io.popen(command, "r")
  local key = pipe and (pipe:read "*l" or ""):match "^%s*(.-)%s*$"
  if pipe then pipe:close() end
  if not key or key == "" then
    refuse("auth", "the command in BFL_API_KEY_CMD writes no key on standard output: run it by "
      .. "itself to see why")
  end
  return key
end

-- Returns the key that the options or the environment name, or nil to let the library look for one.
local function key(options, base)
  if options.key_file then return key_of_file(options.key_file) end
  local command = os.getenv "BFL_API_KEY_CMD"
  local there = (os.getenv "BFL_API_KEY" or "") ~= ""
  local local_only = base and base:find "^http:"
  if not command or command == "" or there or local_only then return nil end
  return key_of_command(command)
end

-- Refuses an address without a scheme, and says which one was probably meant.
local function check_base(name, base)
  if base and base ~= "" and not base:find "^%a[%w+.-]*://" then
    refuse("invalid", ("%s must begin with https://: did you mean https://%s ?"):format(name, base))
  end
end

--- Raises for a signal that came.
function service.heed_signals()
  local number, name = core.signal()
  if not number then return end
  error({ kind = "interrupted", signal = number,
    message = name == "SIGINT" and "interrupted" or "ended by " .. (name or "a signal") }, 0)
end

--- Makes a client. It raises for something that was typed wrong, not for a fault of this program.
---@param options table
---@param more { journal: string?, live: (fun(): string)? }? `live` composes the live line
---@return kontext.Client
function service.client(options, more)
  more = more or {}
  check_base("--base-url", options.base_url)
  if not options.base_url and not options.region then
    check_base("BFL_BASE_URL", os.getenv "BFL_BASE_URL")
  end
  local base = options.base_url or not options.region and os.getenv "BFL_BASE_URL" or nil
  local chosen = {
    api_key = key(options, base),
    base_url = options.base_url, region = options.region, timeout = options.timeout,
    model = options.model,
    on_event = log.open(options.log),
    ca_file = options.ca_file, journal = more.journal, budget = options.budget,
    loop = function(client, seconds)
      client:poll(math.min(seconds or glance, glance))
      service.heed_signals()
      if options.progress and more.live then screen.refresh(more.live) end
    end,
  }
  local made, client = pcall(kontext.new, chosen)
  if made then return client end
  refuse("invalid", (tostring(client):gsub("^[^:]*:%d+: ", "")))
end

--- Waits for a job. A signal is an error too, so that the token of an accepted edit is not lost.
---@param job kontext.Job
---@return any value
---@return table? err
function service.wait(job)
  local done, value, _, err = pcall(job.wait, job)
  screen.wipe()
  if not done then return nil, report.raised(value) end
  return value, err
end

-- Returns whether a job was sent whole and its answer is awaited.
local function is_unanswered(job)
  return not job:ended() and not job.id and job.status == "uploading" and (job.sent or 0) > 0
    and job.sent == job.total
end

--- After a signal, waits some seconds for the answers to edits that were sent whole, so that their
--- tokens can be reported; another signal ends the wait. Then closes the client.
---@param options table
---@param client kontext.Client
---@param jobs table<any, kontext.Job>
function service.abandon(options, client, jobs)
  local deadline, told = core.now() + grace, false
  local function is_waiting()
    for _, job in pairs(jobs) do
      if is_unanswered(job) then return true end
    end
    return false
  end
  while is_waiting() and core.now() < deadline do
    if not told then
      report.note(options, "waiting for the answer to what was sent whole; Ctrl-C again ends this")
      told = true
    end
    if not pcall(client.poll, client, glance) then break end
    if core.signal() then break end
  end
  pcall(client.close, client)
end

--- Reports the edits that a signal has cut off, and how to resume each.
---@param options table
---@param err table the error that was raised for the signal
---@param jobs table<any, kontext.Job>
---@param subjects table<any, string>?
---@return integer code
function service.tell_interrupted(options, err, jobs, subjects)
  local order = {}
  for index in pairs(jobs) do order[#order + 1] = index end
  table.sort(order)
  local told = false
  for _, index in ipairs(order) do
    local job, subject = jobs[index], subjects and subjects[index]
    local cut_off = job.error and (job.error.kind == "closed" or job.error.kind == "ambiguous")
    if job.id and (not job:ended() or cut_off) then
      report.fail(options, err, job, subject)
      told = true
    elseif cut_off and (job.error.kind == "ambiguous" or job.error.retryable == false) then
      report.fail(options, { kind = err.kind, signal = err.signal, charged = nil,
        message = err.message .. " when it was sent whole and not answered: it may have been paid "
          .. "for, so it is not sent again by itself" }, nil, subject)
      told = true
    end
  end
  if not told then report.fail(options, err) end
  return report.code(err)
end

return service
