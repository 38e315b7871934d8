--- The steps of an edit with several prompts: a chain, of which each item takes the result of the
--- one before. A step's key says all that its picture is made of, so the same command again goes on
--- with the steps that an ended one has left.
local core = require "kontext.core"
local given = require "kontext.cli.given"
local identity = require "kontext.journal.identity"
local params = require "kontext.job.params"

local steps = {}

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- Returns the digests of an edit's files, by path. One that cannot be read has none: the edit will
-- say so.
local function digests_of(wanted, known)
  for _, path in ipairs(given.sources(wanted)) do
    local bytes = not known[path] and core.read(path)
    if bytes then known[path] = core.sha256(bytes) end
  end
  return known
end

--- Returns the keys of the steps.
---@param edits table[] their parameters, each with the first picture
---@return string[]
function steps.keys(edits)
  local keys, made, known = {}, "", {}
  for n, wanted in ipairs(edits) do
    made = core.sha256(made .. identity.of(params.check(wanted) or wanted,
      digests_of(wanted, known)))
    keys[n] = ("step %d %s"):format(n, hex(made:sub(1, 8)))
  end
  return keys
end

--- Returns the number of the step that a key names, or nil.
---@param key string?
---@return integer?
function steps.number(key)
  return tonumber((key or ""):match "^step (%d+) %x+$")
end

--- Returns the steps as items of a batch.
---@param edits table[]
---@param keys string[]
---@return table[]
function steps.items(edits, keys)
  local items = {}
  for n, wanted in ipairs(edits) do
    local item = { key = keys[n] }
    for name, value in pairs(wanted) do item[name] = value end
    if n > 1 then item.input_image = { result = keys[n - 1] } end
    items[n] = item
  end
  return items
end

--- Returns an image of what an earlier run has saved.
---@param path string
---@return table
function steps.saved(path)
  local info = core.check { path = path } or {}
  return { path = path, bytes = core.read(path) or "", format = info.format, width = info.width,
    height = info.height }
end

--- Returns the error of a step that an earlier run has begun and that is not sent again.
---@param n integer
---@param err kontext.Error
---@param journal string?
---@return table
function steps.refusal(n, err, journal)
  local message = err.message:gsub('^edit "[^"]*" ', ("step %d "):format(n))
    :gsub("pass retry_ambiguous = true to send it again", "pass remake = true")
    :gsub("pass remake = true.*$", function()
      return "forget it, to pay again: kontext jobs --forget " .. (journal or "JOURNAL")
    end)
  return setmetatable({ message = message }, { __index = err })
end

return steps
