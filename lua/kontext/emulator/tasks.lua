-- Tasks: taken on, painted, ended, and what their polls may say. A task is charged when it is
-- taken on and active until it has ended.

local need = require "kontext.emulator.need"
local encoding = require "kontext.encoding"
local generator = require "kontext.emulator.random"
local geometry = require "kontext.geometry"
local json = require "kontext.emulator.json"
local price = require "kontext.price"
local condition = need "cqueues.condition"
local cqueues = need "cqueues"
local digest = need "openssl.digest"

local tasks = {}
tasks.__index = tasks

local KEPT = 20000

--- The tasks of a service: options as emulator.serve has them, and `now`, `ledger`, `pictures`,
--- `webhooks`, `delivery`.
---@param options table
function tasks.new(options)
  return setmetatable({
    options = options, credits = options.credits, by_id = {}, order = {}, number = 0,
    active = { all = 0 }, tries = {}, tries_kept = 0, hurry = condition.new(),
  }, tasks)
end

--- How often this prompt was submitted, this time included.
---@param prompt string
---@return integer
function tasks:nth_submit(prompt)
  if not self.tries[prompt] then self.tries_kept = self.tries_kept + 1 end
  if self.tries_kept > KEPT then self.tries, self.tries_kept = {}, 1 end
  self.tries[prompt] = (self.tries[prompt] or 0) + 1
  return self.tries[prompt]
end

--- Whether no more tasks of this model may be active.
---@param row table the model's
---@return boolean
function tasks:is_full(row)
  local most = self.options.max_active
  return self.active.all >= most or (self.active[row.name] or 0) >= math.min(row.active, most)
end

