--- One edit and further ones in a process of their own: CPU, wall, memory, and whether every byte
--- was right. Clients take turns, so that all see the same machine.
local clients = require "bench.clients"
local lab = require "bench.lab"

local edits = {}

local interval = 0.00001 -- seconds between polls: the server is ready at once

local function run(client, server, size, count)
  local used = lab.measure(("%s %s %s %d 1 %g %s"):format(client.command, server.url, size.path,
    count, interval, server.ca_file or ""))
  local seen = server:ledger()
  assert(seen.submits == count and seen.downloads == count, client.name .. " did not do its edits")
  assert(seen.exact == (client.alters and 0 or count), client.name .. " altered the picture")
  used.seen = seen
  return used
end

--- Measures every client with every size.
---@param server table
---@param sizes table[]
---@param rounds integer for the lower bound and kontext; others get fewer
---@param others boolean whether the peers take part with every size, not only the smallest
---@return table results [size][client] → {cpu, wall, rss, more, seen}, and by cpu_ratio … of C
function edits.measure(server, sizes, rounds, others)
  local results = {}
  for _, size in ipairs(sizes) do
    local further = size.bytes < 1e6 and 100 or 10
    local samples = {}
    for round = 1, rounds do
      for _, client in ipairs(clients) do
        if client.fast or (others or size.bytes < 1e6) and round <= math.max(1, rounds // 7) then
          local of = samples[client.name] or {}
          samples[client.name] = of
          local count = client.fast and others and further or 10
          local one, all = run(client, server, size, 1), run(client, server, size, 1 + count)
          one.more, one.seen, one.all_rss = (all.cpu - one.cpu) / count, all.seen, all.rss
          one.count = 1 + count
          of[round] = one
        end
      end
    end
    results[size.name] = {}
    for name, of in pairs(samples) do
      local result = { count = of[1].count, seen = of[1].seen }
      for _, field in ipairs { "cpu", "wall", "rss", "more", "all_rss" } do
        local list, ratios = {}, {}
        for round, one in ipairs(of) do
          list[round] = one[field]
          ratios[round] = one[field] / samples.C[round][field]
        end
        result[field] = lab.quantile(list)
        result[field .. "_ratio"] = lab.quantile(ratios)
        result[field .. "_low"], result[field .. "_high"] = lab.quantile(ratios, 0.25),
          lab.quantile(ratios, 0.75)
      end
      results[size.name][name] = result
    end
    lab.say("%s: one %.2f ms CPU, %.2f of C; further %.2f ms, %.2f of C", size.name,
      results[size.name].kontext.cpu * 1e3, results[size.name].kontext.cpu_ratio,
      results[size.name].kontext.more * 1e3, results[size.name].kontext.more_ratio)
  end
  return results
end

--- Measures processes that do nothing: what is used before any edit.
---@param rounds integer
---@return table idle {C = {cpu, rss}, lua = …, kontext = …}
function edits.idle(rounds)
  local idle = {}
  for name, command in pairs {
    C = "build/bench/lower_bound - - 0 1 0",
    lua = "lua5.4 -e 'x = 1'",
    kontext = [[lua5.4 -e 'require("kontext").new { base_url = "http://127.0.0.1:1" }']],
  } do
    local cpu, rss = {}, {}
    for round = 1, rounds do
      local used = lab.measure(command)
      cpu[round], rss[round] = used.cpu, used.rss
    end
    idle[name] = { cpu = lab.quantile(cpu), rss = lab.quantile(rss) }
  end
  return idle
end

return edits
