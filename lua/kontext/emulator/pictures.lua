-- The emulated edits, painted by threads beside the server's so that polls are answered meanwhile.

local need = require "kontext.emulator.need"
local condition = need "cqueues.condition"
local digest = need "openssl.digest"
local loopback = require "kontext.emulator.loopback"
local thread = need "cqueues.thread"

local pictures = {}
pictures.__index = pictures

local CACHE_ROOM = 64 * 2 ^ 20 -- bytes of painted pictures kept for the same edit asked again
local MOST_BYTES = 20e6 -- of a picture that is fetched

-- Runs in a Lua state of its own: one line of numbers and the bytes in, one line and the bytes
-- out, until the other side closes.
local function painter(pipe, path, cpath)
  package.path, package.cpath = path, cpath
  local core = require "kontext.core"
  pipe:setmode("b", "b")
  for line in pipe:lines "*l" do
    local width, height, format, seed, left, top, size, mask_size, label_size, inner, shift, scale,
      tint = line:match("^(%d+) (%d+) (%l+) (%d+) (%S+) (%S+) (%S+) (%S+) (%d+) "
        .. "(%d) (%d+) (%d+) (%d)$")
    -- "-": there is none
    local function part(count) return tonumber(count) and pipe:read(tonumber(count)) or nil end
    local bytes, mask, label = part(size), part(mask_size), part(label_size)
    local painted, message = core.repaint {
      bytes = bytes, mask = mask, left = tonumber(left), top = tonumber(top),
      width = tonumber(width), format = format, height = tonumber(height),
      seed = tonumber(seed), label = label, inner = inner == "1", tint = tint == "1",
      shift = tonumber(shift) / 1000, scale = tonumber(scale) / 1000,
    }
    local answer = painted or tostring(message)
    pipe:write(("%s %d\n"):format(painted and "ok" or "no", #answer), answer)
    pipe:flush()
  end
end

--- Painting by up to `most` threads, each begun when it is first needed.
---@param most integer
function pictures.new(most)
  return setmetatable({
    free = {}, left = most, freed = condition.new(), cache = {}, order = {}, first = 1, room = 0,
  }, pictures)
end

function pictures:take()
  while #self.free == 0 and self.left == 0 do self.freed:wait() end
  local worker = table.remove(self.free)
  if worker then return worker end
  self.left = self.left - 1
  local _, pipe = assert(thread.start(painter, package.path, package.cpath))
  pipe:setmode("b", "b")
  pipe:onerror(function(_, _, why) return why end) -- a dead thread is a message, not a throw
  return pipe
end

function pictures:give_back(worker, alive)
  if alive then
    table.insert(self.free, worker)
  else
    worker:close()
    self.left = self.left + 1
  end
  self.freed:signal(1)
end

local function work(worker, edit, seed, label)
  local function or_none(value) return value and ("%d"):format(value) or "-" end
  local function thousandths(value) return math.floor((value or 0) * 1000 + 0.5) end
  worker:write(("%d %d %s %d %s %s %s %s %d %d %d %d %d\n"):format(edit.width, edit.height,
    edit.format, seed, or_none(edit.left), or_none(edit.top), or_none(edit.bytes and #edit.bytes),
    or_none(edit.mask and #edit.mask), #label, edit.inner and 1 or 0, thousandths(edit.shift),
    thousandths(edit.scale), edit.tint and 1 or 0), edit.bytes or "", edit.mask or "", label)
  worker:flush()
  local state, size = (worker:read "*l" or ""):match "^(%l+) (%d+)$"
  if not state then return nil, "the painting thread has ended", false end
  local answer = worker:read(tonumber(size))
  if state == "no" then return nil, answer, true end
  return answer, nil, true
end

function pictures:remember(key, painted)
  self.cache[key] = painted
  self.order[#self.order + 1] = key
  self.room = self.room + #painted
  while self.room > CACHE_ROOM do
    local oldest = self.order[self.first]
    self.room = self.room - #self.cache[oldest]
    self.cache[oldest], self.order[self.first] = nil, false
    self.first = self.first + 1
  end
end

--- Paints an edit: the same bytes, prompt, seed, size and format give the same picture. Where there
--- is no picture, or one in a format that is not decoded here, a landscape of that size is painted.
---@param edit table bytes (or nil), width, height, format, prompt, seed; mask: what is black in it
--- stays as it is; left, top: where the picture itself lies in the answer, unchanged; inner: only
--- the middle third is edited; shift, scale, tint: what happens to all of it
---@return string? bytes, string? message
function pictures:paint(edit)
  local hash = digest.new "sha256"
  hash:update(edit.prompt .. "\0" .. edit.seed)
  local a, b, c, d = hash:final():byte(1, 4)
  local seed = ((a * 256 + b) * 256 + c) * 256 + d
  local key = digest.new "sha256"
  key:update(("%d %d %s %d %s %s %d\0"):format(edit.width, edit.height, edit.format, seed,
    tostring(edit.left), tostring(edit.top), #(edit.mask or "")))
  key:update(edit.mask or "")
  key = key:final(edit.bytes or "")
  if self.cache[key] then return self.cache[key] end
  local worker = self:take()
  local painted, message, alive = work(worker, edit, seed, edit.prompt)
  self:give_back(worker, alive)
  if painted and not self.cache[key] then self:remember(key, painted) end
  return painted, message
end

--- Looks at a picture as the service would: what it is, or nil and why it is refused.
---@param bytes string
---@return table? info, string? message
function pictures.check(bytes)
  local info, what = require "kontext.core".check { bytes = bytes }
  if not info then return nil, ("not an image that can be used: %s"):format(what) end
  return info
end

--- Fetches a picture from this machine; from any other it is not had, and the edit becomes one of
--- an unknown picture.
---@param url string
---@return string? bytes
function pictures.fetch(url)
  if not loopback.is_near(url) then return nil end
  local status, bytes = loopback.request(url, { most = MOST_BYTES + 1 }, 10)
  return status == 200 and bytes or nil
end

return pictures
