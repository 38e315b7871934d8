--- The journal in PostgreSQL: the facts of file.lua as rows, which many processes share. Who is at
--- work on an edit holds its row by a lease and a fence: a number that grows with each holder, and
--- that every write names. A process that was paused past its lease therefore writes nothing.
local core = require "kontext.core"
local database = require "kontext.journal.database"
local encoding = require "kontext.encoding"
local schema = require "kontext.journal.schema"
local slots = require "kontext.journal.slots"
local system = require "kontext.system"
local token = require "kontext.token"
local wording = require "kontext.wording"

local postgres = {}

---@class (private) kontext.Hold a row that this process works on
---@field id string
---@field fence string
---@field state string
---@field attempt integer submits of the edit so far
---@field tries integer? of the queue: how often it has ended before anything was charged
---@field queued boolean a worker has claimed it
---@field key string?
---@field job kontext.Job? the one that works on it

---@class kontext.PostgresJournal: kontext.Journal
---@field slots kontext.AccountSlots
---@field one_a_key boolean two edits cannot have the same key at once
local Journal = { one_a_key = true }
Journal.__index = Journal

local longest_key = 1024 -- bytes: an index has to hold it
local lease_margin = 60 -- seconds that a lease is longer than an edit's timeout
local longest_message = 500

-- What a restart makes of an edit whose holder is gone.
local states = { waiting = "unsent", claimed = "unsent", sending = "ambiguous" }

-- Returns a lease's end, as SQL, for the parameter of that number.
local function lease_sql(number)
  return ("now() + $%d::float * interval '1 second'"):format(number)
end

local columns = "id::text, key, identity, state, known, task, fence::text, attempt, "
  .. "coalesce(lease > now(), false) AND coalesce(worker, '') <> $1 AS elsewhere"

