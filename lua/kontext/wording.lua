--- What the service or libcurl said of an error, made fit for a sentence.
local wording = {}

local shown = 300 -- characters

-- Returns FastAPI's list of complaints, or any list, as one text.
local function listed(list)
  local parts = {}
  for _, item in ipairs(list) do
    if type(item) == "table" then
      local where = type(item.loc) == "table" and item.loc[#item.loc]
      item = (where and tostring(where) .. ": " or "") .. tostring(item.msg or item.message or "?")
    end
    parts[#parts + 1] = tostring(item)
  end
  return table.concat(parts, "; ")
end

-- Returns the members of an object as one text.
local function named(object)
  local parts = {}
  for name, value in pairs(object) do
    if type(value) == "table" then value = #value > 0 and listed(value) or named(value) end
    if value ~= "" then parts[#parts + 1] = ("%s: %s"):format(name, tostring(value)) end
  end
  table.sort(parts)
  return table.concat(parts, "; ")
end

--- Returns what an answer says of an error, to stand behind a sentence; "" where it says nothing.
---@param answer table? the decoded body
---@param body string? the body, shown where nothing else says what is wrong
---@return string
function wording.said(answer, body)
  local text
  if answer then
    text = answer.detail or answer.message or answer.error or answer.errors or answer.details
    if type(text) == "table" then
      local sentence = text.message or text.msg or text.error
      text = #text > 0 and listed(text) or type(sentence) == "string" and sentence or named(text)
    end
  end
  if type(text) ~= "string" or not text:find "%S" then
    text = (body or ""):gsub("<[^>]*>", " ")
  end
  text = text:gsub("[%c%s]+", " "):gsub("^ ", ""):gsub(" $", "")
  if #text > shown then text = text:sub(1, shown):gsub("[\192-\255][\128-\191]*$", "") end
  return #text > 0 and ": " .. text or ""
end

--- Returns what ended a transfer: libcurl's words, or the HTTP status and what came with it.
---@param event table of the engine
---@return string
function wording.what(event)
  return event.detail or ("HTTP %d%s"):format(event.status, wording.said(nil, event.body))
end

-- What to do about a file that cannot be written, by the system's name of the fault.
local mends = {
  EACCES = "choose a folder that you may write to",
  EDQUOT = "make room, or choose another disk",
  EFBIG = "raise the limit on a file's size (ulimit -f)",
  EISDIR = "give the name of a file in it",
  ELOOP = "give the path that the link leads to",
  EMFILE = "close files, or raise the limit on open ones (ulimit -n)",
  ENAMETOOLONG = "choose a shorter name",
  ENOENT = "make its folder first",
  ENOSPC = "make room, or choose another disk",
  ENOTDIR = "choose another path",
  ENOTSUP = "choose a free name, or a file's",
  EPERM = "choose a folder that you may write to",
  EROFS = "choose a folder that you may write to",
}

--- Returns what the system said of a file that cannot be written, and what to do about it.
---@param message string
---@param code string? the system's name of the fault
---@return string
function wording.unwritten(message, code)
  return mends[code] and message .. ": " .. mends[code] or message
end

return wording
