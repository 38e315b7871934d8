--- kontext help: the parser's help, the man page and the shells' completions, all made from the
--- parser.
local parser = require "kontext.cli.parser"
local report = require "kontext.cli.report"
local version = require "kontext.version"

local help = {}

-- Returns a property of a parser's element; argparse has no public way to ask for it.
local function get(element, name)
  return element["_" .. name]
end

-- Escapes a text for troff.
local function troff(text)
  return (text:gsub("\\", "\\e"):gsub("-", "\\-"):gsub("\n%.", "\n\\&."):gsub("^%.", "\\&.")
    :gsub("\n'", "\n\\&'"):gsub("^'", "\\&'"):gsub("…", "..."))
end

-- Returns the lines of a paragraph that troff must not fill.
local function verbatim(text)
  return ".nf\n" .. troff(text) .. "\n.fi"
end

-- Adds the name and the description of an argument or option.
local function add_element(lines, label, description)
  lines[#lines + 1] = ".TP\n.B " .. troff(label)
  lines[#lines + 1] = troff(description or "")
end

-- Adds the arguments and options of a parser.
local function add_elements(lines, from)
  for _, argument in ipairs(get(from, "arguments")) do
    add_element(lines, get(argument, "name"), get(argument, "description"))
  end
  for _, option in ipairs(get(from, "options")) do
    local word = get(option, "argname")
    if type(word) ~= "string" then word = "<" .. get(option, "name"):gsub("^%-+", "") .. ">" end
    local takes = get(option, "maxargs") > 0 and " " .. word or ""
    add_element(lines, table.concat(get(option, "aliases"), ", ") .. takes,
      get(option, "description"))
  end
end

--- Returns the man page.
---@return string
function help.man()
  local root = parser.new()
  local lines = {
    ('.TH KONTEXT 1 "" "kontext %s" "User Commands"'):format(version),
    ".SH NAME\nkontext \\- edit pictures with words",
    ".SH SYNOPSIS",
    verbatim((root:get_usage():gsub("^Usage: ", ""))),
    ".SH DESCRIPTION",
    troff(get(root, "description")),
  }
  lines[#lines + 1] = ".SH COMMANDS"
  for _, command in ipairs(get(root, "commands")) do
    lines[#lines + 1] = ".SS kontext " .. troff(get(command, "name"))
    lines[#lines + 1] = troff(get(command, "description"))
    lines[#lines + 1] = ".PP\n" .. verbatim((command:get_usage():gsub("^Usage: ", "")))
    add_elements(lines, command)
    local epilog = get(command, "epilog")
    if epilog then lines[#lines + 1] = ".PP\n" .. verbatim(epilog) end
  end
  lines[#lines + 1] = ".SH ENVIRONMENT"
  for _, row in ipairs {
    { "BFL_API_KEY", "The API key." },
    { "BFL_API_KEY_CMD", "A shell command that writes the key, where BFL_API_KEY is not set." },
    { "BFL_BASE_URL", "The service's address, such as that of kontext emulator." },
    { "XDG_STATE_HOME", "Where journals are kept, in the folder kontext (~/.local/state)." },
  } do add_element(lines, row[1], row[2]) end
  lines[#lines + 1] = ".SH EXIT STATUS"
  for _, row in ipairs(report.codes) do
    add_element(lines, ("%d %s"):format(row[1], row[2]), row[3])
  end
  return table.concat(lines, "\n"):gsub("\n\n+", "\n") .. "\n"
end

--- kontext help [COMMAND]
---@param options table
---@return integer code
function help.run(options)
  local root = parser.new()
  if options.man then
    report.write(help.man())
  elseif options.completion then
    report.write(root["get_" .. options.completion .. "_complete"](root))
  elseif not options.about then
    report.say(root:get_help())
  else
    for _, command in ipairs(get(root, "commands")) do
      if get(command, "name") == options.about then
        report.say(command:get_help())
        return 0
      end
    end
    local known = {}
    for i, command in ipairs(get(root, "commands")) do known[i] = get(command, "name") end
    report.warn(("there is no command %s: there are %s"):format(options.about,
      table.concat(known, ", ")))
    return report.usage
  end
  return 0
end

return help
