-- A queue for the specs of this folder: one PostgreSQL and one emulator for all of them, a folder
-- with a photograph, and the command as a program.

local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local postgres = require "spec.support.postgres"

local support = {}

local quote = emulator.quote
local server, served, folder, via
local users = 0

--- Returns why there can be none here, or nil.
support.missing = postgres.missing

--- Begins to use them; `leave` ends it. The options are the emulator's, and the database's.
function support.enter(options, more)
  users = users + 1
  if server then return end
  server = postgres.start(more or { tcp = true })
  served = emulator.start(type(options) == "table" and options or { ready_after = 0.1 })
  folder = emulator.shell "mktemp -d":gsub("\n", "")
  emulator.shell("cp docs/before.jpg " .. folder .. "/car.jpg")
end

function support.leave()
  users = users - 1
  if users > 0 or not server then return end
  server:close()
  served:stop()
  emulator.shell("rm -rf " .. quote(folder))
  server, served, folder, via = nil, nil, nil, nil
end

function support.server() return server end
function support.emulator() return served end
function support.folder() return folder end
function support.path(name) return folder .. "/" .. name end
function support.url() return server.url end
--- The command uses the database by this address from now on; nil: by its own.
function support.go_via(url) via = url end
function support.sql(text) return server:sql(text) end

--- An empty queue, an empty ledger and an empty folder.
function support.fresh()
  server:sql "DROP SCHEMA IF EXISTS kontext CASCADE"
  support.run("queue init --quiet")
  served:forget()
  emulator.shell("cd " .. quote(folder) .. " && ls | grep -vx car.jpg | xargs rm -rf")
end

-- Returns the interpreter that runs this spec.
local function interpreter()
  local running, at = rawget(_G, "arg"), 0
  while running and running[at - 1] do at = at - 1 end
  return running and at < 0 and running[at] or "lua"
end

--- Returns the shell's words that run the command with these words in the folder.
function support.command(words)
  local root = emulator.shell "pwd":gsub("\n", "")
  return ("cd %s && KONTEXT_QUEUE=%s BFL_BASE_URL=%s XDG_STATE_HOME=%s/.state exec %s "
    .. "%s/bin/kontext %s"):format(quote(folder), quote(via or server.url), served.url,
      quote(folder), interpreter(), quote(root), words)
end

--- Runs it; returns what it wrote on both streams and its exit code.
function support.run(words, seconds)
  local text = emulator.shell(("timeout -k 2 %d sh -c %s 2>&1; echo \"=$?\""):format(seconds or 40,
    quote(support.command(words))))
  local output, code = text:match "^(.*)=(%d+)\n$"
  return output, tonumber(code)
end

--- Begins it in the background; returns its process number.
function support.spawn(words, log)
  return tonumber((emulator.shell(("sh -c %s >%s/%s 2>&1 </dev/null & echo $!"):format(
    quote(support.command(words)), quote(folder), log or "log")):match "%d+"))
end

function support.signal(name, pid)
  emulator.shell(("kill -%s %d 2>/dev/null"):format(name, pid))
end

--- Waits until `check` returns something true, for up to `seconds`; returns it.
function support.await(seconds, check)
  local stop = core.now() + seconds
  while true do
    local found = check()
    if found or core.now() > stop then return found end
    core.sleep(0.05)
  end
end

--- Returns whether a process of that number still runs.
function support.is_alive(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  local text = file and file:read "*l" or ""
  if file then file:close() end
  return text ~= "" and not text:find "%) [ZX] "
end

--- Writes a list of `count` edits with keys NAME-1 …; each prompt is its key, and `words` where
--- the emulator has to rehearse something.
function support.list(name, count, words)
  local lines = {}
  for i = 1, count do
    lines[i] = ('{"key":"%s-%d","prompt":"%s-%d%s","input_image":"car.jpg",'
      .. '"save_as":"%s-%d.jpg"}\n')
      :format(name, i, name, i, words or "", name, i)
  end
  emulator.write(folder .. "/" .. name .. ".jsonl", table.concat(lines))
end

--- Returns the counts of rows by state, as "saved 3, waiting 2".
function support.states()
  return (server:sql("SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT "
    .. "state, count(*) AS n FROM kontext.edits GROUP BY state) s"))
end

--- Returns what the emulator's ledger adds up to.
function support.totals() return served:ledger().totals end

return support
