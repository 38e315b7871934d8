--- kontext doctor: checks that everything an edit needs is there.
local core = require "kontext.core"
local kontext = require "kontext"
local report = require "kontext.cli.report"
local service = require "kontext.cli.service"
local screen = require "kontext.cli.screen"
local state = require "kontext.cli.state"

local doctor = {}

local patience = 10 -- seconds for the service's answer

-- Each returns "ok", "warning" or "bad", a sentence and, if it is bad, an error object.
local checks = {}

checks[1] = function()
  local info = kontext.info()
  return "ok", ("kontext %s for %s, libcurl %s, %s"):format(info.module, info.lua, info.libcurl,
    tostring(info.json))
end

checks[2] = function()
  local info = kontext.info()
  if not info.tls then return "bad", "libcurl has no TLS: install one that has" end
  if info.resolver == "asynchronous" then return "ok", info.tls .. ", an asynchronous resolver" end
  return "warning", "libcurl's resolver blocks: a program stands still while a name is looked up"
end

checks[3] = function()
  local path, message = state.for_edit()
  if not path then return "bad", message end
  return "ok", "journals are kept in " .. path:match "^(.*)/"
end

checks[4] = function()
  local unfinished, held = 0, 0
  for _, path in ipairs(state.journals()) do
    local entries, _, code = state.entries(path)
    if code == "EAGAIN" then held = held + 1 end
    for _, entry in ipairs(entries or {}) do
      if state.is_unfinished(entry) then unfinished = unfinished + 1 end
    end
  end
  if unfinished == 0 then return "ok", "no edit waits to be resumed" end
  return "warning", ("%d edit%s to be resumed: kontext resume"):format(unfinished,
    unfinished == 1 and " waits" or "s wait")
end

checks[5] = function()
  local done, message = core.can_save "kontext-doctor.jpg"
  if done then return "ok", "results can be saved in this folder" end
  return "warning", "results cannot be saved in this folder: " .. message
end

checks[6] = function(options)
  options.timeout = options.timeout or patience
  local client = service.client(options)
  local credits, err = service.wait(client:credits())
  local where = tostring(client):match "%S+$"
  client:close()
  if credits then
    return "ok", ("%s answers: %.14g credits are left"):format(where, credits)
  elseif err.signal then
    error(err, 0)
  end
  return "bad", report.sentence(options, err), err
end

--- kontext doctor
---@param options table
---@return integer code
function doctor.run(options)
  local code = 0
  for _, check in ipairs(checks) do
    local done, state_of, sentence, err = pcall(check, options)
    if not done then
      err = report.raised(state_of)
      if err.signal then error(err, 0) end
      state_of, sentence = "bad", err.message
    end
    if options.json then
      report.say_json({ state = state_of, message = sentence }, "state message")
    else
      report.say(("%-8s %s"):format(state_of, screen.escape(sentence)))
    end
    if state_of == "bad" and code == 0 then code = report.code(err or { kind = "file" }) end
  end
  return code
end

return doctor
