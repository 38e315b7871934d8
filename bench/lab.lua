--- What all measurements need: the server, programs run one after the other and what they used.
local lab = { folder = "build/bench" }

--- Runs a command and returns what it printed.
---@param command string
---@return string text
function lab.shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  local done, _, status = pipe:close()
  if not done then
    error(("%s: %s, exit status %s"):format(command, text:sub(1, 500), status), 0)
  end
  return text
end

function lab.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

function lab.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

--- Runs a command and measures it.
---@param command string
---@param limit? number seconds until it is given up
---@return table used {wall, cpu = seconds, rss = KiB, said = what it printed}
function lab.measure(command, limit)
  local text = lab.shell(("timeout %d %s/measure %s"):format(limit or 120, lab.folder, command))
  local said, wall, user, sys, rss = text:match "^(.*)\n(%S+) (%S+) (%S+) (%d+)%s*$"
  return { wall = tonumber(wall), cpu = tonumber(user) + tonumber(sys), rss = tonumber(rss),
    said = said }
end

--- Starts the server; it ends with this process at the latest.
---@param result string path of what it answers with
---@param sizes table[] the pictures that may come
---@param options? table {tls = boolean}
---@return table server {url, ca_file}
function lab.serve(result, sizes, options)
  local server = {}
  local arguments = { result }
  for _, size in ipairs(sizes) do arguments[#arguments + 1] = size.path end
  if options and options.tls then
    local key = lab.folder .. "/key.pem"
    server.ca_file = lab.folder .. "/certificate.pem"
    lab.shell(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
      .. "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s -out %s "
      .. "2>/dev/null"):format(key, server.ca_file))
    table.insert(arguments, 1, ("-c %s -k %s"):format(server.ca_file, key))
  end
  local said = os.tmpname()
  server.input = assert(io.popen(("%s/server %s >%s"):format(lab.folder,
    table.concat(arguments, " "), said), "w"))
  for _ = 1, 50 do
    server.url = lab.read(said):match "(http%S+)\n"
    if server.url then break end
    os.execute "sleep 0.1"
  end
  os.remove(said)
  assert(server.url, "the server did not start")

  --- Returns what it saw since the last time; from then on an edit takes `seconds` there.
  function server:ledger(seconds)
    local text = lab.shell(("curl -s %s '%s/_ledger%s'"):format(
      self.ca_file and "--cacert " .. self.ca_file or "", self.url,
      seconds and "?t=" .. seconds or ""))
    local seen = {}
    for name, number in text:gmatch '"(%a+)":([%d.]+)' do seen[name] = tonumber(number) end
    return seen
  end

  function server:stop() self.input:close() end

  return server
end

--- Returns the value below which that share of the list is.
---@param list number[]
---@param share? number default a half: the median
function lab.quantile(list, share)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(#sorted * (share or 0.5)))]
end

--- Returns the one of a list that has this name.
function lab.find(list, name)
  for _, one in ipairs(list) do
    if one.name == name then return one end
  end
end

--- Says on the terminal what is going on.
function lab.say(...) io.stderr:write(string.format(...), "\n") end

return lab
