-- The API itself: what each request is answered with, and the life of a task. It knows no sockets:
-- a request comes in as a table and the answer goes out as one.

local need = require "kontext.emulator.need"
local api = require "kontext.api"
local body = require "kontext.emulator.body"
local delivery = require "kontext.emulator.delivery"
local generator = require "kontext.emulator.random"
local json = require "kontext.emulator.json"
local rehearsals = require "kontext.emulator.rehearsals"
local rules = require "kontext.emulator.rules"
local cqueues = need "cqueues"
local digest = need "openssl.digest"

local service = {}
service.__index = service

local MODELS = {
  ["flux-kontext-pro"] = { cost = 4 },
  ["flux-kontext-max"] = { cost = 8, max_active = 6 },
}
local IMAGES = { "input_image", "input_image_2", "input_image_3", "input_image_4" }
local KEPT_TASKS = 20000

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function sha256(bytes) return digest.new("sha256"):final(bytes) end

--- A service with options as emulator.serve has them, and `now`, `ledger`, `pictures`, `webhooks`.
function service.new(options)
  local self = setmetatable({}, service)
  for name, value in pairs(options) do self[name] = value end
  self.random = generator("service " .. self.seed)
  self.delivery = delivery.new(sha256("links " .. self.seed), self.now)
  self.tasks, self.order, self.number = {}, {}, 0
  self.active = { all = 0 }
  self.tries, self.tries_kept = {}, 0
  return self
end

-- Answers -----------------------------------------------------------------------------------------

local function reply(status, value, headers)
  headers = headers or {}
  headers["content-type"] = "application/json"
  return { status = status, headers = headers, body = json.encode(value) }
end

local function problem(status, detail)
  return reply(status, json.object { { "detail", detail } })
end

