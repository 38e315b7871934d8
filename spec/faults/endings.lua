-- Bad ends of an answer to a submit that was sent whole: what the server does in its place, and
-- what the client is to say of it: `kind` of the error, none where the id can be read, so that the
-- picture has to come; `status`, the server's; `posts`, how many submits come, all but one of them
-- refused; `silent`, only the deadline ends the wait.

local cjson = require "cjson"
local cqueues = require "cqueues"

local LONG = 30 -- seconds; the client has gone before

local function head(status, headers) -- headers: lines that end in CRLF
  return "HTTP/1.1 " .. status .. "\r\nContent-Type: application/json\r\n" .. (headers or "")
end

-- The good answer's body.
local function json(bytes) return bytes:match "\r\n\r\n(.*)$" end

-- Says bytes made from the good answer's body, then ends the connection.
local function says(make)
  return function(conn, bytes)
    conn:send(make(json(bytes)))
    conn:finish()
  end
end

local function whole(status, body, headers)
  return function()
    return head(status, headers) .. ("Content-Length: %d\r\n\r\n%s"):format(#body, body)
  end
end

local function page(status)
  return whole(status, "<html><body>" .. status .. "</body></html>")
end

-- Says the same over and over until nobody listens any more.
local function forever(bytes, first)
  return function(conn)
    conn:send(first or "")
    local stop = cqueues.monotime() + LONG
    while cqueues.monotime() < stop and conn:send(bytes) do cqueues.sleep(0.001) end
  end
end

local function with_length(difference)
  return says(function(body)
    return head "200 OK" .. ("Content-Length: %d\r\n\r\n%s"):format(#body + difference, body)
  end)
end

local function part_of_it(share, finish)
  return function(conn, bytes)
    conn:send(bytes:sub(1, math.floor(#bytes * share)))
    finish(conn)
  end
end

local function close(conn) conn:finish() end
local function reset(conn) conn:reset() end

local A = "ambiguous"

return {
  { name = "closed before an answer", kind = A, act = close },
  { name = "reset before an answer", kind = A, act = reset },
  { name = "silence", kind = A, silent = true, act = function(conn) conn.wire:read(1, LONG) end },
  { name = "closed in the status line", kind = A, act = says(function() return "HTTP/1.1 20" end) },
  { name = "closed in the head", kind = A, status = 200,
    act = says(function() return "HTTP/1.1 200 OK\r\nContent-Le" end) },
  { name = "closed after the head", kind = A, status = 200, act = says(function()
    return head "200 OK" .. "Content-Length: 120\r\n\r\n"
  end) },
  { name = "closed in the body", act = part_of_it(0.8, close) },
  { name = "reset in the body", act = part_of_it(0.8, reset) },
  { name = "a length that is too long", act = with_length(50) },
  { name = "a length that is too short", act = with_length(-50) },
  { name = "chunks that break off", act = says(function(body)
    return head("200 OK", "Transfer-Encoding: chunked\r\n\r\n")
      .. ("%x\r\n%s"):format(#body, body:sub(1, -20))
  end) },
  { name = "a chunk's length that is none", kind = A, status = 200, act = says(function(body)
    return head("200 OK", "Transfer-Encoding: chunked\r\n\r\n") .. "zz\r\n" .. body
  end) },
  { name = "a 500 in HTML", kind = A, status = 500, act = says(page "500 Internal Server Error") },
  { name = "a 502 in HTML", kind = A, status = 502, act = says(page "502 Bad Gateway") },
  { name = "a 503 in HTML", kind = A, status = 503, act = says(page "503 Service Unavailable") },
  { name = "a 504 in HTML", kind = A, status = 504, act = says(page "504 Gateway Timeout") },
  { name = "a 500 in JSON", kind = A, status = 500,
    act = says(whole("500 Internal Server Error", '{"detail":"no"}')) },
  { name = "a 500 that repeats what it was sent", kind = A, status = 500,
    act = function(conn, _, entry)
      conn:send(whole("500 Internal Server Error", cjson.encode { detail = entry.head,
        input = entry.body })())
      conn:finish()
    end },
  { name = "a 422 that repeats what it was sent", kind = "invalid", status = 422,
    act = function(conn, _, entry)
      conn:send(whole("422 Unprocessable Entity", cjson.encode { detail = entry.body,
        input = entry.head })())
      conn:finish()
    end },
  { name = "an empty 200", kind = A, status = 200, act = says(whole("200 OK", "")) },
  { name = "a 204", kind = A, status = 204,
    act = says(function() return head "204 No Content" .. "\r\n" end) },
  { name = "no id", kind = A, status = 200, act = says(whole("200 OK", '{"cost":4}')) },
  { name = "a list in place of an object",
    act = says(function(body) return whole("200 OK", "[" .. body .. "]")() end) },
  { name = "no HTTP at all", kind = A, act = says(function() return "SSH-2.0-x\r\n\r\n" end) },
  { name = "1xx without end", kind = A,
    act = forever(("HTTP/1.1 100 Continue\r\n\r\n"):rep(100)) },
  { name = "headers without end", kind = A, status = 200,
    act = forever(("X-More: %s\r\n"):format(("x"):rep(4000)):rep(10), head "200 OK") },
  { name = "one header without end", kind = A, status = 200,
    act = forever(("x"):rep(40000), head("200 OK", "X-More: ")) },
  { name = "gzip that nobody asked for",
    act = says(whole("200 OK", "\31\139\8\0\0\0\0\0\0\3\171\86\202\76\81\178\82\50\84\170\5\0",
      "Content-Encoding: gzip\r\n")) },
  { name = "gzip that is none", act = says(function(body)
    return whole("200 OK", body, "Content-Encoding: gzip\r\n")()
  end) },
  { name = "a foreign polling URL", act = says(function(body)
    return whole("200 OK", (body:gsub("https?://[^/]*", "ftp://127.0.0.1:1")))()
  end) },
  { name = "a redirect", kind = "http", status = 307, act = says(whole("307 Temporary Redirect", "",
    "Location: /v1/flux-kontext-max\r\n")) },
  { name = "429 for ever", kind = "rate_limited", status = 429, posts = "any", silent = true,
    act = says(whole("429 Too Many Requests", '{"detail":"wait"}', "Retry-After: 0\r\n")) },
  { name = "a gateway's 503 in JSON", kind = A, status = 503,
    act = says(whole("503 Service Unavailable", '{"message":"upstream timed out"}')) },
  { name = "a byte order mark", act = says(function(body)
    return whole("200 OK", "\239\187\191" .. body)()
  end) },
  { name = "bytes after the answer", act = says(function(body)
    return whole("200 OK", body .. "\r\n<!-- cached -->")()
  end) },
  { name = "a task's id that is a number", act = says(function(body)
    return whole("200 OK", (body:gsub('"id":"[^"]*"', '"id":41')))()
  end) },
  { name = "a 403 of a web filter", kind = "http", status = 403, act = says(page "403 Forbidden") },
  { name = "a 403 of the service", kind = "auth", status = 403,
    act = says(whole("403 Forbidden", '{"detail":"Not authenticated"}')) },
  { name = "a 402 of the service", kind = "credits", status = 402,
    act = says(whole("402 Payment Required", '{"detail":"Insufficient credits"}')) },
  { name = "a 422 about the key", kind = "auth", status = 422,
    act = says(whole("422 Unprocessable Entity", '{"detail":"Invalid API key format"}')) },
  { name = "a date that no calendar has", kind = "rate_limited", status = 429, posts = "any",
    silent = true, act = says(whole("429 Too Many Requests", '{"detail":"wait"}',
      "Retry-After: Thu, 18 Dec 999999999 15:39:07 GMT\r\n")) },
  { name = "503 for ever", kind = "http", status = 503, posts = 3,
    act = says(whole("503 Service Unavailable", '{"detail":"wait"}')) },
}
