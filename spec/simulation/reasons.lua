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
  if not task then -- told of an earlier run
    for _, row in ipairs(edit.rows or {}) do
      if row.fact == "LOST" then return true end
    end
    return ended.batch
  end
  local missed = task.missed
  if not missed then
    return self:best_row(edit) and self:best_row(edit).fact == "LOST" and err.stage == "submit"
  end
  return missed.times >= 5 and self.world.now - missed.since >= 60
end

function needs.expired(self, _, err, task, ended)
  if err.token or ended.batch then return true end -- only our own clock says so: it can be resumed
  local link = task and task.link
  return link and self.world:time() >= link.ends and link.refused
end

function needs.timeout(self, edit, err, task, ended)
  local world = self.world
  if world.now < edit.begun + ended.timeout - 1e-3 then
    if not task and edit.attempts >= 3 then return true end
    return false, "too early"
  end
  if task and not ended.paused and task.link and task.link.refused_at
    and world.now - math.max(task.link.refused_at, task.troubled) > 100
    and task.forgotten > world.now then
    return false, "its link had expired for 100 s"
  end
  if task and not ended.paused then
    local healthy_from = math.max(task.troubled, task.ready, task.lag, ended.begun,
      task.answered or 0)
    if task.link then healthy_from = math.max(healthy_from, task.link.valid, task.link.stored) end
    if task.finished and world.now - healthy_from > 100 and task.final ~= "Ready"
      or task.final == "Ready" and world.now - healthy_from > 100 and not err.own_url
      and task.forgotten > world.now and (not task.link or world:time() < task.link.ends)
      and not task.unpollable and not ended.full then
      return false, "it could be had for 100 s"
    end
  end
  return true
end

function needs.http(self, edit, err, task, ended)
  if edit.answer and edit.answer.final == "http" then return true end
  return tried_thrice(self, edit, err, task, ended)
end

local function refused(kind)
  return function(_, edit, _, _, ended)
    local host = ended.host
    return edit.answer and edit.answer.final == kind
      or (kind == "auth" or kind == "credits") and host.hopeless_from ~= nil
      or kind == "invalid" and (ended.status == nil or ended.tried == 0)
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
  return ended.paused or now - math.max(host.sent_at, host.task_ended) < 62, "nobody tried again"
end

function needs.ambiguous(self, edit, _, _, ended)
  local row, answer = self:best_row(edit), edit.answer
  if answer and answer.told_at < math.huge and (answer.limited or answer.shed or answer.final)
    and not ended.full and not ended.resumed and not ended.batch
    and not (row and #edit.rows > 1) then
    return false, "it was refused"
  end
  return ended.full or row and (row.fact == "SENDING" or row.fact == "AMBIGUOUS")
    or edit.sent_whole ~= nil or ended.resumed or ended.batch
    or edit.answer and edit.answer.status and edit.answer.status < 300
end

function needs.file() return true end

function needs.image(_, edit) return edit.fitted end

function needs.internal(_, edit) return edit.fitted end

-- What may have been charged, or may be, costs 8 credits at the most.
function needs.budget(_, edit, _, _, ended)
  local host, most = ended.host, 4
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
