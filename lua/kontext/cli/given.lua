--- Turns the options of an edit into parameters.
local core = require "kontext.core"
local models = require "kontext.models"
local names = require "kontext.cli.names"
local params = require "kontext.job.params"

local given = {}

local keep = { yes = true, no = false }

-- Returns the row of an edit's model, or the default's if no model has that name.
local function row_of(wanted)
  return models.find(wanted.model or models.default) or models.find(models.default)
end

--- Returns whether a model needs a prompt.
---@param model string?
---@return boolean
function given.needs_prompt(model)
  local field = row_of { model = model }.by_name.prompt
  return field ~= nil and field.required == true
end

--- Returns whether an edit changes only a part of a photograph. A mask does not make it one if the
--- model has a mask parameter of its own.
---@param wanted table the edit's parameters
---@return boolean
function given.has_region(wanted)
  return wanted.region ~= nil or wanted.mask ~= nil and not row_of(wanted).by_name.mask
end

--- Makes the paths of a region edit's photograph and mask absolute: `resume` in another folder has
--- to find them.
---@param wanted table the edit's parameters; those of another edit stay as they are
function given.place(wanted)
  if not given.has_region(wanted) then return end
  for _, name in ipairs { "input_image", "mask" } do
    local path = type(wanted[name]) == "table" and wanted[name].path
    if path then wanted[name] = { path = names.absolute(path) } end
  end
end

--- Returns an edit's first picture, whatever its model calls it.
---@param wanted table the edit's parameters
---@return table? source of given.picture, or { result = key }
function given.first(wanted)
  local source = wanted.input_image or wanted[row_of(wanted).images.first]
  if type(source) ~= "table" then return nil end
  local one = source[1] or source
  return type(one) == "string" and given.picture(one) or one
end

--- Returns the format of the result: after an edit of a region, the photograph's.
---@param source table? of given.picture
---@param wanted table the edit's parameters
---@return string
function given.format(source, wanted)
  local made = wanted.output_format or row_of(wanted).default_format
  if not given.has_region(wanted) or not source or not source.path then return made end
  local known = core.check { path = source.path }
  return known and known.format or made
end

--- Returns the paths of the pictures that an edit reads.
---@param wanted table the edit's parameters
---@return string[]
function given.sources(wanted)
  local paths = {}
  for name, value in pairs(params.flatten(wanted, wanted.model)) do
    local field = params.fields[name]
    local is_picture = field and (field.api == "image" or name == "mask")
    if is_picture and type(value) == "string" then value = given.picture(value) end
    if is_picture and type(value) == "table" and value.path then paths[#paths + 1] = value.path end
  end
  table.sort(paths)
  return paths
end

--- Returns the source of a picture that a command line or a list names.
---@param name string a path, a URL, or "-" for standard input
---@return table
function given.picture(name)
  if name == "-" then return { bytes = io.stdin:read "*a" or "" } end
  if name:lower():find "^https?://" then return { url = name } end
  return { path = name }
end

local truth = { ["true"] = true, yes = true, ["1"] = true, ["false"] = false, no = false,
  ["0"] = false }

--- Converts a text to the type of its parameter.
---@param name string the parameter's
---@param text string
---@return any value the text itself if it does not fit: the check will say what is wrong with it
function given.value(name, text)
  local field = params.fields[name]
  if not field then return text end
  if field.types.boolean then
    local value = truth[text:lower()]
    if value == nil then return text end
    return value
  end
  if field.types.number and not field.types.string then return tonumber(text) or text end
  return text
end

--- Returns the parameters that the options give.
---@param options table
---@return table
function given.parameters(options)
  local wanted = {
    aspect_ratio = options.aspect, seed = options.seed, output_format = options.format,
    model = options.model, safety_tolerance = options.safety,
    prompt_upsampling = options.upsample, fit = options.fit,
    region = options.area, mask = options.mask and { path = options.mask },
    keep_metadata = keep[options.keep_exif], strip = options.strip,
    left = options.left, right = options.right, top = options.top, bottom = options.bottom,
  }
  for _, pair in ipairs(options.set or {}) do
    local value = given.value(pair.name, pair.text)
    if params.fields[pair.name].api == "image" then value = given.picture(pair.text) end
    wanted[pair.name] = value
  end
  return wanted
end

-- The options whose names differ from their parameters'.
local option_of = { aspect_ratio = "--aspect", safety_tolerance = "--safety",
  output_format = "--format", prompt_upsampling = "--upsample", seed = "--seed",
  model = "--model", save_as = "-o" }

--- Makes the error for wrong parameters.
---@param message string
---@return table err
function given.refusal(message)
  return { kind = "invalid", message = message, stage = "check", charged = false }
end

--- Returns the option that gives a parameter, or nil.
---@param name string
---@return string?
function given.option(name)
  return option_of[name]
end

--- Returns what is wrong with the parameters of a command line, or nil: the model has no such
--- field, or one that it needs is missing.
---@param wanted table
---@return string?
function given.misuse(wanted)
  local sound, wrong = pcall(params.refuse_misuse, wanted, -1)
  if sound then return nil end
  return (wrong:gsub('^unknown key "([%l%d_]+)"', function(name)
    if option_of[name] then return option_of[name] end
    if name == "prompt" then return "--prompt" end
    return name:find "^input_image_" and "--reference" or "--set " .. name
  end))
end

--- Returns whether there is a file of that name.
---@param name string
---@return boolean
function given.is_file(name)
  return name ~= "" and not name:find "%z" and core.modified(name) ~= nil
end

-- Quotes a text for the shell if it needs that, for a command that is shown.
local function word(text)
  if text:find "^[%w%._/-]+$" then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
given.word = word

-- Returns whether a prompt is one word in Latin letters: part of a sentence that lacks quotes.
-- In Chinese or Japanese a whole sentence has no spaces.
local function is_one_word(prompt)
  return not prompt:find "%s" and not prompt:find "[\128-\255]"
end

--- Returns what is wrong with the words of an edit's command line, and what was probably meant; or
--- nil.
---@param image string
---@param prompts string[]
---@return string?
function given.mistake(image, prompts)
  if image ~= "-" and not image:lower():find "^https?://" and not given.is_file(image)
    and prompts[1] and given.is_file(prompts[1]) then
    return ("there is no picture %s, but %s is a file: the picture comes first: kontext edit %s %s")
      :format(word(image), prompts[1], word(prompts[1]), word(image))
  end
  if #prompts <= 1 then return nil end
  for _, prompt in ipairs(prompts) do
    if prompt ~= "-" and given.is_file(prompt) then
      return ("%s is a file, and edit takes one picture; to edit many: kontext batch --prompt %s "
        .. "%s %s …"):format(prompt, word(prompts[#prompts]), word(image), word(prompt))
    end
  end
  for _, prompt in ipairs(prompts) do
    if is_one_word(prompt) then
      return ("each prompt is an edit of its own, and %q is one word: put the whole sentence in "
        .. "quotation marks: kontext edit %s %s"):format(prompt, word(image),
          "'" .. table.concat(prompts, " "):gsub("'", "'\\''") .. "'")
    end
  end
end

return given
