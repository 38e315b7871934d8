-- The command, run as a program against the emulator of spec.support.sandbox, and what came of it.
local assert = require "luassert"
local sandbox = require "spec.support.sandbox"

local command = {}

--- Runs the command with these words; returns standard output, standard error and the exit code.
function command.run(...)
  local output, code = sandbox.shell(sandbox.command("bin/kontext", ...) .. " 2>.stderr")
  return output, sandbox.read ".stderr", code
end

--- Runs the command and returns its standard output; it must have done what was asked, in silence.
function command.done(...)
  local output, errors, code = command.run(...)
  assert.equal("", errors)
  assert.equal(0, code)
  return output
end

--- Returns the submits that the emulator has seen since `forget`.
function command.submits()
  return sandbox.emulator():requests("POST", "^/v1/flux")
end

--- Asserts an exit code and one sentence on standard error, and nothing sent.
function command.refused(code, pattern, ...)
  sandbox.emulator():forget()
  local output, errors, exit = command.run(...)
  assert.equal("", output)
  assert.equal(code, exit, errors)
  assert.matches("^kontext: [^\n]*" .. pattern .. "[^\n]*\n$", errors)
  assert.equal(0, #sandbox.emulator():requests())
end

-- A shell's words that wait until a condition holds, for a minute at most.
local function wait_until(condition)
  return ("for i in $(seq 600); do if %s; then break; fi; sleep 0.1; done"):format(condition)
end

--- Runs a shell's line in a folder of the sandbox and, once the emulator has polls of so many
--- tasks, the words of `meanwhile`, in which the line is `$job`; then waits for the line's end. A
--- poll shows that the command has read the answer to its submit.
function command.during(accepted, line, meanwhile, folder)
  -- The totals have polls too.
  return sandbox.shell(("cd %s; %s & job=$!; %s; %s; wait $job"):format(folder or ".", line,
    wait_until("[ $(LD_PRELOAD= curl -sS $BFL_BASE_URL/_ledger | tr '{' '\\n' "
      .. "| grep -c '\"polls\":[1-9]') -gt " .. accepted .. " ]"), meanwhile))
end

--- The shell's words that make the emulator end its active tasks.
command.finish = "LD_PRELOAD= curl -sS -X POST $BFL_BASE_URL/_finish"
command.wait_until = wait_until

--- Runs the command with these words and sends it a signal once the emulator has polls of so many
--- tasks; returns what it wrote (standard error only where `both` is set) and the exit code.
function command.ended_by(signal, accepted, both, ...)
  return command.line_ended_by(signal, accepted, sandbox.command("bin/kontext", ...)
    .. (both and "" or " 2>/dev/null"))
end

--- The same for a shell's words, begun in a folder of the sandbox. It is timeout that gets the
--- signal and hands it on, but for KILL: a background job ignores some.
function command.line_ended_by(signal, accepted, words, folder)
  local limit = signal == "KILL" and "" or "timeout 60 "
  return command.during(accepted, limit .. words, "kill -" .. signal .. " $job", folder)
end

--- Returns the digest of a file.
function command.digest(name)
  return (sandbox.shell("sha256sum <" .. sandbox.quote(name)))
end

return command
