--- What a client's jobs ask of the engine: uploads, polls, downloads. The key is known here only,
--- and goes with a request where the origin may see it.
local api = require "kontext.api"
local core = require "kontext.core"
local origin = require "kontext.client.origin"
local version = require "kontext.version"

local transport = {}

-- client → key: in no table that a program may print.
local keys = setmetatable({}, { __mode = "k" })

local picture_cap = 64 * 1024 * 1024 -- bytes of a download; a picture of 1 MP has 1 to 3 MB

-- Makes the engine; without one no job can begin.
function transport:_open_engine(options)
  local message, code
  keys[self] = options.api_key
  self._engine, message, code = core.engine {
    connect_timeout = options.connect_timeout or 10,
    stall_timeout = options.stall_timeout or 30,
    user_agent = options.user_agent or "kontext-lua/" .. version,
    proxy = options.proxy,
    ca_file = options.ca_file,
    tls = self._base.scheme == "https",
  }
  if not self._engine then
    self:_break { kind = "internal", code = code, message = "the client cannot begin: " .. message }
  end
end

-- Returns the key, or nil and what to do. An emulator takes any, so on loopback one is made up.
function transport:_key()
  local key = keys[self] or os.getenv "BFL_API_KEY"
  key = key and key:match("^%s*(.-)%s*$")
  if (not key or key == "") and self._base.loopback then return "emulator" end
  if not key or key == "" then
    return nil, "there is no API key: set BFL_API_KEY, or pass api_key to kontext.new"
  elseif key:find("[^\33-\126]") then
    return nil, "the API key has characters that no key has: copy it again"
  end
  keys[self] = key
  return key
end

-- Job: what an error of it must not show.
function transport:_secrets(of)
  local secrets = {}
  for _, secret in pairs { keys[self] or false, of._params.webhook_secret or false } do
    if secret and secret ~= "" then secrets[#secrets + 1] = secret end
  end
  table.sort(secrets, function(a, b) return #a > #b end) -- one may be a part of the other
  return secrets
end

-- Job: the URL that the task is polled at; its origin is looked up once, for all polls.
function transport:_polling_url(of, url, id)
  of._poll_origin = origin.read(url, self._plain)
  if of._poll_origin then
    of._poll_url = url
    return url
  end
  return self._base_url .. api.result_path .. "?id=" .. id:gsub("[^%w%-%._~]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
end

-- Job: where the credits are asked for.
function transport:_credits_url()
  return self._base_url .. api.credits_path
end

-- Job: sends its body. Returns true, or nil, message and code.
function transport:_upload(of, pieces)
  local id, message, code = self._engine:edit {
    url = self._base_url .. api.endpoints[of._params.model],
    headers = { "accept: application/json", "Content-Type: application/json",
      "x-key: " .. self:_key(),
      "Expect:" }, -- libcurl would wait a second for a server that ignores it
    pieces = pieces,
    mark = self._journal and self._journal:mark(of) or nil,
    deadline = of._deadline,
    plain = self._plain,
    direct = self._base.loopback and not self._proxy,
  }
  if not id then return nil, message, code end
  self._transfers[id], of._transfer, self._began = of, id, true
  return true
end

-- Job: gets a URL, into memory under a small cap, or with `picture` = {continue=, path=} a picture.
-- `base` is what a redirect came from. Returns the id and the whole URL; or nil, what is wrong with
-- the URL; or nil, message, code when the file cannot be begun.
function transport:_fetch(of, url, base, picture)
  local target, message = of._poll_origin, nil
  if base or url ~= of._poll_url then
    target, message = origin.read(url, self._plain, base or nil)
  end
  if not target then return nil, message end
  local headers
  if not picture then
    headers = { "accept: application/json" }
    if not base and origin.sees_key(target, self._base) then
      headers[2] = "x-key: " .. self:_key()
    end
  end
  local id, wrong, code = self._engine:fetch {
    url = target.url,
    headers = headers,
    deadline = of._deadline,
    plain = self._plain,
    direct = target.loopback and not self._proxy,
    cap = picture and picture_cap or api.limits.answer,
    hold = picture ~= nil,
    digest = picture ~= nil and self._journal ~= nil,
    path = picture and picture.path,
    continue = picture and picture.continue,
  }
  if not id then return nil, wrong, code end
  self._transfers[id], of._transfer, self._began = of, id, true
  return id, target.url
end

-- Job: makes a picture fit. Returns true, or nil, message and code.
function transport:_make_fit(of, source, plan)
  local id, message, code = self._engine:fit {
    path = source.path, bytes = source.bytes, stamp = source.stamp, width = plan.width,
    height = plan.height, quality = plan.quality, memory = plan.memory,
  }
  if not id then return nil, message, code end
  self._transfers[id], of._transfer, self._began = of, id, true
  return true
end

-- Job: core.check of a picture that has arrived.
function transport:_check_download(id)
  return self._engine:check(id)
end

-- Job: the bytes of a picture that has arrived, or true once they are a file in its place.
function transport:_finish_download(id)
  return self._engine:finish(id)
end

function transport:_drop_download(id)
  self._engine:cancel(id)
end

-- Ends the transfer of a job.
function transport:_cancel_transfer(of)
  local id = of._transfer
  of._transfer = nil
  self._transfers[id] = nil
  if self._engine then self._engine:cancel(id) end
end

-- Job: whether every byte of the upload under way may have gone out.
function transport:_may_have_sent(of)
  if not self._engine or not of._transfer then return true end
  local sent, total = self._engine:progress(of._transfer)
  return sent ~= nil and sent >= total
end

-- Hands every transfer that has ended to its job.
function transport:_deliver(events)
  for _, event in ipairs(events) do
    local of = self._transfers[event.id]
    self._transfers[event.id] = nil
    if of then
      of._transfer = nil
      of[of._receive](of, event)
    elseif self._engine then
      self._engine:cancel(event.id)
    end
  end
end

-- Shows how far the transfers are.
function transport:_show_progress()
  for id, of in pairs(self._transfers) do
    local sent, total, received = self._engine:progress(id)
    if sent and of.status == "uploading" and sent ~= of.sent then
      of.sent, of.total = sent, total
      self:_changed(of)
    elseif sent and of.status == "downloading" and received ~= of.received then
      of.received, of.total = received, total > 0 and total or nil
      self:_changed(of)
    end
  end
end

return transport
