--- How a client's jobs begin: check the parameters, join an edit that is under way or done already,
--- reserve what the edit may cost, and queue the job.
local check = require "kontext.job.check"
local cut = require "kontext.job.cut"
local earlier = require "kontext.journal.earlier"
local errors = require "kontext.errors"
local fit = require "kontext.job.fit"
local jobs = require "kontext.job.job"
local params = require "kontext.job.params"
local poll = require "kontext.job.poll"
local save = require "kontext.job.save"
local submit = require "kontext.job.submit"

local intake = {}

-- Notes the state of the images' files. Returns the facts about each image as it will be sent, by
-- name, and the plans for those that have to be made to fit; or nil and an error.
local function check_sources(checked)
  local plans
  local sizes = {}
  for _, picture in ipairs(params.pictures(checked)) do
    local source = picture.source
    if not source.url then
      local has_window = cut.is_wanted(checked, picture.name)
      local known, err = check.source(source, checked.fit or has_window, checked.model)
      if not known then return nil, err end
      source.stamp = known.stamp
      local width, height = check.upright(known)
      local format, bytes = known.format, known.bytes
      local plan, upload
      if has_window then
        plan, err = cut.plan(checked, source, known)
        if not plan then return nil, err end
        upload = plan.upload
      else
        plan = checked.fit and fit.plan(known, checked) or checked.strip and { strip = true } or nil
        upload = plan and not plan.strip and plan
        plans = plan and (plans or {}) or plans
        if plan then plans[picture.name] = plan end
      end
      sizes[picture.name] = { format = format, bytes = not upload and bytes or 0,
        width = upload and upload.width or width, height = upload and upload.height or height }
    end
  end
  local done, message = params.check_pictures(checked, sizes)
  if done then return sizes, plans end
  return nil, { kind = "image", message = message, stage = "check", charged = false }
end

--- Returns a job that ends with this error before anything is sent.
---@param client kontext.Client
---@param checked table
---@param err table fields of an error
---@return kontext.Job
function intake.refuse(client, checked, err)
  local job = jobs.new(client, submit.begin, checked)
  client:count()
  job:fail(err)
  return job
end

-- Claims a job's destination, then queues the job.
local function queue_claimed(client, job, checked, first)
  local refusal = save.claim(job)
  if refusal then
    if job.id then refusal.charged, refusal.retryable = nil, false end -- it is paid for
    client:count()
    job:fail(refusal)
    return job
  end
  if checked.key then client:hold_key(checked.key, job) end
  return client:enqueue(job, checked.model, first)
end

-- Returns the job under way with the same key and content, which a second edit joins. Under the
-- same key another edit may run and is paid for too, unless the journal allows only one a key.
local function under_way(client, checked)
  local function is_same(other) return other:same_edit(checked) end
  local other = checked.key and client:job_of_key(checked.key, is_same)
  if not other or is_same(other) then return other end
  local journal = client:journal()
  if not (journal and journal.one_a_key) then return nil end
  return intake.refuse(client, checked, { kind = "invalid", stage = "check", charged = false,
    message = ('edit "%s" is under way with other parameters: give this one another key'):format(
      checked.key) })
end

--- Begins an edit. Misuse raises at the caller `level` calls above.
---@param client kontext.Client
---@param given table
---@param level integer
---@param anew? boolean even if the journal has an edit with that key
---@return kontext.Job
function intake.edit(client, given, level, anew)
  local checked, message = params.check(given, level + 1, client:default_model())
  if not checked then
    return intake.refuse(client, {}, { kind = "invalid", message = message, stage = "check",
      charged = false })
  end
  local wrong = client:unable()
  if wrong then return intake.refuse(client, checked, wrong) end
  local known, plans = check_sources(checked)
  if not known then return intake.refuse(client, checked, errors.copy(plans)) end
  local same = under_way(client, checked)
    or checked.key and not anew and earlier.job(client, checked)
  if same then return same end
  local reservation, refusal = client.spending:reserve(checked, known)
  if refusal then return intake.refuse(client, checked, refusal) end
  local first = checked.window and cut.begin or plans and fit.begin or submit.begin
  local job = jobs.new(client, first, checked)
  job:set_plans(plans)
  client.spending:hold(job, reservation)
  if checked.warnings then for _, text in ipairs(checked.warnings) do job:warn(text) end end
  return queue_claimed(client, job, checked, false)
end

--- Begins a job that resumes a task of an earlier process.
---@param client kontext.Client
---@param checked table what is known of it
---@param known table id, polling_url, entry
---@return kontext.Job
function intake.resumed(client, checked, known)
  local broken = client:refusal()
  if broken then return intake.refuse(client, checked, errors.copy(broken)) end
  if known.entry then
    local ours, message, code = client:journal():adopt { number = known.entry, key = checked.key }
    if not ours then
      return intake.refuse(client, checked, { kind = "file", code = code, stage = "check",
        job_id = known.id, message = "the edit cannot be gone on with here: " .. message })
    end
  end
  local job = jobs.new(client, poll.resume, checked)
  job:adopt(known)
  return queue_claimed(client, job, checked, true)
end

--- Returns a job that has already ended, because an earlier run saved its picture.
---@param client kontext.Client
---@param checked table
---@param entry kontext.JournalEntry
---@return kontext.Job
function intake.saved(client, checked, entry)
  local job = jobs.new(client, submit.begin, checked)
  client:count()
  job:find_saved(entry)
  return job
end

return intake
