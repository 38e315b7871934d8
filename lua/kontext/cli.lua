--- The `kontext` command: the module's public interface for a shell.
local edits = require "kontext.cli.edits"
local kontext = require "kontext"
local parser = require "kontext.cli.parser"
local report = require "kontext.cli.report"

local cli = { codes = report.codes }

-- Each takes the options of its command and returns the exit code.
local commands = { edit = edits.edit, batch = edits.batch, resume = edits.resume }

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
        report.say(("%s: %s, %d x %d (%.1f MP), %.2f MB; an edit will be %d x %d"):format(name,
          info.format, info.width, info.height, info.megapixels, info.bytes / 1e6,
          info.output_width, info.output_height))
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
  local credits, err = edits.wait(options, edits.client(options):credits())
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

--- Runs a command line.
---@param arguments string[]
---@return integer code see `cli.codes`
function cli.main(arguments)
  local understood, options = parser.new():pparse(arguments)
  if not understood then
    report.warn(options:gsub("%s*\n%s*", "; ") .. " (kontext --help tells more)")
    return report.usage
  end
  options.progress = not options.json and report.watched()
  local done, code = pcall(commands[options.command], options)
  return done and code or report.fail(options, report.raised(code))
end

return cli
