--- The service, and all that stands between: gateways, replicas, storage. It knows what it has
--- charged. Every answer is ordinary unless the life's chance says otherwise.
local core = require "kontext.core"

local service = {}

---@class simulation.Service
local Service = {}
Service.__index = Service

--- Makes a service with no tasks.
---@param world simulation.World
---@return simulation.Service
function service.new(world)
  return setmetatable({ world = world, tasks = {}, list = {}, links = {}, pictures = {} }, Service)
end

-- Answers -----------------------------------------------------------------------------------------

local html = "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"

-- Returns an answer.
local function answer(status, body, headers)
  return { status = status, body = body, headers = headers or {} }
end

-- A gzip body whose one block is stored, and whose trailer never came.
local function gzip(text)
  local low, high = #text % 256, math.floor(#text / 256)
  return "\31\139\8\0\0\0\0\0\0\3\1" .. string.char(low, high, 255 - low, 255 - high) .. text
end

local function cut(world, text)
  return text:sub(1, math.floor(#text * world:choose("cut.share", { 0.5, 0, 0.2, 0.8, 0.95 })))
end

-- Answers that break off or never come. `kind` is what libcurl makes of it.
local function reset(status, body)
  return { status = status, body = body or "", headers = {}, kind = "network",
    code = "CURLE_RECV_ERROR", detail = "Recv failure: Connection reset by peer" }
end

local function hang()
  return { hangs = true }
end

-- Submits -----------------------------------------------------------------------------------------

local afters = { false, "1", "0", "7", "30", "600", "soon", "date" }

local function retry_after(world, site)
  local after = world:choose(site, afters)
  if after == "date" then return { ["retry-after"] = service.http_date(world:time() + 20) } end
  return after and { ["retry-after"] = after } or {}
end

-- What a submit ends in when nothing is charged. `final` is the kind of error that it is.
local refusals = {
  limited = function(world)
    local found = answer(429, '{"detail":"Too many active tasks"}',
      retry_after(world, "submit.after"))
    found.limited = true
    return found
  end,
  shed = function(world)
    local found = answer(503, '{"detail":"Shedding load, try again"}',
      retry_after(world, "submit.after"))
    found.shed = true
    return found
  end,
  invalid = function()
    return answer(422, '{"detail":[{"loc":["body","seed"],"msg":"bad","type":"int"}]}')
  end,
  malformed = function() return answer(400, '{"detail":"malformed"}') end,
  large = function() return answer(413, html) end,
  key = function() return answer(403, '{"detail":"Not authenticated - Invalid"}') end,
  unauthorised = function() return answer(401, '{"detail":"Not authenticated"}') end,
  key_format = function() return answer(422, '{"detail":"Invalid API key format"}') end,
  credits = function() return answer(402, '{"detail":"Insufficient credits"}') end,
  endpoint = function() return answer(404, '{"detail":"Not Found"}') end,
  filter = function() return answer(403, html) end,
  proxy = function() return answer(407, html) end,
  moved = function() return answer(302, "", { location = "https://elsewhere.example/login" }) end,
  portal = function() return answer(200, html) end,
}
local finals = {
  invalid = "invalid", malformed = "invalid", large = "invalid", key = "auth",
  unauthorised = "auth", key_format = "auth", credits = "credits", endpoint = "not_found",
  filter = "http", proxy = "http", moved = "http",
}

-- Gateways' answers, behind which the service may have accepted or not.
local gateways = {
  bad = function() return answer(502, html) end,
  away = function() return answer(503, '{"message":"no upstream"}') end,
  late = function() return answer(504, html) end,
  own = function() return answer(500, '{"detail":"Internal Server Error"}') end,
  strange = function() return answer(520, "error code: 520") end,
  empty = function() return answer(200, "") end,
  teapot = function() return answer(409, '{"error":"conflict"}') end,
}

local verdicts = { "accept", "limited", "limited", "shed", "invalid", "malformed", "large", "key",
  "unauthorised", "key_format", "credits", "endpoint", "filter", "proxy", "moved", "portal", "bad",
  "away", "late", "own", "strange", "empty", "teapot" }

local forms = { "plain", "lost", "hang", "cut", "bom", "gzip", "number", "no_url", "foreign_url",
  "bad_url", "trailing", "created", "nested", "failed_with_id", "no_cost", "task_id", "cut_gzip",
  "accepted_empty" }

-- Returns the text of an ordinary acceptance.
local function acceptance(task, id, url)
  return ('{"id":%s,"polling_url":%s,"cost":%s,"input_mp":null,"output_mp":null}'):format(id,
    url and '"' .. url .. '"' or "null", task.told_cost)
end

-- Returns whether the client can read the id of a body that is cut: its quote is closed, or a
-- number has something behind it.
local function shows_id(body, task)
  return body:find('"id":' .. task.json_id .. ",", 1, true)
    or task.json_id:sub(1, 1) == '"' and body:find('"id":' .. task.json_id, 1, true)
end

-- How an acceptance is answered: returns the answer, and what the client must make of it: "accept",
-- "name" (it must name the id), or nil where the answer does not say.
local answers = {
  plain = function(_, task)
    return answer(200, acceptance(task, task.json_id, task.url)), "accept"
  end,
  lost = function() return reset(nil) end,
  hang = hang,
  cut = function(world, task)
    local body = cut(world, acceptance(task, task.json_id, task.url))
    task.told_cost = "cut"
    return reset(200, body), shows_id(body, task) and "accept" or nil
  end,
  bom = function(_, task)
    return answer(200, "\239\187\191" .. acceptance(task, task.json_id, task.url)), "accept"
  end,
  gzip = function(_, task)
    return answer(200, gzip(acceptance(task, task.json_id, task.url)),
      { ["content-encoding"] = "gzip" }), "accept"
  end,
  cut_gzip = function(_, task)
    task.told_cost = "cut"
    return reset(200, gzip(acceptance(task, task.json_id, task.url)):sub(1, -20)), "accept"
  end,
  number = function(_, task)
    task:rename(("%d"):format(70000000 + task.number))
    return answer(200, acceptance(task, task.json_id, task.url)), "accept"
  end,
  no_url = function(_, task) return answer(200, acceptance(task, task.json_id, nil)), "accept" end,
  foreign_url = function(_, task)
    task.url = "https://poll.example/v1/get_result?id=" .. task.id
    return answer(200, acceptance(task, task.json_id, task.url)), "accept"
  end,
  bad_url = function(_, task)
    return answer(200, acceptance(task, task.json_id, "ftp://nowhere/" .. task.id)), "accept"
  end,
  trailing = function(_, task)
    return answer(200, acceptance(task, task.json_id, task.url) .. "\n0\r\n\r\n"), "accept"
  end,
  created = function(_, task)
    return answer(201, acceptance(task, task.json_id, task.url)), "accept"
  end,
  nested = function(_, task)
    return answer(200, '{"data":' .. acceptance(task, task.json_id, task.url) .. "}"), "name"
  end,
  failed_with_id = function(_, task)
    return answer(500, acceptance(task, task.json_id, task.url)), "name"
  end,
  no_cost = function(_, task)
    task.told_cost = "absent"
    return answer(200, ('{"id":%s,"polling_url":"%s"}'):format(task.json_id, task.url)), "accept"
  end,
  task_id = function(_, task)
    task.told_cost = "absent"
    return answer(200, ('{"task_id":%s,"polling_url":"%s"}'):format(task.json_id, task.url)),
      "accept"
  end,
  accepted_empty = function() return answer(200, "") end,
}

local Task = {}
Task.__index = Task

function Task:rename(id)
  self.service.tasks[self.id] = nil
  self.id, self.json_id = id, id
  self.url = "https://" .. self.host .. "/v1/get_result?id=" .. id
  self.service.tasks[id] = self
end

local endings = { "Ready", "Ready", "Request Moderated", "Content Moderated", "Error", "Failed" }
local hosts = { "api.eu2.bfl.ai", "api.us1.bfl.ai", "gateway.bfl.ai", "api.bfl.ai" }

-- Accepts an edit: from here on it is charged.
local function accept(self, edit)
  local world, number = self.world, #self.list + 1
  local id = ("%08x-0000-4000-8000-%012x"):format(number * 7919, number)
  local host = world:choose("task.host", hosts)
  local task = setmetatable({ service = self, number = number, id = id, json_id = '"' .. id .. '"',
    host = host, url = "https://" .. host .. "/v1/get_result?id=" .. id, edit = edit,
    accepted = world.now,
    told_cost = world:choose("task.cost", { "4", "null", "7.000000000000001" }),
    settled = world:choose("task.settled", { "4", "null", "6", "absent" }),
    ready = world.now + world:choose("speed.task", { 3, 0.4, 8, 30, 120, 400 }),
    final = world:choose("task.final", endings),
    lag = world.now + world:choose("task.lag", { 0, 1.5, 6, 30 }),
    forgotten = world.now + world:choose("task.forgotten", { 1e9, 20, 200 }),
    troubled = world.now, links = 0 }, Task)
  task.picture = "\255\216JPEG " .. id .. " " .. ("x"):rep(40) .. "END"
  self.pictures[task.picture] = task
  self.list[number], self.tasks[id] = task, task
  world:note("charged", number)
  world.ledger:charged(edit, task)
  if self.hook then self.hook(task) end
  return task
end

-- Forms that tell where the task is to be polled.
local with_url = { plain = true, bom = true, gzip = true, number = true, trailing = true,
  created = true, no_cost = true, task_id = true }

--- Takes a whole submit. Returns the answer, and the task where one was charged.
---@param edit table the ledger's
---@return table answer
---@return table? task
function Service:submit(edit)
  local world = self.world
  local verdict = world:choose("submit.verdict", verdicts)
  if self.storm_until and world.now < self.storm_until and not world.healthy then
    verdict = "limited"
  end
  if refusals[verdict] then
    local found = refusals[verdict](world)
    found.final = finals[verdict]
    return found
  elseif gateways[verdict] then
    local found, task = gateways[verdict](), nil
    if world:choose("submit.behind", { false, true }) then task = accept(self, edit) end
    return found, task
  end
  local task = accept(self, edit)
  local form = world:choose("answer.form", forms)
  local found, class = answers[form](world, task)
  found.form = form
  found.class, found.task = class, task
  task.has_url = with_url[found.form]
  return found, task
end

-- Polls -------------------------------------------------------------------------------------------

local function http_date(time)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(time))
end
service.http_date = http_date

-- Returns the picture's link: the same until it has expired.
local function link_of(self, task)
  local world = self.world
  local link = task.link
  if link and (world:time() < link.ends or not task.fresh) then return link end
  if not link then
    task.fresh = world:choose("link.fresh", { true, false })
  end
  task.links = task.links + 1
  local life = world:choose("link.life", { 600, 3600, 20 })
  local from = link and world:time() or math.max(world.now, task.ready) + (world:time() - world.now)
  local ends = math.floor(from + life)
  local told = world:choose("link.se", { true, false }) or life ~= 600
  link = { task = task, ends = ends, valid = world.now + world:choose("link.skew", { 0, 2, 9 }),
    stored = world.now + world:choose("link.stored", { 0, 1.5, 8 }) }
  link.url = ("https://delivery-eu4.bfl.ai/%s/%d.jpg?%ssig=x%%2F"):format(task.id, task.links,
    told and os.date("!se=%Y-%m-%dT%H:%M:%SZ&", ends) or "")
  task.link, self.links[link.url] = link, link
  return link
end

-- Returns the body of a task's state.
local function state(self, task, status)
  local world = self.world
  if world.now < task.ready then
    return ('{"id":%s,"status":"%s","result":null,"progress":%s}'):format(task.json_id,
      status or world:choose("poll.progress", { "Pending", "Reasoning", "Generating", "Queued" }),
      world:choose("poll.number", { "0.5", "null", "0.1" }))
  end
  if not task.finished then
    task.finished = true
    world:note("finished " .. task.final, task.number)
    if task.final:find "Moderated" then task.refunded = true end
  end
  task.shown = true
  if task.final ~= "Ready" then
    return ('{"id":%s,"status":"%s","result":null,"details":{"Moderation Reasons":["x"]}}'):format(
      task.json_id, task.final)
  end
  local cost = task.settled == "absent" and "" or '"cost":' .. task.settled .. ","
  return ('{"id":%s,"status":"Ready",%s"result":{"sample":"%s","seed":42,"prompt":null}}')
    :format(task.json_id, cost, link_of(self, task).url)
end

local polls = { "ordinary", "error", "bad", "away", "shed", "limited", "not_found",
  "not_found_page", "missing", "forbidden", "unauthorised", "reset", "hang", "cut", "empty", "bom",
  "gzip", "swapped", "moved", "moved_in_circles", "moved_nowhere", "inside_503", "inside_422",
  "no_sample", "portal", "no_id", "list", "null_status", "stale", "failed_elsewhere", "gone",
  "credits" }

local missing = '{"id":%s,"status":"Task not found","result":null}'

local poll_answers = {
  ordinary = function(self, task) return answer(200, state(self, task)) end,
  error = function() return answer(500, '{"detail":"Internal Server Error"}') end,
  bad = function() return answer(502, html) end,
  away = function(self) return answer(503, html, retry_after(self.world, "poll.after")) end,
  shed = function() return answer(503, '{"detail":"try again"}') end,
  limited = function(self)
    return answer(429, '{"detail":"slow down"}', retry_after(self.world, "poll.after"))
  end,
  not_found = function(_, task)
    local found = answer(404, '{"detail":"Not Found"}')
    found.missing = task
    return found
  end,
  not_found_page = function() return answer(404, html) end,
  missing = function(_, task)
    local found = answer(200, missing:format(task.json_id))
    found.missing = task
    return found
  end,
  forbidden = function() return answer(403, '{"detail":"Not authenticated"}') end,
  unauthorised = function() return answer(401, html) end,
  gone = function() return answer(410, html) end,
  credits = function() return answer(402, '{"detail":"Insufficient credits"}') end,
  reset = function() return reset(nil) end,
  hang = hang,
  cut = function(self, task) return reset(200, cut(self.world, state(self, task))) end,
  empty = function() return answer(200, "") end,
  bom = function(self, task) return answer(200, "\239\187\191" .. state(self, task)) end,
  gzip = function(self, task)
    return answer(200, gzip(state(self, task)), { ["content-encoding"] = "gzip" })
  end,
  swapped = function(self, task)
    local other = self.list[task.number - 1] or self.list[task.number + 1]
    if not other or #other.id ~= #task.id then return answer(200, state(self, task)) end
    return answer(200, state(self, other))
  end,
  moved = function(_, task)
    return answer(307, "", { location = "https://api.us3.bfl.ai/v1/get_result?id=" .. task.id })
  end,
  moved_in_circles = function(_, task) return answer(302, "", { location = task.url }) end,
  moved_nowhere = function() return answer(302, "", { location = "file:///etc/passwd" }) end,
  inside_503 = function(self, task) return answer(503, state(self, task)) end,
  inside_422 = function(self, task) return answer(422, state(self, task)) end,
  no_sample = function(self, task)
    return answer(200, self.world.now < task.ready and state(self, task)
      or ('{"id":%s,"status":"Ready","result":{}}'):format(task.json_id))
  end,
  portal = function() return answer(200, html) end,
  no_id = function(self, task)
    return answer(200, (state(self, task):gsub('^{"id":[^,]*,', "{")))
  end,
  list = function() return answer(200, "[]") end,
  null_status = function(_, task)
    return answer(200, ('{"id":%s,"status":null}'):format(task.json_id))
  end,
  stale = function(self, task)
    return answer(200, ('{"id":%s,"status":"Pending","result":null}'):format(task.json_id)), self
  end,
  failed_elsewhere = function(self, task)
    if #task.id ~= 36 then return answer(200, state(self, task)) end
    return answer(200, '{"id":"0badbad0-0000-4000-8000-00000000dead","status":"Failed"}')
  end,
}

-- Forms that say nothing about the task.
local troubles = { error = true, bad = true, away = true, shed = true, limited = true, reset = true,
  empty = true, portal = true, gone = true, forbidden = true, unauthorised = true, credits = true }

local credits = { "told", "error", "bad", "key", "reset", "hang", "empty", "text", "list" }

local credits_answers = {
  told = function() return answer(200, '{"credits":123.5}') end,
  error = poll_answers.error,
  bad = poll_answers.bad,
  key = function() return answer(403, '{"detail":"Not authenticated"}') end,
  reset = poll_answers.reset,
  hang = hang,
  empty = poll_answers.empty,
  text = function() return answer(200, '{"credits":"many"}') end,
  list = poll_answers.list,
}

-- Answers the question for the account's credits.
local function tell_credits(self)
  self.credits_asked = (self.credits_asked or 0) + 1
  return credits_answers[self.world:choose("credits.answer", credits)]()
end

-- Forms in which the task's own state can be read.
local words = { ordinary = true, bom = true, gzip = true, inside_503 = true, inside_422 = true }

--- Answers a question for a task's state.
---@param url string
---@return table answer
---@return table? task
function Service:poll(url)
  local world = self.world
  if url:find("/v1/credits", 1, true) then return tell_credits(self) end
  local host, id = url:match "^https://([^/]+)/.*[?&]id=([%w%-]+)"
  local task = self.tasks[id or ""]
  if not task then return answer(404, '{"detail":"Not Found"}') end
  if host == "api.bfl.ai" and task.host ~= host
    or host == "api.eu.bfl.ai" and task.host == hosts[2] then
    task.unpollable = true
    if task.has_url and task.class == "accept" then
      world:broken("a task is polled where the service says", url)
    end
    local found = poll_answers.not_found(self, task)
    found.elsewhere = true -- another region's
    return found, task
  elseif world.now < task.lag or world.now > task.forgotten then
    return poll_answers.missing(self, task), task
  end
  local form = world:choose("poll.answer", polls)
  if form ~= "ordinary" then task.troubled = world.now end
  local found = poll_answers[form](self, task)
  found.trouble = troubles[form]
  if words[form] and task.finished and task.final ~= "Ready" then found.final_word = true end
  return found, task
end

-- Downloads ---------------------------------------------------------------------------------------

local downloads = { "whole", "forbidden", "not_found", "error", "shed", "reset", "hang", "cut",
  "wrong", "portal", "endless", "endless_cut", "moved", "moved_in_circles", "moved_nowhere",
  "wrong_range", "no_range", "other_rest", "other_total", "early_end", "hex_md5", "no_md5",
  "large" }

local function md5(bytes)
  return core.base64(core.md5(bytes))
end

-- Returns a download's answer: `bytes` is what comes, `from` where it goes on.
local function picture_answer(link, from, bytes)
  local picture = link.task.picture
  link.md5 = link.md5 or md5(picture)
  local found = { status = 200, bytes = bytes or picture, length_known = true, headers = {
    ["content-length"] = ("%d"):format(#picture), ["content-md5"] = link.md5,
    ["content-type"] = "image/jpeg", etag = '"1"' } }
  if from > 0 and from < #picture and not bytes then
    found.status, found.bytes = 206, picture:sub(from + 1)
    found.headers["content-range"] = ("bytes %d-%d/%d"):format(from, #picture - 1, #picture)
    found.headers["content-md5"] = nil
    found.continues = true
  elseif from >= #picture and from > 0 then
    return { status = 416, bytes = "", headers = {} }
  end
  return found
end

local xml = "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code></Error>"

local function dated(world, status, body)
  local headers = { ["content-type"] = "application/xml" }
  if world:choose("download.date", { true, false }) then headers.date = http_date(world:time()) end
  return { status = status, bytes = body, headers = headers }
end

local function broken(found)
  found.kind, found.code, found.detail = "network", "CURLE_PARTIAL_FILE", "transfer closed"
  return found
end

local download_answers = {
  whole = function(_, link, from) return picture_answer(link, from) end,
  forbidden = function(world) return dated(world, 403, xml) end,
  not_found = function(world) return dated(world, 404, xml) end,
  error = function(world) return dated(world, 500, xml) end,
  shed = function(world) return dated(world, 503, xml) end,
  reset = function() return broken { bytes = "", headers = {} } end,
  hang = hang,
  cut = function(world, link, from)
    local found = picture_answer(link, from)
    if found.status > 299 then return found end
    found.bytes = cut(world, found.bytes)
    return broken(found)
  end,
  wrong = function(_, link)
    return picture_answer(link, 0, (link.task.picture:gsub("xxxx", "yyyy")))
  end,
  portal = function() return { status = 200, bytes = html, length_known = true,
    headers = { ["content-type"] = "text/html" } } end,
  endless = function(_, link)
    local found = picture_answer(link, 0)
    found.length_known, found.headers = false, {}
    return found
  end,
  endless_cut = function(world, link)
    local found = picture_answer(link, 0, cut(world, link.task.picture))
    found.length_known, found.headers = false, {}
    return found
  end,
  moved = function(_, link)
    return { status = 302, bytes = "", headers = { location = link.url .. "&again=1" } }
  end,
  moved_in_circles = function(_, link)
    return { status = 302, bytes = "", headers = { location = link.url } }
  end,
  moved_nowhere = function()
    return { status = 302, bytes = "", headers = { location = "http://127.0.0.1/x" } }
  end,
  wrong_range = function(_, link, from)
    if from == 0 then return picture_answer(link, 0) end
    return { bytes = "", headers = {}, kind = "protocol", code = "CURLE_RANGE_ERROR",
      detail = "the server sent another range than was asked for" }
  end,
  other_rest = function(_, link, from) -- the file behind the link has changed meanwhile
    local found = picture_answer(link, from)
    if found.status == 206 then
      found.bytes, found.headers.etag = found.bytes:gsub("x", "z"), '"2"'
    end
    return found
  end,
  other_total = function(_, link, from)
    local found = picture_answer(link, from)
    if found.status == 206 then
      found.bytes, found.headers.etag = "zz" .. found.bytes, nil
      found.headers["content-range"] = ("bytes %d-%d/%d"):format(from, #link.task.picture + 1,
        #link.task.picture + 2)
    end
    return found
  end,
  no_range = function(_, link) return picture_answer(link, 0, link.task.picture) end,
  early_end = function(_, link) -- a proxy that tells the length of what it has
    local found = picture_answer(link, 0, link.task.picture:sub(1, 30))
    found.headers = { ["content-length"] = "30" }
    return found
  end,
  hex_md5 = function(_, link)
    local found = picture_answer(link, 0, link.task.picture)
    found.headers["content-md5"] = (core.md5(link.task.picture):gsub(".", function(char)
      return ("%02x"):format(char:byte())
    end))
    return found
  end,
  no_md5 = function(_, link)
    local found = picture_answer(link, 0, link.task.picture)
    found.headers["content-md5"] = nil
    return found
  end,
  large = function()
    return { bytes = "", headers = {}, status = 200, kind = "protocol",
      code = "CURLE_FILESIZE_EXCEEDED", detail = "the answer is larger than any that is expected" }
  end,
}

--- Answers a download of which `from` bytes are there.
---@param url string
---@param from integer
---@return table answer
---@return table? link
function Service:download(url, from)
  local world = self.world
  local link = self.links[url] or self.links[(url:gsub("&again=1$", ""))]
  if not link then return dated(world, 404, xml) end
  return self:deliver(link, from), link
end

-- Answers a download of a link that there is.
function Service:deliver(link, from)
  local world, task = self.world, link.task
  if world:time() >= link.ends then
    link.refused = true
    local found = dated(world, 403, xml)
    if found.headers.date and link.url:find('se=', 1, true) then
      link.refused_at = link.refused_at or world.now
    end
    return found
  elseif world.now < link.valid then
    return dated(world, 403, xml)
  elseif world.now < link.stored then
    return dated(world, 404, xml)
  end
  local form = world:choose("download.answer", downloads)
  if form ~= "whole" then task.troubled = world.now end
  return download_answers[form](world, link, from)
end

return service
