--- Lists of edits: JSON Lines, a JSON array, or CSV with a header; with or without BOM and CRLF.
local chains = require "kontext.chains"
local given = require "kontext.cli.given"
local json = require "kontext.json"
local names = require "kontext.cli.names"
local params = require "kontext.job.params"

local list = {}

-- Other names that a column may have.
local synonyms = { file = "input_image", image = "input_image", output = "save_as" }

-- Fills in the defaults and turns names into pictures; returns the edit, or nil and what is wrong.
local function complete(edit, defaults)
  local explicit = edit.output_format
  local part_of_its_own = edit.region or edit.mask -- an option's is for the others
  for name, value in pairs(defaults) do
    local is_part = name == "region" or name == "mask"
    if edit[name] == nil and not (is_part and part_of_its_own) then edit[name] = value end
  end
  if type(edit.save_as) == "string" then
    if not explicit and names.mismatch(edit.save_as, edit.output_format) then
      edit.output_format = nil -- the name of one line says more than an option for all
    end
    local mismatch = explicit and names.mismatch(edit.save_as, explicit)
    if mismatch then return nil, mismatch end
  end
  local source = edit.input_image
  for name, value in pairs(edit) do
    local field = params.fields[name]
    if field and field.api == "image" and type(value) == "string" then
      edit[name] = given.picture(value)
    end
  end
  given.place(edit)
  local stem = type(source) == "string" and names.stem(source) or nil
  for _, name in ipairs { "prompt", "save_as" } do
    if stem and type(edit[name]) == "string" then edit[name] = list.expand(edit[name], stem) end
  end
  local sound, wrong = pcall(params.refuse_misuse, edit, -1, defaults.model)
  if not sound then return nil, wrong end
  return edit
end

--- Writes a picture's name, without folder and extension, for "{name}" in a prompt or an output.
---@param text string
---@param stem string
---@return string
function list.expand(text, stem)
  return (text:gsub("{name}", function() return stem end))
end

-- Reads an edit from a line of JSON; returns it, or nil and what is wrong.
local function of_line(line, name, defaults)
  local edit, message = json.decode(line)
  if type(edit) ~= "table" then
    return nil, ("%s: no JSON object: %s"):format(name, message or type(edit))
  end
  if type(edit.seed) == "number" then edit.seed = json.integer_field(line, "seed") or edit.seed end
  local wrong
  edit, wrong = complete(edit, defaults)
  if edit then return edit end
  return nil, name .. ": " .. wrong
end

