-- Endings to rehearse, as payment services have test card numbers: `[emulate: NAME]` or
-- `[emulate: NAME N]` in a prompt makes that edit end so. Several may stand in one prompt.
--
-- A row may hold
--   refuse(n, nth)          an answer in place of the nth submit of this prompt: nothing begins
--   reply(n)                an answer in place of the one that names the task, which goes on
--   delay(n)                the seconds until the task has ended
--   ends                    how the task ends, if not with a picture
--   poll(n, nth, ended)     an answer in place of the nth poll's, or a status that it then has
--   result(result, nth)     changes the result of the nth poll that says Ready
--   paint(edit, n)          changes what is painted
--   download(answer, nth)   changes the nth download
-- An answer is { status, headers, body }; `drop = true` breaks the connection off in its place,
-- `cut = N` after N bytes of the body. n is the number in the prompt or the row's `number`.

local json = require "kontext.emulator.json"

local function problem(status, detail, headers)
  return {
    status = status, headers = headers or {},
    body = json.encode(json.object { { "detail", detail } }),
  }
end

local function page(status, title)
  return {
    status = status, headers = { ["content-type"] = "text/html" },
    body = ("<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1>"
      .. "</center>\r\n</body>\r\n</html>\r\n"):format(status, title, status, title),
  }
end

local TITLES = { [502] = "Bad Gateway", [503] = "Service Unavailable", [504] = "Gateway Time-out" }

local function reasons(...) return { ["Moderation Reasons"] = json.array { ... } } end

local FLAKY = { -- what polls meet, over and over; false is a good one
  false, problem(503, "Service temporarily unavailable"), { drop = true },
  page(502, TITLES[502]), problem(429, "Too many requests"), false, problem(500, "Internal"),
}

