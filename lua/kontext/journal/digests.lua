--- Digests of files, made by the engine's worker, so that a key by content does not block the host.
local digests = {}

-- Digests the next file, or returns all digests to the caller.
local function next_file(self)
  local path = self.paths[self.at]
  if not path then return self.done(self.found) end
  if self.found[path] then
    self.at = self.at + 1
    return next_file(self)
  end
  local id, message, code = self.client.transport:digest(self, path)
  if not id then self.done(nil, message, code) end
end

-- Takes the place of a job for the transport.
local Asker = {}
Asker.__index = Asker

function Asker:receive(event)
  if event.kind then return self.done(nil, event.detail, event.code) end
  self.found[self.paths[self.at]] = event.digest
  self.at = self.at + 1
  next_file(self)
end

function Asker:crash(problem)
  self.done(nil, tostring(problem))
end

function Asker.show() end

--- Digests files, then calls `done` from a step with {path = SHA-256}; or with nil, message and
--- code.
---@param client kontext.Client
---@param paths string[]
---@param done fun(digests: table<string, string>?, message: string?, code: string?)
function digests.of(client, paths, done)
  local asker = { client = client, paths = paths, at = 1, found = {}, done = done }
  next_file(setmetatable(asker, Asker))
end

return digests
