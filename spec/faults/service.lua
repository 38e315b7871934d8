-- The image-editing service, small and strict, as a script for the scripted server: it answers the
-- same bytes each time, so that a campaign can spoil each of them. What it was asked for, and what
-- was paid for, stands in the server's ledger.

local canary = require "faults.canary"
local digest = require "openssl.digest"
local picture = require "faults.picture"

local service = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  return (bytes:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    local out = ""
    for i = 0, 3 do
      local at = (n >> (18 - 6 * i) & 63) + 1
      out = out .. (i <= #group and ALPHABET:sub(at, at) or "=")
    end
    return out
  end))
end

--- The picture that every edit ends in, and its MD5 as Content-MD5 has it.
service.result = picture.png(32, 24)
service.result_md5 = base64(digest.new("md5"):final(service.result))

local JSON = "Content-Type: application/json"

--- The answers, each a function of (state, id or request) → status, headers, body. A campaign
--- replaces single ones through `options.answers`.
service.answers = {
  submit = function(state, id)
    return "200 OK", { JSON }, ('{"id":"%s","polling_url":"%s/v1/get_result?id=%s&sig=%s",'
      .. '"cost":4.0,"input_mp":0.01,"output_mp":1.05}'):format(id, state.base, id, canary.poll)
  end,
  poll = function(state, id)
    return "200 OK", { JSON, "Retry-After: 1", "X-Ratelimit-Limit: 1200" },
      ('{"id":"%s","status":"Ready","result":{"sample":"%s/sample/%s.png?se=2099-01-01T00%%3A00'
        .. '%%3A00Z&sig=%s","prompt":"p","seed":7},"progress":null,"details":null,"preview":null}')
      :format(id, state.base, id, state.signature)
  end,
  sample = function()
    return "200 OK", { "Content-Type: image/png", "Content-MD5: " .. service.result_md5,
                       'ETag: "0x1"', "Accept-Ranges: bytes" }, service.result
  end,
  credits = function() return "200 OK", { JSON }, '{"credits":1000.5}' end,
  missing = function() return "404 Not Found", { JSON }, '{"detail":"Not Found"}' end,
}

--- Which answer a request is for, and its id.
function service.route(entry)
  local path, query = (entry.target or ""):match "^([^?]*)%??(.*)$"
  if entry.method == "POST" and path:find "^/v1/flux%-kontext%-%l+$" then return "submit" end
  if entry.method ~= "GET" then return "missing" end
  if path == "/v1/get_result" then return "poll", query:match "id=([%w-]+)" end
  if path == "/v1/credits" then return "credits" end
  local id = path:match "^/sample/([%w-]+)%.png$"
  if id then return "sample", id end
  return "missing"
end

-- The part of a whole answer that a Range header asks for.
local function part(entry, status, headers, body)
  local first = tonumber((entry.headers.range or ""):match "^bytes=(%d+)%-$")
  if not first or status ~= "200 OK" or first >= #body then return status, headers, body end
  local some = { ("Content-Range: bytes %d-%d/%d"):format(first, #body - 1, #body) }
  for _, line in ipairs(headers) do
    if not line:find "^Content%-MD5" then some[#some + 1] = line end
  end
  return "206 Partial Content", some, body:sub(first + 1)
end

--- A script. options: `base` (what the URLs start with; may be set later in the table that is
--- returned second), `answers` (replacements by name), `keep` (connections are kept open after
--- submits, polls and downloads too), `spoil(conn, entry, route, bytes)` (sends an answer's bytes
--- itself and returns true; false ends the connection), `pace` (as Conn:request has it).
function service.script(options)
  options = options or {}
  local state = { base = options.base, signature = canary.signature, jobs = 0, ids = {} }
  local answers = setmetatable(options.answers or {}, { __index = service.answers })
  return function(conn)
    while true do
      local entry = conn:request(options.timeout, options.pace)
      if not entry or not entry.method or not entry.complete then return end
      local route, id = service.route(entry)
      entry.route, entry.id = route, id
      if route == "submit" then
        state.jobs = state.jobs + 1
        id = ("00000000-0000-4000-8000-%012d"):format(state.jobs)
        entry.id, state.ids[id] = id, entry
      end
      local status, headers, body = answers[route](state, id, entry)
      if route == "sample" then status, headers, body = part(entry, status, headers, body) end
      local keep = options.keep or route == "credits"
      if not keep then headers[#headers + 1] = "Connection: close" end
      headers[#headers + 1] = "Content-Length: " .. #body
      local bytes = ("HTTP/1.1 %s\r\n%s\r\n\r\n%s"):format(status,
        table.concat(headers, "\r\n"), body)
      if options.spoil then
        local done = options.spoil(conn, entry, route, bytes)
        if done == false then return end
        if not done then conn:send(bytes) end
      else
        conn:send(bytes)
      end
      if not keep then return conn:finish() end
    end
  end, state
end

return service