local statements = {
  find = "SELECT " .. columns .. " FROM kontext.edits WHERE key = $2",
  find_id = "SELECT " .. columns .. " FROM kontext.edits WHERE id = $2::bigint",
  find_task = "SELECT " .. columns .. " FROM kontext.edits WHERE task = $2 LIMIT 1",
  unfinished = "SELECT " .. columns .. " FROM kontext.edits WHERE params IS NULL AND state IN "
    .. "('claimed', 'sending', 'accepted', 'ambiguous', 'lost') ORDER BY edits.id",
  -- A client's own edit: a new row, or the row that the client has looked at before.
  take = [[
INSERT INTO kontext.edits AS e (key, identity, state, worker, fence, lease, known, model, account)
VALUES ($1, $2, 'claimed', $3, 1, ]] .. lease_sql(4) .. [[, $5, $6, $7)
ON CONFLICT (key) DO UPDATE SET identity = excluded.identity, state = 'claimed',
  worker = excluded.worker, fence = e.fence + 1, lease = excluded.lease, known = excluded.known,
  model = excluded.model, account = excluded.account, task = NULL, kind = NULL, message = NULL,
  changed = now()
WHERE e.fence = $8::bigint AND e.state = $9
  AND (e.lease IS NULL OR e.lease <= now() OR e.worker = $3)
RETURNING id::text, fence::text, attempt]],
  -- The row that a take has made of which no answer came.
  taken = "SELECT id::text, fence::text, attempt FROM kontext.edits WHERE key = $1 AND worker = $2 "
    .. "AND state = 'claimed' AND params IS NULL",
  adopt = "UPDATE kontext.edits SET worker = $1, fence = fence + 1, lease = " .. lease_sql(3) .. [[
 WHERE id = $2::bigint AND fence = $4::bigint AND (lease IS NULL OR lease <= now())
RETURNING fence::text]],
  sending = "UPDATE kontext.edits SET state = 'sending', attempt = $3::int, known = $4, lease = "
    .. lease_sql(5) .. [[, account = $6, changed = now()
WHERE id = $1::bigint AND fence = $2::bigint AND state IN ('claimed', 'sending')
  AND worker = $7]],
  unsent = "UPDATE kontext.edits SET state = 'claimed', lease = " .. lease_sql(3)
    .. " WHERE id = $1::bigint AND fence = $2::bigint AND state IN ('claimed', 'sending')",
  accepted = "WITH fact AS (UPDATE kontext.edits SET state = 'accepted', task = $3, known = $4, "
    .. "credits = $5::float, lease = " .. lease_sql(6) .. [[, changed = now()
  WHERE id = $1::bigint AND fence = $2::bigint RETURNING id
), slot AS (
  UPDATE kontext.slots SET edit = $1::bigint
  WHERE account = $7 AND number = $8::int AND worker = $9
), room AS (
  UPDATE kontext.accounts SET allowed = allowed + 1
  WHERE account = $7 AND recovers > now() AND allowed < 24
) SELECT id::text FROM fact]],
  -- An answer that came after the lease: the edit is in doubt no longer, unless it was sent again.
  late = [[
UPDATE kontext.edits SET state = 'accepted', task = $3, known = $4, credits = $5::float,
  fence = fence + 1, worker = NULL, lease = NULL, due = now(), kind = NULL, message = NULL,
  changed = now()
WHERE id = $1::bigint AND attempt = $2::int AND task IS NULL
  AND state IN ('sending', 'ambiguous') RETURNING id::text]],
  stray = "INSERT INTO kontext.strays (edit, task, known) VALUES ($1::bigint, $2, $3) "
    .. "ON CONFLICT DO NOTHING",
  is_known = "SELECT FROM kontext.edits WHERE id = $1::bigint AND task = $2",
  saved = [[
UPDATE kontext.edits SET state = 'saved', path = $3, size = $4::bigint, digest = $5, known = $6,
  credits = coalesce($7::float, credits), worker = NULL, lease = NULL, kind = NULL, message = NULL,
  changed = now()
WHERE id = $1::bigint AND fence = $2::bigint]],
  ended = [[
UPDATE kontext.edits SET state = $3, kind = $4, message = $5, known = $6,
  task = coalesce($7, task), worker = NULL, lease = NULL, due = now() + $8::float * interval
  '1 second', tries = tries + $9::int, credits = coalesce($10::float, credits), changed = now()
WHERE id = $1::bigint AND fence = $2::bigint]],
  holds = "UPDATE kontext.edits SET lease = " .. lease_sql(3)
    .. " WHERE id = $1::bigint AND fence = $2::bigint AND worker = $4",
  release = [[
UPDATE kontext.edits SET worker = NULL, lease = NULL, kind = $3, message = $4, known = $5,
  state = CASE WHEN state IN ('claimed', 'sending') AND $7::bool THEN 'waiting' ELSE state END,
  due = now() + $6::float * interval '1 second'
WHERE id = $1::bigint AND fence = $2::bigint]],
}

--- Opens the journal of an address.
---@param address string postgres://…
---@param on? kontext.System
---@param _? boolean whether to make a file
---@param holder? { account: (fun(): string?), timeout: number, lease: number?, name: string? }
---@return kontext.PostgresJournal? journal
---@return string? message
---@return string? code
function postgres.open(address, on, _, holder)
  on, holder = on or system, holder or {}
  local db, message, code = database.new(address, on)
  if not db then return nil, message, code end
  local fit
  fit, message, code = schema.check(db)
  if not fit then
    db:close()
    return nil, message, code
  end
  local nonce = core.sha256(("%s %.9f %.17g"):format(tostring({}), core.now(), on.random()))
  local self = setmetatable({ path = db.shown, _address = address, _db = db, _system = on,
    worker = ("%s#%d-%s"):format(holder.name or "client", core.process(),
      encoding.hex(nonce:sub(1, 6))),
    lease = holder.lease or (holder.timeout or 300) + lease_margin,
    _account = holder.account or function() end,
    _held = {}, _by_key = {}, _seen = {}, _seen_before = {}, _seen_count = 0, _late = {},
    _of = setmetatable({}, { __mode = "k" }),
    }, Journal)
  self._holder = { worker = self.worker, lease = self.lease, account = self._account }
  if holder.account then self.slots = slots.new(db, on, self._holder) end
  return self
end

--- Names this process in the rows that it holds, and says for how many seconds it holds them.
---@param name string
---@param lease number
function Journal:call_itself(name, lease)
  self.worker = name:gsub("[#%c]", "-"):sub(1, 200) .. "#" .. self.worker:match "[^#]*$"
  self.lease = lease
  self._holder.worker, self._holder.lease = self.worker, lease
