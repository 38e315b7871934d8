-- The emulator as any client sees it: driven by curl's command and by bare sockets, and held
-- against the facts that are known of the service.

local emulator = require "kontext.emulator"
local support = require "spec.support.emulator"

local function size_of(bytes)
  local info = assert(require "kontext.core".check { bytes = bytes })
  return ("%dx%d %s"):format(info.width, info.height, info.format)
end

-- Where this Lua cannot run it; else nil.
local other_lua = os.getenv "KONTEXT_EMULATOR_LUA"

describe("emulator.start", function()
  it("gives a base URL in one line, and stops", function()
    local server = assert(emulator.start { lua = other_lua })
    assert.matches("^http://127%.0%.0%.1:%d+$", server.url)
    local probe = ("LD_PRELOAD= curl -s -o /dev/null -w '%%{http_code}' --max-time 5 %s/v1/credits")
      :format(server.url)
    assert.equal("403", support.shell(probe))
    server:stop()
    server:stop()
    assert.equal("000", support.shell(probe))
  end)

  it("has a server that edits", function()
    local server = support.start {}
    finally(function() server:stop() end)
    local picture = server:edit { prompt = "A castle", aspect_ratio = "3:2", seed = 1 }
    local edited = server:edit { prompt = "Snow", input_image = (require "mime".b64(picture)) }
    assert.equal("1248x832 jpeg", (size_of(edited)))
    assert.not_equal(picture, edited)
  end)

  it("raises on an option that it does not know, and on one of a wrong type", function()
    assert.has_error(function() emulator.start { prot = 1 } end, "unknown option 'prot'")
    assert.has_error(function() emulator.serve { port = "80" } end,
      "option 'port' is a number, not a string")
  end)

  it("tells when it cannot start", function()
    local first = assert(emulator.start { lua = other_lua })
    local second, message, err = emulator.start { lua = other_lua,
      port = tonumber(first.url:match "%d+$") }
    first:stop()
    assert.is_nil(second)
    assert.matches("cannot listen on 127.0.0.1, port %d+: Address already in use", message)
    assert.same({ "network", message }, { err.kind, err.message })
  end)
end)

describe("the emulator's manual", function()
  it("tells of every option", function()
    local manual = support.read "docs/emulator.md"
    local options = support.read "lua/kontext/emulator.lua":match "\nlocal OPTIONS = {(.-)\n}"
    for name in options:gmatch "([%w_]+) =" do
      assert.is_truthy(manual:find("\n| `" .. name .. "` |", 1, true), name)
    end
  end)
end)

describe("the emulator's process #once", function()
  local serve = [[timeout 20 lua5.4 -e "require('kontext.emulator').serve{}"]]

  -- Runs a command, and then words of the shell once it has printed a line. Returns what both
  -- print.
  local function began(command, words)
    local path = os.tmpname()
    local said = support.shell(("%s >%s & pid=$!; for i in $(seq 100); do "
      .. "[ -s %s ] && break; sleep 0.1; done; cat %s; "):format(command, path, path, path)
      .. words)
    os.remove(path)
    return said
  end

  for _, signal in ipairs { "INT", "TERM" } do
    it("prints its URL first and ends with status 0 on SIG" .. signal, function()
      -- A shell lets what it starts with "&" ignore SIGINT, and newer timeouts keep that.
      local said = began("env --default-signal=INT " .. serve,
        ("kill -%s $pid; wait $pid; echo status $?"):format(signal))
      assert.matches("^http://127%.0%.0%.1:%d+\nstatus 0\n$", said)
    end)
  end

  it("says in a sentence why it cannot serve", function()
    local said = support.shell "lua5.4 bin/kontext emulator --host 192.0.2.1 2>&1; echo $?"
    assert.matches("^kontext: cannot listen on 192.0.2.1, port 0: [%w ]+\n13\n$", said)
  end)

  for _, lua in ipairs { "lua5.1", "lua5.2", "lua5.3", "lua5.4", "luajit" } do
    it("edits under " .. lua, function()
      local cpath = os.getenv "LUA_CPATH":match "^[^;]*":gsub("/5%.4/%?", "/" .. lua:sub(4) .. "/?")
      local core = cpath:gsub("%?", "kontext/core")
      if support.shell("command -v " .. lua) == "" or not io.open(core) then
        return pending(lua .. ", or the module for it, is not here")
      elseif support.shell(lua .. [[ -e "require 'cqueues'" 2>&1]]) ~= "" then
        return pending("lua-cqueues for " .. lua .. " is not here") -- testing has none for 5.2
      end
      local launcher = os.tmpname()
      support.write(launcher,
        ("#!/bin/sh\nLUA_CPATH='%s;;' exec %s \"$@\"\n"):format(cpath, lua))
      os.execute("chmod +x " .. launcher)
      local server = support.start { lua = launcher }
      finally(function() server:stop() os.remove(launcher) end)
      assert.equal("1024x1024 jpeg", (size_of(server:edit { prompt = "A castle" })))
    end)
  end

  it("ends soon after the script that started it was killed", function()
    local script = "print(require('kontext.emulator').start{}.url) io.flush() "
      .. "os.execute 'sleep 9'"
    local said = began(("lua5.4 -e %q"):format(script), "kill -9 $pid")
    local probe = "LD_PRELOAD= curl -s -o /dev/null -w '%{http_code}' " .. said:match "http%S+"
    for _ = 1, 100 do
      if support.shell(probe) == "000" then return end
      os.execute "sleep 0.1"
    end
    error "it goes on"
  end)
end)
