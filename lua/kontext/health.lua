-- :checkhealth kontext
local health = {}

-- Neovim before 0.10 has other names, and 0.7 another place.
local report = vim.health or require "health"
local start = report.start or report.report_start
local ok = report.ok or report.report_ok
local warn = report.warn or report.report_warn
local bad = report.error or report.report_error

local function check_module()
  start "kontext: the module"
  local jit = rawget(_G, "jit")
  ok(("Neovim's Lua: %s"):format(jit and jit.version or _VERSION))
  local found, problem = pcall(require, "kontext.core")
  if found then return ok "core.so loads" end
  bad("core.so does not load: " .. problem, { "make nvim, in kontext's folder" })
  return false
end

local function check_versions(info)
  ok("libcurl " .. info.libcurl)
  if info.resolver == "asynchronous" then
    ok "libcurl's resolver is asynchronous"
  else
    warn("libcurl's resolver blocks: Neovim stands still while a name is looked up", {
      "install a libcurl built with c-ares or the threaded resolver" })
  end
  if info.tls then ok("TLS: " .. info.tls) else bad "libcurl has no TLS" end
  if info.json then ok("JSON: " .. info.json) else bad "no JSON: install lua-cjson" end
end

local function check_service()
  start "kontext: the service"
  local client = require("kontext.nvim").client()
  local credits, message, err = client:credits():wait(10)
  if credits then
    ok(("%s answers: the key has %s credits"):format(tostring(client):match "%S+$", credits))
  elseif err.kind == "auth" then
    bad(message, { "set BFL_API_KEY, or api_key in setup's client options" })
  else
    bad(message)
  end
end

--- What :checkhealth kontext calls.
function health.check()
  if check_module() == false then return end
  check_versions(require("kontext").info())
  check_service()
end

return health
