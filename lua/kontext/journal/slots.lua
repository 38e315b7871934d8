--- The slots of an account, which all processes that use its key share: as many rows as the service
--- takes tasks at once, each with a lease. A 429 lowers them for all of them.
local slots = {}

local account_limit = 24 -- tasks of one account at once
local recovery = 60 -- seconds after a 429 for which fewer are taken
local held_for_dead = 600 -- seconds that the task of a dead process keeps its slot

---@class kontext.AccountSlots
local Slots = {}
Slots.__index = Slots

-- What need not survive a crash of the database is not waited for.
local quick = "WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)) "

local statements = {
  make = "INSERT INTO kontext.slots (account, number) SELECT $1, generate_series(1, $2::int) "
    .. "ON CONFLICT DO NOTHING",
  make_account = "INSERT INTO kontext.accounts (account, allowed) VALUES ($1, $2::int) "
    .. "ON CONFLICT DO NOTHING",
  take = quick .. [[, allowed AS (
  SELECT CASE WHEN recovers <= now() THEN $5::int ELSE allowed END AS n
  FROM kontext.accounts WHERE account = $1
), used AS (
  SELECT count(*) AS n FROM kontext.slots WHERE account = $1 AND lease > now()
), free AS (
  SELECT number FROM kontext.slots s WHERE account = $1 AND lease <= now()
    AND NOT EXISTS (SELECT FROM kontext.edits e WHERE e.id = s.edit AND e.state = 'accepted'
      AND e.changed > now() - $6::int * interval '1 second')
  ORDER BY number
  LIMIT (SELECT greatest(0, least($2::int, allowed.n - used.n)) FROM allowed, used)
  FOR UPDATE SKIP LOCKED
)
UPDATE kontext.slots s SET worker = $3, lease = now() + $4::float * interval '1 second', edit = NULL
FROM free, quick WHERE s.account = $1 AND s.number = free.number RETURNING s.number]],
  inherit = quick .. "UPDATE kontext.slots SET worker = $2, lease = now() + $3::float "
    .. "* interval '1 second' FROM quick WHERE account = $1 AND edit = $4::bigint RETURNING number",
  give = quick .. "UPDATE kontext.slots SET lease = '-infinity', edit = NULL, worker = NULL "
    .. "FROM quick WHERE account = $1 AND worker = $2 AND number = ANY (string_to_array($3, ',')"
    .. "::int[])",
  lower = quick .. [[
UPDATE kontext.accounts SET recovers = now() + $2::int * interval '1 second',
  allowed = greatest(1, least(CASE WHEN recovers <= now() THEN $3::int ELSE allowed END,
    (SELECT count(*) FROM kontext.slots WHERE account = $1 AND lease > now()
      AND edit IS NOT NULL)))
FROM quick WHERE account = $1]],
}

--- Makes what a process needs to take slots; nothing is asked of the database yet.
---@param db kontext.Database
---@param system kontext.System
---@param holder { worker: string, lease: number, account: fun(): string? }
---@return kontext.AccountSlots
function slots.new(db, system, holder)
  return setmetatable({ _db = db, _holder = holder, _now = system.now, _random = system.random,
    _of = {}, _spare = {}, _owed = {}, _ask_at = 0, _gap = 0 }, Slots)
end

-- Returns the account once its rows are there; or nil.
local function account_of(self)
  if self._account then return self._account end
  local account = self._holder.account()
  if account and self._db:run(statements.make_account, account, account_limit)
    and self._db:run(statements.make, account, account_limit) then
    self._account = account
  end
  return self._account
end

--- Takes up to `count` slots beforehand, for jobs to come. Returns how many there are to spare.
---@param count integer
---@return integer
function Slots:reserve(count)
  local missing, now = count - #self._spare, self._now()
  local account = missing > 0 and now >= self._ask_at and account_of(self)
  if not account then return #self._spare end
  local rows = self._db:run(statements.take, account, missing, self._holder.worker,
    self._holder.lease, account_limit, held_for_dead)
  for _, row in ipairs(rows or {}) do self._spare[#self._spare + 1] = row.number end
  if rows and #rows > 0 then
    self._gap = 0
  else -- others have them all: ask less and less often, and not all at the same time
    self._gap = math.min(0.5, self._gap * 1.5 + 0.05)
    self._ask_at = now + self._gap * (0.5 + self._random())
  end
  return #self._spare
end

--- Gives back what is owed. What the database does not take now it gets later.
function Slots:give_back()
  if #self._owed == 0 then return end
  local done = self._db:run(statements.give, self._account, self._holder.worker,
    table.concat(self._owed, ","))
  if done then self._owed = {} end
end

--- Gives back what was taken beforehand and is not needed.
function Slots:give_back_spare()
  for _, number in ipairs(self._spare) do self._owed[#self._owed + 1] = number end
  self._spare = {}
  self:give_back()
end

--- Takes a slot for a job. One whose task is at the service already goes without one, if need be:
--- that costs nothing, and its picture does not wait.
---@param job kontext.Job
---@return boolean taken
---@return number? seconds when to ask again
function Slots:take(job)
  if self._of[job] then return true end
  local entry = job.id and job:known().entry
  if entry and account_of(self) then
    local rows = self._db:run(statements.inherit, self._account, self._holder.worker,
      self._holder.lease, ("%.0f"):format(entry))
    if rows and rows[1] then
      self._of[job] = rows[1].number
      return true
    end
  end
  if self:reserve(1) > 0 then
    self._of[job] = table.remove(self._spare)
    return true
  end
  -- Without the database nothing is sent either: the job's first fact says why.
  if job.id or self._db.trouble then return true end
  return false, math.max(0.01, self._ask_at - self._now())
end

--- Returns a job's slot, and the account.
---@param job kontext.Job
---@return integer? number
---@return string? account
function Slots:number(job)
  return self._of[job], self._account
end

--- Gives a job's slot back.
---@param job kontext.Job
function Slots:release(job)
  self._owed[#self._owed + 1] = self._of[job]
  self._of[job] = nil
  self:give_back()
end

--- Takes note that the service has refused a job with 429: all processes begin fewer for a while.
function Slots:limited()
  if account_of(self) then
    self._db:run(statements.lower, self._account, recovery, account_limit)
  end
end

return slots
