-- A scripted server for a spec (see raw_server.lua), and the answers of a service that does all
-- right, for scripts to spoil.

local cjson = require "cjson"
local core = require "kontext.core"
local socket = require "socket"

local raw = {}

local methods = {}

-- Sends one order over the control connection and returns the word.
function methods:tell(order)
  assert(self.control:send(cjson.encode(order) .. "\n"))
  return cjson.decode((assert(self.control:receive "*l")))
end

--- Sets the script and empties the ledger.
function methods:script(script) self:tell { script = script } end

--- The requests that came, those of one method and of paths that match a pattern.
function methods:requests(method, pattern)
  local found = {}
  for _, entry in ipairs(self:tell({ ledger = true }).entries) do
    if entry.file then self.files[entry.file] = true end
    if (not method or entry.method == method) and (not pattern or entry.path:find(pattern)) then
      found[#found + 1] = entry
    end
  end
  return found
end

--- How many connections were accepted.
function methods:connections() return self:tell({ ledger = true }).connections end

function methods:stop()
  self.control:close() -- it ends with this connection
  self.pipe:close()
  for file in pairs(self.files) do os.remove(file) end
end

--- Starts a server in a process of its own.
function raw.start()
  local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
  local pipe = assert(io.popen(lua .. " spec/support/raw_server.lua", "r"))
  local port, control = (pipe:read "*l" or ""):match "^(%d+) (%d+)$"
  assert(port, "the scripted server did not start")
  local self = { url = "http://127.0.0.1:" .. port, pipe = pipe, files = {} }
  self.control = assert(socket.connect("127.0.0.1", tonumber(control)))
  return setmetatable(self, { __index = methods })
end

--- The picture that every edit ends in.
raw.picture = core.repaint { width = 64, height = 48, format = "png", seed = 7 }

local JSON = "Content-Type: application/json"

--- One answer with a JSON body: a text, or a table to encode.
function raw.json(status, body, headers)
  local lines = { JSON }
  for _, line in ipairs(headers or {}) do lines[#lines + 1] = line end
  return { status = status, headers = lines,
    body = type(body) == "table" and cjson.encode(body) or body }
end

--- The answer to a submit: the task is polled below `prefix`.
function raw.accepted(prefix, more)
  local answer = { id = "task-1", polling_url = "$BASE" .. prefix .. "/v1/get_result?id=task-1",
    cost = 4 }
  for name, value in pairs(more or {}) do answer[name] = value end
  return raw.json(200, answer)
end

--- The answer to a poll.
function raw.status(status, more)
  local answer = { id = "task-1", status = status }
  for name, value in pairs(more or {}) do answer[name] = value end
  return raw.json(200, answer)
end

--- The answer to a poll whose picture lies below `prefix`.
function raw.ready(prefix, more)
  local result = { sample = "$BASE" .. prefix .. "/sample.png?sig=c2lnbmF0dXJl", seed = 7 }
  for name, value in pairs(more or {}) do result[name] = value end
  return raw.status("Ready", { result = result })
end

--- The answer to a download.
function raw.sample(more)
  local answer = { status = 200, body = raw.picture, headers = { "Content-Type: image/png",
    "Accept-Ranges: bytes", "Content-MD5: " .. require "mime".b64(core.md5(raw.picture)) } }
  for name, value in pairs(more or {}) do answer[name] = value end
  return answer
end

--- Adds a service below `prefix` to a script; `spoilt` has lists of other answers: submit, poll,
--- sample, credits.
function raw.service(script, prefix, spoilt)
  spoilt = spoilt or {}
  script["POST " .. prefix .. "/v1/flux-kontext-pro"] = spoilt.submit or { raw.accepted(prefix) }
  script["POST " .. prefix .. "/v1/flux-kontext-max"] = spoilt.submit or { raw.accepted(prefix) }
  script["GET " .. prefix .. "/v1/get_result"] = spoilt.poll or { raw.ready(prefix) }
  script["GET " .. prefix .. "/sample.png"] = spoilt.sample or { raw.sample() }
  script["GET " .. prefix .. "/v1/credits"] = spoilt.credits
    or { raw.json(200, { credits = 12.5 }) }
  return script
end

return raw
