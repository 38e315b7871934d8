--- Where the picture goes. The destination is checked before anything is paid, by the code that
--- will write it; a default name is reserved; a picture that cannot be saved is put aside, in a
--- place that the message names.
local image = require "kontext.image"
local wording = require "kontext.wording"

local save = {}

local most_names = 10000 -- of one picture: car-edit.jpg, car-edit-2.jpg …

-- Returns the n-th name like `path`.
local function numbered(path, n)
  if n == 1 then return path end
  local stem, extension = path:match "^(.*[^/])(%.%w+)$"
  return ("%s-%d%s"):format(stem or path, n, extension or "")
end

-- Returns the path without links and dots, so that the client can compare it with others.
local function plain(self, path)
  return self._client.system.real_path(path) or path
end

local function refusal(message, code)
  return { kind = "file", code = code, stage = "check", charged = false, retryable = true,
    message = message }
end

-- Returns why a picture cannot be saved, and how to fix it; a long name is cut before the reason.
local function cannot_save(path, message, code)
  local shown = wording.cut(path, 300)
  if message:sub(1, #path) == path then message = shown .. message:sub(#path + 1) end
  return ("cannot save the picture as %s: %s"):format(shown, wording.file_advice(message, code))
end

-- Returns a stamp that distinguishes files under the same name, or nil without a file.
local function stamp_of(self, path)
  local info = self._client.system.file_info(path)
  return info and ("%s %s %s %s"):format(info.device, info.inode, info.bytes, info.mtime) or nil
end

-- Returns whether another program wrote the destination after it was claimed, and warns: the user
-- did not allow that file to be replaced.
local function was_written(self, path)
  local now = not self._reserved and stamp_of(self, path)
  if not now or now == self._found then return false end
  self:warn(("%s was written by another program meanwhile, and stays as it is"):format(
    wording.cut(path, 300)))
  return true
end

-- Takes a destination in place of the job's earlier one.
local function hold(self, path)
  local client = self._client
  if self._destination then client:set_destination(self._destination, nil) end
  self._destination = plain(self, path)
  client:set_destination(self._destination, self)
end

-- Returns whether an empty file keeps that name for the job: the caller's, or one that an earlier
-- process left for a task that is resumed.
local function is_kept(self, path)
  if self._params.reserved then return true end
  local info = self.id and self._client.system.file_info(path)
  return info ~= nil and info ~= false and info.bytes == 0
end

-- Reserves the given name or a numbered one; returns an error's fields if that fails.
local function reserve(self, path)
  local client = self._client
  for n = 1, most_names do
    local name = numbered(path, n)
    if client:destination(plain(self, name)) == nil then
      local made, message, code = client.system.reserve(name)
      if made == false and n == 1 and not self._reserved then made = is_kept(self, name) end
      if made then
        self._asked_as = self._asked_as or self._params.save_as
        self._params.save_as, self._reserved = name, name
        hold(self, name)
        return nil
      elseif made == nil then
        return refusal(cannot_save(name, message, code), code)
      end
    end
  end
  return refusal(("there are %d files named like %s: give another name"):format(most_names, path))
end

--- Claims the job's destination before anything is sent. Returns nil, or the fields of an error.
---@param self kontext.Job
---@return table? fields
function save.claim(self)
  local path, client = self._params.save_as, self._client
  if not path then return nil end
  if self._params.no_replace then
    return reserve(self, path)
  end
  local can, message, code = client.system.can_save(path)
  if not can then
    return refusal(cannot_save(path, message, code), code)
  elseif client:destination(plain(self, path)) then
    return { kind = "invalid", stage = "check", charged = false, retryable = true,
      message = ("another edit of this client is to be saved as %s: give this one another name")
        :format(path) }
  end
  hold(self, path)
  self._found = stamp_of(self, path)
end

--- Releases the destination, and removes an unused reservation.
---@param self kontext.Job
function save.release(self)
  local client = self._client
  if self._destination then client:set_destination(self._destination, nil) end
  self._destination = nil
  if self._reserved and not self._params.reserved then client.system.release(self._reserved) end
  self._reserved = nil
end

--- Returns the path to which the picture is written as it arrives; nil: into memory, as for an
--- answer that is put back into a photograph.
---@param self kontext.Job
---@return string?
function save.destination(self)
  return not self._save_error and not self._params.window and self._params.save_as or nil
end

--- Remembers that the destination cannot be written: the picture goes into memory instead.
---@param self kontext.Job
---@param message string
---@param code string?
function save.put_off(self, message, code)
  self._save_error = { kind = "file", code = code, stage = "save", charged = true,
    message = cannot_save(self._params.save_as, message, code) }
end

--- Handles a destination that cannot be created: if another process has filled the reserved name,
--- takes the next one; else the picture goes into memory.
---@param self kontext.Job
---@param message string
---@param code string?
function save.begin_elsewhere(self, message, code)
  if code == "EEXIST" and self._reserved and not reserve(self, self._reserved) then return end
  save.put_off(self, message, code)
end

-- Calls `put` with paths for a picture that cannot be saved where it belongs, until one succeeds;
-- returns that path.
local function put_aside(self, put)
  local name = "kontext-" .. self.id:gsub("[^%w%-]", ""):sub(1, 64)
  local format = (self._result.format or "bin"):gsub("%W", "")
  name = name .. "." .. (format == "jpeg" and "jpg" or format)
  for _, folder in ipairs(self._client:spare_folders()) do
    for n = 1, 100 do
      local path = numbered(folder .. "/" .. name, n)
      local done, _, code = put(path)
      if done then return path end
      if code ~= "EEXIST" then break end
    end
  end
end

--- Puts a picture aside whose edit ends otherwise. Returns its path, or nil.
---@param self kontext.Job
---@param bytes string
---@return string?
function save.aside(self, bytes)
  local system = self._client.system
  return put_aside(self, function(path) return system.save(path, bytes, "no_replace") end)
end

--- Saves a picture under the next free name like `name`.
---@param self kontext.Job
---@param name string
---@param bytes string
---@return string? path
---@return string? message
---@return string? code
function save.beside(self, name, bytes)
  local system = self._client.system
  for n = 1, most_names do
    local path = numbered(name, n)
    local made, message, code = system.reserve(path)
    if made then
      made, message, code = system.save(path, bytes, "no_replace")
      if made then return path end
      system.release(path)
    end
    if made == nil then return nil, cannot_save(path, message, code), code end
  end
  return nil, ("there are %d files named like %s"):format(most_names, name)
end

--- Reserves the next name if another program has taken the reserved one. Returns nil, or the fields
--- of an error.
---@param self kontext.Job
---@return table? fields
function save.take_next_name(self)
  return reserve(self, self._reserved)
end

--- Reserves the next name if another program wrote the destination after it was claimed, unless
--- that is the photograph itself, whose changes are checked elsewhere. Returns nil, or the fields
--- of an error.
---@param self kontext.Job
---@param photograph string?
---@return table? fields
function save.leave_others(self, photograph)
  local path = self._params.save_as
  if not path or photograph and self._destination == plain(self, photograph) then return nil end
  return was_written(self, path) and reserve(self, path) or nil
end

-- Ends a job with an error: its picture is not where it belongs, but in the image and in `aside`.
local function unsaved(self, bytes, aside)
  self._result.bytes = bytes
  self.image = image.new(self._result, self)
  local fields = self._save_error
  fields.message = fields.message .. "; it is in job.image"
    .. (aside and ", and was put aside as " .. aside or "")
  self:fail(fields)
end

-- Saves a picture that has arrived under the next free name, because the reserved one was taken.
-- Returns the path; or nil, message and code.
local function save_under_next_name(self, held)
  for _ = 1, 100 do
    local wrong = reserve(self, self._reserved or self._params.save_as)
    if wrong then return nil, wrong.message, wrong.code end
    local done, message, code = self._client.transport:save(held, self._reserved)
    if done then return self._reserved end
    if code ~= "EEXIST" then return nil, message, code end
  end
  return nil, "every name like it is taken"
end

-- Saves a picture elsewhere that cannot be saved at its destination.
local function rescue(self, held, message, code)
  local transport = self._client.transport
  save.put_off(self, message, code)
  local aside = put_aside(self, function(path) return transport:save(held, path) end)
  transport:drop(held)
  local bytes = aside and self._client.system.read(aside)
  if bytes then return unsaved(self, bytes, aside) end
  self:later(0, self._fetch) -- into memory
end

--- Ends a job whose picture is in its place, or in memory.
---@param self kontext.Job
---@param md5 string? base64
---@param size number bytes
function save.done(self, md5, size)
  local result = self._result
  self.image = image.new(result, self)
  if result.path then
    local kept, message = self:record("SAVED", { path = result.path, md5 = md5,
      size = ("%.0f"):format(size) })
    if not kept then
      self:warn("the picture is saved, but the journal cannot be written: " .. message)
    end
    self:tell("saved", { path = result.path, bytes = size, credits = self.cost })
  end
  self:finish "ready"
end

--- Returns whether a picture may be saved now. If another process has taken the edit over, the job
--- ends; if the journal's database does not answer, `again` is called later.
---@param self kontext.Job
---@param again fun()
---@return boolean
function save.may_begin(self, again)
  local may, why = self._client:may_save(self)
  if may == nil then
    self:later(1, again)
  elseif not may then
    self:fail { kind = "fenced", stage = "save", message = why }
  end
  return may == true
end

--- Puts a whole picture aside that waits for the journal's database while its job ends; returns the
--- end of the job's message. The link may expire before the database is back.
---@param self kontext.Job
---@return string
function save.abandon(self)
  local transport, held = self._client.transport, self._arrived and self._held
  local aside = held and put_aside(self, function(path) return transport:save(held, path) end)
  return aside and "; the picture has arrived, and was put aside as " .. aside or ""
end

--- Takes the picture that has arrived: saves it or keeps it in memory, and ends the job.
---@param self kontext.Job
---@param md5 string? base64
function save.finish(self, md5)
  self._arrived = true
  if not save.may_begin(self, function() save.finish(self, md5) end) then return end
  local result, path, transport = self._result, save.destination(self), self._client.transport
  local held = self._held
  self._held, self._arrived = nil, nil
  local bytes, message, code
  if path and was_written(self, path) then
    code = "EEXIST"
  else
    bytes, message, code = transport:finish(held)
  end
  if not bytes and code == "EEXIST" and (self._reserved or not message) then
    path, message, code = save_under_next_name(self, held)
    bytes = path ~= nil or nil
    if bytes then transport:drop(held) end
  end
  if not bytes then return rescue(self, held, message, code) end
  if self._save_error then
    local system = self._client.system
    return unsaved(self, bytes, put_aside(self, function(aside)
      return system.save(aside, bytes, "no_replace")
    end))
  end
  if bytes == true then
    result.path, self._reserved = path, nil
  else
    result.bytes = bytes
  end
  save.done(self, md5, self.received)
end

--- Notes that the program has saved the image, which ends the edit in the journal. If this cannot
--- be written, a later run only fetches the picture again.
---@param self kontext.Job
---@param path string
---@param md5 string base64
---@param size integer bytes
function save.noted(self, path, md5, size)
  self:tell("saved", { path = path, bytes = size, credits = self.cost })
  if self._entry then
    self._client:record(self, "SAVED", { path = path, md5 = md5, size = ("%d"):format(size) })
  end
end

return save
