--- A picture that an edit has made.
local core = require "kontext.core"
local errors = require "kontext.errors"
local receiver = require "kontext.receiver"
local wording = require "kontext.wording"

local image = {}

---@class kontext.Image
---@field bytes string the file as the service made it, provenance included
---@field format "jpeg"|"png"
---@field width integer pixels
---@field height integer pixels
---@field seed integer|string? digits when a number would not hold them exactly
---@field prompt string?
---@field duration number? seconds that the service worked
---@field cost number? credits
---@field id string the task's
---@field path string? where save_as put it
---@field original_answer string? of a region: the service's own picture of the window
---@field region table? {x, y, width, height}: what was to change, in pixels of the upright picture
---@field window table? of a region: the same of what was sent
---@field match number? of a region: how alike the margins are, 0 … 1; nil: there was no margin
---@field shift {x: number, y: number}? of a region: by how many pixels the answer was displaced
---@field _job kontext.Job that made it
local Image = { __name = "kontext.image" }

-- A picture that was saved as it arrived is read back from its file when its bytes are asked for.
function Image.__index(self, name)
  if name ~= "bytes" then return Image[name] end
  local path = rawget(self, "path")
  return path and (core.read(path)) or nil
end

function Image:__tostring()
  return ("kontext.image: %s, %d x %d"):format(self.format, self.width, self.height)
end

--- Makes an image of its fields.
---@param fields table
---@param job kontext.Job that made it
---@return kontext.Image
function image.new(fields, job)
  -- The image's own field: a weak table from image to job kept both for good before Lua 5.2.
  fields._job = job
  return setmetatable(fields, Image)
end

local places = { "region", "window", "match", "shift" }

--- Copies the fields about a region: where it is, and how the answer was displaced.
---@param from table an image or its fields
---@param to table
function image.copy_place(from, to)
  for _, name in ipairs(places) do to[name] = from[name] end
end

--- Saves the picture. Afterwards the file is either the old one or the whole new one.
---@param path string
---@return string? path
---@return string? message
---@return kontext.Error? err of kind "file"
function Image:save(path)
  receiver.check(self, Image, 'image:save "red.jpg"', 2)
  if type(path) ~= "string" then error("path must be a string, not " .. type(path), 2) end
  local bytes = self.bytes
  local done, message, code
  if not bytes then
    message = ("cannot read %s: it was moved since the edit was saved there"):format(self.path)
  elseif path:find("%z") then
    message = "the path contains a NUL byte: choose another name"
  else
    done, message, code = core.save(path, bytes)
    if done then
      self._job:saved(path, core.base64(core.md5(bytes)), #bytes)
      return path
    end
    message = "cannot save the picture as " .. wording.file_advice(message, code)
  end
  return errors.result(errors.new { kind = "file", message = message, code = code, stage = "save",
    charged = true, job_id = self.id })
end

--- Edits the picture further; the same as client:edit with it as `input_image`.
---@param params table
---@return kontext.Job
function Image:edit(params)
  receiver.check(self, Image, "image:edit{ … }", 2)
  if type(params) ~= "table" then error("params must be a table, not " .. type(params), 2) end
  local given = {}
  for name, value in pairs(params) do given[name] = value end
  if given.input_image == nil then given.input_image = self end
  local begun = self._job:edit_with_same_client(given, 2) -- no tail call: errors blame the caller
  return begun
end

return image