-- Reads a list with one JSON object a line.
local function read_lines(text, path, defaults)
  local edits, called, number = {}, {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local name = ("%s:%d"):format(path, number)
    if line:find "%S" then
      local edit, wrong = of_line(line, name, defaults)
      if not edit then return nil, wrong end
      edits[#edits + 1], called[#called + 1] = edit, name
    end
  end
  return edits, called
end

-- Reads a JSON array of objects.
local function read_array(text, path, defaults)
  local decoded, message = json.decode(text)
  if not decoded then
    return nil, ("%s: no JSON array: %s"):format(path, message)
  end
  local edits, called = {}, {}
  for number, item in ipairs(decoded) do
    local name = ("%s, item %d"):format(path, number)
    if type(item) ~= "table" then return nil, name .. ": no JSON object: " .. type(item) end
    local edit, wrong = complete(item, defaults)
    if not edit then return nil, name .. ": " .. wrong end
    edits[number], called[number] = edit, name
  end
  return edits, called
end

-- Reads a row of CSV from `at`; returns its cells and where the next one begins.
local function read_row(text, at)
  local cells = {}
  while true do
    local cell
    if text:sub(at, at) == '"' then
      local parts = {}
      repeat
        local stop = text:find('"', at + 1, true)
        if not stop then return nil, "a quotation mark is not closed" end
        parts[#parts + 1] = text:sub(at + 1, stop - 1)
        at = stop + 1
      until text:sub(at, at) ~= '"'
      cell = table.concat(parts, '"')
    else
      local stop = text:find("[,\r\n]", at) or #text + 1
      cell = text:sub(at, stop - 1)
      at = stop
    end
    cells[#cells + 1] = cell
    local next_char = text:sub(at, at)
    if next_char ~= "," then
      if next_char ~= "" and not next_char:find "[\r\n]" then
        return nil, "text stands behind a closing quotation mark"
      end
      return cells, text:match("^\r?\n?()", at)
    end
    at = at + 1
  end
end

-- Turns the cells of the first row into names of parameters.
local function name_columns(columns)
  for i, column in ipairs(columns) do
    column = column:match "^%s*(.-)%s*$":lower()
    columns[i] = synonyms[column] or column
  end
end

-- Reads an edit from a row's cells; returns it, or nil and what is wrong.
local function of_cells(cells, columns, name, defaults)
  if #cells > #columns then
    return nil, ("%s: it has %d cells and the header %d: put a text with a comma in quotation "
      .. "marks"):format(name, #cells, #columns)
  end
  local edit = {}
  for i, column in ipairs(columns) do
    if (cells[i] or "") ~= "" then edit[column] = given.value(column, cells[i]) end
  end
  local whole, wrong = complete(edit, defaults)
  if whole then return whole end
  return nil, name .. ": " .. wrong
end

-- Reads CSV whose first row names the columns.
local function read_csv(text, path, defaults)
  local columns, at = read_row(text, 1)
  if not columns then return nil, ("%s: %s"):format(path, at) end
  name_columns(columns)
  local edits, called, number = {}, {}, 1
  while at <= #text do
    local cells, following = read_row(text, at)
    number = number + 1
    local name = ("%s, row %d"):format(path, number)
    if not cells then return nil, name .. ": " .. following end
    at = following
    if #cells > 1 or cells[1] ~= "" then
      local edit, wrong = of_cells(cells, columns, name, defaults)
      if not edit then return nil, wrong end
      edits[#edits + 1], called[#called + 1] = edit, name
    end
  end
  return edits, called
end

-- Returns what is wrong with the edits' keys, or nil.
local function wrong_keys(edits, called)
  local taken = {}
  for i, edit in ipairs(edits) do
    local key = edit.key
    if key ~= nil and taken[key] then
      return ('%s and %s have the same key "%s": give each one of its own'):format(
        called[taken[key]], called[i], tostring(key))
    elseif key ~= nil then
      taken[key] = i
    end
  end
end

-- Returns what is wrong with the edits' destinations, or nil.
local function wrong_places(edits, called)
  local saved = {}
  for i, edit in ipairs(edits) do
    if edit.save_as ~= nil and not edit.no_replace then
      local other = saved[edit.save_as]
      if other then
        return ('%s and %s have the same save_as "%s": give each one of its own'):format(
          called[other], called[i], tostring(edit.save_as))
      end
      saved[edit.save_as] = i
    end
  end
  for i, edit in ipairs(edits) do
    local source = edit.input_image
    local path = type(source) == "table" and source.path or source
    local other = type(path) == "string" and saved[path]
    if other and other ~= i then
      return ("%s would replace %s, which %s edits: give its result another name"):format(
        called[other], path, called[i])
    end
  end
end

-- Returns whether a text's first line is a header of columns that we know.
local function is_csv(text)
  local columns = read_row(text, 1)
  for _, column in ipairs(columns or {}) do
    column = column:match "^%s*(.-)%s*$":lower()
    if #columns > 1 and (column == "prompt" or synonyms[column] or column == "input_image") then
      return true
    end
  end
  return false
end

local most_rows = 1000 -- lines of one row of CSV, whose quotation mark may be missing

-- Returns a function that reads the next row of CSV: it returns the cells; false and what is wrong;
-- or nil at the end.
local function rows_of(next_line, first)
  return function()
    local text = first or next_line()
    first = nil
    if not text then return nil end
    for _ = 1, most_rows do
      local _, marks = text:gsub('"', "")
      if marks % 2 == 0 then break end
      local more = next_line()
      if not more then break end
      text = text .. "\n" .. more
    end
    local cells, wrong = read_row(text, 1)
    return cells or false, wrong
  end
end

--- Reads a list line by line, however long it is: JSON Lines, or CSV with a header. Returns a
--- function that returns the next edit and what it is called; false and what is wrong; or nil at
--- the end. If the list cannot be read, it returns nil and an error.
---@param path string "-" for standard input
---@param defaults table
---@return (fun(): table|false|nil, string)?
---@return table? err
function list.stream(path, defaults)
  local file, message = io.stdin, nil
  if path ~= "-" then file, message = io.open(path, "rb") end
  local first = file and file:read "*l"
  if not file or not first and path ~= "-" and not file:read(0) and file:seek "end" ~= 0 then
    return nil, { kind = "file", charged = false,
      message = "cannot read the list " .. tostring(message or path) }
  end
  local function next_line()
    local line = file:read "*l"
    return line and (line:gsub("\r$", ""))
  end
  first = first and first:gsub("^\239\187\191", ""):gsub("\r$", "")
  if first and first:find "^%s*%[%s*[{%]]?%s*$" or first and first:find "^%s*%[%s*{" then
    return nil, { kind = "invalid", charged = false, message = path
      .. " is a JSON array, which has to be read whole: write one object a line, as with "
      .. "jq -c '.[]'" }
  end
  local number = 0
  if first and is_csv(first) then
    local next_row = rows_of(next_line, first)
    local columns = next_row()
    if not columns then
      return nil, { kind = "invalid", charged = false, message = path .. ": its header is not CSV" }
    end
    name_columns(columns)
    number = 1
    return function()
      while true do
        local cells, wrong = next_row()
        number = number + 1
        local name = ("%s, row %d"):format(path, number)
        if cells == nil then return nil end
        if not cells then return false, name .. ": " .. wrong end
        if #cells > 1 or cells[1] ~= "" then
          local edit, why = of_cells(cells, columns, name, defaults)
          return edit or false, edit and name or why
        end
      end
    end
  end
  return function()
    while true do
      local line = first or next_line()
      first, number = nil, number + 1
      if not line then return nil end
      if line:find "%S" then
        local name = ("%s:%d"):format(path, number)
        local edit, wrong = of_line(line, name, defaults)
        return edit or false, edit and name or wrong
      end
    end
  end
end

--- Reads a list.
---@param path string "-" for standard input
---@param defaults table parameters for what an edit leaves open
---@param is_known? fun(key: string): boolean whether an earlier run has made the edit of that key
---@return table[]? edits
---@return string[]|table called what each is called; or an error
function list.read(path, defaults, is_known)
  local file, message = io.stdin, nil
  if path ~= "-" then file, message = io.open(path, "rb") end
  local text
  if file then
    text, message = file:read "*a"
    if not text then
      message = ("%s: %s: to edit the pictures in a folder, name them: kontext batch "
        .. "--prompt '…' %s/*.jpg"):format(path, tostring(message), (path:gsub("/+$", "")))
    end
  end
  if file and path ~= "-" then file:close() end
  if not text then
    return nil, { kind = "file", message = "cannot read the list " .. tostring(message) }
  end
  text = text:gsub("^\239\187\191", "")
  local reader = text:find "^%s*%[" and read_array
    or (is_csv(text) or path:lower():find "%.csv$") and read_csv
    or read_lines
  local edits, called = reader(text, path, defaults)
  if not edits then return nil, { kind = "invalid", charged = false, message = called } end
  local wrong = wrong_keys(edits, called) or wrong_places(edits, called)
    or chains.wrong(edits, is_known)
  if not wrong then return edits, called end
  wrong = wrong:gsub("^item (%d+)", function(index) return called[tonumber(index)] .. ":" end)
  return nil, { kind = "invalid", charged = false, message = wrong }
end

return list
