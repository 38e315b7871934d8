-- S1: the key reaches the service's own hosts over TLS and nobody else, whatever URLs and redirects
-- the service (or who stands in for it) sends; and no job is lost over its URL.
--
-- In a network of our own https://api.bfl.ai is ours; every foreign name leads to a listener whose
-- certificate the client trusts, so that nothing but its own judgement keeps the key from it.

local namespace = require "faults.namespace"
namespace.enter "S1"

local cjson = require "cjson"
local campaign = require "faults.campaign"
local certs = require "faults.certs"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"

local HOME, FOREIGN = "127.0.0.5", "127.0.0.66"

local run = campaign.new { id = "S1", title = "the key reaches nobody else", at_once = 64,
                           limit = 40 }

-- URLs as a polling URL or a sample; %s is where the path and the query go.
local hostile = {
  "https://api.bfl.ai.evil.test%s", "https://bfl.ai@evil.test%s", "https://api.bfl.ai@evil.test%s",
  "https://api.bfl.ai:443@evil.test%s", "https://user:secret@evil.test%s",
  "https://evil.test#.bfl.ai%s", "https://evil.test#@api.bfl.ai%s", "https://evil.test\\.bfl.ai%s",
  "https://evil.test\\@api.bfl.ai%s", "https://api.bfl.ai\\@evil.test%s",
  "https:\\\\evil.test\\.bfl.ai%s", "https://evil.test?.bfl.ai%s",
  "https://evil.test?@api.bfl.ai%s",
  "https://evil.test/.bfl.ai%s", "https://evil.test/@api.bfl.ai%s", "https://evilbfl.ai%s",
  "https://api.evilbfl.ai%s", "https://bfl.ai.evil.test%s", "https://xbfl.ai%s",
  "https://api-bfl.ai%s", "https://bfl-ai%s", "https://bfl.aix%s", "https://bfl.ai.%s",
  "https://api.bfl.ai.%s", "https://api.bfl.ai..%s", "https://.bfl.ai%s", "https://API.BFL.AI%s",
  "HTTPS://Api.Bfl.Ai%s", "https://EVIL.TEST%s", "https://api.bfl.ai%%2eevil.test%s",
  "https://api.bfl.ai%%00.evil.test%s", "https://evil.test%%00.bfl.ai%s",
  "https://evil.test%%23.bfl.ai%s", "https://evil.test%%2f.bfl.ai%s", "https://%%65vil.test%s",
  "https://api.bfl%%2Eai%s", "https://api.bfl.ai%%40evil.test%s",
  "https://evil.test%%40api.bfl.ai%s",
  "https://api\u{3002}bfl\u{3002}ai%s", "https://evil\u{3002}test%s",
  "https://evil.test\u{FF0F}.bfl.ai%s", "https://api.bfl.ai\u{FF0E}evil.test%s",
  "https://bfl.\u{0430}i%s", "https://\u{FF41}pi.bfl.ai%s", "https://evil.test\u{2100}.bfl.ai%s",
  "https://2130706498%s", "https://0x7f000042%s", "https://0177.0.0.0102%s", "https://127.66%s",
  "https://127.0.0.66%s", "https://127.0.0.66.%s", "https://[::1]%s", "https://[::ffff:7f00:42]%s",
  "https://[fe80::1%%25lo]%s", "https://[api.bfl.ai]%s", "http://api.bfl.ai%s",
  "HTTP://API.BFL.AI%s",
  "http://evil.test%s", "http://127.0.0.66%s", "http://localhost%s", "ftp://api.bfl.ai%s",
  "file:///etc/hostname?%s", "file://api.bfl.ai/etc/hostname%s", "gopher://api.bfl.ai:80%s",
  "dict://api.bfl.ai%s", "ldap://api.bfl.ai%s", "smb://api.bfl.ai%s", "tftp://api.bfl.ai%s",
  "telnet://evil.test%s", "ws://evil.test%s", "javascript:alert(1)%s", "data:application/json,{}%s",
  "blob:https://api.bfl.ai%s", "//evil.test%s", "\\\\evil.test%s", "evil.test%s", "%s",
  "https://%s",
  "https:///%s", "https:evil.test%s", "https:/evil.test%s", " https://evil.test%s",
  "https://evil.test %s", "https://evil.test\t%s", "ht\ttps://evil.test%s",
  "https://api.bfl.ai\r\nx: y@evil.test%s", "https://api.bfl.ai\nHost: evil.test%s",
  "https://api.bfl.ai:80%s", "https://api.bfl.ai:8443%s", "https://api.bfl.ai:99999%s",
  "https://api.bfl.ai:-1%s", "https://api.bfl.ai:443x@evil.test%s", "https://api.bfl.ai:0443%s",
  "https://api.bfl.ai:%s", "https://api.bfl.ai;evil.test%s", "https://api.bfl.ai,evil.test%s",
  "https://api.bfl.ai&evil.test%s", "https://api.bfl.ai|evil.test%s", "https://$api.bfl.ai%s",
  "https://*.bfl.ai%s", "https://api.bfl.ai\u{0}.evil.test%s", "https://api.bfl.ai\127%s",
  "https://a.b.c.d.e.bfl.ai%s", "https://api.bfl.ai/../..//evil.test%s",
  "https+insecure://evil.test%s",
  "https://" .. ("a"):rep(300) .. ".bfl.ai%s", "https://" .. ("a."):rep(400) .. "evil.test%s",
  "https://evil.test/" .. ("x"):rep(70000) .. "%s",
  "https://api.bfl.ai/" .. ("x"):rep(70000) .. "%s",
}

