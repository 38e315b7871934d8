-- The mutants that the simulation alone has to find: each breaks one rule of the policy. `old`
-- stands once in `file` and is replaced by `new`.

local mutants = {}

local function of(file, list)
  for _, mutant in ipairs(list) do
    mutants[#mutants + 1] = { file = "lua/kontext/" .. file, name = mutant[1], old = mutant[2],
      new = mutant[3] }
  end
end

of("job/retry.lua", {
  { "an answer that never came is sent again", 'return "ambiguous"\nend', 'return "unsent"\nend' },
  { "a gateway's 503 is taken for the service's", 'status == 503 and answer.is_own(object)',
    'status == 503' },
  { "an id of an answer that breaks off is dropped", "if success and task and not task.nested then",
    "if success and whole and task and not task.nested then" },
  { "a 429 is final", 'whole and status == 429', 'whole and status == 4290' },
  { "a 5xx at a submit is final", "elseif status >= 300 and status < 400 or refusals[status] then",
    "elseif status >= 300 or refusals[status] then" },
  { "what was not sent is never tried again", "  submit_tries = 2,", "  submit_tries = 0," },
  { "a task is lost at the first word", "  lost_answers = 5,", "  lost_answers = 1," },
  { "a task is lost at once", "  lost_after = 60,", "  lost_after = 0," },
  { "the HTTP code of a poll counts before its status",
    "  if object and type(object.status) == \"string\" then",
    "  if status < 300 and object and type(object.status) == \"string\" then" },
  { "a poll's page of a gateway ends the task",
    '  elseif status == 404 and answer.is_own(object) then',
    '  elseif status >= 404 then' },
  { "an answer about another task is taken", 'if object and is_anothers(object, id, is_known) then',
    'if false and is_anothers(object, id, is_known) then' },
  { "a link that does not work is trouble for good",
    '(status == 403 or status == 404 or status == 410)', '(status == 410)' },
  { "Retry-After is not read", "  if not text then return nil end\n  text = text:sub(1, 64)",
    "  if text ~= 1 then return nil end\n  text = text:sub(1, 64)" },
  { "a gateway's 403 is a refused key", "return answer.is_own(object) and kind or \"http\"",
    "return kind" },
  { "a refused key does not stop the queue", "strict[err.kind] == true", "strict[err.kind] == 1" },
})

of("job/submit.lua", {
  { "an edit is sent without INTENT", "  if not kept then\n    return self:fail",
    "  if kept == 1 then\n    return self:fail" },
  { "an accepted edit is not noted", 'self:record "ACCEPTED"', "true" },
  { "the mark is not written", "mark = client:mark(self),", "" },
  { "an ambiguous edit's id is not told", "job_id = task and task.id,", "" },
  { "an ambiguous edit is told to be free", 'self:fail { kind = "ambiguous",',
    'self:fail { kind = "ambiguous", retryable = true,' },
  { "a polling URL is not kept", "transport:polling_url(task.polling_url, task.id)",
    "transport:polling_url(nil, task.id)" },
  { "a 429 is tried again at once", "return self._client:limited(self, seconds)",
    "return self._client:limited(self, 0)" },
  { "the wait after a 429 is forgotten",
    'local gap = told and told +', 'local gap = told and 0 +' },
})

of("job/poll.lua", {
  { "trouble ends a paid task", "  self._failures = self._failures + 1\n",
    "  if true then return self:fail { kind = 'http', message = 'x' } end\n" },
  { "a task at our own URL is lost", "  if self._own_url or self._missing", "  if self._missing" },
  { "a poll's answer between does not count", "self._missing, self._missing_since = nil, nil", "" },
  { "a Ready without a picture ends it",
    "#sample > api.limits.link then return trouble(self, event) end",
    "#sample > api.limits.link then return self:fail { kind = 'failed', message = 'x' } end" },
  { "a task in progress is not asked for again",
    "  self:later(self._woken and 0 or client.pace:gap(self), poll.ask)\n", "" },
  { "a resumed task is not asked for", "  self:later(0, poll.ask)\nend\n\nreturn poll",
    "  self._next = nil\nend\n\nreturn poll" },
})

