-- A folder with a photograph in it, and an emulator: for examples and the command, run as programs.

local emulator = require "spec.support.emulator"
local kontext = require "kontext"

local sandbox = {}

local served, folder

-- Returns a text as a word of the shell.
local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
sandbox.quote = quote

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Returns the interpreter that runs this spec.
local function interpreter()
  local running, at = rawget(_G, "arg"), 0
  while running and running[at - 1] do at = at - 1 end
  return running and at < 0 and running[at] or "lua"
end

--- Returns the emulator that all share, as support.emulator makes it.
function sandbox.emulator()
  if not served then
    served = emulator.start { ready_after = 0.1 }
    folder = output_of("mktemp -d"):gsub("\n", "")
    local client = kontext.new { base_url = served.url }
    local made = assert(client:edit { prompt = "A car", aspect_ratio = "3:2" }:wait(30))
    assert(made:save(folder .. "/car.jpg"))
    client:close()
  end
  return served
end

function sandbox.url() return sandbox.emulator().url end

--- Returns a path in the sandbox's folder.
function sandbox.path(name)
  sandbox.emulator()
  return folder .. "/" .. name
end

--- Runs a shell command in the folder, with the emulator as the service; returns what it wrote and
--- its exit code. The modules are found as this spec finds them: LUA_PATH is absolute.
function sandbox.shell(command)
  local url, root = sandbox.url(), output_of("pwd"):gsub("\n", "")
  local text = output_of(("cd %s && export BFL_BASE_URL=%s KONTEXT=%s XDG_STATE_HOME=%s/.state "
    .. "&& unset BFL_API_KEY; { %s; } 2>&1; echo \"=$?\""):format(quote(folder), url, quote(root),
    quote(folder), command))
  local output, code = text:match "^(.*)=(%d+)\n$"
  return output, tonumber(code)
end

--- Returns the shell's words that run a Lua program with the interpreter of this spec.
function sandbox.program(code)
  return ("%s -e %s"):format(interpreter(), quote(code))
end

--- Runs a Lua program in the folder with the interpreter of this spec.
function sandbox.run(code)
  return sandbox.shell("timeout 60 " .. sandbox.program(code))
end

--- Returns the shell's words that run a Lua file of this checkout with arguments. It polls often.
function sandbox.command(path, ...)
  local words = { interpreter(), "-l spec.support.soon", '"$KONTEXT"/' .. path }
  for _, word in ipairs { ... } do words[#words + 1] = quote(word) end
  return table.concat(words, " ")
end

--- Runs a file of this checkout with arguments.
function sandbox.file(path, ...)
  return sandbox.shell("timeout 60 " .. sandbox.command(path, ...))
end

--- Returns what a file of the folder holds.
function sandbox.read(name)
  local file = assert(io.open(sandbox.path(name), "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

--- Writes a file into the folder.
function sandbox.write(name, bytes)
  local file = assert(io.open(sandbox.path(name), "wb"))
  assert(file:write(bytes))
  file:close()
end

--- Ends the emulator and removes the folder.
function sandbox.close()
  if not served then return end
  served:stop()
  os.execute("rm -rf " .. quote(folder))
  served, folder = nil, nil
end

return sandbox
