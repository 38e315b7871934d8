--- What is the same for every model of BFL's API: addresses, statuses and limits, as data. What
--- belongs to one model stands in kontext.models.
local geometry = require "kontext.geometry"
local models = require "kontext.models"

local api = {}

--- The service's bases; a client's `region` names one.
api.bases = {
  ["global"] = "https://api.bfl.ai", -- a reserved word since Lua 5.5
  eu = "https://api.eu.bfl.ai",
  us = "https://api.us.bfl.ai",
}

--- Where an edit is sent, by model, short names included.
api.endpoints = setmetatable({}, { __index = function(_, name)
  local row = models.find(name)
  return row and row.path
end })
api.default_model = models.default
api.result_path = "/v1/get_result" -- + ?id=ID, for an answer without a polling URL
api.credits_path = "/v1/credits"

--- Hosts that are the service's own: these and what ends in "." .. one of them may see the key.
api.key_domain = "bfl.ai"

api.limits = {
  answer = 524288, -- bytes of JSON: lua-cjson ends the process when malloc fails
  id = 256, -- characters of a task's id
  retry_after = { min = 0.5, max = 60 }, -- seconds
  lag = 10, -- seconds after the submit in which "Task not found" may be a replica that lags
  link = 8192, -- characters of a URL that the service gives
  hops = 5, -- redirects of a poll or a download
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

--- Kontext's 17 sizes, and what is computed from them.
api.sizes = geometry.sizes
api.output_size = geometry.nearest
api.parse_ratio = geometry.parse_ratio

return api
