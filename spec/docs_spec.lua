-- The pages, the editors' types and the code say the same, and the pages' examples run.
local kontext = require "kontext"
local params = require "kontext.job.params"
local sandbox = require "spec.support.sandbox"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local reference = read "docs/reference.md"
local types = read "types/kontext.lua"

-- The names of an object's public functions.
local function functions(object)
  local names = {}
  for name, value in pairs(object) do
    if type(name) == "string" and type(value) == "function" and not name:find "^_" then
      names[#names + 1] = name
    end
  end
  assert.is_true(#names > 0)
  return names
end

-- The first cells, without `marks`, of the rows of the table under a heading.
local function first_cells(text, heading)
  local from = select(2, assert(text:find("\n#+ " .. heading .. "\n")))
  local part, cells = text:sub(from, (text:find("\n#", from)) or #text), {}
  for cell in part:gmatch "\n| ([^|]+) |" do
    for name in cell:gmatch "`([^`]+)`" do cells[name] = true end
  end
  return cells
end

-- Returns those of a class's functions that are for everybody; all others are for kontext's own
-- rooms.
local function only(class, names)
  local chosen = {}
  for name in names:gmatch "%S+" do chosen[name] = assert(class[name], name) end
  return chosen
end

-- The public objects: what they are called in the types and in the reference.
local function objects()
  local client = kontext.new { base_url = sandbox.url() }
  local job = client:edit { prompt = "x" }
  local image = assert(job:wait(30))
  local batch = client:batch {}
  client:close()
  return {
    { "kontext", ".", kontext, "kontext" },
    { "webhook", ".", kontext.webhook, "kontext.webhook" },
    { "models", ".", { define = kontext.models.define }, "kontext.models" },
    { "Client", ":", only(getmetatable(client).__index, "edit erase outpaint resume credits batch "
      .. "notify step poll pollfd getfd events timeout close"), "client" },
    { "Job", ":", only(getmetatable(job).__index, "wait poll cancel ended token"), "job" },
    { "Batch", ":", getmetatable(batch).__index, "batch" },
    { "Image", ":", { save = image.save, edit = image.edit }, "image" },
  }
end

describe("every public function #once", function()
  it("is in the types and in the reference", function()
    for _, row in ipairs(objects()) do
      for _, name in ipairs(functions(row[3])) do
        local typed = ("function %s%s%s("):format(row[1], row[2], name)
        assert.is_truthy(types:find(typed, 1, true), "types lack " .. typed)
        -- The module has the client's methods under the same names.
        local shown, found = row[4] .. row[2] .. name .. "(", false
        for _, way in ipairs { shown, "kontext." .. name .. "(", "`client:" .. name .. "(" } do
          found = found or reference:find(way, 1, true) and (way == shown or kontext[name] ~= nil)
        end
        assert.is_truthy(found, "the reference lacks " .. shown)
      end
    end
  end)

  it("of the types is there", function()
    local by_name = {}
    for _, row in ipairs(objects()) do by_name[row[1]] = row[3] end
    local count = 0
    for object, name in types:gmatch "\nfunction (%w+)[.:]([%w_]+)%(" do
      assert.is_function(by_name[object][name], object .. "." .. name)
      count = count + 1
    end
    assert.is_true(count > 30)
  end)
end)

describe("the tables #once", function()
  it("have every parameter, and the types too", function()
    local listed = first_cells(reference, "Parameters of an edit")
    for name in pairs(first_cells(reference, "Parameters of other models")) do
      listed[name] = true
    end
    for _, field in ipairs(params.fields) do
      local shown = listed[field.name] or field.name == "input_image_3" -- "2 … 4"
        or field.name:find "^images%[" -- the pictures of "images"
      assert.is_truthy(shown, "the reference lacks " .. field.name)
      local typed = field.name:match "^[^%[]+"
      assert.is_truthy(types:find("\n---@field " .. typed .. "%?? "), field.name)
    end
    for name in pairs(listed) do
      assert.is_truthy(params.fields[name], name .. " is no parameter")
    end
  end)

  it("have every option of a client, and the types too", function()
    local listed = first_cells(reference, "Options")
    local options = types:match "%-%-%-@class kontext%.Options\n(.-)\n\n"
    local count = 0
    for name in options:gmatch "@field ([%w_]+)%?" do
      assert.is_truthy(listed[name], "the reference lacks " .. name)
      local _, message = pcall(kontext.new, { [name] = {} })
      assert.matches(name .. " must be a ", message, 1, true)
      count = count + 1
    end
    for name in pairs(listed) do
      assert.is_truthy(options:find("@field " .. name .. "%?"), "the types lack " .. name)
    end
    assert.is_true(count >= 14)
  end)

  it("have every option of a batch", function()
    local listed = first_cells(reference, "kontext.batch%(list, options%) → batch")
    local options = types:match "%-%-%-@class kontext%.BatchOptions\n(.-)\n\n"
    for name in options:gmatch "@field ([%w_]+)%?" do
      assert.is_truthy(listed[name], "the reference lacks " .. name)
      local _, message = pcall(kontext.batch, {}, { [name] = {} })
      assert.matches(name .. " must be a ", message, 1, true)
    end
    for name in pairs(listed) do
      assert.is_truthy(options:find("@field " .. name .. "?", 1, true), "the types lack " .. name)
    end
  end)

  it("have every kind of error that the sources make, and no other", function()
    local listed, typed = first_cells(reference, "Errors"), {}
    for kind in types:match("@alias kontext.ErrorKind\n(.-)\n\n"):gmatch '| "([%w_]+)"' do
      typed[kind] = true
      assert.is_truthy(listed[kind], "the reference lacks " .. kind)
    end
    local sources = assert(io.popen "cat lua/kontext/*.lua lua/kontext/*/*.lua src/error.c")
    local text, made = sources:read "*a", 0
    sources:close()
    for kind in text:gmatch '[%s{]kind = "([%w_]+)"' do
      -- The command's own, what becomes one of job.warnings, and what Neovim's pickers are told.
      if not ({ interrupted = 1, output = 1, warning = 1, kontext = 1 })[kind] then
        assert.is_truthy(typed[kind], "unknown kind " .. kind)
        made = made + 1
      end
    end
    assert.is_true(made > 10)
  end)

  it("have every rehearsal of the emulator", function()
    local rows = { "| `[emulate: …]` | what happens |", "|---|---|" }
    for _, row in ipairs(require "kontext.emulator".rehearsals) do
      rows[#rows + 1] = ("| `%s%s` | %s |"):format(row.name, row.number and " N" or "", row.about)
    end
    local wanted = table.concat(rows, "\n")
    assert.is_truthy(reference:find(wanted, 1, true), "the reference needs this:\n" .. wanted)
  end)

  it("have every exit code of the command", function()
    local rows = { "| code | kind | what |", "|---|---|---|" }
    for _, row in ipairs(require "kontext.cli".codes) do
      local kind = row[2] ~= "" and "`" .. row[2] .. "`" or ""
      rows[#rows + 1] = ("| %d | %s | %s |"):format(row[1], kind, row[3])
    end
    local wanted = table.concat(rows, "\n")
    assert.is_truthy(reference:find(wanted, 1, true), "the reference needs this:\n" .. wanted)
  end)
end)

-- Returns the blocks of a language in a page, as {line, code}.
local function blocks(text, language)
  local list = {}
  for at, code in text:gmatch("\n()```" .. language .. "\n(.-)\n```") do
    list[#list + 1] = { line = select(2, text:sub(1, at):gsub("\n", "")) + 1, code = code }
  end
  return list
end

-- Asserts that a program's output has what its comments say it prints.
local function assert_prints(code, output)
  for line, shown in code:gmatch "\n([^\n]*) %-%->([^\n]*)" do
    local first = shown:gsub("^%s+", ""):gsub("%s*:.*$", "")
    assert.is_truthy(output:gsub("%s+", " "):find(first:gsub("%s+", " "), 1, true),
      line .. " printed " .. output)
  end
end

-- What a page's shell blocks need around them: this checkout's command, the photographs that the
-- pages speak of, and no installation.
local shell = [[
set -e
cat > kontext-bin <<END
#!/bin/sh
exec %s "$KONTEXT"/bin/kontext "\$@"
END
chmod +x kontext-bin; mkdir -p bin photos; mv kontext-bin bin/kontext; export PATH="$PWD/bin:$PATH"
for name in cat.jpg sign.jpg photos/1.jpg photos/2.jpg; do [ -e $name ] || cp car.jpg $name; done
]]

describe("every example #once", function()
  for _, page in ipairs { "docs/reference.md", "README.md", "docs/errors.md", "docs/cookbook.md",
    "docs/privacy.md", "docs/prompting.md", "docs/emulator.md" } do
    local text = read(page)
    local programs, scripts = blocks(text, "lua"), blocks(text, "sh")
    it(("of %s runs in Lua (%d)"):format(page, #programs), function()
      for _, block in ipairs(programs) do
        local output, code = sandbox.run(block.code)
        assert.equal(0, code, ("%s:%d: %s"):format(page, block.line, output))
        assert_prints(block.code, output)
      end
    end)

    -- What installs or tests has `make` in it and is not run here; spec/install_spec.lua installs.
    -- What serves until Ctrl-C, or needs a key, is marked ```console.
    it(("of %s runs in a shell (%d)"):format(page, #scripts), function()
      for _, block in ipairs(page == "docs/reference.md" and {} or scripts) do
        if not block.code:find "make %l" then
          local output, code = sandbox.shell(shell:format("lua5.4") .. block.code .. "\n:")
          assert.equal(0, code, ("%s:%d: %s"):format(page, block.line, output))
        end
      end
    end)
  end
end)
