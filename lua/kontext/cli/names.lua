--- Where results go. Names are reserved, and checked before anything is paid for.
local api = require "kontext.api"
local core = require "kontext.core"
local wording = require "kontext.wording"

local names = {}

-- Extensions and names of the formats that models make.
local extension_of = { jpeg = ".jpg", png = ".png", webp = ".webp" }
local label_of = { jpeg = "JPEG", png = "PNG", webp = "WebP" }

--- Returns an absolute path, which a journal can hold: it may be read in another folder.
---@param path string
---@return string
function names.absolute(path)
  local here = path:sub(1, 1) ~= "/" and core.working_folder()
  if not here then return path end
  return (here == "/" and "" or here) .. "/" .. path:gsub("^%./+", "")
end

--- Returns a path to show: relative if it lies below the working folder.
---@param path string
---@return string
function names.shown(path)
  local here = core.working_folder()
  local below = here and path:sub(1, #here + 1) == here .. "/" and path:sub(#here + 2)
  return below and below ~= "" and below or path
end

--- Returns a picture's name without its folder and extension.
---@param source string a path, a URL or "-"
---@return string
function names.stem(source)
  if source == "-" then return "image" end
  local url = source:find "^%a+://" ~= nil
  if url then source = source:gsub("^%a+://[^/]*", ""):gsub("[?#].*$", "") end
  local stem = (source:match "([^/]+)$" or ""):gsub("%.%w+$", "")
  if url then stem = stem:gsub("[^%w%._-]", "_"):gsub("^%.+", "") end
  return stem ~= "" and stem or "image"
end

--- Returns a file name made from the key of the edit whose result is edited. A key may hold
--- anything.
---@param key string
---@return string
function names.of_key(key)
  local sane = key:gsub("[^%w%._-]", "_"):gsub("^%.+", ""):sub(1, 64)
  return (sane ~= "" and sane or "image") .. ".jpg"
end

-- Returns the folder of a picture, with the slash; "" for the working folder.
local function folder_of(source)
  return not source:find "^%a+://" and source ~= "-" and source:match "^(.*/)[^/]*$" or ""
end

-- Returns the first name STEM.EXTENSION, STEM-2.EXTENSION … for which `take` returns true; it
-- returns nil, a message and a code where no file can be made.
local function first_free(stem, format, take)
  local extension = extension_of[format] or ".jpg"
  local n = 1
  while true do
    local path = stem .. (n > 1 and "-" .. n or "") .. extension
    local done, message, code = take(path)
    if done then return path end
    if message then return nil, message, code end
    n = n + 1
  end
end

--- Returns the name of a result beside its picture, or in `directory`: car.jpg → car-edit.jpg,
--- car-edit-2.jpg …; the first one for which `take` returns true.
---@param source string
---@param format string?
---@param directory string?
---@param take fun(path: string): boolean?, string?, string? whether it is ours; nil, message, code
---@return string? path
---@return string? message
---@return string? code
function names.beside(source, format, directory, take)
  local folder = directory and (directory == "." and "" or directory:gsub("/*$", "/"))
    or folder_of(source)
  return first_free(folder .. names.stem(source) .. "-edit", format, take)
end

--- Takes a name for this process with an empty file where nothing has it: returns true; false where
--- something has; nil, a message and a code where no file can be made there.
---@param path string
---@return boolean? taken
---@return string? message
---@return string? code
function names.reserve(path)
  return core.reserve(path)
end

--- Gives a name back that was taken and has got no picture.
---@param path string
function names.release(path)
  core.release(path)
end

--- Returns a function that takes a name for an item of a list: nothing has it, and no other item.
---@param taken table<string, any> names.absolute paths
---@return fun(path: string): boolean?, string?, string?
function names.of_list(taken)
  return function(path)
    if taken[names.absolute(path)] then return false end
    return names.reserve(path)
  end
end

--- Returns the error of a place where no file can be made.
---@param message string the system's
---@param code string?
---@return table err
function names.unusable(message, code)
  return { kind = "file", code = code, stage = "check", charged = false,
    message = "nothing was sent, because the result could not be saved: "
      .. wording.file_advice(message, code) }
end

--- Checks a place for a result with the code that will write it there.
---@param path string
---@return boolean? good
---@return table? err
function names.check(path)
  if path:find "/$" then
    return nil, { kind = "file", code = "EISDIR", stage = "check", charged = false,
      message = ("nothing was sent: %s names a folder: give a file's name in it"):format(path) }
  end
  local done, message, code = core.can_save(path)
  if done then return true end
  return nil, names.unusable(message, code)
end

-- Returns what distinguishes a picture's file from others, or nil.
local function identity(path)
  local known, _, more = core.check { path = path }
  return (known or more or {}).stamp
end

--- Returns the picture of those in `sources` that `path` names too, be it by "./", a symbolic link
--- or a hard link; nil where there is none.
---@param path string
---@param sources string[]
---@return string?
function names.same_file(path, sources)
  local wanted = identity(path)
  for _, source in ipairs(sources) do
    if wanted and identity(source) == wanted then return source end
  end
end

--- Returns why a name's extension and a format do not fit, or nil.
---@param path string
---@param format string?
---@return string?
function names.mismatch(path, format)
  local extension = (path:match "%.(%w+)$" or ""):lower()
  local named = extension == "webp" and extension or api.extensions[extension]
  if label_of[format] and named and named ~= format then
    return ("%s is the name of a %s, and the format asked for is %s: leave the format out, or end "
      .. "the name in %s"):format(path, label_of[named], label_of[format], extension_of[format])
  end
end

--- Returns "out-2.jpg" for "out.jpg" and 2.
---@param path string
---@param n integer
---@return string
function names.numbered(path, n)
  local stem, extension = path:match "^(.*[^/])(%.%w+)$"
  return ("%s-%d%s"):format(stem or path, n, extension or "")
end

--- Returns what a picture is called of which only the task's id is known. An id is a stranger's
--- word: only letters, digits and hyphens of it are used.
---@param id string?
---@return string
function names.task(id)
  local sane = (id or ""):gsub("[^%w-]", ""):sub(1, 64)
  return "kontext-" .. (sane ~= "" and sane or "result")
end

--- Returns a name for such a picture, as `beside` does.
---@param id string?
---@param format string?
---@param take fun(path: string): boolean?, string?, string?
---@return string? path
---@return string? message
---@return string? code
function names.of_task(id, format, take)
  return first_free(names.task(id), format, take)
end

return names
