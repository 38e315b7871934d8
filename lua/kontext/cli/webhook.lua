--- kontext webhook --listen: receives the service's webhooks and wakes the worker whose task has
--- ended. Put it behind a proxy that speaks TLS.
local claims = require "kontext.journal.claims"
local core = require "kontext.core"
local queue = require "kontext.cli.queue"
local report = require "kontext.cli.report"
local service = require "kontext.cli.service"
local webhook = require "kontext.webhook"

local receiver = {}

local longest_body = 64 * 1024 -- bytes: the service's have some hundred
local patience = 10 -- seconds for a request to come whole
local glance = 0.2 -- seconds between two looks at signals

-- Returns the secret that the edits have as webhook_secret.
local function secret_of(options)
  local secret = os.getenv "KONTEXT_WEBHOOK_SECRET"
  if options.secret_file then
    local text, message, code = core.read(options.secret_file)
    if not text then
      error({ kind = "file", code = code, message = "cannot read the secret: " .. message }, 0)
    end
    secret = text:sub(1, 4096):match "^%s*([^\r\n]*)":match "^(.-)%s*$"
  end
  if not secret or secret == "" then
    error({ kind = "invalid", charged = false, message = "there is no secret: pass --secret-file, "
      .. "or set KONTEXT_WEBHOOK_SECRET, to what the edits have as webhook_secret" }, 0)
  end
  return secret
end

-- Returns the status that answers a request: only what bears the secret reaches the database.
local function status_of(db, secret, got, body)
  if got:get ":method" ~= "POST" then return "405" end
  if not body then return "413" end
  local event = webhook.verify(got, body, secret)
  if not event then return "403" end
  local known = claims.wake(db, event.id)
  if known == nil then return "503" end -- the service sends it again
  return "204"
end

-- Answers one request.
local function answer(db, secret, stream, headers)
  local got = stream:get_headers(patience)
  if not got then return end
  local parts, size, stop = {}, 0, core.now() + patience
  repeat
    local chunk = stream:get_next_chunk(math.max(0, stop - core.now()))
    parts[#parts + 1], size = chunk, size + #(chunk or "")
  until not chunk or size > longest_body
  local reply = headers.new()
  reply:append(":status", status_of(db, secret, got, size <= longest_body and table.concat(parts)))
  stream:write_headers(reply, true, patience)
end

local function begin(options)
  local host, port = options.listen:match "^(.-):?(%d+)$"
  port = tonumber(port)
  if not port or port > 65535 then
    error({ kind = "invalid", charged = false, message = ("--listen takes [HOST:]PORT, not '%s'")
      :format(options.listen) }, 0)
  end
  local secret, db = secret_of(options), queue.connect(options)
  local need = require "kontext.emulator.need"
  local cqueues, headers = need "cqueues", need "http.headers"
  local loop = cqueues.new()
  local server = assert(need "http.server".listen { cq = loop, reuseaddr = true, port = port,
    host = host ~= "" and host or "127.0.0.1", tls = false, connection_setup_timeout = patience,
    intra_stream_timeout = patience,
    onstream = function(_, stream) answer(db, secret, stream, headers) end,
    onerror = function() end })
  local listening, why = server:listen(patience)
  if not listening then
    error({ kind = "network", charged = false, message = ("cannot listen on %s: %s"):format(
      options.listen, tostring(why)) }, 0)
  end
  local _, address, number = server:localname()
  report.say(("http://%s:%d"):format(address, number))
  while true do
    loop:step(glance)
    service.heed_signals()
  end
end

--- kontext webhook
---@param options table
---@return integer code
function receiver.run(options)
  core.watch_signals()
  local done, code = pcall(begin, options)
  if done then return code end
  local err = report.raised(code)
  if err.signal then return 0 end -- how it ends
  return report.fail(options, err)
end

return receiver
