-- Each host for real: three edits at once through the emulator, while a 2 ms clock of the host's
-- own ticks. What is not installed is skipped by name; `make deps-hosts` installs it.
local core = require "kontext.core"
local kontext = require "kontext"
local support = require "spec.hosts.support"

-- Seconds that the host's clock may stand, without those in which the machine ran others; where the
-- clock is a request's from outside, or coarse by itself, it cannot be told so exactly. Nobody is
-- told what a virtual machine takes for itself: the first of some runs without such a gap counts.
local GAP, COARSE_GAP = 0.005, 0.02
local TRIES = 5

-- Which build of the module it loads, what it needs ("command", or "lua module"), how it is run,
-- how long its clock may stand.
local hosts = {
  { "luv", "5.4", "lua5.4 luv", "lua5.4 spec/hosts/luv.lua" },
  { "cqueues", "5.4", "lua5.4 cqueues", "lua5.4 spec/hosts/cqueues.lua" },
  { "copas", "5.1", "lua5.1 copas", "lua5.1 spec/hosts/copas.lua" },
  { "GLib through lgi", "5.3", "lua5.3 lgi", "lua5.3 spec/hosts/glib.lua" },
  { "libevent, adapted", "5.4", "lua5.4 luaevent.core", "lua5.4 spec/hosts/own.lua", COARSE_GAP },
  { "Neovim", "jit", "nvim", "nvim --headless -u NONE -i NONE -S spec/hosts/nvim.lua" },
  { "Prosody", "5.4", "prosody", "prosody -F --config spec/hosts/prosody.cfg.lua",
    COARSE_GAP },
  { "mpv", "5.2", "mpv", "mpv --no-config --idle --vo=null --ao=null --script=spec/hosts/mpv.lua" },
  { "nginx", "jit", "nginx", "lua5.4 spec/hosts/serve.lua nginx", COARSE_GAP },
  { "HAProxy", "5.3", "haproxy", "lua5.4 spec/hosts/serve.lua haproxy", COARSE_GAP },
  { "awesome", "5.3", "awesome", "xvfb-run -a awesome -c spec/hosts/awesome.lua" },
  { "LÖVE", "jit", "love", "xvfb-run -a love spec/hosts/love", COARSE_GAP },
  { "darktable", "5.4", "darktable", "sh spec/hosts/darktable.sh darktable.lua" },
}

local width, height = kontext.output_size { path = support.photo }

describe("in a host of its own", function()
  local runner

  setup(function() runner = support.start(support.photo) end)
  teardown(function() runner:stop() end)

  -- Runs a host once, and returns its report.
  local function three_edits(build, command)
    local said = runner:host(build, command)
    local read = loadfile(runner.out .. "/report")
    assert.is_function(read, said)
    local report = read()
    assert.equal("", report.problems)
    assert.equal(3, runner.server:ledger().totals.accepted)
    assert.equal(3, runner.server:ledger().totals.downloads)
    for n = 1, 3 do
      local info = core.check { path = ("%s/%d.jpg"):format(runner.out, n) }
      assert.same({ "jpeg", width, height }, { info.format, info.width, info.height })
    end
    assert.is_true(report.ticks > 50)
    return report
  end

  for _, host in ipairs(hosts) do
    local name, build, need, command, most = host[1], host[2], host[3], host[4], host[5] or GAP
    it("edits three pictures at once in " .. name .. ", whose clock goes on", function()
      if not support.is_there(need) then return pending(need .. " is not installed") end
      local report
      for _ = 1, TRIES do
        runner:afresh()
        report = three_edits(build, command)
        if report.own < most then break end
      end
      print(("%-17s %-3s %4d ticks, 99 of 100 within %4.1f ms, longest %5.1f, the host's own %4.1f")
        :format(name, build, report.ticks, report.p99 * 1000, report.gap * 1000, report.own * 1000))
      assert.is_true(report.own < most, ("the clock stood for %.1f ms"):format(report.own * 1000))
    end)
  end

  -- spec/hosts/behaviour.lua says what: who is woken and when, limits, cancel, raise, close.
  for _, loop in ipairs {
    { "luv", "5.4", "lua5.4 luv" }, { "cqueues", "5.4", "lua5.4 cqueues" },
    { "copas", "5.1", "lua5.1 copas" }, { "glib", "5.3", "lua5.3 lgi" },
  } do
    it("keeps what waiting promises in " .. loop[1], function()
      if not support.is_there(loop[3]) then return pending(loop[3] .. " is not installed") end
      runner:afresh()
      local said = runner:host(loop[2],
        ("lua%s spec/hosts/behaviour.lua %s"):format(loop[2], loop[1]))
      assert.matches("ok\n$", said)
    end)
  end
end)