-- An object with its members in an order that chance makes, and with some of the optional ones
-- missing where they have nothing to say.
local function shuffled(random, members, optional)
  local list = {}
  for _, pair in ipairs(members) do
    local silent = pair[2] == nil or pair[2] == json.null
    if not (silent and optional[pair[1]] and random(4) == 1) then
      table.insert(list, random(#list + 1), { pair[1], silent and json.null or pair[2] })
    end
  end
  return json.object(list)
end

local function set(...)
  local names = {}
  for _, name in ipairs { ... } do names[name] = true end
  return names
end

-- Keys --------------------------------------------------------------------------------------------

--- What a request's key is: "none", "bad" or "ok".
---@param request table
function service.key_state(request)
  local key = request.headers["x-key"]
  if not key or key == "" then return "none" end
  return key == "bad" and "bad" or "ok"
end

local function unauthenticated(request)
  local state = service.key_state(request)
  if state == "none" then return problem(403, "Not authenticated") end
  if state == "bad" then return problem(403, "Not authenticated - Invalid Authentication") end
end

-- Tasks -------------------------------------------------------------------------------------------

function service:uuid(random)
  local id = hex(sha256("id " .. random() .. self.number)):sub(1, 32)
  return ("%s-%s-4%s-%s%s-%s"):format(id:sub(1, 8), id:sub(9, 12), id:sub(14, 16),
    ("89ab"):sub(random(4), -1):sub(1, 1), id:sub(18, 20), id:sub(21, 32))
end

-- How many active tasks there may be, of all models and of this one.
function service:is_full(model)
  local most = math.min(MODELS[model].max_active or math.huge, self.max_active)
  return self.active.all >= self.max_active or (self.active[model] or 0) >= most
end

function service:set_active(task, change)
  self.active.all = self.active.all + change
  self.active[task.model] = (self.active[task.model] or 0) + change
end

-- How often this prompt was submitted, for the rehearsals that count.
function service:nth_submit(prompt)
  if not self.tries[prompt] then self.tries_kept = self.tries_kept + 1 end
  if self.tries_kept > 10000 then self.tries, self.tries_kept = {}, 1 end
  self.tries[prompt] = (self.tries[prompt] or 0) + 1
  return self.tries[prompt]
end

local function picture_size(params)
  local ratio, input = params.aspect_ratio, params.input_image
  if ratio then return api.output_size(ratio[1], ratio[2]) end
  if input and input.width then return api.output_size(input.width, input.height) end
  return 1024, 1024
end

local function megapixels(it) return math.floor(it.width * it.height / 1e4 + 0.5) / 100 end

-- Takes a task on: charged, counted as active and under way when this returns.
function service:accept(model, params, found, seed_digits, request)
  self.number = self.number + 1
  local random = generator(self.seed .. " task " .. self.number)
  local width, height = picture_size(params)
  local task = {
    id = self:uuid(random), model = model, random = random, params = params, rehearsals = found,
    created = self.now(), width = width, height = height, format = params.output_format or "jpeg",
    seed = seed_digits or params.seed and ("%.0f"):format(params.seed)
      or tostring(random(2147483646)),
    duration = self.ready_after, outcome = { status = "Ready" }, origin = request.origin,
    polls = 0, ready_polls = 0, cost = MODELS[model].cost,
  }
  for _, it in ipairs(found) do
    if it.row.delay then task.duration = it.row.delay(it.number) end
    if it.row.ends then
      task.outcome = it.row.ends
      task.duration = task.duration * (it.row.ends.at or 1)
    end
  end
  self.tasks[task.id] = task
  self.order[#self.order + 1] = task.id
  if #self.order > KEPT_TASKS then self:forget_oldest() end
  self.credits = self.credits - task.cost
  self:set_active(task, 1)
  task.entry = self.ledger:add("tasks", {
    id = task.id, model = model, request = request.entry.number, charged = task.cost,
    status = "Pending", polls = 0, downloads = 0, width = width, height = height,
  })
  self.ledger:count "accepted"
  self.ledger:count("charged", task.cost)
  cqueues.running():wrap(self.live, self, task)
  return task
end

-- The older half of what has ended goes; what is asked for it then is "Task not found".
function service:forget_oldest()
  local kept = {}
  for i, id in ipairs(self.order) do
    if i > KEPT_TASKS / 2 or not self.tasks[id].ended then
      kept[#kept + 1] = id
    else
      self.tasks[id] = nil
    end
  end
  self.order = kept
end

-- A task's life, in a coroutine of its own: paint, wait until it is due, end.
function service:live(task)
  local outcome = task.outcome
  local input = task.params.input_image
  if outcome.status == "Ready" then
    local painted, message = self.pictures:paint {
      bytes = input and input.bytes, width = task.width, height = task.height,
      format = task.format, prompt = task.params.prompt, seed = task.seed,
    }
    if painted then
      local name = hex(sha256("picture " .. task.id)):sub(1, 32)
      task.path = self.delivery:keep(name, painted, task.format)
      self.delivery.files[task.path].task = task
    else
      outcome = { status = "Error", details = { error = message } }
    end
  end
  for _, name in ipairs(IMAGES) do -- 20 MB each: no longer than needed
    if task.params[name] then task.params[name].bytes = nil end
  end
  cqueues.sleep(math.max(task.created + task.duration - self.now(), 0))
  task.ended, task.outcome = self.now(), outcome
  self:set_active(task, -1)
  if outcome.refund then
    self.credits = self.credits + task.cost
    self.ledger:count("charged", -task.cost)
    task.entry.charged = 0
  end
  task.entry.status = outcome.status
  if task.params.webhook_url then self.webhooks:deliver(task, self:result(task)) end
end

-- The result of a Ready task, or nil.
function service:result(task)
  if not task.path then return nil end
  local result = { sample = true, life = self.link_life }
  for _, it in ipairs(task.rehearsals) do
    if it.row.result then it.row.result(result, task.ready_polls) end
  end
  local expires = task.ended + result.life
  if expires <= self.now() and result.life > 0 then expires = self.now() + result.life end
  return shuffled(task.random, {
    { "sample", result.sample and task.origin .. self.delivery:link(task.path, expires) },
    { "prompt", task.random(4) > 1 and task.params.prompt or nil },
    { "seed", json.raw(task.seed) },
    { "start_time", task.random(4) > 1 and task.created or nil },
    { "end_time", task.random(4) > 1 and task.ended or nil },
    { "duration", task.random(4) > 1 and task.ended - task.created or nil },
  }, set("sample", "prompt", "start_time", "end_time", "duration"))
end

-- Endpoints ---------------------------------------------------------------------------------------

-- Looks into the pictures that came along; what is wrong with one is a refusal.
function service:look_at(params, refusals, entry)
  for _, name in ipairs(IMAGES) do
    local image = params[name]
    if image and image.url then image.bytes = self.pictures.fetch(image.url) end
    if image and image.bytes then
      entry.images = entry.images or {}
      entry.images[name] = { sha256 = hex(sha256(image.bytes)), bytes = #image.bytes }
      local info, message = self.pictures.check(image.bytes)
      if info then
        image.width, image.height = info.width, info.height
      else
        refusals[#refusals + 1] =
          rules.refusal({ "body", name }, "value_error", "Value error, " .. message)
      end
    end
  end
end

-- The parameters as a test reads them: pictures by their digest, secrets left out.
local function params_for_ledger(sent, params, digits)
  local shown = {}
  for name, value in pairs(sent) do
    if type(name) == "string" and type(value) ~= "table" then shown[name] = value end
  end
  for _, name in ipairs(IMAGES) do
    if params[name] then shown[name] = params[name].url end
  end
  if shown.webhook_secret then shown.webhook_secret = true end
  if digits then shown.seed = json.raw(digits) end
  return shown
end

function service:submit(request, model)
  self.ledger:count "submits"
  local refused = unauthenticated(request)
  if refused then return refused end
  local media = (request.headers["content-type"] or "application/json"):lower():match "^[^;%s]*"
  local sent, digits, position = nil, nil, nil
  if request.body == "" then
    return problem(422, json.array { rules.refusal({ "body" }, "missing", "Field required") })
  elseif media == "application/json" or media:match "^application/.*%+json$" then
    sent, digits, position = body.parse(request.body)
    if sent == nil and digits == 400 then
      return problem(400, "There was an error parsing the body")
    elseif sent == nil then
      local mistake = rules.refusal({ "body", position }, "json_invalid", "JSON decode error")
      return problem(422, json.array { mistake })
    end
  end
  if type(sent) ~= "table" or #sent > 0 then
    return problem(422, json.array { rules.refusal({ "body" }, "model_attributes_type",
      "Input should be a valid dictionary or object to extract fields from") })
  end
  local params, refusals = rules.judge(sent)
  request.body = nil
  self:look_at(params, refusals, request.entry)
  request.entry.params = params_for_ledger(sent, params, digits)
  if #refusals > 0 then return problem(422, refusals) end
  return self:begin(model, params, digits, request)
end

-- From valid parameters to a task, or to the refusal that a rehearsal or the limit wants.
function service:begin(model, params, seed_digits, request)
  local found = rehearsals.parse(params.prompt)
  local nth = #found > 0 and self:nth_submit(params.prompt)
  for _, it in ipairs(found) do
    local answer = it.row.refuse and it.row.refuse(it.number, nth)
    if answer then return answer end
  end
  if self.credits < MODELS[model].cost then return problem(402, "Insufficient credits") end
  if self:is_full(model) then
    return problem(429, "Too many active tasks: wait until one has finished")
  end
  local task = self:accept(model, params, found, seed_digits, request)
  request.entry.task = task.id
  for _, it in ipairs(found) do
    if it.row.reply then return it.row.reply(it.number) end
  end
  local random, input = task.random, params.input_image
  -- The service's own sums leave their noise on the last digit.
  local costs = { json.raw(("%d.000000000000001"):format(task.cost)), task.cost, json.null }
  local members = {
    { "id", task.id }, { "cost", costs[random(3)] },
    { "input_mp", random(2) == 1 and input and input.width and megapixels(input) or nil },
    { "output_mp", random(2) == 1 and megapixels(task) or nil },
  }
  if params.webhook_url then
    table.insert(members, { "status", "Pending" })
    table.insert(members, { "webhook_url", params.webhook_url })
  else
    table.insert(members, { "polling_url", request.origin .. api.result_path .. "?id=" .. task.id })
  end
  return reply(200, shuffled(random, members, set("cost", "input_mp", "output_mp")))
end

-- The limit on polls, which is never reached: it is filled up each second.
function service:poll_headers(task)
  local now = self.now()
  if not self.window or now - self.window >= 1 then self.window, self.polled = now, 0 end
  self.polled = self.polled + 1
  return {
    ["retry-after"] = task and task.random(2) == 1 and "0" or "1",
    ["x-ratelimit-limit"] = "1200",
    ["x-ratelimit-remaining"] = tostring(math.max(1200 - self.polled, 0)),
    ["x-ratelimit-reset"] = ("%.6f"):format(self.window + 1),
  }
end

local POLL_OPTIONAL = set("result", "progress", "details", "preview", "cost")

function service:poll(request)
  self.ledger:count "polls"
  local id = request.query.id
  if not id then
    local missing = rules.refusal({ "query", "id" }, "missing", "Field required")
    return problem(422, json.array { missing })
  end
  local task = self.tasks[id]
  local status = "Task not found"
  if task then
    task.polls = task.polls + 1
    task.entry.polls = task.polls
    status = task.ended and task.outcome.status or "Pending"
    for _, it in ipairs(task.rehearsals) do
      local answer = it.row.poll and it.row.poll(it.number, task.polls, task.ended)
      if answer and answer.task then status = answer.task elseif answer then return answer end
    end
  end
  local result, progress, details, cost = nil, nil, nil, nil
  if status == "Ready" then
    task.ready_polls = task.ready_polls + 1
    result = self:result(task)
    cost = task.cost
  elseif task and task.ended then
    details = task.outcome.details
  elseif task and status == "Pending" then
    -- From 0.1 to 1.0, and null in the end.
    local done = math.max(self.now() - task.created, 0) / math.max(task.duration, 1e-3)
    if done < 0.92 then progress = math.floor(done * 10) / 10 + 0.1 end
    progress = progress and math.floor(progress * 10 + 0.5) / 10
  end
  local members = {
    { "id", id }, { "status", status }, { "result", result }, { "progress", progress },
    { "details", details }, { "preview", nil },
  }
  if cost then members[#members + 1] = { "cost", cost } end
  return reply(200, shuffled(task and task.random or self.random, members, POLL_OPTIONAL),
    self:poll_headers(task))
end

function service:balance(request)
  return unauthenticated(request) or reply(200, json.object { { "credits", self.credits } })
end

function service:download(request)
  self.ledger:count "downloads"
  local answer, file = self.delivery:answer(request)
  local task = file and file.task
  if task and request.method == "GET" then
    task.entry.downloads = task.entry.downloads + 1
    request.entry.task = task.id
    for _, it in ipairs(task.rehearsals) do
      if it.row.download then it.row.download(answer, task.entry.downloads) end
    end
  end
  return answer
end

local function submit_to(model)
  return function(self, request) return self:submit(request, model) end
end

local ROUTES = {
  ["/v1/flux-kontext-pro"] = { POST = submit_to "flux-kontext-pro" },
  ["/v1/flux-kontext-max"] = { POST = submit_to "flux-kontext-max" },
  ["/v1/get_result"] = { GET = service.poll },
  ["/v1/credits"] = { GET = service.balance },
  ["/_ledger"] = {
    GET = function(self)
      return { status = 200, headers = { ["content-type"] = "application/json" },
        body = self.ledger:encode() }
    end,
    DELETE = function(self)
      self.ledger:clear()
      return { status = 204, headers = {}, body = "" }
    end,
  },
}
local PICTURES = { GET = service.download, HEAD = service.download }

--- Answers a request, whole or not: an upload that broke off begins nothing.
---@param request { method: string, path: string, query: table, headers: table, body: string }
---@return table answer
function service:answer(request)
  local route = ROUTES[request.path] or request.path:match "^/results/" and PICTURES
  if not route then return problem(404, "Not Found") end
  local handler = route[request.method]
  if not handler then return problem(405, "Method Not Allowed") end
  return handler(self, request)
end

return service
