-- lua-curl.lua URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL: Debian's lua-curl, under Lua 5.1.
local curl = require "curl"
local mime = require "mime"
local sleep = require("socket").sleep
local cjson = require "cjson"

local url, picture, edits, _, interval = unpack(arg)
local easy = curl.easy_init()

local function request(target, body)
  local chunks = {}
  easy:setopt(curl.OPT_URL, target)
  easy:setopt(curl.OPT_HTTPHEADER, { "x-key: bench", "Content-Type: application/json", "Expect:" })
  if body then
    easy:setopt(curl.OPT_POST, 1)
    easy:setopt(curl.OPT_POSTFIELDS, body)
  else
    easy:setopt(curl.OPT_HTTPGET, 1)
  end
  easy:setopt(curl.OPT_WRITEFUNCTION, function(piece)
    chunks[#chunks + 1] = piece
    return #piece
  end)
  assert(easy:perform())
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
