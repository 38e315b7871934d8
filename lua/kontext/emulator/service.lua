-- The API itself: what each request is answered with. It knows no sockets: a request comes in as a
-- table and the answer goes out as one.

local need = require "kontext.emulator.need"
local api = require "kontext.api"
local body = require "kontext.emulator.body"
local delivery = require "kontext.emulator.delivery"
local generator = require "kontext.emulator.random"
local json = require "kontext.emulator.json"
local models = require "kontext.models"
local rehearsals = require "kontext.emulator.rehearsals"
local rules = require "kontext.emulator.rules"
local tasks = require "kontext.emulator.tasks"
local digest = need "openssl.digest"

local service = {}
service.__index = service

local POLLS_A_SECOND = 1200

--- A service with options as emulator.serve has them, and `now`, `ledger`, `pictures`, `webhooks`.
---@param options table
function service.new(options)
  local secret = digest.new("sha256"):final("links " .. options.seed)
  options.delivery = delivery.new(secret, options.now)
  return setmetatable({
    now = options.now, ledger = options.ledger, pictures = options.pictures,
    delivery = options.delivery, tasks = tasks.new(options),
    random = generator("service " .. options.seed),
  }, service)
end

local function reply(status, value, headers)
  headers = headers or {}
  headers["content-type"] = "application/json"
  return { status = status, headers = headers, body = json.encode(value) }
end

local function problem(status, detail)
  return reply(status, json.object { { "detail", detail } })
end

local function refused(...) return problem(422, json.array { rules.refusal(...) }) end

-- Keys --------------------------------------------------------------------------------------------

--- What a request's key is: "none", "bad", "malformed" (no key looks like that) or "ok".
---@param request table
---@return string
function service.key_state(request)
  local key = request.headers["x-key"]
  if not key or key == "" then return "none" end
  if key == "malformed" or key:find "[%s%c]" then return "malformed" end
  return key == "bad" and "bad" or "ok"
end

local STRANGERS = {
  none = problem(403, "Not authenticated"),
  bad = problem(403, "Not authenticated - Invalid Authentication"),
  malformed = problem(422, "Invalid API key format"),
}

-- Submits -----------------------------------------------------------------------------------------

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Calls `fn` with the name, the parameter and the place of each picture that came along.
local function each_picture(row, params, fn)
  for _, field in ipairs(row.fields) do
    local value = params[field.name]
    if value and field.type == "image" then
      fn(field.name, value, field.name)
    elseif value and field.type == "images" then
      for i, image in ipairs(value) do fn(("%s[%d]"):format(field.name, i), image, field.name) end
    end
  end
end

-- Looks into the pictures that came along; what is wrong with one is a refusal. For a client on
-- another machine no URL is fetched: it would be one of this machine's.
function service:look_at(params, refusals, request, row)
  local entry = request.entry
  local function refuse(name, message)
    table.insert(refusals, rules.refusal({ "body", name }, "value_error",
      "Value error, " .. message))
  end
  each_picture(row, params, function(name, image, field)
    if image.url and request.near then image.bytes = self.pictures.fetch(image.url) end
    if not image.bytes then return end
    entry.images = entry.images or {}
    entry.images[name] = {
      sha256 = hex(digest.new("sha256"):final(image.bytes)), bytes = #image.bytes,
    }
    local info, message = self.pictures.check(image.bytes)
    if info then
      image.width, image.height = info.width, info.height
      -- As seen: the service turns a picture upright before it measures it.
      if info.orientation >= 5 then image.width, image.height = info.height, info.width end
      image.format = info.format
      if not row.mask or field ~= row.mask.name then message = rules.judge_picture(image, row) end
    end
    if message then refuse(field, message) end
  end)
  if #refusals > 0 then return end
  local name, message = rules.judge_together(params, row)
  if name then refuse(name, message) end
end

-- A picture as the ledger shows it.
local function picture_for_ledger(image)
  return type(image) == "table" and image.url or true
end

-- The parameters as a test reads them: pictures are told by their digests, the secret not at all.
local function params_for_ledger(sent, params, digits, row)
  local shown = {}
  for name, value in pairs(sent) do
    local field = row.by_name[name]
    local kind = field and field.type
    if kind == "images" and value ~= json.null then
      shown[name] = json.array {}
      for i, image in ipairs(params[name] or {}) do shown[name][i] = picture_for_ledger(image) end
    elseif kind == "image" and value ~= json.null then
      shown[name] = picture_for_ledger(params[name])
    elseif type(value) ~= "table" then
      shown[name] = value
    end
  end
  if shown.webhook_secret then shown.webhook_secret = true end
  if digits then shown.seed = json.raw(digits) end
  return shown
