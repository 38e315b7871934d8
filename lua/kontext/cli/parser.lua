--- The command line: its commands, arguments and options. Help, the man page and the shells'
--- completions are made from this.
local argparse = require "argparse"
local fields = require "kontext.job.params".fields
local kontext = require "kontext"
local queue_options = require "kontext.cli.queue_options"
local report = require "kontext.cli.report"

local parser = {}

-- Tells what a flag asks for and ends the command. What argparse prints and raises by itself would
-- hide that standard output is full or closed.
local function tell(text)
  local done, err = pcall(report.say, text)
  os.exit(done and 0 or report.fail({}, report.raised(err)))
end

-- Gives a command its help.
local function with_help(command)
  return command:add_help { action = function() tell((command:get_help():gsub("\n$", ""))) end }
end

-- Adds a command.
local function add(root, name)
  return with_help(root:command(name))
end

-- Returns what converts an option's text to a number, or says why not.
local function number(option)
  return function(text)
    local value = tonumber(text)
    if value then return value end
    return nil, ("%s: '%s' is not a number"):format(option, text)
  end
end

-- The same for a whole number in these bounds.
local function whole(option, least, most)
  return function(text)
    local value = tonumber(text)
    if not value then return number(option)(text) end
    if value % 1 == 0 and value >= least and value <= (most or 2 ^ 31) then return value end
    return nil, ("%s: '%s' is not a whole number from %d %s"):format(option, text, least,
      most and "to " .. most or "on")
  end
end

-- The same for seconds.
local function seconds(option)
  return function(text)
    local value = tonumber(text)
    if not value then return number(option)(text) end
    if value > 0 and value < math.huge then return value end
    return nil, ("%s: '%s' is not a number of seconds above 0"):format(option, text)
  end
end

local function common(command)
  command:flag "--json":description "Write one JSON object a line, for programs."
end

-- What all commands have that ask the service.
local function service(command, edits)
  common(command)
  if not edits then
    command:option "--region":choices { "global", "eu", "us" }
      :description "Where the service is asked."
  end
  command:option "--base-url":argname "URL"
    :description "The service's address ($BFL_BASE_URL, else https://api.bfl.ai)."
  command:option "--ca-file":argname "FILE"
    :description "Certificates to trust in place of the system's."
  command:option "--key-file":argname "FILE"
    :description("A file with the API key in its first line ($BFL_API_KEY, else what the command "
      .. "in $BFL_API_KEY_CMD writes).")
  command:option "--timeout":argname "S":convert(seconds "--timeout")
    :description "Seconds for one edit (300)."
  command:option "--log":argname "FILE"
    :description "Add to FILE what happens to each edit: a JSON object a line, with no key."
  command:flag "-q --quiet":description "No live line and no remarks; results and errors only."
end

local function journal(command, default)
  command:option "--journal":argname "FILE"
    :description("Where it is written down what is paid for, so that it can be resumed after a "
      .. "crash (" .. default .. " in $XDG_STATE_HOME/kontext, else ~/.local/state/kontext).")
end

local bases = { ["global"] = true, eu = true, us = true }

-- Checks what --region of an edit names: a part of the picture, or where the service is.
local function place(text)
  if bases[text] or text:find "^[%d.%%%s]+,[%d.%%%s]+,[%d.%%%s]+,[%d.%%%s]+$" then return text end
  return nil, ("--region: '%s' is neither X,Y,W,H in pixels or per cent nor global, eu or us")
    :format(text)
end

local function note_place(options, _, text)
  options[bases[text] and "region" or "area"] = text
end

-- Reads what --set gives: a field of a model, and its value.
local function setting(text)
  local name, value = text:match "^([%l%d_]+)=(.*)$"
  if not name then return nil, ("--set: '%s' is no NAME=VALUE"):format(text) end
  if name == "images" then
    return nil, "--set: further pictures are given with --reference"
  elseif not fields[name] or not fields[name].api then
    return nil, ("--set: no model has a field %s: kontext models NAME lists a model's"):format(name)
  end
  return { name = name, text = value }
end

-- What all commands have that edit, with whatever model.
local function any_edit(command, default)
  service(command, true)
  command:option "--seed":argname "N":description "A whole number: the same seed, the same picture."
  command:option "--format":choices { "jpeg", "png", "webp" }
    :description "Of the result: jpeg, png or webp (what the model makes by itself)."
  command:option "--set":argname "NAME=VALUE":count "*":convert(setting)
    :description "Any other field of the model, such as --set guidance=4: kontext models NAME."
  command:option "--budget":argname "CREDITS":convert(number "--budget")
    :description "Send nothing that could cost more than this in all."
  command:option "--safety":argname "N":convert(whole("--safety", 0))
    :description "Moderation, from 0, strict (2)."
  command:flag "--force":description "Let a result replace the picture that is edited."
  command:option "--gallery":argname "FILE"
    :description("Write a web page, FILE.html, that shows before and after of each edit under a "
      .. "slider. It holds small copies of the pictures, and loads nothing.")
  command:flag "--dry-run"
    :description "Tell how many edits that are and what they cost; edit nothing."
  journal(command, default)
  command:flag "--no-journal":description "Keep no journal: a crash loses what is paid for."
