-- What the specs of region edits share: an engine that is waited for, and Pillow as an oracle.
local core = require "kontext.core"
local pictures = require "spec.support.pictures"

local support = {}

function support.engine()
  return core.engine { connect_timeout = 1, stall_timeout = 1, user_agent = "spec", tls = false }
end

--- Waits for the event of a job.
function support.wait(engine, id, message)
  assert(id, message)
  local limit = core.now() + 300
  repeat
    engine:wait(core.now() + 1)
    for _, event in ipairs((engine:step(0.001)) or {}) do
      if event.id == id then return event end
    end
  until core.now() > limit
  error "the job did not end"
end

--- Whether there is an oracle to ask.
function support.has_oracle()
  return pictures.output "/usr/bin/python3 -c 'import PIL; print(1)'" ~= nil
end

--- Asks the oracle many things at once: a list of lists of words → a list of answers.
function support.ask(questions)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  for _, words in ipairs(questions) do file:write(table.concat(words, "\t"), "\n") end
  file:close()
  local answers = {}
  local text = pictures.output(("/usr/bin/python3 spec/region/oracle.py < %s"):format(path)) or ""
  os.remove(path)
  for line in text:gmatch "[^\n]+" do answers[#answers + 1] = line end
  return answers
end

function support.ask_one(...)
  return support.ask { { ... } }[1]
end

function support.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

--- Returns a folder that is the caller's to remove.
function support.folder()
  return (assert(pictures.output "mktemp -d"):gsub("%s+$", ""))
end

return support
