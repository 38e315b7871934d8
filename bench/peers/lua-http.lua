-- lua-http.lua URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL: in coroutines of cqueues.
local cqueues = require "cqueues"
local request = require "http.request"
local basexx = require "basexx"
local mime_ok, mime = pcall(require, "mime")
local cjson = require "cjson"

local url, picture, edits, in_flight, interval = (unpack or table.unpack)(arg)
local coded = mime_ok and mime.b64 or basexx.to_base64 -- basexx takes seconds for a MB

local function fetch(target, body)
  local one = request.new_from_uri(target)
  one.headers:upsert("x-key", "bench")
  if body then
    one.headers:upsert(":method", "POST")
    one.headers:upsert("content-type", "application/json")
    one:set_body(body)
  end
  local _, stream = assert(one:go(600))
  return assert(stream:get_body_as_string())
end

local function edit()
  local file = assert(io.open(picture, "rb"))
  local body = cjson.encode { prompt = "bench", input_image = (coded(file:read "*a")) }
  file:close()
  local task = cjson.decode(fetch(url .. "/v1/flux-kontext-pro", body))
  local answer
  repeat
    cqueues.sleep(tonumber(interval))
    answer = cjson.decode(fetch(task.polling_url))
  until answer.status == "Ready"
  assert(#fetch(answer.result.sample) > 0)
end

local loop, left = cqueues.new(), tonumber(edits)
for _ = 1, math.min(left, tonumber(in_flight)) do
  loop:wrap(function()
    while left > 0 do
      left = left - 1
      edit()
    end
  end)
end
assert(loop:loop())
