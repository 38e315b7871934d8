-- luasocket.lua URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL: as its manual shows: tables and strings.
local http = require "socket.http"
local ltn12 = require "ltn12"
local mime = require "mime"
local sleep = require("socket").sleep
local cjson = require "cjson"

local url, picture, edits, _, interval = (unpack or table.unpack)(arg)

local function request(target, body)
  local chunks = {}
  assert(http.request { url = target, method = body and "POST" or "GET",
    sink = ltn12.sink.table(chunks),
    source = body and ltn12.source.string(body),
    headers = { ["x-key"] = "bench", ["Content-Type"] = body and "application/json",
      ["Content-Length"] = body and #body } })
  return table.concat(chunks)
end

for _ = 1, tonumber(edits) do
  local file = assert(io.open(picture, "rb"))
  local body = cjson.encode { prompt = "bench", input_image = (mime.b64(file:read "*a")) }
  file:close()
  local task = cjson.decode(request(url .. "/v1/flux-kontext-pro", body))
  local answer
  repeat
    sleep(tonumber(interval))
    answer = cjson.decode(request(task.polling_url))
  until answer.status == "Ready"
  assert(#request(answer.result.sample) > 0)
end
