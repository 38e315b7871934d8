--- What BFL's FLUX.1 Kontext API is: names, limits, statuses and sizes, as data.
local api = {}

--- The service's bases; a client's `region` names one.
api.bases = {
  ["global"] = "https://api.bfl.ai", -- a reserved word since Lua 5.5
  eu = "https://api.eu.bfl.ai",
  us = "https://api.us.bfl.ai",
}

--- Where an edit is sent, by model.
api.endpoints = {
  ["flux-kontext-pro"] = "/v1/flux-kontext-pro",
  ["flux-kontext-max"] = "/v1/flux-kontext-max",
}
api.default_model = "flux-kontext-pro"
api.result_path = "/v1/get_result" -- + ?id=ID, for an answer without a polling URL
api.credits_path = "/v1/credits"

--- Hosts that are the service's own: these and what ends in "." .. one of them may see the key.
api.key_domain = "bfl.ai"

api.limits = {
  image_bytes = 20e6, -- of the file, before base64
  image_pixels = 20e6,
  prompt_tokens = 512, -- the service's tokenizer is not ours to run:
  prompt_bytes = 16384, -- what cannot be 512 tokens in any language
  webhook_url = 2083, -- characters
  active = { ["flux-kontext-pro"] = 24, ["flux-kontext-max"] = 6 }, -- tasks at once
  answer = 262144, -- bytes of JSON: lua-cjson ends the process when malloc fails
  id = 256, -- characters of a task's id
  retry_after = { min = 0.5, max = 60 }, -- seconds
  link_life = 600, -- seconds that a signed link lives after Ready
  lag = 10, -- seconds after the submit in which "Task not found" may be a replica that lags
  link = 8192, -- characters of a URL that the service gives
  hops = 5, -- redirects of a poll or a download
  aspect = { min = 3 / 7, max = 7 / 3 },
  safety_tolerance = { with_image = 2, without = 6 },
}

--- How a poll's `status` is read; one that is not here is still in progress.
api.statuses = {
  ["Pending"] = { class = "progress" },
  ["Reasoning"] = { class = "progress" },
  ["Generating"] = { class = "progress" },
  ["Ready"] = { class = "ready" },
  ["Request Moderated"] = { class = "moderated", stage = "request" },
  ["Content Moderated"] = { class = "moderated", stage = "content" },
  ["Error"] = { class = "failed" },
  ["Failed"] = { class = "failed" },
  ["Task not found"] = { class = "missing" },
}

--- The error kind of a submit's final HTTP status.
local submit_kinds = {
  [400] = "invalid",
  [401] = "auth",
  [402] = "credits",
  [403] = "auth", -- the service's own answer to a bad key
  [404] = "not_found",
  [413] = "invalid",
  [422] = "invalid",
  [429] = "rate_limited",
}

--- Names the error of a submit that was answered with an HTTP status other than 200.
---@param status integer the HTTP status
---@return string kind
function api.submit_kind(status)
  return submit_kinds[status] or "http"
end

--- The picture formats that the service documents, and webp, which the same model takes elsewhere.
api.input_formats = { jpeg = true, png = true, webp = true }

--- The output formats, and the one that is sent when none is asked for.
api.output_formats = { jpeg = true, png = true }
api.default_output_format = "jpeg"

--- A file name's extension → its format; false for a picture's that the service does not make.
api.extensions = {
  jpg = "jpeg", jpeg = "jpeg", jpe = "jpeg", jfif = "jpeg", png = "png",
  webp = false, gif = false, tif = false, tiff = false, bmp = false, heic = false, avif = false,
}

--- The 17 sizes of an output: { width, height }, from the tallest to the widest.
api.sizes = {
  { 672, 1568 }, { 688, 1504 }, { 720, 1456 }, { 752, 1392 }, { 800, 1328 }, { 832, 1248 },
  { 880, 1184 }, { 944, 1104 }, { 1024, 1024 }, { 1104, 944 }, { 1184, 880 }, { 1248, 832 },
  { 1328, 800 }, { 1392, 752 }, { 1456, 720 }, { 1504, 688 }, { 1568, 672 },
}

--- Tells the size of the answer for an input of `width` by `height`, or any pair in that ratio.
---@param width number
---@param height number
---@return integer width
---@return integer height
function api.output_size(width, height)
  local wanted, best, nearest = width / height, nil, math.huge
  for _, size in ipairs(api.sizes) do
    local distance = math.abs(size[1] / size[2] - wanted)
    if distance < nearest then best, nearest = size, distance end
  end
  return best[1], best[2]
end

-- Reads a decimal number; before Lua 5.3 tonumber takes only the locale's own point.
local function decimal(text)
  local whole, fraction = (text or ""):match "^(%d+)%.?(%d*)$"
  return whole and tonumber(whole .. fraction) / 10 ^ #fraction
end

--- Reads an aspect ratio such as "16:9" or "2.39:1".
---@param text string
---@return number? ratio width / height, or nil where it is no ratio from 3:7 to 7:3
function api.parse_ratio(text)
  if #text > 32 then return nil end
  local width, height = text:match("^(%d+%.?%d*):(%d+%.?%d*)$")
  width, height = decimal(width), decimal(height)
  -- Multiplied, not divided: 3:7 and 9:21 are inside to the last bit.
  if not width or not height or height == 0 or width * 7 < height * 3 or width * 3 > height * 7 then
    return nil
  end
  return width / height
end

return api
