-- A scripted server for a spec (see raw_server.lua), and the answers of a service that does all
-- right, for scripts to spoil.

local cjson = require "cjson"
local core = require "kontext.core"
local kontext = require "kontext"
local mime = require "mime"
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

--- Edits once for every row, all at the same time and each below a prefix of its own, until all
--- have ended. A row may have `name`, the spoilt answers (submit, poll, sample), `params` and
--- `options`; it gets `prefix`, `client`, `job` and `requests`.
function methods:rehearse(rows, params)
  local script = {}
  for i, row in ipairs(rows) do
    row.prefix = "/case" .. i
    raw.service(script, row.prefix, row)
  end
  self:script(script)
  for _, row in ipairs(rows) do
    local options = { base_url = self.url .. row.prefix, api_key = raw.key, poll_interval = 0.01 }
    for name, value in pairs(row.options or {}) do options[name] = value end
    row.client = kontext.new(options)
    local given = { prompt = "Change it", input_image = raw.picture }
    for _, more in ipairs { params or {}, row.params or {} } do
      for name, value in pairs(more) do given[name] = value end
    end
    row.job = row.client:edit(given)
  end
  self:drive(rows)
end

--- Steps the rows' clients until their jobs have ended, and sorts the requests that came.
function methods:drive(rows)
  local limit, open = core.now() + 30, 1
  while open > 0 and core.now() < limit do
    open = 0
    for _, row in ipairs(rows) do open = open + row.client:poll(0.001) end
  end
  local by_prefix = {}
  for _, row in ipairs(rows) do
    row.requests = {}
    by_prefix[row.prefix] = row.requests
  end
  for _, entry in ipairs(self:requests()) do
    local requests = by_prefix[(entry.path or ""):match "^/case%d+"]
    if requests then requests[#requests + 1] = entry end
  end
end

--- How many of a row's requests have this method, and a path with this in it.
function raw.count(row, method, part)
  local count = 0
  for _, entry in ipairs(row.requests) do
    if entry.method == method and entry.path:find(part or "", 1, true) then count = count + 1 end
  end
  return count
end

function methods:stop()
  self.control:send '{"stop":true}\n' -- a later child may hold the connection open
  self.control:close()
  self.pipe:close()
  for file in pairs(self.files) do os.remove(file) end
end

--- Starts a server in a process of its own.
function raw.start()
  local lua = os.getenv "KONTEXT_EMULATOR_LUA" or rawget(_G, "jit") and "luajit"
    or "lua" .. _VERSION:match "%d+%.%d+"
  local pipe = assert(io.popen(lua .. " spec/support/raw_server.lua", "r"))
  local port, control = (pipe:read "*l" or ""):match "^(%d+) (%d+)$"
  assert(port, "the scripted server did not start")
  local self = { url = "http://127.0.0.1:" .. port, pipe = pipe, files = {} }
  self.control = assert(socket.connect("127.0.0.1", tonumber(control)))
  return setmetatable(self, { __index = methods })
end

--- The key that every client has.
raw.key = "key-of-a-test-41f7"

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

local function with(fields, more)
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

--- The answer to a submit.
function raw.accepted(more)
  return raw.json(200, with({ id = "task-1", cost = 4,
    polling_url = "$HERE/v1/get_result?id=task-1" }, more))
end

--- The answer to a poll.
function raw.status(status, more)
  return raw.json(200, with({ id = "task-1", status = status }, more))
end

--- The answer to a poll when the picture is there.
function raw.ready(more)
  return raw.status("Ready", { result = with({ sample = "$HERE/sample.png?sig=c2lnbmF0dXJl" },
    more) })
end

--- The answer to a download.
function raw.sample(more)
  return with({ status = 200, body = raw.picture, headers = { "Content-Type: image/png",
    "Accept-Ranges: bytes", "Content-MD5: " .. mime.b64(core.md5(raw.picture)) } }, more)
end

--- Adds a service below `prefix` to a script; `spoilt` has lists of other answers: submit, poll,
--- sample, credits.
function raw.service(script, prefix, spoilt)
  spoilt = spoilt or {}
  script["POST " .. prefix .. "/v1/flux-kontext-pro"] = spoilt.submit or { raw.accepted() }
  script["POST " .. prefix .. "/v1/flux-kontext-max"] = spoilt.submit or { raw.accepted() }
  script["GET " .. prefix .. "/v1/get_result"] = spoilt.poll or { raw.ready() }
  script["GET " .. prefix .. "/sample.png"] = spoilt.sample or { raw.sample() }
  script["GET " .. prefix .. "/v1/credits"] = spoilt.credits
    or { raw.json(200, { credits = 12.5 }) }
  for route, answers in pairs(spoilt.more or {}) do
    script[(route:gsub(" ", " " .. prefix))] = answers
  end
  return script
end

return raw
