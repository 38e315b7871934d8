--- The `kontext` command: the module's public interface for a shell.
local core = require "kontext.core"
local kontext = require "kontext"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local service = require "kontext.cli.service"

local cli = { codes = report.codes }

-- Each takes the options of its command and returns the exit code.
local commands = {}

-- The commands with a module of their own, which has a function `run`.
for _, name in ipairs { "edit", "batch", "resume", "jobs", "models", "show", "doctor", "queue",
  "enqueue", "worker", "status", "requeue", "webhook" } do
  commands[name] = function(options) return require("kontext.cli." .. name).run(options) end
end
commands.erase, commands.outpaint = commands.edit, commands.edit

function commands.check(options)
  local code = 0
  for _, name in ipairs(options.files) do
    local info, _, err = kontext.check { path = name }
    if not info then
      local each = report.fail(options, err)
      code = code == 0 and each or code
    else
      info.path = name
      info.output_width, info.output_height = kontext.output_size { path = name }
      if options.json then
        report.say_json(info,
          "path format width height megapixels bytes orientation output_width output_height")
      else
        report.say(("%s: %s, %d x %d (%.1f MP), %.2f MB; an edit will be %d x %d"):format(
          screen.escape(name), info.format, info.width, info.height, info.megapixels,
          info.bytes / 1e6, info.output_width, info.output_height))
      end
    end
  end
  return code
end

function commands.size(options)
  local wide, high = options.of:match "^([1-9]%d*)x([1-9]%d*)$"
  local of = tonumber(wide) or options.of:find "^[%d.]+:[%d.]+$" and options.of
    or { path = options.of }
  local width, height, err = kontext.output_size(of, tonumber(high))
  if not width then return report.fail(options, err) end
  if options.json then
    report.say_json({ width = width, height = height }, "width height")
  else
    report.say(("%dx%d"):format(width, height))
  end
  return 0
end

function commands.credits(options)
  local credits, err = service.wait(service.client(options):credits())
  if not credits then return report.fail(options, err) end
  if options.json then
    report.say_json({ credits = credits }, "credits")
  else
    report.say(("%.14g"):format(credits))
  end
  return 0
end

function commands.emulator(options)
  local done, message = kontext.emulator.serve {
    port = options.port, host = options.host, tls = options.tls, seed = options.seed,
    ready_after = options.ready_after, max_active = options.max_active,
    link_life = options.link_life,
  }
  return done and 0 or report.fail(options, { kind = "network", message = message })
end

function commands.help(options)
  return require("kontext.cli.help").run(options)
end

-- Returns a hint to add to the parser's complaint, or "".
local function hint(arguments, message)
  local option = message:match "^unknown option '(%-[^']*)'"
  if not option then return "" end
  for i, word in ipairs(arguments) do
    if word:find "^%-[%d.]+$" and (arguments[i - 1] or ""):find "^%-%-[^=]+$" then
      return (": a value that begins with a hyphen follows an equals sign: %s=%s")
        :format(arguments[i - 1], word)
    elseif word:sub(1, #option) == option and word:find "^%-[^-]" and #word > 2 then
      return (": a prompt that begins with a hyphen stands behind --, such as kontext edit car.jpg "
        .. "-- '%s'"):format(word)
    end
  end
  return ""
end

--- Runs a command line.
---@param arguments string[]
---@return integer code see `cli.codes`
function cli.main(arguments)
  core.hold_streams()
  local found = pcall(require, "argparse")
  if not found then
    report.warn("the command reads its options with argparse, which this Lua does not find: apt "
      .. "install lua-argparse, or luarocks install argparse")
    return report.code { kind = "internal" }
  end
  local understood, options = require("kontext.cli.parser").new():pparse(arguments)
  if not understood then
    local complaint, more = options:gsub("%s*\n%s*", "; "), hint(arguments, options)
    if more ~= "" then complaint = complaint:match "^[^;]*" end
    report.warn(complaint .. more .. " (kontext --help tells more)")
    return report.usage
  end
  options.progress = not options.json and not options.quiet and screen.is_live()
  local done, code = pcall(commands[options.command], options)
  screen.wipe()
  if done then return code end
  local told, failed = pcall(report.fail, options, report.raised(code))
  return told and failed or report.code(report.raised(failed))
end

return cli
