--- The queue in PostgreSQL: what is enqueued, who claims it, what becomes of it when its worker is
--- gone. The rows are those of postgres.lua; each change is one statement, so one transaction.
local json = require "kontext.json"
local postgres = require "kontext.journal.postgres"
local token = require "kontext.token"

local claims = {}

-- A lease's end, for the parameter of that number.
local lease = "now() + $%d::float * interval '1 second'"

local taken = "e.id::text, e.key, e.params, e.known, e.task, e.state, e.fence::text, e.attempt, "
  .. "e.tries"

local statements = {
  add = [[
WITH given AS (
  SELECT * FROM jsonb_to_recordset($1::jsonb)
    AS g(n int, key text, identity text, params text, save_as text, model text)
), added AS (
  INSERT INTO kontext.edits (key, identity, params, save_as, model, state)
  SELECT key, identity, params, save_as, model, 'waiting' FROM given ORDER BY n
  ON CONFLICT DO NOTHING RETURNING key
)
SELECT g.n, e.identity IS NOT DISTINCT FROM g.identity AS same, e.id IS NOT NULL AS there,
  (SELECT count(*)::int FROM added) AS added
FROM given g LEFT JOIN added a USING (key) LEFT JOIN kontext.edits e ON e.key = g.key
WHERE a.key IS NULL UNION ALL
SELECT 0, true, true, (SELECT count(*)::int FROM added)]],
  claim = [[
WITH mine AS (
  SELECT id FROM kontext.edits WHERE state = 'waiting' AND due <= now() AND params IS NOT NULL
  ORDER BY due, id LIMIT $1::int FOR UPDATE SKIP LOCKED
)
UPDATE kontext.edits e SET state = 'claimed', worker = $2, fence = e.fence + 1, lease = ]]
    .. lease:format(3) .. [[, woken = false
FROM mine WHERE e.id = mine.id RETURNING ]] .. taken,
  adopt = [[
WITH mine AS (
  SELECT id FROM kontext.edits
  WHERE (state = 'accepted' OR state = 'ambiguous' AND task IS NOT NULL)
    AND (lease IS NULL OR lease <= now()) AND due <= now() AND account = $4
    AND params IS NOT NULL
  ORDER BY due LIMIT $1::int FOR UPDATE SKIP LOCKED
)
UPDATE kontext.edits e SET state = 'accepted', worker = $2, fence = e.fence + 1, lease = ]]
    .. lease:format(3) .. [[
FROM mine WHERE e.id = mine.id RETURNING ]] .. taken,
  -- A worker whose lease is over may have sent what it was sending: that is for a person to decide.
  expire = [[
UPDATE kontext.edits SET worker = NULL, lease = NULL, fence = fence + 1, changed = now(),
  state = CASE state WHEN 'claimed' THEN 'waiting' ELSE 'ambiguous' END,
  kind = CASE state WHEN 'claimed' THEN kind ELSE 'ambiguous' END,
  message = CASE state WHEN 'claimed' THEN message ELSE 'its worker was gone when it may have been '
    'sent: it may have been paid for, so it is not sent again by itself' END
WHERE id IN (
  SELECT id FROM kontext.edits WHERE state IN ('claimed', 'sending') AND params IS NOT NULL
    AND lease <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED
)]],
  -- What a dead process of the same name had: it is known to be gone, whatever its lease says.
  inherit = [[
WITH slot AS (
  UPDATE kontext.slots SET lease = CASE WHEN edit IS NULL THEN '-infinity' ELSE now() END
  WHERE split_part(worker, '#', 1) = $1 AND worker <> $2
)
UPDATE kontext.edits SET lease = now() WHERE split_part(worker, '#', 1) = $1 AND worker <> $2]],
  lock_name = "SELECT pg_try_advisory_lock(7018341, hashtext($1)) AS mine",
  heartbeat = [[
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)), slot AS (
  UPDATE kontext.slots SET lease = ]] .. lease:format(2) .. [[ FROM quick WHERE worker = $1
)
UPDATE kontext.edits SET lease = ]] .. lease:format(2) .. [[ FROM quick WHERE worker = $1
  AND state IN ('claimed', 'sending', 'accepted') RETURNING id::text, woken, task]],
  woken = "UPDATE kontext.edits SET woken = false WHERE worker = $1 AND woken AND state = "
    .. "'accepted' RETURNING task",
  wake = "WITH named AS (UPDATE kontext.edits SET woken = true WHERE task = $1 AND state IN "
    .. "('accepted', 'ambiguous') RETURNING id), told AS (SELECT pg_notify('kontext', $1)) "
    .. "SELECT (SELECT count(*)::int FROM named) AS known FROM told",
  open = [[
SELECT EXISTS (SELECT FROM kontext.edits WHERE state = 'waiting' AND params IS NOT NULL)
  OR EXISTS (SELECT FROM kontext.edits WHERE state IN ('claimed', 'sending') AND params IS NOT NULL)
  OR EXISTS (SELECT FROM kontext.edits WHERE state = 'accepted' AND params IS NOT NULL
    AND account = $1)
  OR EXISTS (SELECT FROM kontext.edits WHERE state = 'ambiguous' AND task IS NOT NULL
    AND params IS NOT NULL AND account = $1) AS open]],
  -- What this process was given without learning of it, because the connection broke.
  disown = [[
UPDATE kontext.edits SET worker = NULL, lease = NULL, fence = fence + 1,
  state = CASE state WHEN 'claimed' THEN 'waiting' ELSE state END
WHERE worker = $1 AND state IN ('claimed', 'accepted')
  AND id = ANY (string_to_array($2, ',')::bigint[])]],
  counts = [[
SELECT state, coalesce(kind, '') AS kind, count(*)::float AS n, coalesce(sum(credits), 0) AS credits
FROM kontext.edits GROUP BY 1, 2 ORDER BY 1, 2]],
  pace = [[
SELECT count(*)::float AS n, coalesce(extract(epoch FROM now() - min(changed)), 0)::float AS seconds
FROM (SELECT changed FROM kontext.edits WHERE state = 'saved'
  AND changed > now() - interval '5 minutes' ORDER BY changed DESC LIMIT 5000) s]],
  workers = [[
SELECT (SELECT count(DISTINCT worker)::int FROM kontext.edits
    WHERE state IN ('claimed', 'sending', 'accepted') AND lease > now()) AS workers,
  (SELECT count(*)::int FROM kontext.slots WHERE lease > now()) AS slots,
  (SELECT coalesce(sum(CASE WHEN recovers > now() THEN allowed ELSE 24 END), 0)::int
    FROM kontext.accounts) AS allowed,
  (SELECT count(*)::int FROM kontext.strays) AS strays,
  (SELECT coalesce(extract(epoch FROM now() - min(due)), 0)::float FROM kontext.edits
    WHERE state = 'waiting' AND due <= now()) AS oldest]],
  requeue = [[
WITH again AS (
  SELECT id FROM kontext.edits WHERE state = $1 AND (kind = $2 OR $2 IS NULL)
    AND params IS NOT NULL AND ($3::bool OR state = 'failed' AND (task IS NULL OR NOT $5::bool))
    AND (key = $4 OR $4 IS NULL)
    AND NOT (state = 'ambiguous' AND task IS NOT NULL)
  FOR UPDATE SKIP LOCKED
)
UPDATE kontext.edits e SET state = 'waiting', due = now(), fence = e.fence + 1, tries = 0,
  worker = NULL, lease = NULL, task = NULL, credits = NULL, changed = now()
FROM again WHERE e.id = again.id]],
  left_out = "SELECT count(*)::int AS n FROM kontext.edits WHERE state = 'failed' AND kind = $1 "
    .. "AND params IS NOT NULL AND task IS NOT NULL AND (key = $2 OR $2 IS NULL)",
}

