--- Prompts in the form that the service understands best.
local prompt = {}

-- Pairs of quotation marks, the guide's own first.
local quotes = { { "'", "'" }, { '"', '"' }, { "“", "”" }, { "‘", "’" }, { "«", "»" } }

local function clear_of(marks, text)
  return not text:find(marks[1], 1, true) and not text:find(marks[2], 1, true)
end

--- Makes the prompt that replaces a text in a picture: Replace 'old' with 'new'. Both texts stay
--- as they are; if one has a quotation mark, another kind of quotation marks is used.
---@param old string the text in the picture
---@param new string
---@return string prompt
function prompt.replace_text(old, new)
  if type(old) ~= "string" or type(new) ~= "string" then
    error("replace_text takes two strings: the text in the picture and the new one", 2)
  end
  if old == "" then error("replace_text: the text to be replaced is empty", 2) end
  local marks = quotes[1]
  for _, pair in ipairs(quotes) do
    if clear_of(pair, old) and clear_of(pair, new) then
      marks = pair
      break
    end
  end
  return "Replace " .. marks[1] .. old .. marks[2] .. " with " .. marks[1] .. new .. marks[2]
end

return prompt
