--- What the options of an edit ask for, as parameters.
local core = require "kontext.core"
local names = require "kontext.cli.names"

local given = {}

local keep = { yes = true, no = false }

--- Names the photograph of an edit of a region, and its mask, by absolute paths: `resume` in
--- another folder has to find them.
---@param wanted table the edit's parameters; those of another edit stay as they are
function given.place(wanted)
  if not wanted.region and not wanted.mask then return end
  for _, name in ipairs { "input_image", "mask" } do
    local path = type(wanted[name]) == "table" and wanted[name].path
    if path then wanted[name] = { path = names.absolute(path) } end
  end
end

--- Returns the format that the result's name shall have: a region's is the photograph's.
---@param source table? of given.picture
---@param wanted table the edit's parameters
---@return string?
function given.format(source, wanted)
  if not (wanted.region or wanted.mask) or not source or not source.path then
    return wanted.output_format
  end
  local known = core.check { path = source.path }
  return known and known.format or wanted.output_format
end

--- Returns the source of a picture that a command line or a list names.
---@param name string a path, a URL, or "-" for standard input
---@return table
function given.picture(name)
  if name == "-" then return { bytes = io.stdin:read "*a" or "" } end
  if name:lower():find "^https?://" then return { url = name } end
  return { path = name }
end

--- Returns the parameters that the options give.
---@param options table
---@return table
function given.parameters(options)
  return {
    aspect_ratio = options.aspect, seed = options.seed, output_format = options.format,
    model = options.model, safety_tolerance = options.safety,
    prompt_upsampling = options.upsample, fit = options.fit,
    region = options.area, mask = options.mask and { path = options.mask },
    keep_metadata = keep[options.keep_exif], strip = options.strip,
  }
end

--- Returns whether there is a file of that name.
---@param name string
---@return boolean
function given.is_file(name)
  return name ~= "" and not name:find "%z" and core.modified(name) ~= nil
end

-- Returns a text as a word of the shell, for a command that is shown.
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
    and given.is_file(prompts[1]) then
    return ("there is no picture %s, but %s is a file: the picture comes first: kontext edit %s %s")
      :format(word(image), prompts[1], word(prompts[1]), word(image))
  end
  if #prompts == 1 then return nil end
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
