-- File names on Neovim's command line. They come from anywhere: a downloaded folder, a document. So
-- Vim's expansion, which runs what stands between backticks, never sees one.
local uv = vim.uv or vim.loop

local paths = {}

--- Returns the path that a word of a command means. A file of that very name is meant first; else
--- "~", "$NAME" at the beginning, "%" and "#" with Vim's modifiers, such as "%:r.png", mean what
--- they do elsewhere. Nothing else is expanded.
---@param word string
---@return string path
function paths.named(word)
  if uv.fs_stat(word) then return word end
  local variable, rest = word:match "^%$([%a_][%w_]*)(.*)$"
  if variable and vim.env[variable] then return vim.env[variable] .. rest end
  if word:find "^~" then return vim.fn.fnamemodify(word, ":p") end
  local buffer, behind = word:match "^([%%#])(.*)$"
  if not buffer then return word end
  local number = buffer == "%" and vim.api.nvim_get_current_buf() or vim.fn.bufnr "#"
  local path = number > 0 and vim.api.nvim_buf_get_name(number) or ""
  if path == "" then return word end
  local modifiers, ends = "", 0
  while behind:find("^:[phrte~.]", ends + 1) do
    ends = ends + 2
    modifiers = behind:sub(1, ends)
  end
  return vim.fn.fnamemodify(path, modifiers) .. behind:sub(ends + 1)
end

-- Escapes what would end a word of a command, or be an escape itself.
local function escape(path) return (path:gsub("[\\ \t]", "\\%0")) end

local function unescape(word) return (word:gsub("\\([\\ \t])", "%1")) end

local extensions = { jpg = true, jpeg = true, jpe = true, jfif = true, png = true, webp = true,
  gif = true, bmp = true, tif = true, tiff = true, heic = true, avif = true }

--- Completes a word with the pictures and folders whose names begin like it.
---@param lead string as typed, with blanks escaped
---@return string[]
function paths.complete(lead)
  local typed = unescape(lead)
  local folder, beginning = typed:match "^(.*/)([^/]*)$"
  folder, beginning = folder or "", beginning or typed
  local handle = uv.fs_scandir(folder == "" and "." or paths.named(folder))
  local found = {}
  while handle do
    local entry, kind = uv.fs_scandir_next(handle)
    if not entry then break end
    local shown = entry:sub(1, 1) ~= "." or beginning:sub(1, 1) == "."
    -- A command line cannot hold every control character.
    if shown and entry:sub(1, #beginning) == beginning and not entry:find "[%z\1-\31\127]" then
      if kind == "link" then
        local target = uv.fs_stat(paths.named(folder .. entry))
        kind = target and target.type
      end
      if kind == "directory" then
        found[#found + 1] = escape(folder .. entry) .. "/"
      elseif extensions[(entry:match "%.(%w+)$" or ""):lower()] then
        found[#found + 1] = escape(folder .. entry)
      end
    end
  end
  table.sort(found)
  return found
end

return paths