-- Not even strings.
local nonsense = { cjson.null, 17, true, false, {}, { "https://evil.test" }, { url = "x" }, "" }

local REDIRECTS = { 301, 302, 303, 307, 308 }
local TARGETS = { "https://api.bfl.ai%s", "https://api.eu4.bfl.ai%s", "https://evil.test%s",
                  "http://evil.test%s" }

local image = run.temporary .. "/small.png"
local by_prompt, by_id = {}, {}

local function fill(pattern, path) return (pattern:gsub("%%(.)", { s = path, ["%"] = "%" })) end

-- The answers of both worlds: a case may replace its URL, or its answer by a redirect.
local function redirected(case, phase, path)
  if not case or case.redirect == nil or case.phase ~= phase or case.done then return nil end
  case.done = case.phase ~= "submit"
  return case.redirect .. " Moved", { "Location: " .. fill(case.pattern, path) }, ""
end

local answers = {
  submit = function(_, id, entry)
    local case = by_prompt[entry.body:match '"case (%d+)"']
    case.submits = (case.submits or 0) + 1
    local status, headers, body = redirected(case, "submit", "/v1/flux-kontext-pro")
    if status then return status, headers, body end
    by_id[id], case.id = case, id
    local path = "/v1/get_result?id=" .. id
    local url = "https://api.eu4.bfl.ai" .. path
    if case.url == "polling" then url = case.pattern and fill(case.pattern, path) or case.value end
    return "200 OK", {}, cjson.encode { id = id, polling_url = url, cost = 4 }
  end,
  poll = function(_, id)
    local case = by_id[id]
    local status, headers, body = redirected(case, "poll", "/v1/get_result?id=" .. tostring(id))
    if status then return status, headers, body end
    local path = ("/sample/%s.png?sig=%s"):format(id, campaign.signature)
    local url = "https://delivery.bfl.ai" .. path
    if case and case.url == "sample" then
      url = case.pattern and fill(case.pattern, path) or case.value
    end
    return "200 OK", {}, cjson.encode { id = id, status = "Ready", result = { sample = url } }
  end,
  sample = function(state, id, entry)
    local status, headers, body = redirected(by_id[id], "sample", "/sample/" .. tostring(id)
      .. ".png?sig=" .. campaign.signature)
    if status then return status, headers, body end
    return service.answers.sample(state, id, entry)
  end,
}

local function start(host, port, tls)
  local script = service.script { answers = answers, timeout = 20 }
  return server.start(run.loop, script, { host = host, port = port, tls = tls })
