-- A program that keeps its Lua to itself, as VLC and OBS do: spec/hosts/private.c, with each Lua
-- whose library and build are here.
local support = require "spec.support.emulator"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- Where the linker finds a library, or nil.
local function library_of(name)
  local paths = support.shell "/sbin/ldconfig -p"
  return paths:match("\n%s+" .. name:gsub("%p", "%%%0") .. " [^\n]* => (%S+)")
end

describe("a program that loads its Lua privately #once", function()
  local folder, server

  setup(function()
    folder = support.shell "mktemp -d":match "%S+"
    support.shell(("cc -o %s/private spec/hosts/private.c -ldl"):format(folder))
    server = support.start { ready_after = 0 }
  end)
  teardown(function()
    server:stop()
    support.shell("rm -rf " .. folder)
  end)

  local function run(library, version, script)
    support.write(folder .. "/script.lua", script)
    return support.shell(([[
      export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/%s/?.so;;"
      BFL_BASE_URL=%s BFL_API_KEY=spec %s/private %s %s/script.lua 2>&1]]):format(
      version, server.url, folder, library, folder))
  end

  for version, name in pairs {
    ["5.1"] = "liblua5.1.so.0", ["5.2"] = "liblua5.2.so.0", ["5.3"] = "liblua5.3.so.0",
    ["5.4"] = "liblua5.4.so.0", ["5.5"] = "liblua5.5.so.0", jit = "libluajit-5.1.so.2",
  } do
    local library = library_of(name)
    if library and exists(("build/%s/kontext/core.so"):format(version)) then
      it("edits a picture all the same: " .. name, function()
        assert.matches("undefined symbol: lua",
          run(library, version, "print(pcall(require, 'kontext.core'))"))
        server:forget()
        assert.equal("ready jpeg true\n", run(library, version, [[
          local kontext = require "kontext"
          local job = kontext.edit { prompt = "Make it red",
            input_image = "docs/before.jpg" }
          local image = assert(job:wait())
          print(job.status, image.format, package.loaded["kontext.promote"])]]):gsub("\t", " "))
        assert.equal(1, server:ledger().totals.accepted)
      end)

      it("finds what it looks for by name, too: " .. name, function()
        assert.equal("true\ttable\n", run(library, version,
          "print((require 'kontext.promote'), type(require 'kontext.core'))"))
      end)
    end
  end

  it("is refused where another Lua is visible: the functions of both would be mixed", function()
    local library = assert(library_of "liblua5.4.so.0")
    local other = assert(library_of "liblua5.3.so.0")
    assert.equal("false\n", run(library, "5.4", ([[
      assert(package.loadlib(%q, "*"))
      print((require "kontext.promote"))]]):format(other)))
  end)

  it("needs nothing made visible where Lua is the program's own", function()
    local said = support.shell [[
      LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/5.4/?.so;;" \
        lua5.4 -e 'require "kontext"; print(package.loaded["kontext.promote"])']]
    assert.equal("nil\n", said)
  end)
end)
