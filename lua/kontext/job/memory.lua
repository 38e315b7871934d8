--- What outlives a process: the fields of a job in a token and a journal, and how another process
--- takes them over. These are methods of a job.
local compose = require "kontext.job.compose"
local image = require "kontext.image"

local memory = {}

--- Returns the job's fields for a token or a journal.
---@param self kontext.Job
---@return table<string, any>
function memory.known(self)
  local given = self._params
  local known = {
    id = self.id, polling_url = self.polling_url, model = given.model, key = given.key,
    save_as = given.save_as, no_replace = given.no_replace and "1" or nil,
    output_format = given.output_format, identity = given.key and self:identity() or nil,
    at = self._accepted_wall and ("%d"):format(self._accepted_wall) or nil, entry = self._entry,
    own_url = self._own_url and "1" or nil, -- it may be the wrong host for the next process too
  }
  compose.note(given.window, known)
  return known
end

--- Takes over a task that an earlier process began.
---@param self kontext.Job
---@param known table id, polling_url, at, entry, own_url
function memory.adopt(self, known)
  self.id, self.polling_url, self._own_url = known.id, known.polling_url, known.own_url
  self._accepted_wall, self._entry, self._identity = known.at, known.entry, known.identity
end

--- Ends the job with the picture that an earlier run has saved.
---@param self kontext.Job
---@param entry kontext.JournalEntry
function memory.find_saved(self, entry)
  local known = self._client.system.check { path = entry.path } or {}
  self.id = entry.id
  self.image = image.new({ id = entry.id, path = entry.path, prompt = self._params.prompt,
    format = known.format, width = known.width, height = known.height }, self)
  self:finish "ready"
end

return memory
