--- The options of kontext.new: their names, types and defaults.
local api = require "kontext.api"
local loop = require "kontext.loop"
local models = require "kontext.models"
local origin = require "kontext.client.origin"
local params = require "kontext.job.params"
local version = require "kontext.version"

local options = {}

-- Returns an environment variable that is set to something.
local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

local types = {
  api_key = "string", base_url = "string", region = "string", model = "string",
  ca_file = "string", proxy = "string", user_agent = "string", journal = "string",
  timeout = "number", connect_timeout = "number", stall_timeout = "number",
  max_active = "number", poll_interval = "number", budget = "number",
  loop = "string or function", on_event = "function",
}

-- Returns what is misused, or nil.
local function misuse(given)
  if type(given) ~= "table" then return "options must be a table, not " .. type(given) end
  for name, value in pairs(given) do
    if not types[name] then return params.unknown(name, types) end
    if not types[name]:find(type(value), 1, true) then
      return ("%s must be a %s, not %s"):format(name, types[name], type(value))
    elseif type(value) == "number" and not (value > 0 and value < math.huge) then
      return ("%s must be a number above 0"):format(name)
    end
  end
  if given.region and not api.bases[given.region] then
    return ('region must be "eu" or "us", not %q'):format(given.region)
  elseif given.model and not models.find(given.model) then
    return "model " .. params.no_such_model(given.model)
  elseif type(given.loop) == "string" and not loop.is_known(given.loop) then
    return ('loop must be a function, "yield" or the name of a loop such as "uv", not %q'):format(
      given.loop)
  end
  if given.user_agent and given.user_agent:find "%c" then
    return "user_agent must not contain control characters"
  end
  local base, message = origin.read(given.base_url or api.bases["global"], true)
  if not base then return "base_url " .. message end
end

--- Checks options and fills in the defaults. Misuse raises.
---@param given table?
---@param level integer as for `error`: 1 blames the caller
---@return table options a new table
function options.check(given, level)
  given = given or {}
  local wrong = misuse(given)
  if wrong then error(wrong, level + 1) end
  return {
    api_key = given.api_key,
    base_url = given.base_url or given.region and api.bases[given.region]
      or environment "BFL_BASE_URL" or api.bases["global"],
    model = models.find(given.model or models.default).name,
    timeout = given.timeout or 300,
    connect_timeout = given.connect_timeout or 10,
    stall_timeout = given.stall_timeout or 30,
    max_active = given.max_active,
    poll_interval = given.poll_interval,
    ca_file = given.ca_file or environment "CURL_CA_BUNDLE" or environment "SSL_CERT_FILE",
    proxy = given.proxy,
    user_agent = given.user_agent or "kontext-lua/" .. version,
    loop = given.loop,
    journal = given.journal,
    budget = given.budget,
    on_event = given.on_event,
  }
end

return options
