-- Edits that Neovim's end interrupts: the service has accepted them, and charges for them. A token
-- of each is kept in a file, for :Kontext resume in any later Neovim.
local uv = vim.uv or vim.loop

local unfinished = {}

local PATIENCE = 5 -- seconds for the answer to an upload that has gone out

local folder = vim.fn.stdpath "data" .. "/kontext"

--- Keeps an edit's token, if the service accepts it yet.
---@param edit table  of kontext.nvim
---@param client kontext.Client
function unfinished.keep(edit, client)
  local late = uv.hrtime() + PATIENCE * 1e9
  while edit.job.status == "uploading" and edit.job.sent == edit.job.total and uv.hrtime() < late do
    client:poll(0.1)
  end
  local token = edit.job:token()
  if not token or edit.job:ended() then return end
  vim.fn.mkdir(folder, "p")
  -- The id is the service's word, and may be any text: never a part of a path.
  local file = uv.fs_open(("%s/%s.json"):format(folder, vim.fn.sha256(edit.job.id)), "w", 384)
  if not file then return end
  uv.fs_write(file, vim.json.encode {
    token = token, file = edit.file, prompt = edit.prompt, path = edit.path }, 0)
  uv.fs_close(file)
end

-- Returns whether a file holds what `keep` writes.
local function is_edit(value)
  if type(value) ~= "table" then return false end
  for _, field in ipairs { "token", "file", "prompt", "path" } do
    if type(value[field]) ~= "string" then return false end
  end
  return true
end

--- Lists the edits that are kept: { token, file, prompt, path, kept }.
---@return table[]
function unfinished.list()
  local edits = {}
  local handle = uv.fs_scandir(folder)
  while handle do
    local entry = uv.fs_scandir_next(handle)
    if not entry then break end
    if entry:find "%.json$" then
      local path = folder .. "/" .. entry
      local read, edit = pcall(function()
        return vim.json.decode(table.concat(vim.fn.readfile(path), "\n"))
      end)
      if read and is_edit(edit) then
        edit.kept = path
        edits[#edits + 1] = edit
      end
    end
  end
  return edits
end

-- Errors after which the same token may still bring the picture.
local passing = {
  auth = true, closed = true, http = true, network = true, timeout = true, tls = true,
}

--- Forgets an edit that came to an end for good.
---@param edit table
---@param err nil|kontext.Error
function unfinished.forget(edit, err)
  if edit.kept and not (err and passing[err.kind]) then os.remove(edit.kept) end
end

return unfinished
