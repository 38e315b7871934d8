-- A PostgreSQL of a spec's own: in a temporary folder, at a Unix socket, with a password. Root runs
-- it as `nobody`, because PostgreSQL refuses root.

local core = require "kontext.core"

local postgres = {}

local password = "p%w d" -- what an address must escape
local escaped = "p%25w%20d"

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output_of(command)
  local pipe = assert(io.popen("unset LD_PRELOAD; " .. command .. "; echo \"=$?\"", "r"))
  local text = pipe:read "*a"
  pipe:close()
  local output, code = text:match "^(.*)=(%d+)\n$"
  return output, tonumber(code)
end

-- Returns the folder of the server's programs, or nil.
local function programs()
  local found = output_of "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1"
  local folder = found:match "^[^\n]+"
  if folder then return folder end
  return (output_of "dirname \"$(command -v initdb)\" 2>/dev/null"):match "^(/[^\n]+)"
end

--- Returns why there can be no server here, or nil.
---@return string?
function postgres.missing()
  if not pcall(require, "dbd.postgresql") then return "this Lua has no lua-dbi-postgresql" end
  if not programs() then return "there is no PostgreSQL" end
end

local Server = {}
Server.__index = Server

-- Runs a command as the server's user; returns what it wrote and its exit code.
function Server:as_user(command)
  if self.root then
    command = "setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c " .. quote(command)
  end
  return output_of(command)
end

--- Starts the server, and waits until it takes connections.
function Server:start()
  local output, code = self:as_user(("cd %s && %s/pg_ctl -D data -l log -w -t 60 start >/dev/null "
    .. "2>&1"):format(self.folder, self.programs))
  if code ~= 0 then error("PostgreSQL does not start: " .. output .. self:log()) end
  local file = assert(io.open(self.folder .. "/data/postmaster.pid"))
  self.pid = file:read "*n"
  file:close()
end

--- Stops it: "fast" cuts all connections, "immediate" is like a crash.
function Server:stop(mode)
  self:as_user(("cd %s && %s/pg_ctl -D data -m %s -w -t 60 stop >/dev/null 2>&1"):format(
    self.folder, self.programs, mode or "fast"))
end

function Server:log()
  local file = io.open(self.folder .. "/log")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

--- Runs SQL with psql; returns what it wrote, without headers, the columns between bars.
function Server:sql(text)
  local output, code = output_of(("PGPASSWORD=%s %s/psql -h %s -p %d -U kontext -d kontext -XAtq "
    .. "-v ON_ERROR_STOP=1 -c %s 2>&1"):format(quote(password), self.programs, self.folder,
      self.port, quote(text)))
  if code ~= 0 then error(output) end
  return (output:gsub("\n$", ""))
end

--- Takes what is left of its disk, so that nothing more can be written; `empty` gives it back. Only
--- where it was started with a disk of its own.
function Server:fill()
  os.execute(("cat /dev/zero >%s/filler 2>/dev/null"):format(self.folder))
end

function Server:empty()
  os.remove(self.folder .. "/filler")
end

--- Stops the server and removes its folder.
function Server:close()
  self:stop "immediate"
  if self.disk then os.execute("umount " .. self.folder) end
  os.execute("rm -rf " .. quote(self.folder))
end

--- Starts a server. Its `url` has the password, `bare_url` has not.
---@param options? { tcp: boolean?, settings: string?, disk: string? } disk: the size of one of its
--- own, where the system lets us mount one
function postgres.start(options)
  options = options or {}
  local self = setmetatable({ programs = programs() }, Server)
  self.folder = output_of("mktemp -d /tmp/kontext-pg-XXXXXX"):match "^[^\n]+"
  self.root = output_of "id -u" == "0\n"
  self.disk = options.disk and select(2, output_of(("mount -t tmpfs -o size=%s none %s 2>/dev/null")
    :format(options.disk, self.folder))) == 0
  if self.root then os.execute("chown nobody:nogroup " .. self.folder) end
  os.execute("chmod 711 " .. self.folder) -- the socket is in it
  self.port = 20000 + math.floor((core.now() * 1e4 + core.process() * 7) % 40000)
  local output, code = self:as_user(([[cd %s && printf %%s %s > pw && chmod 600 pw &&
    %s/initdb -D data -U kontext --pwfile=pw --auth=scram-sha-256 -E UTF8 --locale=C --no-sync \
      >/dev/null 2>&1 &&
    printf '%%s\n' "listen_addresses = '%s'" "port = %d" "unix_socket_directories = '%s'" \
      "unix_socket_permissions = 0777" "shared_buffers = 16MB" "max_wal_size = 256MB" \
      %s >> data/postgresql.conf]]):format(self.folder, quote(password), self.programs,
      options.tcp and "127.0.0.1" or "", self.port, self.folder, quote(options.settings or "")))
  if code ~= 0 then error("initdb failed: " .. output) end
  self:start()
  local make = ("PGPASSWORD=%s %s/createdb -h %s -p %d -U kontext kontext 2>&1"):format(
    quote(password), self.programs, self.folder, self.port)
  output, code = output_of(make)
  if code ~= 0 then error("createdb failed: " .. output) end
  local place = ("/kontext?host=%s&port=%d"):format(self.folder, self.port)
  self.password = password
  self.url = ("postgres://kontext:%s@%s"):format(escaped, place)
  self.bare_url = "postgres://kontext@" .. place
  if options.tcp then
    self.tcp_url = ("postgres://kontext:%s@127.0.0.1:%d/kontext"):format(escaped, self.port)
  end
  return self
end

return postgres
