--- The kinds of errors, and what must be so for one. Each function gets the ledger, the edit, the
--- error, the task that the error names, and how the edit ended; it returns whether there is a
--- reason for that end, and what is wrong with it.
local needs = {}

function needs.moderated(_, _, err, task)
  local wanted = err.stage == "request" and "Request Moderated" or "Content Moderated"
  return task and task.finished and task.final == wanted
end

function needs.failed(_, _, _, task)
  return task and task.finished and (task.final == "Error" or task.final == "Failed")
end

local function tried_thrice(self, edit, _, _, ended)
  return edit.attempts >= 3 or self.world.now >= edit.begun + ended.timeout - 1e-3
    or ended.host.retries * 5 > 450 + ended.host.accepts, "tried too little" -- or no try is left
end
needs.network, needs.tls = tried_thrice, tried_thrice

function needs.lost(self, edit, err, task, ended)
  local missed = task and task.missed
  if missed then
    return missed.times >= 5 and self.world.now - missed.since >= 60 and not missed.elsewhere
  end
  for _, row in ipairs(edit.rows or {}) do -- told of an earlier run
    if row.fact == "LOST" and err.stage == "submit" then return true end
    if row.fact == "SAVED" and ended.batch then return true end -- its file is gone
  end
  return false
end

-- Where only our own clock says so, it can be resumed.
function needs.expired(self, _, err, task)
  local link, world = task and task.link, self.world
  if err.token then return link and world:time() + world.skew >= link.ends end
  return link and world:time() >= link.ends and link.refused
end

local long = 100 -- seconds after which whatever could be had is had

-- Returns what a task that ran out of time could have ended as.
local function missed_end(world, task, ended)
  local healthy_from = math.max(task.troubled, task.ready, task.lag, ended.begun,
    task.answered or 0, ended.host.paused)
  local link, missed = task.link, task.missed
  if link then healthy_from = math.max(healthy_from, link.valid, link.stored) end
  if link and link.refused_at and task.forgotten > world.now
    and world.now - math.max(link.refused_at, task.troubled, ended.host.paused) > long then
    return "its link had expired for 100 s"
  elseif missed and task.has_url and not missed.elsewhere and missed.times > 5
    and world.now - math.max(missed.since, ended.host.paused) > long then
    return "it was not known for 100 s"
  elseif not task.finished or task.unpollable or task.forgotten <= world.now
    or world.now - healthy_from <= long then
    return nil
  elseif task.final ~= "Ready" or not ended.full and (not link or world:time() < link.ends) then
    return "it could be had for 100 s"
  end
end

function needs.timeout(self, edit, err, task, ended)
  local world = self.world
  if world.now < edit.begun + ended.timeout - 1e-3 then
    return not task and tried_thrice(self, edit, err, task, ended), "too early"
  end
  local why = task and missed_end(world, task, ended)
  return not why, why
end

function needs.http(self, edit, err, task, ended)
  if edit.answer and edit.answer.final == "http" then return true end
  return tried_thrice(self, edit, err, task, ended)
end

-- Whether an edit is refused before it is sent: its name is another one's, or its key stands for
-- other parameters.
local function is_in_conflict(self, edit, host)
  for _, other in ipairs(self.edits) do
    if other ~= edit and other.host == host and edit.save_as and other.save_as == edit.save_as then
      return true
    end
  end
  for _, row in ipairs(edit.rows or {}) do
    if row.changed ~= edit.changed then return true end
  end
  return false
end

local function refused(kind)
  return function(self, edit, err, _, ended)
    local host, answer = ended.host, edit.answer
    if kind == "invalid" and not err.status then return is_in_conflict(self, edit, host) end
    return answer and answer.final == kind and answer.told_at <= self.world.now
      or (kind == "auth" or kind == "credits") and host.hopeless_from ~= nil
  end
end
needs.auth, needs.credits, needs.invalid = refused "auth", refused "credits", refused "invalid"
needs.not_found = refused "not_found"

function needs.rate_limited(self, edit, _, _, ended)
  local now, host = self.world.now, ended.host
  if now < edit.begun + ended.timeout - 1e-3 or not host.limited then return false end
  for _, transfer in ipairs(host.engine.active) do
    if transfer.kind == "upload" then return true end
  end
  -- One of those that were refused tries each minute at the latest.
  return now - math.max(host.sent_at, host.task_ended, host.paused) < 62, "nobody tried again"
end

-- Returns whether an edit was in doubt once. A resume names each doubt, also where the edit was
-- sent again and its picture is there: what was in doubt may have been paid for all the same.
local function was_in_doubt(edit)
  for _, row in ipairs(edit.rows or {}) do
    if row.fact == "SENDING" or row.fact == "AMBIGUOUS" then return true end
  end
  return false
end

function needs.ambiguous(self, edit, _, _, ended)
  if ended.resumed and was_in_doubt(edit) then return true end
  local row, answer = self:best_row(edit), edit.answer
  if answer and answer.told_at < math.huge and (answer.limited or answer.shed or answer.final)
    and not ended.resumed and not (row and #edit.rows > 1) then
    return false, "it was refused"
  end
  row = row or edit.remembered
  -- What a resume of the journal finds is told also where a later edit of the key has its picture.
  for _, earlier in ipairs(ended.resumed and edit.rows or {}) do
    if earlier.fact == "SENDING" or earlier.fact == "AMBIGUOUS" then return true end
  end
  return row and (row.fact == "SENDING" or row.fact == "AMBIGUOUS") or edit.sent_whole ~= nil
    or answer and answer.status and answer.status < 300
end

-- What makes the codes of files that fail, of all that a life may choose.
local causes = {
  EIO = { "sync.fails", "worker.reads EIO", "folder.trouble broken" },
  ENOSPC = { "folder.trouble full" }, EROFS = { "folder.trouble readonly" },
  EACCES = { "folder.trouble denied" }, ENOENT = { "folder.trouble gone", "journal.unlink" },
  ESTALE = { "upload.fate input" },
}

function needs.file(self, edit, err)
  if edit.meddled and (err.code == "ENOENT" or err.code == "ESTALE") then return true end
  for _, name in ipairs(causes[err.code] or {}) do
    if self.world.faults[name] then return true end
  end
  return false
end

function needs.image(self, edit)
  return edit.fitted and self.world.faults["worker.fit damaged"]
end

function needs.internal(self, edit)
  return edit.fitted and self.world.faults["worker.fit starved"]
end

-- What may have been charged, or may be, costs 8 credits at the most. What is still to be sent of a
-- batch ends as the first one did.
function needs.budget(_, edit, _, _, ended)
  local host, most = ended.host, 4
  if ended.batch and host.over_budget then return true end
  host.over_budget = true
  for _, other in ipairs(host.begun) do
    if other ~= edit and not other.freed then most = most + 8 end
  end
  return host.budget and most > host.budget
end

function needs.cancelled(_, _, _, _, ended)
  return ended.cancelled or ended.batch and ended.host.closing
end
function needs.closed(_, _, _, _, ended) return ended.host.closing end

return needs