end

-- Reads the body: its members and the seed's digits, or nil and the answer that refuses it.
local function read_members(request)
  local text = request.body
  if text == "" then return nil, refused({ "body" }, "missing", "Field required") end
  local media = (request.headers["content-type"] or "application/json"):lower():match "^[^;%s]*"
  if media ~= "application/json" and not media:match "^application/.*%+json$" then
    text = "[]" -- FastAPI takes it for one piece of data, which is no object
  end
  local sent, digits, position = body.parse(text)
  if sent == nil and digits == 400 then
    return nil, problem(400, "There was an error parsing the body")
  elseif sent == nil then
    return nil, refused({ "body", position }, "json_invalid", "JSON decode error")
  elseif type(sent) ~= "table" or text:match "^%s*%[" then
    return nil, refused({ "body" }, "model_attributes_type",
      "Input should be a valid dictionary or object to extract fields from")
  end
  return sent, digits
end

-- The rehearsals of an edit: in its prompt, or where a model has none, in `user`.
local function rehearsed(params, row)
  local text = params[row.by_name.prompt and "prompt" or "user"]
  return text and rehearsals.parse(text) or {}
end

function service:submit(request, row)
  self.ledger:count "submits"
  local stranger = STRANGERS[service.key_state(request)]
  if stranger then return stranger end
  local sent, digits_or_answer = read_members(request)
  if not sent then return digits_or_answer end
  request.body = nil -- 27 MB that are of no more use
  local params, refusals = rules.judge(sent, row)
  self:look_at(params, refusals, request, row)
  request.entry.params = params_for_ledger(sent, params, digits_or_answer, row)
  if #refusals > 0 then return problem(422, refusals) end
  return self:begin {
    row = row, params = params, seed = digits_or_answer, origin = request.origin,
    near = request.near,
    rehearsals = rehearsed(params, row), entry = request.entry, pictures = function(fn)
      each_picture(row, params, fn)
    end,
  }
end

local function megapixels(it) return math.floor(it.width * it.height / 1e4 + 0.5) / 100 end

-- A cost as the service writes it: its own sums leave their noise on the last digit.
local function noisy(cost)
  return cost % 1 == 0 and json.raw(("%d.000000000000001"):format(cost)) or cost
end

-- The cost, and the megapixels of input and answer, of a submit's answer. Kontext told the cost
-- here until the middle of 2026, and tells it in the poll since: both are to be met.
local function told_at_submit(task)
  local random, row = task.random, task.row
  local input, is_kontext = task.first, row.sizes.rule == "17 sizes"
  local tells = row.cost_at == "submit"
  local costs = { noisy(task.cost), task.cost, json.null }
  local cost = costs[tells and random(2) or is_kontext and random(3) or 3]
  local shows = tells or is_kontext and random(2) == 1
  return cost, shows and input and input.width and megapixels(input) or nil,
    shows and megapixels(task) or nil
end

-- The answer that names a task. With a webhook it has no polling_url.
local function accepted(task)
  local params = task.params
  local cost, input_mp, output_mp = told_at_submit(task)
  local members = {
    { "id", task.id }, { "cost", cost }, { "input_mp", input_mp }, { "output_mp", output_mp },
  }
  if params.webhook_url then
    table.insert(members, { "status", "Pending" })
    table.insert(members, { "webhook_url", params.webhook_url })
  else
    table.insert(members, { "polling_url", task.origin .. api.result_path .. "?id=" .. task.id })
  end
  return reply(200, json.shuffled(task.random, members))
end

-- From an order whose parameters are good to a task, or to the refusal that the limits or a
-- rehearsal want.
function service:begin(order)
  local nth = #order.rehearsals > 0
    and self.tasks:nth_submit(order.params.prompt or order.params.user)
  for _, it in ipairs(order.rehearsals) do
    local answer = it.row.refuse and it.row.refuse(it.number, nth)
    if answer then return answer end
  end
  self.tasks.value(order)
  if not self.tasks:can_pay(order) then return problem(402, "Insufficient credits") end
  if self.tasks:is_full(order.row) then
    return problem(429, "Too many active tasks: wait until one has finished")
  end
  local task = self.tasks:accept(order)
  order.entry.task, task.entry.request = task.id, order.entry.number
  for _, it in ipairs(order.rehearsals) do
    if it.row.reply then return it.row.reply(it.number) end
  end
  return accepted(task)
