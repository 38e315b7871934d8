-- The scenarios of R5, run in the module that spec/faults/starve.c is linked into: each again and
-- again, with the n-th allocation of our own objects failing, until n is more than it makes.
-- Arguments: scenario, "onwards", "once" or how system calls are to fail ("EIO"), first n, stride,
-- base URL, key, picture, folder, CA file. One line of JSON for each n, then {"end": true}.

local cjson = require "cjson"
local core = require "kontext.core"
local kontext = require "kontext"
local png = require "faults.picture"
local retry = require "kontext.job.retry"
local sys = require "faults.sys"

local name, mode, first, stride = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local base, key, picture, folder, ca_file = arg[5], arg[6], arg[7], arg[8], arg[9]
local tls = base:find "^https" ~= nil

local starve = assert(package.loadlib(package.searchpath("kontext.core", package.cpath),
  "luaopen_kontext_starve"))()

-- Memory is not back sooner for waiting.
function retry.backoff() return 0.001 end
function retry.trouble_gap() return 0.001 end

local n -- the try under way
local is_starved -- memory fails; after that it is there again
local held = {} -- what it made

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

-- A BMP, which `fit` makes a PNG of whatever its size is.
local function bmp(width, height)
  local row = ("\10\20\200"):rep(width)
  row = row .. ("\0"):rep(-#row % 4)
  local pixels = row:rep(height)
  return string.pack("<c2I4I4I4 I4i4i4I2I2I4I4I4I4I4I4", "BM", 54 + #pixels, 0, 54, 40, width,
    height, 1, 24, 0, #pixels, 0, 0, 0, 0) .. pixels
end

local bytes = read(picture)
local jpeg = core.repaint { width = 48, height = 32, format = "jpeg", seed = 1, label = "x" }
local upright = "\255\225\0\30Exif\0\0MM\0*\0\0\0\8\0\1\1\18\0\3\0\0\0\1\0\6\0\0" -- turned by 90°
local turned = jpeg:sub(1, 2) .. upright .. jpeg:sub(3)
local map = bmp(20, 12)
local alpha = png.signature
  .. png.chunk("IHDR", string.pack(">I4I4BBBBB", 2, 2, 8, 6, 0, 0, 0)) -- 2 x 2, RGBA
  .. png.chunk("IDAT", png.deflate(("\0" .. ("\1\2\3\128"):rep(2)):rep(2)))
  .. png.chunk("IEND", "")

local function file_of(suffix, content)
  local path = ("%s/%s"):format(folder, suffix)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return path
end

local map_path, jpeg_path = file_of("map.bmp", map), file_of("turned.jpg", turned)
local alpha_path = file_of("alpha.png", alpha)

local function prompt() return ("%s %s %d"):format(name, mode, n) end

local function new(more)
  local options = { base_url = base, api_key = key, poll_interval = 0.001, timeout = 30,
                    ca_file = tls and ca_file or nil }
  for k, v in pairs(more or {}) do options[k] = v end
  held.client = kontext.new(options)
  return held.client
end

local function params(more)
  local all = { prompt = prompt(), input_image = picture, output_format = "png" }
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end

-- Waits for the end of a job or a batch. What is paid for is tried until its deadline, however
-- long memory is short: the host gives up sooner, and has to get something to resume it with.
local function wait(awaited, has_id)
  local since
  while not awaited:ended() do
    held.client:poll(0.01)
    if is_starved and mode == "onwards" and starve.failures() > 0 then
      since = since or core.now()
      if core.now() - since > (has_id(awaited) and 0.2 or 10) then awaited:cancel() end
    end
  end
  return awaited:wait()
end

local function wait_for(job)
  return wait(job, function() return job.id ~= nil end)
end

-- The outcome of an edit; remembers the job.
local function edit(more, options)
  held.job = new(options):edit(params(more))
  return wait_for(held.job)
end

local scenarios = {} -- name → function; what it returns first is false or nil where it failed

function scenarios.path() return edit() end
function scenarios.bytes() return edit { input_image = bytes } end
function scenarios.url() return edit { input_image = "https://example.org/car.jpg" } end
function scenarios.two() return edit { input_image_2 = { bytes = jpeg } } end
function scenarios.fit() return edit { input_image = { path = map_path }, fit = true } end
function scenarios.fit_bytes() return edit { input_image = { bytes = map }, fit = true } end
function scenarios.tls() return edit() end

function scenarios.save()
  return edit { save_as = ("%s/save-%s-%d.png"):format(folder, mode, n) }
end

function scenarios.again()
  local image, message, err = edit()
  if not image then return image, message, err end
  return image:save(("%s/again-%d.png"):format(folder, n))
end

function scenarios.webhook()
  return edit { webhook_url = "https://example.org/hook", webhook_secret = "secret of the hook" }
end

function scenarios.proxy() -- nobody is there: what is asked for must not go without it
  local image, message, err = edit(nil, { proxy = "http://127.0.0.1:1" })
  if image then return false, "an edit went past its proxy" end
  return err.code == "CURLE_COULDNT_CONNECT", message, err
end

function scenarios.journal()
  return edit({ key = "one" }, { journal = ("%s/journal-%s-%d"):format(folder, mode, n) })
end

local function batch(journal)
  local results = wait(new { journal = journal }:batch {
    params(), params { prompt = prompt() .. " b", input_image = { bytes = bytes } },
    params { prompt = prompt() .. " c", input_image = { bytes = jpeg } } },
    function(all) return all.done > 0 or starve.failures() > 1000 end)
  for _, result in ipairs(results) do
    if result.error then return nil, result.error.message, result.error end
  end
  return true
end

function scenarios.batch() return batch(("%s/batch-%s-%d"):format(folder, mode, n)) end

-- The outcome of what was to end this way, if it had not ended before.
local function stopped(kind)
  local err = held.job.error
  return held.job.status == "ready" or err.kind == kind, tostring(err), err
end

function scenarios.cancel()
  held.job = new():edit(params())
  while held.job.status ~= "pending" and not held.job:ended() do held.client:poll(0.01) end
  held.job:cancel()
  return stopped "cancelled"
end

function scenarios.close()
  held.job = new():edit(params())
  while held.job.status == "waiting" do held.client:poll(0.01) end
  held.client:close()
  return stopped "closed"
end

function scenarios.close_fit()
  held.job = new():edit(params { input_image = { path = map_path }, fit = true })
  for _ = 1, 3 do held.client:poll(0.001) end
  held.client:close()
  return stopped "closed"
end

function scenarios.resume()
  held.job = new():resume(held.token)
  return wait_for(held.job)
end

function scenarios.credits()
  held.job = new():credits()
  return wait_for(held.job)
end

function scenarios.notify()
  held.job = new():edit(params())
  while held.job.status ~= "pending" and not held.job:ended() do held.client:poll(0.01) end
  if held.job.id then held.client:notify { id = held.job.id } end
  return wait_for(held.job)
end

function scenarios.new()
  local client = new { user_agent = "starving", proxy = "http://127.0.0.1:1" }
  local refusal = client:refusal()
  if refusal then return nil, refusal.message, refusal end
  return client:pollfd()
end

scenarios.warm = scenarios.new

local webp = "RIFF\26\0\0\0WEBPVP8L\13\0\0\0\47\1\64" .. ("\0"):rep(11)
local checked = { bytes, jpeg, turned, map, alpha, webp }

local checked_paths = {}
for i, content in ipairs(checked) do checked_paths[i] = file_of("checked" .. i, content) end

function scenarios.check()
  for i, content in ipairs(checked) do
    local found, why, what = kontext.check { path = checked_paths[i] }
    if not found and (content ~= map or what.kind ~= "image") then return nil, why, what end
    local known, message, err = kontext.check { bytes = content }
    if not known and content ~= map then return nil, message, err end
  end
  return kontext.check { path = jpeg_path }
end

-- The C core's functions answer nil and a message.
local function all(...)
  for _, call in ipairs { ... } do
    local value, message = call()
    if not value then return nil, message or "nil" end
  end
  return true
end

function scenarios.thumbnail()
  local calls = {}
  for _, content in ipairs { turned, alpha, map } do
    for _, format in ipairs { "rgb", "jpeg", "png" } do
      calls[#calls + 1] = function() return core.thumbnail({ bytes = content }, 9, 7, format) end
    end
  end
  for _, path in ipairs { jpeg_path, alpha_path, map_path } do
    calls[#calls + 1] = function() return core.thumbnail({ path = path }, 60, 7, "png") end
  end
  return all(table.unpack(calls))
end

function scenarios.repaint()
  local calls = {}
  for _, content in ipairs { turned, alpha, false } do
    for _, format in ipairs { "jpeg", "png" } do
      calls[#calls + 1] = function()
        return core.repaint { bytes = content or nil, width = 40, height = 24, format = format,
                              seed = 3, label = "a label" }
      end
    end
  end
  return all(table.unpack(calls))
end

function scenarios.digest()
  return all(function() return core.md5 "x" end, function() return core.sha256 "x" end,
    function() return core.hmac_sha256("k", "x") end,
    function() return core.fingerprint(picture) end)
end

function scenarios.address()
  local parts, message = core.url("https://user@example.org:8443/a/../b?c", "https://example.net/")
  if parts and not parts.user then return nil, "the user of a URL is not seen" end
  return parts, message
end

function scenarios.file()
  return core.save(("%s/saved-%d"):format(folder, n), "bytes")
end

function scenarios.log()
  local path = ("%s/log-%s-%d"):format(folder, mode, n)
  local log, message = core.log(path)
  if not log then return nil, message end
  held.log = log
  return all(function() return log:append("one\n", true) end,
    function() return log:replace("two\n") end,
    function() return log:read(4096) end)
end

-- Pictures made to fit by the engine itself, whose thread allocates too.
function scenarios.thread()
  local message
  held.engine, message = core.engine {}
  if not held.engine then return nil, message end
  local wanted = 0
  for _, content in ipairs { turned, alpha, map } do
    for _, quality in ipairs { 0, 90 } do
      local id, why = held.engine:fit { bytes = content, width = 9, height = 7, memory = 1e8,
                                        quality = quality }
      if not id then return nil, why end
      wanted = wanted + 1
    end
  end
  local deadline = core.now() + 20
  while wanted > 0 do
    if core.now() > deadline then return nil, "TIMEOUT" end
    held.engine:wait(core.now() + 1)
    for _, event in ipairs(held.engine:step(0.01) or {}) do
      wanted = wanted - 1
      if event.kind then message = event.detail end
    end
  end
  return message == nil, message
end

local function files()
  return #assert(sys.list "/proc/self/fd")
end

-- What comes after the scenario, when memory is there again: the host goes on for a while, then
-- closes the client, and all is given back.
local function finish()
  local client = held.client
  if client and not client:is_closed() then
    for _ = 1, 10 do
      if not pcall(client.poll, client, 0.0005) then break end
    end
    client:close()
  end
  if held.engine then held.engine:close() end
  if held.log then held.log:close() end
  held = { token = held.token }
  collectgarbage()
  collectgarbage()
end

local function once(fails)
  local outcome = { n = n, prompt = prompt() }
  starve.begin(fails and n or math.maxinteger >> 1, mode == "onwards",
    mode:match "^%u+$" or mode:match "short")
  is_starved = true
  local fine, value, message, err = pcall(scenarios[name])
  is_starved = false
  outcome.calls, outcome.failed = starve.stop()
  outcome.well = fine and value and true or false
  if not fine then
    outcome.raised = tostring(value)
  elseif not value then
    outcome.message = tostring(message)
    if type(err) == "table" then
      outcome.kind, outcome.retryable, outcome.code = err.kind, err.retryable, err.code
      outcome.recoverable = err.kind == "ambiguous" or err.job_id ~= nil
    end
  end
  finish()
  return outcome
end

-- The next run over the same journal: it must not pay again.
local after = {}

function after.journal()
  local path = ("%s/journal-%s-%d"):format(folder, mode, n)
  local results = new { journal = path }:batch({ params { key = "one" } }):wait()
  finish()
  return results[1].error and results[1].error.kind or "saved"
end

function after.batch()
  local fine, message, err = batch(("%s/batch-%s-%d"):format(folder, mode, n))
  finish()
  return fine and "saved" or err and err.kind or message
end

if name == "resume" then -- a token, made while there is memory
  n = 0
  held.job = new():edit(params())
  assert(held.job:wait())
  held.token = assert(held.job:token())
  held.client:close()
end

-- What is made once for the process, by every way there is, is no leak.
n = -1
once(false)
n = -2
once(false)
sys.sleep(0.05)
local blocks, open = starve.held(), files()

n = first
repeat
  local outcome = once(true)
  for _ = 1, 500 do -- a thread may be at work still
    if starve.held() == blocks then break end
    sys.sleep(0.01)
  end
  outcome.leaked, outcome.files = starve.held() - blocks, files() - open
  if after[name] then outcome.after = after[name]() end
  io.stdout:write(cjson.encode(outcome), "\n"):flush()
  n = n + stride
until outcome.failed == 0
io.stdout:write '{"end":true}\n'
