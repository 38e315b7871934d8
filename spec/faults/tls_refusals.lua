-- S3: not one byte of a request goes to a server whose identity is in doubt, or in the clear to
-- another machine: for the submit, the polls and the download.

local namespace = require "faults.namespace"
namespace.enter "S3"

local campaign = require "faults.campaign"
local certs = require "faults.certs"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"

local run = campaign.new { id = "S3", title = "nothing is sent to whom TLS does not vouch for",
                           limit = 30 }

local image = run.temporary .. "/small.png"

-- What is wrong with a server, and how to start it. The good one shows that the others are
-- refused for what is wrong with them and for nothing else.
local servers = {
  { name = "good", cert = "good", fine = true },
  { name = "expired", cert = "expired" },
  { name = "not yet valid", cert = "early" },
  { name = "wrong host", cert = "wrong" },
  { name = "self-signed", cert = "alone" },
  { name = "unknown authority", cert = "good", bundle = "/etc/ssl/certs/ca-certificates.crt" },
  { name = "TLS 1.1", cert = "good", only = "TLSv1.1" },
  { name = "plain http", plain = true, host = "127.0.0.66" },
}

local function start(answers, options)
  local script, state = service.script { answers = answers, timeout = 10 }
  local started = server.start(run.loop, script, options)
  state.base = "https://127.0.0.1:" .. started.port
  return started, state
end

local function try(case, client)
  local bad = case.server
  local suspect, state = start({}, { tls = bad.cert and certs.context(bad.cert, bad.only),
                              host = bad.host })
  local there = ("%s://%s:%d"):format(bad.plain and "http" or "https",
    bad.plain and "elsewhere.test" or case.host, suspect.port)
  local good = start({
    submit = case.phase == "poll" and function(_, id)
      return "200 OK", {}, ('{"id":"%s","polling_url":"%s/v1/get_result?id=%s"}'):format(id, there,
        id)
    end or nil,
    poll = case.phase == "sample" and function(_, id)
      return "200 OK", {}, ('{"id":"%s","status":"Ready","result":{"sample":"%s/sample/%s.png"}}')
        :format(id, there, id)
    end or nil,
  }, { tls = certs.context "good" })
  state.base = "https://127.0.0.1:" .. good.port
  local base = case.phase == "submit" and there or "https://127.0.0.1:" .. good.port
  local outcome = client:run {
    -- A refused submit ends by itself; a refused poll or download is tried until the time is over.
    new = { base_url = base, api_key = campaign.key, timeout = case.phase == "submit" and 20 or 3,
            poll_interval = 0.05, ca_file = bad.bundle or certs.bundle() },
    edit = { prompt = "case", input_image = image, output_format = "png" },
  }
  suspect:close(true)
  good:close(true)
  local seen = #suspect.ledger
  local told = campaign.told(outcome)
  if bad.fine then
    if seen == 0 then return "the good server got no request either; told: " .. told end
    return run:sane(outcome)
  end
  if seen > 0 then return ("%d requests, the first: %s"):format(seen, suspect.ledger[1].head) end
  -- Misuse of the base URL may raise; nothing was sent either way.
  if case.phase == "submit" and bad.plain and outcome and outcome.raised then return nil end
  local wrong = run:sane(outcome)
  if wrong then return wrong end
  if case.phase == "submit" then
    if outcome.status ~= "failed" then return "told " .. told end
    local kind = outcome.error.kind
    if kind ~= (bad.plain and "invalid" or "tls") then return "told " .. told end
  elseif outcome.status ~= "ready" and not outcome.token then
    return "the job is lost: " .. told
  end
end

run:run(function()
  namespace.names(run.loop, function() return "127.0.0.66" end)
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local cases = {}
  for _, phase in ipairs { "submit", "poll", "sample" } do
    for _, bad in ipairs(servers) do
      for _, host in ipairs { "127.0.0.1", "localhost" } do
        -- Who stands behind an unknown authority, only a client that knows none can tell.
        if not bad.bundle or phase == "submit" then
          cases[#cases + 1] = { server = bad, phase = phase, host = host,
                                name = ("%s, %s, %s"):format(phase, bad.name, host) }
        end
      end
    end
  end
  run:each(cases, try)
end)