--- Notes in an order how large its answer will be and what it costs, by the pictures that came.
---@param order table row, params, pictures
function tasks.value(order)
  local row, inputs = order.row, {}
  local followed = row.sizes.of or row.images.first
  order.pictures(function(_, image, field)
    if not row.mask or field ~= row.mask.name then inputs[#inputs + 1] = image end
    if field == followed and not order.first then order.first = image end
  end)
  order.width, order.height = geometry.output_size(row, order.params, order.first)
  -- Of a picture that this machine cannot fetch nothing is known.
  if not order.width then order.width, order.height = 1024, 1024 end
  order.cost = price.credits(row, order.params, order, inputs) or 0
end

--- Whether the credits do for an order.
---@param order table
---@return boolean
function tasks:can_pay(order) return self.credits >= order.cost end

function tasks:set_active(task, change)
  self.active.all = self.active.all + change
  self.active[task.model] = (self.active[task.model] or 0) + change
end

function tasks:charge(task, credits)
  self.credits = self.credits - credits
  task.entry.charged = task.entry.charged + credits
  self.options.ledger:count("charged", credits)
end

local function uuid(seed, number)
  local id = encoding.hex(digest.new("sha256"):final(("id %s %d"):format(seed, number)))
  local variant = ("89ab"):sub(number % 4 + 1, number % 4 + 1)
  return ("%s-%s-4%s-%s%s-%s"):format(id:sub(1, 8), id:sub(9, 12), id:sub(13, 15), variant,
    id:sub(16, 18), id:sub(19, 30))
end

--- Takes a task on; it is under way when this returns.
---@param order table valued: row, params, width, height, cost, rehearsals, seed (its digits, or
--- nil), origin (of its links), near (whether its client is on this machine)
---@return table task
function tasks:accept(order)
  local options, params = self.options, order.params
  self.number = self.number + 1
  local random = generator(("task %s %d"):format(options.seed, self.number))
  local row, width, height = order.row, order.width, order.height
  local task = {
    id = uuid(options.seed, self.number), model = row.name, row = row, params = params,
    first = order.first,
    rehearsals = order.rehearsals, origin = order.origin, near = order.near, random = random,
    width = width, height = height, format = params.output_format or row.default_format,
    seed = order.seed or params.seed and ("%.0f"):format(params.seed)
      or tostring(random(2147483646)),
    created = options.now(), duration = options.ready_after, outcome = { status = "Ready" },
    polls = 0, end_polls = 0, cost = order.cost,
  }
  for _, it in ipairs(task.rehearsals) do
    if it.row.delay then task.duration = it.row.delay(it.number) end
    task.outcome = it.row.ends or task.outcome
  end
  task.duration = task.duration * (task.outcome.at or 1)
  task.entry = options.ledger:add("tasks", {
    id = task.id, model = task.model, request = order.request, charged = 0, status = "Pending",
    polls = 0, downloads = 0, width = width, height = height,
  })
  self.by_id[task.id] = task
  self.order[#self.order + 1] = task
  if #self.order > KEPT then self:forget_oldest() end
  self:charge(task, task.cost)
  self:set_active(task, 1)
  options.ledger:count "accepted"
  cqueues.running():wrap(self.live, self, task)
  return task
end

-- The older half of what has ended goes; who asks for it then hears "Task not found".
function tasks:forget_oldest()
  local kept = {}
  for i, task in ipairs(self.order) do
    if i > KEPT / 2 or not task.ended then
      kept[#kept + 1] = task
    else
      self.by_id[task.id] = nil
    end
  end
  self.order = kept
end

function tasks:paint(task)
  local input, row, params = task.first, task.row, task.params
  local mask = row.mask and params[row.mask.name]
  local left, top
  if input and input.bytes and input.width then left, top = geometry.place(row, params, input) end
  local edit = {
    bytes = input and input.bytes, mask = mask and mask.bytes, left = left, top = top,
    width = task.width, height = task.height, format = task.format,
    prompt = params.prompt or "", seed = task.seed,
  }
  for _, it in ipairs(task.rehearsals) do
    if it.row.paint then it.row.paint(edit, it.number) end
  end
  local painted, message = self.options.pictures:paint(edit)
  if not painted then return { status = "Error", details = { error = message } } end
  task.path = self.options.delivery:keep(task, painted)
  return task.outcome
end

-- Forgets the pictures of 20 MB: they are kept no longer than needed.
local function forget_pictures(params)
  for _, value in pairs(params) do
    if type(value) == "table" then
      value.bytes = nil
      for _, image in ipairs(value) do image.bytes = nil end
    end
  end
end

-- A task's life, in a coroutine of its own: paint, wait until it is due, end.
function tasks:live(task)
  local options, outcome = self.options, task.outcome
  if outcome.status == "Ready" then outcome = self:paint(task) end
  forget_pictures(task.params)
  while task.created + task.duration > options.now() do
    self.hurry:wait(task.created + task.duration - options.now())
  end
  task.ended, task.outcome, task.entry.status = options.now(), outcome, outcome.status
  self:set_active(task, -1)
  if outcome.refund then self:charge(task, -task.cost) end
  if task.params.webhook_url then
    options.webhooks:deliver(task, self:result(task, tasks.chance(task)))
  end
end

--- Ends the time that the active tasks take: each ends as soon as it is painted.
function tasks:finish()
  for _, task in ipairs(self.order) do
    if not task.ended then task.duration = 0 end
  end
  self.hurry:signal()
end

--- How far an active task is: 0.1 … 1.0, and nil in the end.
---@param task table
---@return number?
function tasks:progress(task)
  local done = (self.options.now() - task.created) / math.max(task.duration, 1e-3)
  if done >= 0.92 then return nil end
  return (math.floor(math.max(done, 0) * 10) + 1) / 10
end

-- When the link of a result ends: `life` after Ready, as recorded; if that is over, after now.
function tasks:expiry(task, life)
  local expires = task.ended + life
  if life > 0 and expires <= self.options.now() then return self.options.now() + life end
  return expires
end

--- Chance for the answer that reports a task's end: earlier polls do not change it.
---@param task table
---@return fun(n?: integer): number
function tasks.chance(task) return generator(("end %s %d"):format(task.id, task.end_polls)) end

--- The result of an ended task, or nil where it has none. All but the sample may be missing; null
--- they are on demand only, since the most used SDK takes no null there.
---@param task table
---@param random fun(n?: integer): number
---@return table? object
function tasks:result(task, random)
  if not task.path then return nil end
  local result = { has_sample = true, life = self.options.link_life or task.row.link_life }
  for _, it in ipairs(task.rehearsals) do
    if it.row.result then it.row.result(result, task.end_polls) end
  end
  local sample = result.has_sample and task.origin
    .. self.options.delivery:link(task.path, self:expiry(task, result.life)) or nil
  local members = { { "sample", sample } }
  for _, pair in ipairs {
    { "prompt", task.params.prompt },
    { "seed", task.row.by_name.seed and json.raw(task.seed) or nil },
    { "start_time", task.created }, { "end_time", task.ended },
    { "duration", task.ended - task.created },
  } do
    if result.has_nulls then pair[2] = json.null end
    local shown = pair[2] ~= nil and (result.has_nulls or random(4) > 1)
    if shown then members[#members + 1] = pair end
  end
  return json.shuffled(random, members)
end

return tasks
