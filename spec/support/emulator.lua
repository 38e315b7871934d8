-- An emulator for a spec: a process of its own, its ledger, and requests by curl's command, which
-- shares no code with what is tested.

local cjson = require "cjson"
local emulator = require "kontext.emulator"

local support = {}

--- Reads a command's output. Where a sanitizer is preloaded it is not for the command: curl would
--- hang in it.
---@param command string
---@return string
function support.shell(command)
  local pipe = assert(io.popen("unset LD_PRELOAD; " .. command, "r"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

function support.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

function support.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  file:close()
end

--- The SHA-256 of some bytes, in hexadecimal digits.
function support.sha256(bytes)
  local path = os.tmpname()
  support.write(path, bytes)
  local digest = support.shell("sha256sum " .. path):match "^%x+"
  os.remove(path)
  return digest
end

--- Quotes a text for the shell.
function support.quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local methods = {}

local function parse_headers(text)
  local headers = {}
  for line in text:gmatch "[^\r\n]+" do
    if line:match "^HTTP/" then headers = {} end -- after a 100 the final answer's follow
    local name, value = line:match "^([^:]+):%s*(.*)$"
    if name then headers[name:lower()] = value end
  end
  return headers
end

--- Makes a request with curl: a path or a whole URL, `method`, `headers` (a list of lines), `body`,
--- `args` (more of curl's own). Gives { status, headers, body, json, code }, code being curl's exit
--- status.
---@param target string
---@param options? table
function methods:request(target, options)
  options = options or {}
  local head, body, sent = os.tmpname(), os.tmpname(), nil
  local command = { "curl -sS --max-time 60 -g", options.args or "" }
  local function add(...) command[#command + 1] = table.concat({ ... }, " ") end
  if self.ca_file then add("--cacert", self.ca_file) end
  if options.method then add("-X", options.method) end
  for _, line in ipairs(options.headers or {}) do add("-H", support.quote(line)) end
  if options.body then
    sent = os.tmpname()
    support.write(sent, options.body)
    add("--data-binary", "@" .. sent)
  end
  if target:sub(1, 1) == "/" then target = self.url .. target end
  add("-D", head, "-o", body, "-w '%{http_code} %{exitcode}'", support.quote(target), "2>/dev/null")
  local status, code = support.shell(table.concat(command, " ")):match "(%d+) (%d+)%s*$"
  local answer = {
    status = tonumber(status), code = tonumber(code), body = support.read(body),
    headers = parse_headers(support.read(head)),
  }
  answer.json = answer.body:match "^%s*[{%[]" and cjson.decode(answer.body) or nil
  for _, path in ipairs { head, body, sent } do os.remove(path) end
  return answer
end

local AS_THE_GUIDE = {
  "accept: application/json", "x-key: a-key", "Content-Type: application/json",
}

--- Submits parameters (a table, or the body's own text) as the guide does.
---@param params table|string
---@param model? string
function methods:submit(params, model)
  return self:request("/v1/" .. (model or "flux-kontext-pro"), {
    method = "POST", headers = AS_THE_GUIDE,
    body = type(params) == "string" and params or cjson.encode(params),
  })
end

local under_way = { Pending = true, Reasoning = true, Generating = true,
  ["Rendering Preview"] = true }

--- Polls until a task has ended, for up to ten seconds; gives the last answer.
---@param url string
function methods:await(url)
  local answer
  for _ = 1, 100 do
    answer = self:request(url)
    local status = answer.json and answer.json.status
    if answer.status == 200 and not under_way[status] then break end
    os.execute "sleep 0.1"
  end
  return answer
end

--- Submits, waits, downloads; gives the picture's bytes, the last poll and the download.
---@param params table|string
function methods:edit(params)
  local task = self:submit(params)
  assert(task.status == 200, task.body)
  local ready = self:await(task.json.polling_url)
  assert(ready.json.status == "Ready", ready.body)
  local download = self:request(ready.json.result.sample)
  assert(download.status == 200, download.body)
  return download.body, ready.json, download
end

--- What the emulator saw: { totals, requests, tasks, webhooks }.
function methods:ledger()
  return self:request("/_ledger", { args = "--max-time 600" }).json -- it may be long
end

--- Empties the ledger.
function methods:forget() self:request("/_ledger", { method = "DELETE" }) end

--- Ends the time that the active tasks take.
function methods:finish() self:request("/_finish", { method = "POST" }) end

--- The requests seen, those of one method and of paths that match a pattern.
---@param method? string
---@param pattern? string
function methods:requests(method, pattern)
  local found = {}
  for _, request in ipairs(self:ledger().requests) do
    if (not method or request.method == method)
      and (not pattern or request.path:find(pattern)) then
      found[#found + 1] = request
    end
  end
  return found
end

function methods:stop() self.process:stop() end

--- Starts an emulator with emulator.start's options; $KONTEXT_EMULATOR_LUA names the interpreter,
--- whichever Lua runs the spec. It leaves out the same in every run, unless $KONTEXT_EMULATOR_SEED
--- says otherwise.
---@param options? table
function support.start(options)
  options = options or {}
  options.ready_after = options.ready_after or 0.2
  options.seed = options.seed or tonumber(os.getenv "KONTEXT_EMULATOR_SEED") or 1
  options.lua = options.lua or os.getenv "KONTEXT_EMULATOR_LUA"
  local process = assert(emulator.start(options))
  return setmetatable({
    process = process, url = process.url, ca_file = process.ca_file, pid = process.pid,
  }, { __index = methods })
end

return support