end

-- Polls -------------------------------------------------------------------------------------------

-- The limit on polls stands on every answer and is never reached: it is filled up each second.
function service:poll_headers(random)
  local now = self.now()
  if not self.window or now - self.window >= 1 then self.window, self.polled = now, 0 end
  self.polled = self.polled + 1
  return {
    ["retry-after"] = tostring(random(2) - 1),
    ["x-ratelimit-limit"] = tostring(POLLS_A_SECOND),
    ["x-ratelimit-remaining"] = tostring(math.max(POLLS_A_SECOND - self.polled, 0)),
    ["x-ratelimit-reset"] = ("%.6f"):format(self.window + 1),
  }
end

-- How far along a task of a model that reasons is said to be.
local STAGES = { { 0.2, "Pending" }, { 0.5, "Reasoning" }, { math.huge, "Generating" } }

local function stage_of(task, now)
  if not task.row.reasons then return "Pending" end
  local done = (now - task.created) / math.max(task.duration, 1e-3)
  for _, stage in ipairs(STAGES) do
    if done < stage[1] then return stage[2] end
  end
end

-- What a poll of a task says: a status, or an answer in place of any.
local function status_of(task, now)
  for _, it in ipairs(task.rehearsals) do
    local answer = it.row.poll and it.row.poll(it.number, task.polls, task.ended)
    if answer then return answer.task, not answer.task and answer or nil end
  end
  return task.ended and task.outcome.status or stage_of(task, now)
end

function service:poll(request)
  self.ledger:count "polls"
  local id = request.query.id
  if not id then return refused({ "query", "id" }, "missing", "Field required") end
  local task = self.tasks.by_id[id]
  local random, status, said = self.random, "Task not found", {}
  if task then
    local answer
    random, task.polls = task.random, task.polls + 1
    task.entry.polls, request.entry.task = task.polls, id
    status, answer = status_of(task, self.now())
    if answer then return answer end
    if status == task.outcome.status then
      task.end_polls = task.end_polls + 1
      random, said.details = tasks.chance(task), task.outcome.details
      said.result = self.tasks:result(task, random)
      local settles = task.row.cost_at == "poll" or random(2) == 1
      said.cost = status == "Ready" and settles and task.cost or nil
    elseif status ~= "Task not found" then
      said.progress = self.tasks:progress(task)
    end
  end
  local members = {
    { "id", id }, { "status", status }, { "result", said.result }, { "progress", said.progress },
    { "details", said.details }, { "preview", nil },
  }
  if said.cost then table.insert(members, { "cost", said.cost }) end
  return reply(200, json.shuffled(random, members), self:poll_headers(random))
end

-- Credits, downloads, the ledger ------------------------------------------------------------------

function service:balance(request)
  return STRANGERS[service.key_state(request)]
    or reply(200, json.object { { "credits", self.tasks.credits } })
end

function service:download(request)
  self.ledger:count "downloads"
  local answer, file = self.delivery:answer(request)
  if file and request.method == "GET" then
    local task = file.task
    task.entry.downloads, request.entry.task = task.entry.downloads + 1, task.id
    for _, it in ipairs(task.rehearsals) do
      if it.row.download then it.row.download(answer, task.entry.downloads) end
    end
  end
  return answer
end

local ROUTES = {
  [api.result_path] = { GET = service.poll },
  [api.credits_path] = { GET = service.balance },
  ["/_ledger"] = {
    GET = function(self)
      local headers = { ["content-type"] = "application/json" }
      return { status = 200, headers = headers, body = self.ledger:encode() }
    end,
    DELETE = function(self)
      self.ledger:clear()
      return { status = 204, headers = {}, body = "" }
    end,
  },
}
local PICTURES = { GET = service.download, HEAD = service.download }

--- Answers a request that came whole: { method, path, query, headers, body, origin, entry, near }
--- (`near`: its client is on this machine). The answer is { status, headers, body }, or has `drop`
--- or `cut` as rehearsals say.
---@param request table
---@return table answer
function service:answer(request)
  local route = ROUTES[request.path] or request.path:match "^/results/" and PICTURES
  local row = not route and models.by_path(request.path)
  if row then
    if request.method == "POST" then return self:submit(request, row) end
    return problem(405, "Method Not Allowed")
  end
  if not route then return problem(404, "Not Found") end
  local handler = route[request.method]
  if not handler then return problem(405, "Method Not Allowed") end
  return handler(self, request)
end

return service