end

-- What the commands have that edit with words.
local function editing(command, default)
  any_edit(command, default)
  command:option "--aspect":argname "W:H":description "Aspect ratio, 3:7 to 7:3 (the picture's)."
  command:option "--model":argname "NAME"
    :description "One of those that kontext models lists; pro and max are short names (pro)."
  command:flag "--upsample":description "Let the service write the prompt out."
  command:flag "--fit":description "Scale a large picture before the upload."
  command:option "--region":argname "X,Y,W,H":convert(place):action(note_place)
    :description("Change this part of the picture alone, in pixels or per cent: the rest stays as "
      .. "it is, at its full size. Or where the service is asked: global, eu or us.")
  command:option "--mask":argname "FILE"
    :description("The same, where a PNG as large as the picture is white; a model that takes a "
      .. "mask gets it.")
  command:option "--keep-exif":choices { "yes", "no" }
    :description "Whether the picture keeps its metadata (yes with --region or --mask)."
  command:flag "--strip"
    :description "Remove place, names and serial numbers from it, before the upload too."
end

local function output(command)
  command:option "-o --output":argname "FILE"
    :description("Where the result goes (IMAGE-edit.jpg); .jpg, .png or .webp chooses the format; "
      .. "- for standard output. A file of that name is replaced.")
  command:flag "--open":description "Show the result in the desktop's viewer."
end

local function add_edit(root)
  local edit = add(root, "edit")
    :description "Edit a picture, and print the path of the one that is made."
    :epilog [[
With several prompts each edits the result of the one before; the steps are saved as
IMAGE-edit-1.jpg, IMAGE-edit-2.jpg … A prompt that begins with a hyphen stands behind --.
Each edit is written down before it is paid for: after a crash, a closed terminal or Ctrl-C
`kontext resume` goes on with it. Of several prompts the same command in the same folder goes on
with all the steps that are left, and pays for none twice.]]
  edit:argument "image":description "A file, an https:// URL, or - for standard input."
  edit:argument "prompt":args "*"
    :description "What is to be changed; - for standard input. Some models take none."
  output(edit)
  edit:option "--count":argname "N":convert(whole("--count", 1, 100)):default "1"
    :description "So many versions, with seeds that follow on --seed or are random (1)."
  edit:option "--reference":argname "IMAGE":count "0-9":description "A further picture to go by."
  editing(edit, "a file of its own")
end

local function add_tools(root)
  local erase = add(root, "erase")
    :description "Remove what is white in a mask from a picture, and fill in the background."
  erase:argument "image":description "A file, or - for standard input."
  erase:argument "mask":description "A black and white picture of the same size."
  output(erase)
  any_edit(erase, "a file of its own")
  local outpaint = add(root, "outpaint")
    :description "Paint around a picture."
  outpaint:argument "image":description "A file, or - for standard input."
  outpaint:argument "prompt":args "*":description "What is to be there."
  for _, side in ipairs { "left", "right", "top", "bottom" } do
    outpaint:option("--" .. side):argname "PIXELS":convert(whole("--" .. side, 0))
      :description(("Pixels to add: %s (0)."):format(side))
  end
  output(outpaint)
  any_edit(outpaint, "a file of its own")
end

local function add_batch(root)
  local batch = add(root, "batch")
    :description "Make many edits, and print the path of each picture that is made."
    :epilog [[
With --prompt the inputs are pictures, and what is a result of an earlier run is left out. Without,
the input is a list: a file, or - for standard input, as
  JSON Lines    {"input_image":"car.jpg","prompt":"Make it red","save_as":"red.jpg"}
  a JSON array  [{"input_image": …}, …]
  CSV           with a header such as file,prompt,save_as
{name} in a prompt or in save_as is the picture's name without its extension.
A batch may be killed at any moment and run again in the same folder: what was saved is skipped,
what was accepted is fetched, and nothing is paid for twice.]]
  batch:argument "input":args "+":description "Pictures (with --prompt), or a list."
  batch:option "--prompt":description "What is to be changed in every picture."
  batch:option "-d --directory":argname "DIR"
    :description "Where results go that name no save_as, as IMAGE-edit.jpg (beside the picture)."
  batch:option "--max-active":argname "N":convert(whole("--max-active", 1))
    :description "Edits at once (24; 6 for max)."
  batch:flag "--stop-on-error":description "Begin nothing more after the first error."
  batch:flag "--retry-ambiguous"
    :description "Send again what may have been paid for in an earlier run."
  batch:flag "--include-results":description "Edit also what earlier runs have made."
  editing(batch, "one for each working folder")
