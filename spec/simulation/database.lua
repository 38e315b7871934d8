--- A database in the place of PostgreSQL: the statements of the queue over tables in memory, each
--- of them whole or not at all. A connection may refuse, or break before or after the commit; the
--- worker whose statement it is may die there, or stop for longer than its lease.
local virtual = {}

local Tables = {}
Tables.__index = Tables

--- Makes the tables.
---@param clock fun(): number the database's own
function virtual.new(clock)
  return setmetatable({ now = clock, rows = {}, waiting = { first = 1, last = 0 }, later = {},
    open = {}, slots = {}, accounts = {}, strays = {} }, Tables)
end

local function wait_again(self, row)
  self.open[row.id] = nil
  if row.due <= self.now() then
    self.waiting.last = self.waiting.last + 1
    self.waiting[self.waiting.last] = row
  else
    self.later[#self.later + 1] = row
  end
end

--- Adds an edit that waits.
function Tables:add(key)
  local id = #self.rows + 1
  local row = { id = id, key = key, state = "waiting", fence = 0, due = 0, attempt = 0, tries = 0,
    params = '{"prompt":"x"}', known = "", changed = 0 }
  self.rows[id] = row
  wait_again(self, row)
end

local function is_over(self, row) return not row.lease or row.lease <= self.now() end

local function shown(row)
  return { id = tostring(row.id), key = row.key, params = row.params, known = row.known,
    task = row.task, state = row.state, fence = tostring(row.fence), attempt = row.attempt,
    tries = row.tries }
end

-- Returns the row of that id whose fence is that one, in one of these states.
local function row_of(self, id, fence, states)
  local row = self.rows[tonumber(id)]
  if not row or fence and row.fence ~= tonumber(fence) then return nil end
  if states and not states:find(" " .. row.state .. " ", 1, true) then return nil end
  return row
end

local function affected(row) return { affected = row and 1 or 0 } end

local statements = {}

-- By a text that no other statement has. Each returns rows and `affected`.
statements["SKIP LOCKED\n)\nUPDATE kontext.edits e SET state = 'claimed', worker = $2"] =
function(self, count, worker, lease)
  local found, later = {}, {}
  for _, row in ipairs(self.later) do
    if row.due <= self.now() then wait_again(self, row) else later[#later + 1] = row end
  end
  self.later = later
  local queue = self.waiting
  while #found < count and queue.first <= queue.last do
    local row = queue[queue.first]
    queue[queue.first], queue.first = nil, queue.first + 1
    row.state, row.worker, row.fence, row.lease = "claimed", worker, row.fence + 1,
      self.now() + lease
    self.open[row.id] = row
    found[#found + 1] = shown(row)
  end
  return found
end

statements["AND (lease IS NULL OR lease <= now()) AND due <= now() AND account = $4"] =
function(self, count, worker, lease, account)
  local found = {}
  for _, row in pairs(self.open) do
    local fits = row.state == "accepted" or row.state == "ambiguous" and row.task
    if #found < count and fits and is_over(self, row) and row.due <= self.now()
      and row.account == account then
      row.state, row.worker, row.fence, row.lease = "accepted", worker, row.fence + 1,
        self.now() + lease
      found[#found + 1] = shown(row)
    end
  end
  return found
end

statements["its worker was gone when it may have been"] = function(self)
  for _, row in pairs(self.open) do
    if (row.state == "claimed" or row.state == "sending") and is_over(self, row) then
      row.worker, row.lease, row.fence = nil, nil, row.fence + 1
      if row.state == "claimed" then
        row.state = "waiting"
        wait_again(self, row)
      else
        row.state = "ambiguous"
      end
    end
  end
  return {}
end

statements["RETURNING id::text, woken, task"] = function(self, worker, lease)
  local found = {}
  for _, slot in pairs(self.slots) do
    if slot.worker == worker then slot.lease = self.now() + lease end
  end
  for _, row in pairs(self.open) do
    if row.worker == worker and row.state ~= "ambiguous" then
      row.lease = self.now() + lease
      found[#found + 1] = { id = tostring(row.id), woken = false, task = row.task }
    end
  end
  return found
end

statements["WHERE worker = $1 AND state IN ('claimed', 'accepted')"] = function(self, worker, ids)
  for id in ids:gmatch "%d+" do
    local row = self.rows[tonumber(id)]
    if row.worker == worker and (row.state == "claimed" or row.state == "accepted") then
      row.worker, row.lease, row.fence = nil, nil, row.fence + 1
      if row.state == "claimed" then
        row.state = "waiting"
        wait_again(self, row)
      end
    end
  end
  return {}
end

statements["WITH again AS"] = function(self, state)
  local count = 0
  for _, row in pairs(self.open) do
    if row.state == state and not (state == "ambiguous" and row.task) then
      row.state, row.due, row.fence, row.worker, row.lease, row.task = "waiting", self.now(),
        row.fence + 1, nil, nil, nil
      wait_again(self, row)
      count = count + 1
      if self.on_consent then self.on_consent(row) end
    end
  end
  return { affected = count }
end

statements["UPDATE kontext.edits SET state = 'claimed', lease ="] = function(self, id, fence, lease)
  local row = row_of(self, id, fence, " claimed sending ")
  if row then row.state, row.lease = "claimed", self.now() + lease end
  return affected(row)
end

statements["UPDATE kontext.edits SET state = 'sending'"] =
function(self, id, fence, attempt, known, lease, account, worker)
  local row = row_of(self, id, fence, " claimed sending ")
  if row and row.worker ~= worker then row = nil end
  if row then
    row.state, row.attempt, row.known, row.lease, row.account = "sending", attempt, known,
      self.now() + lease, account
  end
  return affected(row)
end

statements["WITH fact AS (UPDATE kontext.edits SET state = 'accepted'"] =
function(self, id, fence, task, known, _, lease, _, number, worker)
  local row = row_of(self, id, fence)
  if row then
    row.state, row.task, row.known, row.lease, row.changed = "accepted", task, known,
      self.now() + lease, self.now()
  end
  local slot = number and self.slots[number]
  if slot and slot.worker == worker then slot.edit = tonumber(id) end
  return affected(row)
end

statements["AND attempt = $2::int AND task IS NULL"] = function(self, id, attempt, task, known)
  local row = row_of(self, id, nil, " sending ambiguous ")
  if row and (row.attempt ~= attempt or row.task) then row = nil end
  if row then
    row.state, row.task, row.known, row.fence, row.worker, row.lease, row.due = "accepted", task,
      known, row.fence + 1, nil, nil, self.now()
  end
  return affected(row)
end

statements["INSERT INTO kontext.strays"] = function(self, _, task)
  self.strays[task] = true
  return { affected = 1 }
end

statements["SELECT FROM kontext.edits WHERE id = $1::bigint AND task = $2"] =
function(self, id, task)
  local row = self.rows[tonumber(id)]
  return row.task == task and { {} } or {}
end

statements["UPDATE kontext.edits SET state = 'saved'"] = function(self, id, fence, path)
  local row = row_of(self, id, fence)
  if row then
    row.state, row.path, row.worker, row.lease = "saved", path, nil, nil
    self.open[row.id] = nil
  end
  return affected(row)
end

statements["UPDATE kontext.edits SET state = $3"] =
function(self, id, fence, state, _, _, known, task, seconds)
  local row = row_of(self, id, fence)
  if row then
    row.state, row.known, row.task, row.worker, row.lease, row.due = state, known,
      task or row.task, nil, nil, self.now() + seconds
    if state == "waiting" then wait_again(self, row) end
  end
  return affected(row)
end

statements["UPDATE kontext.edits SET lease = now() + $3"] = function(self, id, fence, lease, worker)
  local row = row_of(self, id, fence)
  if row and row.worker ~= worker then row = nil end
  if row then row.lease = self.now() + lease end
  return affected(row)
end

statements["AND $7::bool THEN 'waiting'"] = function(self, id, fence, _, _, known, seconds, unsent)
  local row = row_of(self, id, fence)
  if row then
    row.worker, row.lease, row.known, row.due = nil, nil, known, self.now() + seconds
    if unsent and (row.state == "claimed" or row.state == "sending") then
      row.state = "waiting"
      wait_again(self, row)
    end
  end
  return affected(row)
end

statements["INSERT INTO kontext.slots"] = function(self, _, count)
  for number = 1, count do
    self.slots[number] = self.slots[number] or { number = number, lease = 0 }
  end
  return {}
end

statements["INSERT INTO kontext.accounts"] = function(self, account, allowed)
  self.accounts[account] = self.accounts[account] or { allowed = allowed, recovers = 0 }
  return {}
end

statements["UPDATE kontext.slots s SET worker = $3"] =
function(self, account, count, worker, lease, most, held)
  local now, row = self.now(), self.accounts[account]
  local used, found = 0, {}
  for _, slot in ipairs(self.slots) do if slot.lease > now then used = used + 1 end end
  local room = math.min(count, (row.recovers <= now and most or row.allowed) - used)
  for _, slot in ipairs(self.slots) do
    local edit = slot.edit and self.rows[slot.edit]
    local kept = edit and edit.state == "accepted" and edit.changed > now - held
    if #found < room and slot.lease <= now and not kept then
      slot.worker, slot.lease, slot.edit = worker, now + lease, nil
      found[#found + 1] = { number = slot.number }
    end
  end
  return found
end

statements["WHERE account = $1 AND edit = $4::bigint RETURNING number"] =
function(self, _, worker, lease, edit)
  for _, slot in ipairs(self.slots) do
    if slot.edit == tonumber(edit) then
      slot.worker, slot.lease = worker, self.now() + lease
      return { { number = slot.number } }
    end
  end
  return {}
end

statements["SET lease = '-infinity', edit = NULL, worker = NULL"] =
function(self, _, worker, numbers)
  for number in numbers:gmatch "%d+" do
    local slot = self.slots[tonumber(number)]
    if slot.worker == worker then slot.worker, slot.lease, slot.edit = nil, 0, nil end
  end
  return {}
end

statements["UPDATE kontext.accounts SET recovers"] = function(self, account, seconds)
  self.accounts[account].recovers = self.now() + seconds
  return {}
end

local by_text = {}

-- Returns what does a statement.
local function statement_of(sql)
  local found = by_text[sql]
  if found then return found end
  for text, fn in pairs(statements) do
    if sql:find(text, 1, true) then
      assert(not found, "two statements have one text: " .. text)
      found = fn
    end
  end
  by_text[sql] = assert(found, "the simulation knows no such statement: " .. sql)
  return found
end

--- Returns a connection of one process. `fate` says what becomes of each statement: nil, "refused",
--- "lost before", "lost after"; it may also raise or yield.
---@param tables table
---@param fate fun(when: string): string?
function virtual.connect(tables, fate)
  local connection = { shown = "postgres://virtual", connected = 1 }
  function connection:run(sql, ...)
    local what = fate "before"
    if what == "refused" then
      self.trouble = "the database is away"
      return nil, self.trouble, "ECONNREFUSED"
    elseif what == "lost before" then
      self.trouble = "the connection broke"
      return nil, self.trouble, "ECONNRESET"
    end
    local rows = statement_of(sql)(tables, ...)
    rows.affected = rows.affected or #rows
    if what == "lost after" then
      self.trouble = "the connection broke"
      return nil, self.trouble, "ECONNRESET"
    end
    fate "after"
    self.trouble = nil
    return rows
  end
  function connection.close() end
  return connection
end

return virtual
