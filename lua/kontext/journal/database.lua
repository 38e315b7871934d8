--- A connection to PostgreSQL, through lua-dbi: one statement at a time, each its own transaction.
--- What the driver gets wrong is kept in here: its commit() hides a COMMIT that failed, so every
--- change is one statement; it cuts 64-bit integers to 32, so ids travel as text; and some of its
--- versions free a prepared statement on the server when it is closed, others never do.
local json = require "kontext.json"
local wording = require "kontext.wording"

local database = {}

---@class kontext.Database
---@field shown string the address without its password
---@field trouble string? why the last statement failed
local Database = {}
Database.__index = Database

local missing = "a journal in PostgreSQL needs lua-dbi, which this Lua does not find: apt install "
  .. "lua-dbi-postgresql, or luarocks install luadbi-postgresql"

-- What the address leaves open: nothing may wait for ever on a server that has gone away.
local defaults = {
  { "connect_timeout", "5" }, { "tcp_user_timeout", "15000" }, { "application_name", "kontext" },
}

local first_gap, longest_gap = 0.2, 5 -- seconds between two tries to connect
local longest_message = 300

-- Returns a text of an address as it is.
local function decoded(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Returns whether an option of an address is a password.
local function is_password(name)
  return decoded(name):lower():find "password$" ~= nil
end

-- Returns the secrets of an address, as it writes them and as they are.
local function secrets_of(address)
  local found = {}
  local function add(text)
    for _, secret in ipairs { text, decoded(text) } do
      if #secret > 0 then found[#found + 1] = secret end
    end
  end
  local password = address:match "^%a+://[^@/:?]*:(.*)@" or ""
  add(password)
  for part in password:gmatch "[^@/:?#]+" do add(part) end -- an error names a part of a wrong one
  for name, value in address:gmatch "[?&]([^=&]+)=([^&]*)" do
    if is_password(name) then add(value) end
  end
  return found
end

--- Returns an address without its password, for messages. One that was written without its escapes
--- reaches to the last @.
---@param address string
---@return string
function database.shown(address)
  local text = address:gsub("^(%a+://[^@/:?]*):.*@", "%1@")
  text = text:gsub("([?&])([^=&]+)=[^&]*", function(mark, name)
    return is_password(name) and mark or nil
  end)
  return (text:gsub("([?&])&+", "%1"):gsub("[?&]$", ""))
end

-- Returns a driver's message as the end of a sentence: its first line, and no secret.
local function plain(self, message)
  local text = tostring(message):sub(1, 4096)
  for _, secret in ipairs(self._secrets) do
    local from, to = text:find(secret, 1, true)
    while from do
      text = text:sub(1, from - 1) .. "***" .. text:sub(to + 1)
      from, to = text:find(secret, from + 3, true)
    end
  end
  text = text:gsub("^Error %a+ing[^:]*: ", ""):gsub("^Failed to connect[^:]*: ", "")
  text = text:gsub("^%u+:%s+", ""):match "^%s*([^\n]*)"
  return (wording.cut(text, longest_message))
end

--- Prepares to use a database; nothing connects before the first statement.
---@param address string postgres://…, as libpq reads it; what it leaves out comes from libpq's
--- own places: PGPASSWORD, PGPASSFILE, ~/.pgpass, pg_service.conf
---@param system kontext.System
---@return kontext.Database? database
---@return string? message
---@return string? code
function database.new(address, system)
  local found, driver = pcall(require, "dbd.postgresql")
  if not found then return nil, missing, "ENOENT" end
  local text = address
  for _, default in ipairs(defaults) do
    if not text:find("[?&]" .. default[1] .. "=") then
      text = ("%s%s%s=%s"):format(text, text:find("?", 1, true) and "&" or "?", default[1],
        default[2])
    end
  end
  return setmetatable({ shown = database.shown(address), _address = text, _driver = driver,
    _secrets = secrets_of(address), _now = system.now, _gap = first_gap, _try_at = 0,
    _statements = {} }, Database)
end

-- Runs a statement on the connection there is. Returns its rows; or nil and the driver's message.
local function execute(self, sql, ...)
  local statement, done, message = self._statements[sql], nil, nil
  if statement then
    done, message = statement:execute(...)
    if not done and tostring(message):find 'prepared statement "[^"]*" does not exist' then
      self._closes, self._statements, statement = true, {}, nil -- so close() has freed it
    end
  end
  if not statement then
    statement, message = self._connection:prepare(sql)
    if not statement then return nil, message end
    if not self._closes then self._statements[sql] = statement end
    done, message = statement:execute(...)
  end
  if not done then return nil, message end
  local rows = { affected = statement:affected() }
  for row in statement:rows(true) do rows[#rows + 1] = row end
  statement:close() -- its result, at least: a second execute would leak it
  return rows
end

local function drop(self)
  if self._connection then pcall(self._connection.close, self._connection) end
  self._connection, self._statements = nil, {}
end

-- The same, whatever the driver raises.
local function attempt(self, sql, ...)
  local done, rows, message = pcall(execute, self, sql, ...)
  if done and rows then return rows end
  self._statements[sql] = nil
  message = done and message or rows
  local alive, pinged = pcall(self._connection.ping, self._connection)
  local lost = not (alive and pinged)
  if lost then drop(self) end
  return nil, plain(self, message), lost and "ECONNRESET" or "EDATABASE"
end

local setup = [[
SELECT set_config('statement_timeout', '20000', false), set_config('lock_timeout', '10000', false),
  set_config('client_min_messages', 'error', false),
  CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
    THEN set_config('synchronous_commit', 'on', false)
    ELSE current_setting('synchronous_commit') END AS synchronous,
  current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby,
  current_setting('server_version_num') AS version]]

local oldest = 110000 -- PostgreSQL 11

-- Returns why a server must not be trusted with what is paid for, or nil.
local function unfit(row)
  if tonumber(row.version) < oldest then return "its PostgreSQL is older than 11" end
  if row.standby then return "it is a standby, which takes no changes: name the primary" end
  if row.fsync ~= "on" then
    return "it runs with fsync = off, so a crash would lose what is paid for: set fsync = on"
  elseif row.synchronous == "off" or row.synchronous == "local" then
    return "synchronous_commit cannot be set to on, so a crash would lose what is paid for"
  end
end

-- Makes sure that there is a connection. Returns true; or nil, message and code.
local function connect(self)
  if self._connection then return true end
  if self._now() < self._try_at then return nil, self._trouble, "ECONNREFUSED" end
  local done, connection, message = pcall(self._driver.New, self._address)
  if not done then connection, message = nil, connection end
  if connection then
    self._connection = connection
    connection:autocommit(true) -- the driver has begun a transaction
    local rows
    rows, message = attempt(self, setup)
    local wrong = rows and unfit(rows[1])
    if rows and not wrong then
      self._gap, self.connected = first_gap, (self.connected or 0) + 1
      return true
    end
    drop(self)
    message = wrong or message
  end
  message = plain(self, message)
  if message:find "^no connection" then -- the driver has overwritten the reason
    message = "it takes no connection; psql with the same address tells why"
  end
  self._trouble = ("the database %s cannot be used: %s"):format(self.shown, message)
  self._try_at = self._now() + self._gap
  self._gap = math.min(longest_gap, self._gap * 2)
  return nil, self._trouble, "ECONNREFUSED"
end

-- Returns a value as PostgreSQL takes it. A text of strangers may have NUL bytes, or be no UTF-8: a
-- fact would fail for it each time. A number has a point, whatever the process's locale.
local function fit(value)
  if type(value) == "number" then return json.number(value) end
  if type(value) == "string" and not database.is_text(value) then return wording.safe(value) end
  return value
end

local function fit_all(count, value, ...)
  if count == 0 then return end
  return fit(value), fit_all(count - 1, ...)
end

--- Returns whether a row can hold a text byte by byte.
---@param text string
---@return boolean
function database.is_text(text)
  return not text:find "%z" and json.invalid_utf8(text) == nil
end

--- Runs one statement, which is a transaction of its own; its values are $1, $2 … as text;
--- what is no text is escaped.
---@param sql string
---@param ... string|number|boolean|nil
---@return table? rows the rows by column, and `affected`; once they are here, the change is
--- committed
---@return string? message
---@return string? code "ECONNREFUSED": it was not run; "ECONNRESET": it may have been
function Database:run(sql, ...)
  local done, message, code = connect(self)
  local rows
  if done then rows, message, code = attempt(self, sql, fit_all(select("#", ...), ...)) end
  self.trouble = not rows and message or nil
  return rows, message, code
end

--- Runs statements that change no data which is asked about, one after the other.
---@param list string[]
---@return true? done
---@return string? message
---@return string? code
function Database:run_all(list)
  for _, sql in ipairs(list) do
    local rows, message, code = self:run(sql)
    if not rows then return nil, message, code end
  end
  return true
end

function Database:close()
  drop(self)
end

return database