end

local function add_resume(root)
  local resume = add(root, "resume")
    :description "Go on with an edit that was accepted; without a token, with all unfinished ones."
  resume:argument "token":args "?":description "What the edit printed; - for standard input."
  resume:option "--journal":argname "FILE":description "All unfinished edits of this journal."
  resume:option "-o --output":argname "FILE"
    :description("Where a token's result goes (what the edit asked for, else kontext-ID.jpg); - "
      .. "for standard output.")
  service(resume)
end

local function add_jobs(root)
  local jobs = add(root, "jobs")
    :description "List the unfinished edits that journals hold: state, id or key, file, age."
  jobs:option "--journal":argname "FILE":description "Those of this journal (all)."
  jobs:flag "--all":description "What is finished, too."
  jobs:option "--forget":argname "FILE"
    :description "Remove a journal, unless an edit in it was accepted and can be fetched."
  common(jobs)
end

local function add_show(root)
  local show = add(root, "show"):description "Show two pictures beside each other in the terminal."
    :epilog [[
The pictures are drawn with the terminal's graphics where it has them, else in coloured cells; in
characters where NO_COLOR is set or TERM is dumb.]]
  show:argument "before":description "The picture as it was."
  show:argument "after":description "The picture as it became."
  show:option "--graphics":choices { "kitty", "iterm2", "sixel", "cells", "ascii" }
    :description "How they are drawn (what the terminal says of itself)."
end

local function add_emulator(root)
  local emulator = add(root, "emulator")
    :description "Serve the API on this machine: no key, no network, no cost. Ends with Ctrl-C."
  emulator:option "--port":argname "N":convert(whole("--port", 0, 65535))
    :description "0 for any free one (0)."
  emulator:option "--host":argname "NAME":description "The address to listen at (127.0.0.1)."
  emulator:flag "--tls":description "HTTPS, with a certificate of its own."
  emulator:option "--ready-after":argname "S":convert(number "--ready-after")
    :description "Seconds to a picture."
  emulator:option "--max-active":argname "N":convert(whole("--max-active", 1))
    :description "Active tasks (24)."
  emulator:option "--seed":argname "N":convert(number "--seed")
    :description "For what is random."
  emulator:option "--link-life":argname "S":convert(number "--link-life")
    :description "Seconds that a link to a picture lives (600)."
end

local function tell_version()
  local info = kontext.info()
  tell(("kontext %s (%s, libcurl %s, %s)"):format(
    info.module, info.lua, info.libcurl, info.tls))
end

local function exit_codes()
  local lines = { "Exit codes:" }
  for _, row in ipairs(report.codes) do
    lines[#lines + 1] = ("  %3d  %-12s  %s"):format(row[1], row[2], row[3])
  end
  return table.concat(lines, "\n")
end

--- Makes the parser of the command line.
---@return table
function parser.new()
  local root = with_help(argparse "kontext")
    :description "Edits pictures with words (BFL's FLUX.1 Kontext); the key is in $BFL_API_KEY."
    :epilog(exit_codes())
    :command_target "command"
    :require_command(true)
    :help_max_width(80)
  root:flag "--version":description "Tell the versions of kontext and of what it stands on."
    :action(tell_version)

  add_edit(root)
  add_batch(root)
  add_tools(root)
  add_resume(root)
  add_jobs(root)
  add_show(root)

  local check = add(root, "check"):description "Tell what pictures are; nothing is sent."
  check:argument "files":args "+"
  common(check)

  local size = add(root, "size"):description "Tell the size of an edit's result beforehand."
  size:argument "of":description "A ratio such as 16:9, a size such as 2048x1365, or a file."
  common(size)

  local models = add(root, "models")
    :description "List the models and what an edit costs; with a name, all that is known of one."
  models:argument "name":args "?"
  common(models)

  service(add(root, "credits"):description "Tell how many credits are left.")
  service(add(root, "doctor")
    :description "Look whether all that an edit needs is there: the module, key, service, folders.")
  add_emulator(root)
  queue_options.add(root, { add = add, common = common, service = service, seconds = seconds,
    whole = whole })

  local help = add(root, "help"):description "Tell what a command does and takes."
  help:argument "about":args "?":argname "COMMAND"
  help:flag "--man":description "The man page, as troff."
  help:option "--completion":choices { "bash", "zsh", "fish" }
    :description "The completion script of a shell."
  return root
end

return parser