end

--- Returns whether this is the journal of that address.
---@param address string
---@return boolean
function Journal:is_at(address)
  return address == self._address or address == self.path
end

--- Returns the connection, for what reports about the queue.
---@return kontext.Database
function Journal:database()
  return self._db
end

-- Holding rows -----------------------------------------------------------------------------------

local function hold(self, row, state, queued)
  local held = { id = row.id, fence = row.fence, state = state, attempt = row.attempt or 0,
    queued = queued, key = row.key, tries = row.tries, number = tonumber(row.id) }
  self._held[held.number] = held
  if row.key then self._by_key[row.key] = held end
  return held
end

--- Holds rows that a worker has claimed.
---@param rows table[] id, fence, key, attempt, state
function Journal:hold(rows)
  for _, row in ipairs(rows) do hold(self, row, row.state, true) end
end

--- Lets a row go, which another holder has or nobody.
---@param held kontext.Hold
function Journal:let_go(held)
  self._held[held.number] = nil
  if held.key and self._by_key[held.key] == held then self._by_key[held.key] = nil end
end

--- Lets those rows go that no job works on and no fact is to be written of: the database could not
--- be told when they were given back.
---@param busy table<integer, boolean> the numbers of those that a job works on
function Journal:let_idle_go(busy)
  local needed = {}
  for _, note in ipairs(self._late) do needed[note.held.number] = true end
  local idle = {}
  for number, held in pairs(self._held) do
    if not busy[number] and not needed[number] then idle[#idle + 1] = held end
  end
  for _, held in ipairs(idle) do self:let_go(held) end
end

--- Returns the row that a job works on, or nil.
---@param job kontext.Job
---@return kontext.Hold?
function Journal:held(job)
  return self._of[job]
end

--- Returns the rows that this process holds, by number.
---@return table<integer, kontext.Hold>
function Journal:all_held()
  return self._held
end

-- Returns what a row holds of an error's message.
local function short(text)
  return text and wording.cut(text, longest_message) or nil
end

local function text_of(number)
  return number and ("%.0f"):format(number) or nil
end

local function credits_of(job)
  return job.cost and (("%.6f"):format(job.cost):gsub(",", ".")) or nil
end

local taken_over = "another process has taken the edit over, because this one did not report in "
  .. "time"

-- Runs a change of a row; true once it is committed. A connection that breaks leaves it open
-- whether it was; each of these changes may be made twice.
local function change(self, name, ...)
  local rows, message, code = self._db:run(statements[name], ...)
  if not rows and code == "ECONNRESET" then
    rows, message, code = self._db:run(statements[name], ...)
  end
  if not rows then return nil, message, code end
  if rows.affected == 0 then return nil, taken_over, "ESTALE" end
  return true, rows[1]
end

-- Facts ------------------------------------------------------------------------------------------

local facts = {}

-- Takes the row of an edit that is about to be sent. What the client has seen of the key decides: a
-- row that has changed since is another process's: its holder may have been paused past its lease,
-- and have sent it after that.
local function take(self, job, known)
  local seen = known.key and (self._seen[known.key] or self._seen_before[known.key]) or {}
  if known.key and #known.key > longest_key then
    return nil, ("a key in this journal has at most %d bytes, and this one has %d"):format(
      longest_key, #known.key), "EINVAL"
  elseif known.key and not database.is_text(known.key) then
    return nil, "a key in this journal has no NUL bytes, and this one does", "EINVAL"
  end
  local function run()
    return self._db:run(statements.take, known.key, known.identity, self.worker, self.lease,
      token.text(known), known.model, self._account(), seen.fence or "-1", seen.state)
  end
  local rows, message, code = run()
  if not rows and code == "ECONNRESET" and known.key then -- it may have been made
    rows, message, code = self._db:run(statements.taken, known.key, self.worker)
    if rows and not rows[1] then rows, message, code = run() end
  end
  if not rows then return nil, message, code end
  if not rows[1] then
    return nil, ('edit "%s" is under way in another process: wait for its end'):format(known.key),
      "EBUSY"
  end
  rows[1].key = known.key
  local held = hold(self, rows[1], "claimed", false)
  self._of[job], held.job = held, job
  job:set_entry(held.number)
  return true
end

function facts.INTENT(self, job, held, known)
  if held and held.job ~= job then
    return nil, ('edit "%s" is under way here: give this one another key'):format(known.key),
      "EBUSY"
  end
  if held then return true end
  return take(self, job, known)
end

function facts.UNSENT(self, _, held)
  held.state = "claimed"
  return change(self, "unsent", held.id, held.fence, self.lease)
end

-- Notes an id that came when the row was no longer this process's.
local function note_late(self, job, held, known)
  local text = token.text(known)
  local done, message, code = change(self, "late", held.id, held.attempt, known.id, text,
    credits_of(job))
  if done or code ~= "ESTALE" then return done, message, code end
  local rows
  rows, message, code = self._db:run(statements.is_known, held.id, known.id)
  if not rows then return nil, message, code end
  if rows[1] then return true end
  return change(self, "stray", held.id, known.id, text)
end

function facts.ACCEPTED(self, job, held, known)
  held.state = "accepted"
  local number, account
  if self.slots then number, account = self.slots:number(job) end
  local done, message, code = change(self, "accepted", held.id, held.fence, known.id,
    token.text(known), credits_of(job), self.lease, account, number, self.worker)
  if code ~= "ESTALE" then return done, message, code end
  local noted, trouble, why = note_late(self, job, held, known)
  if not noted then return nil, trouble, why end
  return nil, message, code
end

function facts.SAVED(self, job, held, known, details)
  held.state = "saved"
  return change(self, "saved", held.id, held.fence, details.path, details.size, details.md5,
    token.text(known), credits_of(job))
end

-- Kinds of failures before anything was charged that another time, or another place, may not have;
-- and how often an edit of the queue may end so.
local passing = { network = 20, tls = 20, timeout = 20, http = 5, file = 3, internal = 3,
  rate_limited = math.huge, auth = math.huge, credits = math.huge, budget = math.huge,
  closed = math.huge, cancelled = math.huge }

-- The codes of an error that is the database's, not the edit's.
local database_codes = { ECONNREFUSED = true, ECONNRESET = true, EDATABASE = true, ESTALE = true }

--- Returns whether an edit was not sent because the database could not be written.
---@param err kontext.Error
---@return boolean
function postgres.is_database_trouble(err)
  return err.kind == "file" and err.stage == "submit" and database_codes[err.code] == true
end

--- Returns whether an edit of the queue that ended so is tried again by itself, and in how many
--- seconds.
---@param err kontext.Error
---@param tries integer that have ended so
---@return boolean
---@return number seconds
function postgres.is_passing(err, tries)
  if postgres.is_database_trouble(err) then return true, 1 end
  local most = err.charged ~= true and not err.job_id and passing[err.kind]
  if not most or tries >= most then return false, 0 end
  if err.kind == "closed" or err.kind == "cancelled" then return true, 0 end
  return true, math.min(300, 2 * 2 ^ math.min(tries, 10))
end

-- Ends a row that this process holds.
local function finish(self, job, held, state, known, details)
  local err = job.error
  local counts, seconds = 0, 0
  if state == "failed" and held.queued and err then
    local again, pause = postgres.is_passing(err, held.tries or 0)
    if again then
      state, seconds = "waiting", pause
      counts = passing[err.kind] < math.huge and not postgres.is_database_trouble(err) and 1 or 0
    end
  elseif state == "ambiguous" and known.id then
    seconds = 5
  end
  held.state = state
  return change(self, "ended", held.id, held.fence, state, details and details.kind,
    err and short(err.message), token.text(known), known.id, seconds, counts, credits_of(job))
end

function facts.FAILED(self, job, held, known, details)
  return finish(self, job, held, "failed", known, details)
end

function facts.AMBIGUOUS(self, job, held, known, details)
  return finish(self, job, held, "ambiguous", known, details)
end

function facts.LOST(self, job, held, known, details)
  return finish(self, job, held, "lost", known, details)
end

-- Facts whose row may be another's by now, and that are then nobody's loss.
local after = { ACCEPTED = true, SAVED = true, FAILED = true, AMBIGUOUS = true, LOST = true }

-- Returns whether a job may take over a row that this process holds: no other one works on it, and
-- what became of the last one was not sent.
local function is_free(held)
  return held.job == nil or held.job:ended() and held.state == "claimed"
end

-- Returns whether an earlier fact of a row is still to be written.
local function is_behind(self, held)
  for _, note in ipairs(self._late) do
    if note.held == held then return true end
  end
  return false
end

--- Writes a fact about a job. What cannot be written now, and is true, is written later: `flush`.
---@param job kontext.Job
---@param fact string
---@param details? table<string, string>
---@return true? done
---@return string? message
---@return string? code
function Journal:record(job, fact, details)
  self:flush()
  local known = job:known()
  local held = self._of[job] or known.entry and self._held[known.entry]
    or known.key and self._by_key[known.key]
  if held and not self._of[job] and is_free(held) then
    self._of[job], held.job = held, job
    job:set_entry(held.number)
  end
  if held and held.job ~= job and fact ~= "INTENT" then return true end -- nothing of it was written
  if not held and fact ~= "INTENT" then
    if known.entry then return nil, taken_over, "ESTALE" end
    return true -- nothing of it was ever written
  end
  for name, value in pairs(details or {}) do known[name] = value end
  local done, message, code
  if after[fact] and is_behind(self, held) then -- one after the other: the last is how it stands
    message, code = self._db.trouble or "the database does not answer", "ECONNREFUSED"
  else
    done, message, code = facts[fact](self, job, held, known, details)
  end
  if not done and after[fact] and code ~= "ESTALE" then
    self._late[#self._late + 1] = { job = job, fact = fact, held = held, known = known,
      details = details }
  end
  if done and held and held.state ~= "accepted" and after[fact] then self:let_go(held) end
  return done, message, code
end

--- Notes that a job's body is about to go out, committed before anything connects.
---@param job kontext.Job
---@return nil mark the engine has nothing to write
---@return string? message where that cannot be noted: nothing may be sent
---@return string? code
function Journal:mark(job)
  local held, known = self._of[job], job:known()
  if not held then return nil, taken_over, "ESTALE" end
  held.attempt = held.attempt + 1
  local done, message, code = change(self, "sending", held.id, held.fence, held.attempt,
    token.text(known), self.lease, self._account(), self.worker)
  if not done then return nil, message, code end
  held.state = "sending"
end

--- Writes what could not be written when it was noted, in its order. Returns whether nothing is
--- left.
---@return boolean
function Journal:flush()
  local late = self._late
  if #late == 0 then return true end
  self._late = {}
  for i, note in ipairs(late) do
    local done, _, code = facts[note.fact](self, note.job, note.held, note.known, note.details)
    if not done and code ~= "ESTALE" then
      for j = i, #late do self._late[#self._late + 1] = late[j] end
      return false
    end
    if note.held.state ~= "accepted" or note.job:ended() then self:let_go(note.held) end
  end
  return true
end

--- Returns whether a picture may be put in its place: true; false and why when another process has
--- the edit now; nil and why when the database does not say.
---@param job kontext.Job
---@return boolean? may
---@return string? message
function Journal:may_save(job)
  local held = self._of[job]
  if not held then return true end
  self:flush()
  local done, message, code = change(self, "holds", held.id, held.fence, self.lease, self.worker)
  if done then return true end
  if code == "ESTALE" then
    self:let_go(held)
    return false, message
  end
  return nil, message
end

--- Ends a row whose edit was not sent: it waits again, or has failed.
---@param held kontext.Hold
---@param job kontext.Job
function Journal:end_unsent(held, job)
  local known, details = job:known(), { kind = job.error.kind }
  local done, _, code = finish(self, job, held, "failed", known, details)
  if done or code == "ESTALE" then return self:let_go(held) end
  self._late[#self._late + 1] = { job = job, fact = "FAILED", held = held, known = known,
    details = details }
end

--- Gives a row back that this process does not go on with.
---@param held kontext.Hold
---@param unsent boolean it is known not to have been sent
---@param seconds? number until it may be taken again
---@param job? kontext.Job
---@return true? done
function Journal:release(held, unsent, seconds, job)
  local err = job and job.error
  local done, _, code = change(self, "release", held.id, held.fence, err and err.kind,
    err and short(err.message), job and token.text(job:known()) or "", seconds or 0, unsent)
  if not done and code ~= "ESTALE" then return nil end
  self:let_go(held)
  return true
end

--- Takes note that a job has ended in this process: what it left open is anybody's. Whatever its
--- row says, what this process did not begin to send was not sent.
---@param job kontext.Job
function Journal:forget(job)
  local held = self._of[job]
  if not held or held.queued or not self._held[held.number] then return end
  if held.state == "claimed" and job.error then return self:end_unsent(held, job) end
  self:release(held, false, 0, job)
end

-- Looking ----------------------------------------------------------------------------------------

--- Returns the id of a row's task: what is known of it has it byte by byte.
---@param row table
---@param known string?
---@return string?
function postgres.task_of(row, known)
  if known and (row.task == nil or not database.is_text(known)) then return known end
  return row.task
end

-- Returns the entry of a row.
local function entry_of(row)
  local entry = token.values(row.known)
  entry.number, entry.key, entry.identity = tonumber(row.id), row.key, row.identity
  entry.state = states[row.state] or row.state
  entry.id = postgres.task_of(row, entry.id)
  entry.stands = row.state
  entry.fence, entry.attempt, entry.elsewhere = row.fence, row.attempt, row.elsewhere
  return entry
end

-- Returns an entry, or nil; with message and code where the database does not say.
local function look(self, name, value)
  local rows, message, code = self._db:run(statements[name], self.worker, value)
  if not rows then return nil, message, code end
  return rows[1] and entry_of(rows[1]) or nil
end

local most_seen = 1000 -- keys of which it is remembered what was seen

-- Remembers how a row stood. What was seen long ago is forgotten: its edit would then be refused.
local function note_seen(self, key, entry)
  if self._seen_count >= most_seen then
    self._seen_before, self._seen, self._seen_count = self._seen, {}, 0
  end
  self._seen[key] = { fence = entry.fence, state = entry.stands }
  self._seen_count = self._seen_count + 1
end

--- Returns the edit of that key, or nil; with message and code where the database does not say.
---@param key string
---@return kontext.JournalEntry?
---@return string? message
---@return string? code
function Journal:find(key)
  if not database.is_text(key) then return nil end
  local entry, message, code = look(self, "find", key)
  if entry then note_seen(self, key, entry) end
  return entry, message, code
end

--- Returns the edit of that task, or nil.
---@param id string
---@return kontext.JournalEntry?
function Journal:find_task(id)
  return look(self, "find_task", id)
end

--- Returns the clients' edits that are not finished, in the order in which they were begun. What
--- was enqueued is the workers'.
---@return kontext.JournalEntry[] entries
function Journal:unfinished()
  local list = {}
  for i, row in ipairs(self._db:run(statements.unfinished, self.worker) or {}) do
    list[i] = entry_of(row)
  end
  return list
end

Journal.entries = Journal.unfinished

--- Returns whether a living process is at work on the edit.
---@param entry kontext.JournalEntry
---@return boolean
function Journal:is_open(entry)
  return self._held[entry.number] ~= nil or entry.elsewhere == true
end

--- Takes an edit over that another process has begun. Returns true; or nil and why.
---@param entry { number: integer, fence: string? }
---@return true? done
---@return string? message
---@return string? code
function Journal:adopt(entry)
  if self._held[entry.number] then return true end
  local id = text_of(entry.number)
  local fence = entry.fence
  if not fence then
    local now = look(self, "find_id", id)
    fence = now and now.fence
  end
  if not fence then return nil, taken_over, "ESTALE" end
  local done, row, code = change(self, "adopt", self.worker, id, self.lease, fence)
  if not done then return nil, row, code end
  hold(self, { id = id, fence = row.fence, key = entry.key, attempt = entry.attempt },
    "accepted", false)
  return true
end

--- Closes the connection, after what is still to be written.
function Journal:close()
  self:flush()
  if self.slots then self.slots:give_back_spare() end
  self._db:close()
end

return postgres