end

local function shows_key(entry)
  return (entry.head .. entry.body .. (entry.tail or "")):find(campaign.key, 1, true)
end

local serial = 0

local function try(case, client)
  serial = serial + 1
  by_prompt[tostring(serial)] = case
  local outcome = client:run {
    new = { api_key = campaign.key, ca_file = certs.bundle(), poll_interval = 0.05, timeout = 3 },
    edit = { prompt = "case " .. serial, input_image = image, output_format = "png" },
  }
  local wrong = run:sane(outcome)
  if wrong then return wrong end
  local told = campaign.told(outcome)
  if case.submits ~= 1 then return ("%s submits; told: %s"):format(case.submits or 0, told) end
  if case.phase == "submit" then
    if outcome.status ~= "failed" then return "a redirected submit counts: " .. told end
  elseif outcome.status ~= "ready" and not outcome.token then
    return "the job is lost: " .. told
  elseif case.url == "polling" and outcome.error and outcome.error.kind ~= "timeout" then
    return "given up over its polling URL: " .. told -- a server that is not there is waited for
  end
end

run:run(function()
  local hosts = {}
  for _, pattern in ipairs(hostile) do
    for host in pattern:sub(1, 500):gmatch "[%w%.-]+%.[%w-]+" do
      if #host < 64 then hosts[#hosts + 1] = host:lower():gsub("^%.", "") end
    end
  end
  local mine = certs.for_hosts({ "bfl.ai", "*.bfl.ai" }, {})
  local theirs = certs.for_hosts(hosts, { FOREIGN, "::1", "::ffff:127.0.0.66" })
  local asked = namespace.names(run.loop, function(name)
    return ("." .. name):find("%.bfl%.ai$") and HOME or FOREIGN
  end)
  local home, foreign = { start(HOME, 443, mine), start(HOME, 8443, mine) }, {}
  foreign[1] = start(FOREIGN, 443, theirs)
  for _, port in ipairs { 80, 8080 } do foreign[#foreign + 1] = start(FOREIGN, port) end
  foreign[#foreign + 1] = start(HOME, 80) -- plain http to the service is as bad
  foreign[#foreign + 1] = start("127.0.0.1", 80)
  foreign[#foreign + 1] = start("::1", 443, theirs)
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()

  local cases = {}
  local function add(case, name)
    cases[#cases + 1], case.name = case, name
  end
  for _, url in ipairs { "polling", "sample" } do
    for _, pattern in ipairs(hostile) do
      add({ url = url, pattern = pattern }, url .. " URL " .. pattern:sub(1, 80))
    end
    for _, value in ipairs(nonsense) do
      add({ url = url, value = value }, url .. " URL is a " .. type(value))
    end
  end
  for _, phase in ipairs { "submit", "poll", "sample" } do
    for _, code in ipairs(REDIRECTS) do
      for _, target in ipairs(TARGETS) do
        add({ phase = phase, redirect = code, pattern = target },
          ("%s redirected by %d to %s"):format(phase, code, target))
      end
    end
  end
  run:each(cases, try)

  local keys, requests = 0, 0
  for _, listener in ipairs(foreign) do
    for _, entry in ipairs(listener.ledger) do
      requests = requests + 1
      if shows_key(entry) then
        run:violation("a foreign listener", "KEY SEEN:", entry.head:sub(1, 300))
      end
      if entry.method == "POST" then
        run:violation("a foreign listener", "a submit:", entry.head:sub(1, 300))
      end
    end
  end
  for _, listener in ipairs(home) do
    for _, entry in ipairs(listener.ledger) do
      if shows_key(entry) then keys = keys + 1 end
      if entry.route == "sample" and shows_key(entry) then
        run:violation("a download", "KEY SEEN:", entry.head:sub(1, 300))
      end
    end
  end
  if keys == 0 then run:violation(nil, "the key was seen nowhere at all: nothing was tested") end
  if requests == 0 then run:violation(nil, "no foreign listener was ever reached") end
  run.notes = { ("%d requests at foreign listeners, %d names asked for"):format(requests, #asked) }
end)
