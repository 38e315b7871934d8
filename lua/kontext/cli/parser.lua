--- The command line: its commands, arguments and options.
local argparse = require "argparse"
local kontext = require "kontext"
local report = require "kontext.cli.report"

local parser = {}

-- Converts to a number, or says why not.
local function number(text)
  local value = tonumber(text)
  if value then return value end
  return nil, ("'%s' is not a number"):format(text)
end

local function common(command)
  command:flag "--json":description "Tell machines: one JSON object a line."
end

-- What all commands have that ask the service.
local function service(command)
  common(command)
  command:option "--region":choices { "global", "eu", "us" }
    :description "Where the service is asked."
  command:option "--base-url":argname "URL"
    :description "The service's address ($BFL_BASE_URL, else https://api.bfl.ai)."
  command:option "--ca-file":argname "FILE"
    :description "Certificates to trust in place of the system's."
  command:option "--timeout":argname "S":convert(number):description "Seconds for one edit (300)."
end

-- What all commands have that edit.
local function editing(command)
  service(command)
  command:option "--aspect":argname "W:H":description "Aspect ratio, 3:7 to 7:3 (the picture's)."
  command:option "--seed":argname "N":description "A whole number: the same seed, the same picture."
  command:option "--format":choices { "jpeg", "png" }:description "jpeg or png (jpeg)."
  command:option "--model":choices { "pro", "max", "flux-kontext-pro", "flux-kontext-max" }
    :description "pro or max (pro)."
  command:option "--safety":argname "N":convert(number)
    :description "Moderation from 0, strict, to 2 (2)."
  command:flag "--upsample":description "Let the service write the prompt out."
  command:flag "--fit":description "Scale a large picture before the upload."
  command:option "--journal":argname "FILE"
    :description "Write down what is paid for, so that it can be resumed after a crash."
end

local function add_edit(root)
  local edit = root:command "edit"
    :description "Edit a picture, and print the path of the one that is made."
  edit:argument "image":description "A file, an https:// URL, or - for standard input."
  edit:argument "prompt":description "What is to be changed; - for standard input."
  edit:option "-o --output":argname "FILE"
    :description "Where the result goes (IMAGE-edit.jpg); .jpg or .png chooses the format."
  edit:option "--reference":argname "IMAGE":count "0-3":description "A further picture to go by."
  editing(edit)
end

local function add_batch(root)
  local batch = root:command "batch"
    :description "Make many edits, and print the path of each picture that is made."
    :epilog [[
With --prompt the inputs are pictures. Without, the input is a list: a file, or - for standard
input, with one JSON object of parameters a line, such as
  {"input_image":"car.jpg","prompt":"Make it red","save_as":"red.jpg"}
With --journal a batch may be killed at any moment and run again: what was saved is skipped, what
was accepted is fetched, and nothing is paid twice.]]
  batch:argument "input":args "+":description "Pictures (with --prompt), or a list."
  batch:option "--prompt":description "What is to be changed in every picture."
  batch:option "-d --directory":argname "DIR"
    :description "Where results go that name no save_as, as IMAGE-edit.jpg (.)."
  batch:option "--max-active":argname "N":convert(number)
    :description "Edits at once (24; 6 for max)."
  batch:flag "--stop-on-error":description "Begin nothing more after the first error."
  batch:flag "--retry-ambiguous"
    :description "Send again what may have been paid for in an earlier run."
  editing(batch)
end

local function add_resume(root)
  local resume = root:command "resume":description "Go on with an edit that was accepted."
  resume:argument "token":args "?":description "What the edit printed; - for standard input."
  resume:option "--journal":argname "FILE":description "All unfinished edits of this journal."
  resume:option "-o --output":argname "FILE":description "Where a token's result goes (ID.jpg)."
  service(resume)
end

local function add_emulator(root)
  local emulator = root:command "emulator"
    :description "Serve the API on this machine: no key, no network, no cost. Ends with Ctrl-C."
  emulator:option "--port":argname "N":convert(number):description "0 for any free one (0)."
  emulator:option "--host":argname "NAME":description "The address to listen at (127.0.0.1)."
  emulator:flag "--tls":description "HTTPS, with a certificate of its own."
  emulator:option "--ready-after":argname "S":convert(number):description "Seconds to a picture."
  emulator:option "--max-active":argname "N":convert(number):description "Active tasks (24)."
  emulator:option "--seed":argname "N":convert(number):description "For what is random."
  emulator:option "--link-life":argname "S":convert(number)
    :description "Seconds that a link to a picture lives (600)."
end

local function tell_version()
  local info = kontext.info()
  report.say(("kontext %s (%s, libcurl %s, %s)"):format(
    info.module, info.lua, info.libcurl, info.tls))
  os.exit(0)
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
  local root = argparse "kontext"
    :description "Edits pictures with words (BFL's FLUX.1 Kontext); the key is in $BFL_API_KEY."
    :epilog(exit_codes())
    :command_target "command"
    :require_command(true)
    :help_max_width(80)
  root:flag "--version":description "Tell the versions of kontext and of what it stands on."
    :action(tell_version)

  add_edit(root)
  add_batch(root)
  add_resume(root)

  local check = root:command "check":description "Tell what pictures are; nothing is sent."
  check:argument "files":args "+"
  common(check)

  local size = root:command "size":description "Tell the size of an edit's result beforehand."
  size:argument "of":description "A ratio such as 16:9, a size such as 2048x1365, or a file."
  common(size)

  service(root:command "credits":description "Tell how many credits are left.")
  add_emulator(root)
  return root
end

return parser
