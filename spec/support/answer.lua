-- A server that says the same bytes to every whole request, in the process of the spec itself.
local socket = require "socket"

-- Returns how many body bytes a head announces, once it is whole.
local function announced(text)
  local head = text:match("^(.-\r\n\r\n)")
  return head and #head + tonumber(head:match("[Cc]ontent%-[Ll]ength: (%d+)") or 0)
end

--- Starts it. Returns its URL and a function that drives it and `client` until `job` has ended, at
--- most `seconds` long, and returns how many whole requests came.
return function(bytes)
  local listener = assert(socket.bind("127.0.0.1", 0))
  listener:settimeout(0)
  local _, port = listener:getsockname()
  return "http://127.0.0.1:" .. port, function(client, job, seconds)
    local open, whole, stop = {}, 0, socket.gettime() + seconds
    while not (job.error or job.image) and socket.gettime() < stop do
      client:poll(0.01)
      local accepted = listener:accept()
      if accepted then
        accepted:settimeout(0)
        open[accepted] = ""
      end
      for connection, text in pairs(open) do
        local got, _, part = connection:receive(65536)
        text = text .. (got or part or "")
        open[connection] = text
        if #text >= (announced(text) or math.huge) then
          whole = whole + 1
          open[connection] = nil
          connection:settimeout(1)
          connection:send(bytes)
          connection:close()
        end
      end
    end
    listener:close()
    return whole
  end
end