-- Returns JSON of parameters: texts, numbers, booleans, lists and objects.
local function encode(value)
  if type(value) == "string" then return json.string(value) end
  if type(value) == "number" then
    return json.integer(value) or (("%.17g"):format(value):gsub(",", "."))
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  if #value > 0 then
    for i, item in ipairs(value) do parts[i] = encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = json.string(name) .. ":" .. encode(value[name]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Returns the text that a row keeps an edit's parameters in.
---@param edit table
---@return string
function claims.encode(edit)
  return encode(edit)
end

--- Adds edits, each { key, identity, params, save_as, model }; what is there stays as it is.
--- Returns how many were added, and of the others { n, same, there }; or nil, message and code.
---@param db kontext.Database
---@param rows table[]
---@return integer? added
---@return table|string others
---@return string? code
function claims.add(db, rows)
  local parts = {}
  for n, row in ipairs(rows) do
    row.n = n
    parts[n] = encode(row)
  end
  local found, message, code = db:run(statements.add, "[" .. table.concat(parts, ",") .. "]")
  if not found then return nil, message, code end
  local added, others = 0, {}
  for _, row in ipairs(found) do
    if row.n == 0 then added = row.added else others[#others + 1] = row end
  end
  return added, others
end

-- Runs a statement that gives rows to this process, and holds them.
local function hold_those(journal, name, count, ...)
  local rows, message, code = journal:database():run(statements[name], count, journal.worker,
    journal.lease, ...)
  if not rows then return nil, message, code end
  journal:hold(rows)
  return rows
end

--- Claims up to `count` edits that wait, the oldest first.
---@param journal kontext.PostgresJournal
---@param count integer
---@return table[]? rows id, key, params, fence, tries
---@return string? message
---@return string? code
function claims.claim(journal, count)
  return hold_those(journal, "claim", count)
end

--- Adopts up to `count` edits of an account that the service has accepted and nobody is at work on.
---@param journal kontext.PostgresJournal
---@param count integer
---@param account string
---@return table[]? rows id, key, params, known, task, fence
---@return string? message
---@return string? code
function claims.adopt(journal, count, account)
  return hold_those(journal, "adopt", count, account)
end

--- Returns an adopted row as an entry of a journal.
---@param row table
---@return kontext.JournalEntry
function claims.entry(row)
  local entry = token.values(row.known)
  entry.number, entry.key, entry.state = tonumber(row.id), row.key, "accepted"
  entry.id = postgres.task_of(row, entry.id)
  return entry
end

--- Ends what processes have left whose lease is over.
---@param db kontext.Database
---@return table? done
function claims.expire(db)
  return (db:run(statements.expire))
end

--- Takes over what earlier processes of this name had, once it is sure that none of them lives.
---@param journal kontext.PostgresJournal
---@param name string
---@return boolean
function claims.inherit(journal, name)
  local db = journal:database()
  local rows = db:run(statements.lock_name, name)
  if not (rows and rows[1].mine) then return false end
  return db:run(statements.inherit, name, journal.worker) ~= nil
end

--- Tells the database that this process lives. Returns the numbers of the rows that are still its
--- own; or nil and why.
---@param journal kontext.PostgresJournal
---@return table<integer, boolean>? own
---@return string? message
function claims.heartbeat(journal)
  local rows, message = journal:database():run(statements.heartbeat, journal.worker, journal.lease)
  if not rows then return nil, message end
  local own = {}
  local unknown = {}
  for _, row in ipairs(rows) do
    own[tonumber(row.id)] = true
    if not journal:all_held()[tonumber(row.id)] then unknown[#unknown + 1] = row.id end
  end
  if #unknown > 0 then
    journal:database():run(statements.disown, journal.worker, table.concat(unknown, ","))
  end
  return own
end

--- Returns the tasks of this process of which a webhook has reported the end.
---@param journal kontext.PostgresJournal
---@return string[]
function claims.woken(journal)
  local ids = {}
  for i, row in ipairs(journal:database():run(statements.woken, journal.worker) or {}) do
    ids[i] = row.task
  end
  return ids
end

--- Notes that a webhook has reported the end of a task, and notifies who listens.
---@param db kontext.Database
---@param id string
---@return boolean? known
---@return string? message
function claims.wake(db, id)
  local rows, message = db:run(statements.wake, id)
  if not rows then return nil, message end
  return rows[1].known > 0
end

--- Returns whether the queue has anything left for a worker of that account: also what another one
--- is at work on, which may die.
---@param db kontext.Database
---@param account string
---@return boolean? open
function claims.is_open(db, account)
  local rows = db:run(statements.open, account)
  if not rows then return nil end
  return rows[1].open
end

local under_way = { claimed = true, sending = true, accepted = true }

--- Returns how far the queue is.
---@param db kontext.Database
---@return table? status
---@return string? message
---@return string? code
function claims.status(db)
  local rows, message, code = db:run(statements.counts)
  if not rows then return nil, message, code end
  local status = { total = 0, waiting = 0, active = 0, done = 0, failed = 0, ambiguous = 0,
    lost = 0, credits = 0, kinds = {} }
  for _, row in ipairs(rows) do
    local name = under_way[row.state] and "active" or row.state == "saved" and "done" or row.state
    status[name] = status[name] + row.n
    status.total, status.credits = status.total + row.n, status.credits + row.credits
    if row.state == "failed" then
      status.kinds[#status.kinds + 1] = { kind = row.kind, n = row.n }
    end
  end
  local pace, workers
  pace, message, code = db:run(statements.pace)
  if pace then workers, message, code = db:run(statements.workers) end
  if not workers then return nil, message, code end
  for name, value in pairs(workers[1]) do status[name] = value end
  local seconds = pace[1].seconds
  status.rate = pace[1].n > 1 and seconds > 0 and pace[1].n / seconds or 0
  local left = status.waiting + status.active
  if status.rate > 0 then status.eta = left / status.rate elseif left == 0 then status.eta = 0 end
  return status
end

--- Makes edits wait again that have ended without a picture. Returns how many, and how many do not
--- because they may have been paid for.
---@param db kontext.Database
---@param state "failed"|"ambiguous"|"lost"
---@param kind string? of those that failed
---@param consent boolean they may be paid for a second time
---@param key string? that one alone
---@param charged boolean what the service has accepted and that ended so may have been paid for
---@return integer? count
---@return integer|string left
---@return string? code
function claims.requeue(db, state, kind, consent, key, charged)
  local rows, message, code = db:run(statements.requeue, state, kind, consent, key, charged)
  if not rows then return nil, message, code end
  local count, left = rows.affected, 0
  if charged and state == "failed" and not consent then
    rows, message, code = db:run(statements.left_out, kind, key)
    if not rows then return nil, message, code end
    left = rows[1].n
  end
  return count, left
end

return claims
