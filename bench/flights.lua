--- Many edits, 24 in flight.
local clients = require "bench.clients"
local lab = require "bench.lab"

local flights = {}

local function run(client, server, size, count, takes, in_flight)
  server:ledger(takes)
  local used = lab.measure(("%s %s %s %d %d %g %s"):format(client.command, server.url, size.path,
    count, in_flight or 24, takes > 0 and takes / 100 or 0.001, server.ca_file or ""), 300)
  local seen = server:ledger(0)
  assert(seen.downloads == count, client.name .. " did not do its edits")
  return { rate = count / used.wall, cpu = used.cpu / count, rss = used.rss, seen = seen,
    wall = used.wall }
end

-- Returns the seconds that an edit takes with no other in flight.
local function latency(client, server, size, takes)
  return (run(client, server, size, 6, takes, 1).wall
    - run(client, server, size, 1, takes, 1).wall) / 5
end

--- Measures C, kontext and, if asked for, the peers that can have several in flight.
---@param server table
---@param size table
---@param takes number seconds of the server's time
---@param count integer
---@param rounds integer
---@param others boolean
---@return table results [client] → {rate = edits/s, cpu, rss, ratio = of C's rate}; of kontext
--- saved_rss, when it saves the pictures instead of keeping them, and latency, of an edit alone
function flights.measure(server, size, takes, count, rounds, others)
  local samples, results = {}, {}
  for round = 1, rounds do
    for _, client in ipairs(clients) do
      if client.fast or others and client.many and round == 1 then
        local of = samples[client.name] or {}
        samples[client.name] = of
        of[round] = run(client, server, size, client.fast and count or count // 4, takes)
      end
    end
  end
  for name, of in pairs(samples) do
    local rates, ratios, cpu, rss = {}, {}, {}, {}
    for round, one in ipairs(of) do
      rates[round], cpu[round], rss[round] = one.rate, one.cpu, one.rss
      ratios[round] = one.rate / samples.C[round].rate
    end
    results[name] = { rate = lab.quantile(rates), cpu = lab.quantile(cpu), rss = lab.quantile(rss),
      ratio = lab.quantile(ratios), low = lab.quantile(ratios, 0.25),
      high = lab.quantile(ratios, 0.75), seen = of[1].seen }
  end
  local saved = lab.measure(("env SAVE=%s/saved- %s %s %s %d 24 0.001 %s"):format(lab.folder,
    lab.find(clients, "kontext").command, server.url, size.path, count, server.ca_file or ""))
  results.saved_rss = saved.rss
  results.latency = latency(lab.find(clients, "kontext"), server, size, takes)
  server:ledger(0)
  lab.say("%s, %g s: %.0f edits/s, %.2f of C", size.name, takes, results.kontext.rate,
    results.kontext.ratio)
  return results
end

return flights