local list = {
  {
    name = "request moderated",
    about = "The prompt or the picture is refused early on: status `Request Moderated` with "
      .. "its reasons, and the credits come back.",
    ends = {
      status = "Request Moderated", at = 0.3, refund = true,
      details = reasons("Derivative Works Filter"),
    },
  },
  {
    name = "content moderated",
    about = "The finished picture is withheld: status `Content Moderated` with its reasons, and "
      .. "the credits come back.",
    ends = { status = "Content Moderated", refund = true, details = reasons("Safety Filter") },
  },
  {
    name = "error",
    about = "The task ends with status `Error` and says why in `details`.",
    ends = { status = "Error", details = { error = "The emulated task ended in an error" } },
  },
  {
    name = "failed",
    about = "The task ends with status `Failed`, which the guide's own code looks for.",
    ends = { status = "Failed" },
  },
  {
    name = "task not found",
    about = "Polls say `Task not found`: every one, or with N the first N, as from a replica "
      .. "that lags behind.",
    poll = function(n, nth) return (not n or nth <= n) and { task = "Task not found" } or nil end,
  },
  {
    name = "out of credits",
    about = "The submit is refused with 402; nothing is charged.",
    refuse = function() return problem(402, "Insufficient credits") end,
  },
  {
    name = "rate limited", number = 1,
    about = "The first N submits of this prompt (1) are refused with 429 and `Retry-After: 1`.",
    refuse = function(n, nth)
      return nth <= n and problem(429, "Too many requests", { ["retry-after"] = "1" }) or nil
    end,
  },
  {
    name = "unavailable", number = 1,
    about = "The first N submits of this prompt (1) are refused with a whole 503 before any work "
      .. "began.",
    refuse = function(n, nth)
      return nth <= n and problem(503, "Service temporarily unavailable") or nil
    end,
  },
  {
    name = "shedding load", number = 1,
    about = "The first N submits of this prompt (1) are refused with a 503 whose `detail` says "
      .. "that the model sheds load: no work began.",
    refuse = function(n, nth)
      return nth <= n and problem(503, "Model is overloaded, shedding load: please retry later")
        or nil
    end,
  },
  {
    name = "server error", number = 500,
    about = "The submit is answered with 500, or the status N, in JSON; no task began.",
    refuse = function(n) return problem(n, "Internal Server Error") end,
  },
  {
    name = "gateway", number = 504,
    about = "The submit is answered with a gateway's HTML page, 504 or the status N, while the "
      .. "task behind it was accepted and charged.",
    reply = function(n) return page(n, TITLES[n] or "Error") end,
  },
  {
    name = "lost answer",
    about = "The submit is read whole, accepted and charged; then the connection closes without "
      .. "an answer.",
    reply = function() return { drop = true } end,
  },
  {
    name = "flaky polls",
    about = "Between good answers polls meet 500, 503, 429, a gateway's HTML page and a closed "
      .. "connection.",
    poll = function(_, nth) return FLAKY[(nth - 1) % #FLAKY + 1] or nil end,
  },
  {
    name = "slow", number = 10,
    about = "The picture is ready only after N seconds (10).",
    delay = function(n) return n end,
  },
  {
    name = "new status",
    about = "On its way the task has a status that no document names yet, `Rendering Preview`.",
    poll = function(_, _, ended) return not ended and { task = "Rendering Preview" } or nil end,
  },
  {
    name = "no sample",
    about = "The task is `Ready`, but its result names no picture.",
    result = function(result) result.has_sample = false end,
  },
  {
    name = "null fields",
    about = "All of the result but the picture's link is null.",
    result = function(result) result.has_nulls = true end,
  },
  {
    name = "expired link",
    about = "The link of the first `Ready` has expired already; a later poll brings a fresh one.",
    result = function(result, nth) if nth == 1 then result.life = -1 end end,
  },
  {
    name = "shifted", number = 1,
    about = "Only the middle third of the picture each way is edited, and all of it lies N pixels "
      .. "(1, or such as 3.5) too far to the right and down, as a model may answer a region.",
    paint = function(edit, n) edit.inner, edit.shift = true, math.min(n, 50) end,
  },
  {
    name = "tinted",
    about = "Only the middle third is edited, and all of it is warmer than it was.",
    paint = function(edit) edit.inner, edit.tint = true, true end,
  },
  {
    name = "scaled", number = 1,
    about = "Only the middle third is edited, and all of it is N per cent (1) larger than it was.",
    paint = function(edit, n) edit.inner, edit.scale = true, math.min(n, 50) end,
  },
  {
    name = "repainted",
    about = "Another picture altogether: also what an edit of a region was to leave as it is.",
    paint = function(edit) edit.bytes, edit.mask = nil, nil end,
  },
  {
    name = "cut download",
    about = "The first download breaks off midway; a `Range` request brings the rest.",
    download = function(answer, nth)
      if nth == 1 then answer.cut = math.floor(#answer.body / 2) end
    end,
  },
  {
    name = "corrupt download",
    about = "The first download has a wrong byte, and the `Content-MD5` of the right ones.",
    download = function(answer, nth)
      local middle = math.floor(#answer.body / 2)
      if nth > 1 or middle == 0 then return end
      local wrong = string.char((answer.body:byte(middle) + 1) % 256)
      answer.body = answer.body:sub(1, middle - 1) .. wrong .. answer.body:sub(middle + 1)
    end,
  },
}

local by_name = {}
for _, row in ipairs(list) do by_name[row.name] = row end

local rehearsals = { list = list }

--- Finds the rehearsals of a prompt, in its order: { row, number } each. Where a name is unknown
--- the second result is that name.
---@param prompt string
---@return { row: table, number: number }[] found, string? unknown
function rehearsals.parse(prompt)
  local found = {}
  for words in prompt:gmatch "%[emulate:%s*(.-)%s*%]" do
    local name, number = words:match "^(.-)%s+(%d+%.?%d*)$"
    local row = by_name[name or words] or by_name[words]
    if not row then return found, words end
    found[#found + 1] = { row = row, number = tonumber(number) or row.number }
  end
  return found
end

return rehearsals