of("job/download.lua", {
  { "a digest that differs does not matter", "elseif told and told ~= event.md5 then",
    "elseif told and told == 1 then" },
  { "half a picture is whole", "elseif known.ended == false and not told then",
    "elseif known.ended == 1 and not told then" },
  { "a page of text is a picture", "elseif is_text(event, known) then", "elseif false then" },
  { "a link that does not work yet has expired", "  if not expired then return again(self) end\n",
    "" },
  { "an expired link is never asked for anew",
    "  if self._sample ~= self._sample_asked then\n"
      .. "    self._sample_asked = self._sample -- a new poll",
    "  if false then\n    self._sample_asked = self._sample -- a new poll" },
  { "our own clock alone ends a link", "date ~= nil or old\nend", "true\nend" },
  { "a broken download ends the job", "  self._downloads = self._downloads + 1\n",
    "  if true then return self:fail { kind = 'network', message = 'x' } end\n" },
})

of("job/job.lua", {
  { "a job never runs out of time", "  self._deadline = now + self._timeout\n",
    "  self._deadline = now + 1e9\n" },
  { "a cancel does not look into the sockets", "  self._client:settle(self)\n", "" },
})

of("job/endings.lua", {
  { "what was sent whole is free after a cancel", "retryable = not self.id and not sent }\nend",
    "retryable = not self.id }\nend" },
  { "what was accepted is failed after its time",
    '  if self.id then return final_fact(self, kind) end\n',
    '  if self.id then return "FAILED" end\n' },
  { "a sent edit is noted as failed", 'if kind == "ambiguous" or sent then return "AMBIGUOUS" end',
    'if kind == 1 then return "AMBIGUOUS" end' },
  { "an error has no token", "    fields.token = token.write(known)\n", "" },
  { "an error has no id", "  fields.job_id = fields.job_id or self.id\n", "" },
  { "a paid job is told to be free after its time",
    'stage = stage(self), retryable = not self.id }',
    'stage = stage(self), retryable = true }' },
})

of("job/save.lua", {
  { "two jobs may have one destination", "elseif client:destination(plain(path)) then",
    "elseif false then" },
  { "a picture that cannot be saved is dropped", "  self._result.bytes = bytes\n  self.image",
    "  self.image" },
})

of("journal/journal.lua", {
  { "INTENT and ACCEPTED are not synced", "synced[fact] or false", "false" },
  { "a moved journal does not matter", "if not self._log:in_place() then", "if false then" },
  { "SENDING is forgotten by a restart", 'SENDING = "ambiguous"', 'SENDING = "unsent"' },
  { "an ambiguous edit is begun again", 'AMBIGUOUS = "ambiguous"', 'AMBIGUOUS = "failed"' },
  { "an accepted edit counts less than a failed one",
    "rank = { accepted = 4,", "rank = { accepted = 0," },
  { "a torn tail begins no new line", "token.sum(rest) ~= sum then", "sum == 1 then" },
  { "a line that was not synced is acted upon", 'if text ~= "" then log:append("", true) end', "" },
})

of("journal/resume.lua", {
  { "what was accepted is not resumed", 'return entry.state == "accepted" or',
    'return entry.state == "x" or' },
  { "what is in doubt is passed over",
    'elseif entry.state == "ambiguous" or entry.state == "lost" then',
    'elseif entry.state == "lost" then' },
})

of("client/queue.lua", {
  { "the slots have no limit", "return slots.used < slots.allowed and", "return" },
  { "a slot is never given back", "  slots.used = slots.used - 1\n", "" },
  { "an ended job is begun", "      if not job:ended() then\n        slots.used",
    "      if true then\n        slots.used" },
})

of("client/client.lua", {
  { "who waits is not told of a refused key",
    "if not self._flushing and retry.is_hopeless(of.error) then",
    "if false then" },
  { "the next who was refused never tries", "if next_job and next_job:wants_slot() then",
    "if false then" },
})

of("client/steps.lua", {
  { "a step sets no alarm", "  if engine then engine:alarm(self._queue:due(now)) end\n", "" },
})

of("client/origin.lua", {
  { "the key goes wherever a polling URL points",
    '  return target.host == domain or target.host:sub(-#domain - 1) == "." .. domain',
    "  return true" },
})

return mutants
