--- The tables of a journal in PostgreSQL, in a schema `kontext` of their own, and their migrations.
---
--- edits: a row an edit. Of its life it holds what a line of a journal's file would (`known`), and
--- who is at work on it until when: a write that does not know the row's `fence` changes nothing.
---   waiting    enqueued, and nobody's
---   claimed    a worker's or a client's, and not sent
---   sending    the POST may be on its way: committed before anything connects
---   accepted   the service has given an id
---   saved, failed, ambiguous, lost
--- slots: a row for each task that the service takes of an account at once; an account is known by
--- a hash of its key.
--- strays: ids that came for an edit which had been sent once more by consent: paid, not saved.
local schema = {}

-- Migration n makes version n of version n - 1. What stands here was run somewhere: it stays.
local migrations = {
  [[
CREATE TABLE kontext.edits (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text UNIQUE,
  identity text,
  params text,
  save_as text,
  model text,
  state text NOT NULL CHECK (state IN ('waiting', 'claimed', 'sending', 'accepted', 'saved',
    'failed', 'ambiguous', 'lost')),
  fence bigint NOT NULL DEFAULT 0,
  worker text,
  lease timestamptz,
  due timestamptz NOT NULL DEFAULT now(),
  attempt integer NOT NULL DEFAULT 0,
  tries integer NOT NULL DEFAULT 0,
  account text,
  known text NOT NULL DEFAULT '',
  task text,
  kind text,
  message text,
  credits double precision,
  path text,
  size bigint,
  digest text,
  woken boolean NOT NULL DEFAULT false,
  created timestamptz NOT NULL DEFAULT now(),
  changed timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX edits_waiting ON kontext.edits (due, id) WHERE state = 'waiting';
CREATE INDEX edits_under_way ON kontext.edits (lease)
  WHERE state IN ('claimed', 'sending', 'accepted');
CREATE INDEX edits_in_doubt ON kontext.edits (id) WHERE state IN ('ambiguous', 'lost', 'failed');
CREATE INDEX edits_saved ON kontext.edits (changed) WHERE state = 'saved';
CREATE INDEX edits_task ON kontext.edits (task) WHERE task IS NOT NULL;
CREATE UNIQUE INDEX edits_place ON kontext.edits (save_as) WHERE params IS NOT NULL;
CREATE TABLE kontext.accounts (
  account text PRIMARY KEY,
  allowed integer NOT NULL,
  recovers timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE TABLE kontext.slots (
  account text NOT NULL,
  number integer NOT NULL,
  worker text,
  edit bigint,
  lease timestamptz NOT NULL DEFAULT '-infinity',
  PRIMARY KEY (account, number)
) WITH (fillfactor = 20);
CREATE TABLE kontext.strays (
  edit bigint NOT NULL,
  task text NOT NULL,
  known text NOT NULL,
  seen timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (edit, task)
);
]],
}

--- The version that this release reads and writes.
schema.version = #migrations

local number_of_lock = 7018340 -- of the advisory lock that keeps two migrations apart

-- Returns one statement, so one transaction, that brings any earlier version to this one.
local function migration()
  local parts = { ("DO $init$ DECLARE at integer; BEGIN\nPERFORM pg_advisory_xact_lock(%d);\n"
    .. "CREATE SCHEMA IF NOT EXISTS kontext;\nCREATE TABLE IF NOT EXISTS kontext.version "
    .. "(number integer NOT NULL);\nSELECT coalesce(max(number), 0) INTO at FROM kontext.version;\n"
    ):format(number_of_lock) }
  for number, text in ipairs(migrations) do
    parts[#parts + 1] = ("IF at < %d THEN\n%sINSERT INTO kontext.version VALUES (%d);\nEND IF;\n")
      :format(number, text, number)
  end
  parts[#parts + 1] = "END $init$"
  return table.concat(parts)
end

--- Makes the tables, or brings them to this release's version. Returns the version that was there
--- before, 0 for none; or nil, message and code.
---@param db kontext.Database
---@return integer? before
---@return string? message
---@return string? code
function schema.make(db)
  local there, message, code = db:run "SELECT to_regclass('kontext.version') IS NOT NULL AS there"
  if not there then return nil, message, code end
  local before = 0
  if there[1].there then
    local rows
    rows, message, code = db:run "SELECT coalesce(max(number), 0) AS number FROM kontext.version"
    if not rows then return nil, message, code end
    before = rows[1].number
  end
  if before > schema.version then
    return nil, ("the queue in %s was made by a newer kontext (version %d, this one knows %d): "
      .. "update kontext here"):format(db.shown, before, schema.version), "EPROTO"
  end
  local done
  done, message, code = db:run(migration())
  if not done then return nil, message, code end
  return before
end

--- Returns true where the tables are there and of this release's version; or nil, message and code.
---@param db kontext.Database
---@return true? fit
---@return string? message
---@return string? code
function schema.check(db)
  local rows, message, code = db:run "SELECT to_regclass('kontext.version') IS NOT NULL AS there"
  if not rows then return nil, message, code end
  if not rows[1].there then
    return nil, ("there is no queue in %s: make it with kontext queue init --queue '%s'"):format(
      db.shown, db.shown), "ENOENT"
  end
  rows, message, code = db:run "SELECT coalesce(max(number), 0) AS number FROM kontext.version"
  if not rows then return nil, message, code end
  if rows[1].number == schema.version then return true end
  return nil, ("the queue in %s is of version %d, and this kontext needs version %d: %s"):format(
    db.shown, rows[1].number, schema.version, rows[1].number < schema.version
      and "run kontext queue init, with no worker at work" or "update kontext here"), "EPROTO"
end

return schema
