--- The kinds of errors, one row each. What the policy decides by a kind, the command's exit codes
--- and the table in docs/errors.md all come from here.
---
--- A field that is true or false holds for every error of the kind. A field that is nil depends on
--- the case: the error itself says it (`err.retryable`, `err.charged`, `err.token`).

---@class kontext.Kind
---@field name string
---@field code integer the command's exit code
---@field retryable boolean? the same edit may be made again with no risk of a second charge
---@field charged boolean?
---@field resumable boolean? `kontext.resume` can go on with the edit
---@field stops_queue boolean? no further submit of the client can succeed, when the service says it
---@field fact string? the fact that ends an accepted edit for good in the journal
---@field what string what happened
---@field advice string what to do

---@type kontext.Kind[]
local rows = {
  { name = "internal", code = 1, what = "a fault in kontext itself, or no memory",
    advice = "report it; resume if `err.token` is set" },
  { name = "invalid", code = 3, resumable = false, what = "a parameter is wrong",
    advice = "correct what the message names; nothing was made" },
  { name = "image", code = 4, retryable = false, charged = false, resumable = false,
    what = "the picture cannot be sent as it is",
    advice = "do what the message says, often `fit = true` (`--fit`)" },
  { name = "file", code = 5, what = "a file cannot be read or written",
    advice = "see `err.code`; a picture that could not be saved is in `job.image`" },
  { name = "auth", code = 6, retryable = false, resumable = false,
    stops_queue = true, what = "the API key is missing or wrong", advice = "set `BFL_API_KEY`" },
  { name = "credits", code = 7, retryable = false, resumable = false,
    stops_queue = true, what = "no credits left", advice = "buy credits" },
  { name = "rate_limited", code = 8, resumable = false,
    what = "too many active tasks", advice = "make the edit again later" },
  { name = "moderated", code = 9, retryable = false, charged = false, resumable = false,
    fact = "FAILED", what = "moderated by the service; not charged",
    advice = "see `err.reasons`; change the prompt or the picture" },
  { name = "failed", code = 10, retryable = false, resumable = false, fact = "FAILED",
    what = "the service could not make the picture",
    advice = "look at your credits, then edit again, perhaps with another prompt" },
  { name = "not_found", code = 11, retryable = false, resumable = false,
    what = "no such task or endpoint", advice = "check the token, `base_url` and `model`" },
  { name = "expired", code = 12, retryable = false, charged = true, resumable = false,
    fact = "LOST", what = "the picture is no longer there",
    advice = "the link lives 10 minutes; edit again, which is charged again" },
  { name = "network", code = 13, what = "no connection, or it broke",
    advice = "edit again if `err.retryable`; resume if `err.token` is set" },
  { name = "tls", code = 14, what = "the server did not prove who it is",
    advice = "check the clock, the certificates (`ca_file`) and the proxy" },
  { name = "timeout", code = 15, what = "not ended in time: `resume` goes on with it",
    advice = "resume with `err.token`; at stage \"wait\" wait again" },
  { name = "http", code = 16, what = "an HTTP answer of no use",
    advice = "see `err.status` and `err.body`" },
  { name = "protocol", code = 17, what = "an answer that cannot be understood",
    advice = "see `err.body`; resume if `err.token` is set" },
  { name = "ambiguous", code = 18, retryable = false,
    what = "sent, and the answer was lost: it may have been paid for",
    advice = "look at your credits, then decide; resume if `err.token` is set" },
  { name = "cancelled", code = 19, what = "cancelled",
    advice = "resume if `err.token` is set: the service went on with it" },
  { name = "closed", code = 20, what = "the client was closed",
    advice = "resume if `err.token` is set" },
  { name = "fork", code = 21, what = "used in a forked process",
    advice = "make a client in that process" },
  { name = "budget", code = 22, retryable = true, charged = false, resumable = false,
    what = "it would cost more than the budget", advice = "raise the budget" },
  { name = "lost", code = 24, retryable = false, resumable = false, fact = "LOST",
    what = "accepted, and the service no longer knows it",
    advice = "it may have been paid for: look at your account before you edit again" },
  { name = "fenced", code = 25, retryable = false, resumable = false,
    what = "another process has taken the edit over",
    advice = "nothing: that process goes on with it, and pays for nothing twice" },
}

local kinds = { rows = rows }
for _, row in ipairs(rows) do kinds[row.name] = row end

return kinds
