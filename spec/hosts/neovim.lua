-- The Neovim plugin: its promises in a headless Neovim, and its screen in a terminal.
local core = require "kontext.core"
local json = require "kontext.json"
local support = require "spec.hosts.support"

local NVIM = "nvim -n -u NONE -i NONE --cmd 'set runtimepath^=%s' --cmd 'filetype on' "
  .. "--cmd 'runtime plugin/kontext.lua' "
NVIM = NVIM:format(support.shell "pwd":match "[^\n]+")

local SESSION = "spec/hosts/plugin_session.lua"

describe("the Neovim plugin", function()
  local runner

  setup(function() runner = support.start(support.small, { ready_after = 1 }) end)
  teardown(function() runner:stop() end)

  if not support.is_there "nvim" then
    return it("is tried in Neovim", function() pending "nvim is not installed" end)
  end

  describe("", function()
    local results, said = {}, nil

    setup(function()
      runner:afresh()
      said = runner:host("jit", NVIM .. "--headless -S " .. SESSION)
      for line in io.lines(runner.out .. "/results") do
        local result = assert(json.decode(line))
        results[result.name] = result.problem or "kept"
      end
    end)

    for line in io.lines(SESSION) do
      local name = line:match '^promise%("(.*)", function'
      if name then it(name, function() assert.equal("kept", results[name], said) end) end
    end
  end)

  it("gets after its end what it was left with, in another Neovim", function()
    runner:afresh()
    os.execute(("cp %s %s/car.jpg"):format(runner.photo, runner.out))
    local function session(...)
      local command = { "cd", runner.out, "; XDG_DATA_HOME=" .. runner.out, NVIM, "--headless" }
      for _, line in ipairs { ... } do command[#command + 1] = ("-c '%s'"):format(line) end
      return runner:host("jit", ("sh -c %q"):format(table.concat(command, " ") .. " -c qall!"))
    end
    session("Kontext edit car.jpg [emulate: slow 2]", "sleep 1")
    assert.is_nil(core.check { path = runner.out .. "/car-kontext-1.jpg" })
    assert.matches("^%-rw%-%-%-%-%-%-%-",
      support.shell(("ls -l %s/nvim/kontext/*.json"):format(runner.out)))

    assert.matches("kontext: an edit was left unfinished; :Kontext resume goes on with it",
      session("doautocmd VimEnter", "sleep 300m"))

    local said = session("Kontext resume",
      "lua vim.wait(9000, function() return vim.fn.filereadable(\"car-kontext-1.jpg\") == 1 end)",
      "sleep 300m", "Kontext list", "Kontext resume")
    local info = core.check { path = runner.out .. "/car-kontext-1.jpg" }
    assert.equal("jpeg", info and info.format, said)
    assert.matches("ready +car.jpg", said)
    assert.matches("no edit was left unfinished", said)
    assert.equal(1, runner.server:ledger().totals.submits)
  end)

  it("says in a sentence that it is not built, wherever it is asked for something", function()
    runner:afresh()
    local out = runner.out
    os.execute(("cp -r lua plugin %s; rm -f %s/lua/kontext/core.so"):format(out, out))
    local said = runner:host("jit", ("env -u LUA_PATH -u LUA_CPATH nvim -n -u NONE -i NONE "
      .. "--headless --cmd 'set runtimepath^=%s' -c 'runtime plugin/kontext.lua' "
      .. "-c 'lua require([[kontext.nvim]]).setup {}' -c 'Kontext edit car.jpg red' "
      .. "-c 'sleep 300m' -c qall!"):format(out))
    local sentence = "kontext is not built: run `make nvim` in " .. out
      .. " (:checkhealth kontext says more)"
    local told = {}
    for line in said:gmatch "[^\r\n]+" do
      if not line:find "^Error detected" then told[#told + 1] = line end -- so notices begin
    end
    assert.same({ sentence, sentence }, told)
  end)

  -- spec/hosts/terminal.py answers what a terminal is asked, and writes what it was sent.
  it("learns from the terminal itself that it draws kitty's graphics", function()
    local version = tonumber(support.shell "nvim --version":match "NVIM v0%.(%d+)")
    for _, answers in ipairs { { "kitty(0.40.0)", 10 }, { "unknown", 12, "graphics" } } do
      runner:afresh()
      os.execute(("cp %s %s/car.jpg"):format(runner.photo, runner.out))
      runner:host("jit", ("env -u TMUX -u STY TERM=xterm-256color python3 spec/hosts/terminal.py "
        .. "%s/typed '%s' '%s' ':Kontext edit car.jpg Make it a winter night' "):format(
        runner.out, answers[1], answers[3] or "") .. NVIM .. runner.out .. "/notes.txt "
        .. ("--cmd 'cd %s'"):format(runner.out))
      local typed = assert(io.open(runner.out .. "/typed", "rb")):read "*a"
      local drawn = select(2, typed:gsub("\27_Ga=T", ""))
      assert.equal(version >= answers[2] and 2 or 0, drawn)
      assert.equal(version >= answers[2], typed:find "▀" == nil)
      assert.equal(1, runner.server:ledger().totals.accepted)
    end
  end)

  describe("on the screen", function()
    local PATIENCE = 20 -- seconds for something to show
    local terminal

    -- Starts Neovim in a terminal of 120 × 40 cells, in the run's folder. What it writes is in the
    -- file "typed" there.
    local function start(more)
      runner:afresh()
      os.execute(("cp %s %s/car.jpg"):format(runner.photo, runner.out))
      local file = assert(io.open(runner.out .. "/start", "w"))
      file:write("echo $$ >pid\nexec ", NVIM, more, "\n")
      file:close()
      terminal = "tmux -L kontext-" .. runner.out:match "[^./]+$"
      runner:host("jit", ("%s -f /dev/null new-session -d -x 120 -y 40 -c %s %q")
        :format(terminal, runner.out, "script -qfc 'sh start' typed"))
    end

    local function keys(...)
      for _, key in ipairs { ... } do support.shell(("%s send-keys %q"):format(terminal, key)) end
    end

    -- Waits until the screen shows a pattern, and another if there is one, and returns the screen.
    local function shows(pattern, other)
      local late = core.now() + PATIENCE
      local seen
      repeat
        seen = support.shell(terminal .. " capture-pane -p")
        if seen:find(pattern) and seen:find(other or "") then return seen end
        os.execute "sleep 0.05"
      until core.now() > late
      error(("the screen never showed %q:\n%s"):format(pattern, seen))
    end

    after_each(function()
      if not terminal then return end
      support.shell(terminal .. " kill-server")
      -- Neovim may outlive the terminal that script(1) made for it.
      support.shell(("kill -KILL $(cat %s/pid) 2>/dev/null"):format(runner.out))
    end)

    it("moves while one types, and shows before and after in the pictures' colours", function()
      if not support.is_there "tmux" then return pending "tmux is not installed" end
      start "--cmd 'set termguicolors' notes.txt"
      shows "notes.txt"
      keys(":Kontext edit car.jpg Make it a winter night", "Enter", "i", "I can go on typing")
      shows("car.jpg [█░]+ %a+", "I can go on typing")
      assert.matches("INSERT", shows "car.jpg %d+×%d+ .*car%-kontext%-1.jpg %d+×%d+")
      keys ", still"
      shows "I can go on typing, still"

      -- The cells of the pictures' first row, as the terminal has them, against the pixels.
      local row = support.shell(terminal .. " capture-pane -p -e"):match "car.jpg[^\n]*\n([^\n]*)"
      local above, below, seen, columns = nil, nil, {}, 0
      for escapes, text in row:match "│(.*)│":gmatch "([\27%[%d;m]*)([^\27]*)" do
        above = escapes:match "38;2;(%d+;%d+;%d+)" or above
        below = escapes:match "48;2;(%d+;%d+;%d+)" or below
        for _ in text:gmatch "▀" do seen[#seen + 1] = above .. " " .. below end
        columns = text:find "^ +$" and #seen or columns -- of the left one, up to the gap
      end
      local rows = select(2, shows("▀"):gsub("\n[^\n]*▀", ""))
      local rgb = core.thumbnail({ path = runner.photo }, columns, 2 * rows)
      local color = "%d;%d;%d"
      for x = 0, columns - 1 do
        assert.equal(color:format(rgb:byte(3 * x + 1, 3 * x + 3)) .. " "
          .. color:format(rgb:byte(3 * (columns + x) + 1, 3 * (columns + x) + 3)), seen[x + 1])
      end
      assert.is_true(columns > 20 and #seen > columns + 20)
    end)

    -- The graphics' own forms are proven in spec/terminal_spec.lua: here that they arrive whole.
    for graphics, form in pairs {
      kitty = "\27_Ga=T[^\27]*i=%d[^\27]*\27\\",
      iterm2 = "\27%]1337;File=inline=1;[^\7\27]*\7",
      sixel = "\27P0;1;0q[^\27]*%-\27\\",
    } do
      it("draws both pictures with the graphics of " .. graphics .. ", whole", function()
        if not support.is_there "tmux" then return pending "tmux is not installed" end
        start(([[-c 'lua require("kontext.nvim").setup { graphics = "%s" }' notes.txt]])
          :format(graphics))
        shows "notes.txt"
        keys(":Kontext edit car.jpg Make it a winter night", "Enter")
        shows "car.jpg %d+×%d+ .*car%-kontext%-1.jpg %d+×%d+"
        local function drawn()
          local typed = assert(io.open(runner.out .. "/typed", "rb")):read "*a"
          return (select(2, typed:gsub("\27%[%d+;%d+H" .. form, "")))
        end
        for _ = 1, 200 do
          if drawn() == 2 then break end
          os.execute "sleep 0.1"
        end
        os.execute "sleep 0.5" -- for one too many
        assert.equal(2, drawn())
      end)
    end
  end)
end)
