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
  { "an id of an answer that breaks off is dropped", "if success and told then",
    "if success and whole and told then" },
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
  { "a refused key does not stop the queue", "kinds[err.kind].stops_queue == true",
    "kinds[err.kind].stops_queue == 1" },
  { "an unsent edit is tried once more", "  submit_tries = 2,", "  submit_tries = 3," },
  { "the tries of a client have no quota",
    "  if self.left < try_costs then return false end\n", "" },
  { "Retry-After may be an hour",
    "math.max(limits.min, math.min(limits.max, seconds))", "seconds" },
  { "a key of a wrong form is a wrong parameter",
    'if status == 422 and object and type(object.detail)',
    'if status == 1 and object and type(object.detail)' },
  { "who tries again does so at once",
    "return random() * math.min(8, 0.5 * 2 ^ math.min(n - 1, 8))",
    "return 0 * n * random()" },
  { "who tries again waits for minutes",
    "return random() * math.min(8, 0.5 * 2 ^ math.min(n - 1, 8))",
    "return random() * 60 * n" },
  { "trouble with a paid task is met without a pause",
    "return math.min(8, 0.5 * 2 ^ math.min(failures - 1, 8)) * (0.5 + random() / 2)",
    "return 0 * failures * random()" },
})

of("job/submit.lua", {
  { "an edit is sent without INTENT", "  if not kept then\n    return self:fail",
    "  if kept == 1 then\n    return self:fail" },
  { "an accepted edit is not noted", 'self:record "ACCEPTED"', "true" },
  { "the mark is not written", "    mark = mark,\n", "" },
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
  { "a broken download ends the job", "  self._downloads = self._downloads + 1\n  self._hops = 0",
    "  if true then return self:fail { kind = 'network', message = 'x' } end\n  self._hops = 0" },
  { "a download that broke off begins anew", "continue = self._held,", "" },
  { "a picture's length does not matter", "if whole and tonumber(whole) ~= event.received then",
    "if false then" },
  { "the rest of another picture is a rest", "  if is_anothers_part(self, event) then",
    "  if false then" },
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
  { "two jobs may have one destination", "elseif client:destination(plain(self, path)) then",
    "elseif false then" },
  { "a file that nobody named is replaced",
    "local made, message, code = client.system.reserve(name)",
    "local made, message, code = true" },
  { "a name that nothing came of is kept",
    "if self._reserved and not self._params.reserved then", "if false then" },
  { "the name that was reserved is the one that was asked for",
    "self._asked_as = self._asked_as or self._params.save_as", "self._asked_as = name" },
  { "a picture that cannot be saved is dropped", "  self._result.bytes = bytes\n  self.image",
    "  self.image" },
})

of("journal/file.lua", {
  { "INTENT and ACCEPTED are not synced", "synced[fact] or false", "false" },
  { "a moved journal does not matter", "if not self._log:in_place() then", "if false then" },
  { "SENDING is forgotten by a restart", 'SENDING = "ambiguous"', 'SENDING = "unsent"' },
  { "an ambiguous edit is begun again", 'AMBIGUOUS = "ambiguous"', 'AMBIGUOUS = "failed"' },
  { "an accepted edit counts less than a failed one",
    "rank = { accepted = 4,", "rank = { accepted = 0," },
  { "a torn tail begins no new line", "token.sum(rest) ~= sum then", "sum == 1 then" },
  { "a line that was not synced is acted upon", 'if known then log:append("", true) end', "" },
})

of("journal/file.lua", {
  { "a doubt outlives the picture that ends it",
    '    or entry.state == "saved" and than.state ~= "accepted"\n', "" },
})

of("job/memory.lua", {
  { "a URL of our own making is the service's to a later process",
    'own_url = self._own_url and "1" or nil,', "" },
})

of("journal/file.lua", {
  { "a doubt outlives the picture that ends it",
    '    or entry.state == "saved" and than.state ~= "accepted"\n', "" },
})

of("job/memory.lua", {
  { "a URL of our own making is the service's to a later process",
    'own_url = self._own_url and "1" or nil,', "" },
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
  { "a slot is never given back", "slots.used, self._used = slots.used - 1, self._used - 1", "" },
  { "after a 429 as many edits are under way as before",
    "  slots.allowed = math.max(1, math.min(slots.allowed, slots.accepted))\n", "" },
  { "after a 429 all try at once", "  if slots.prober == nil or slots.prober == job then",
    "  if slots then" },
  { "an ended job is begun", "    if not job:ended() then\n      slots.used",
    "    if true then\n      slots.used" },
})

of("client/intake.lua", {
  { "a key that is under way is not joined", "  if same then return same end\n", "" },
  { "an edit does not look for an earlier run's",
    "    or checked.key and not anew and earlier.job(client, checked)\n", "" },
  { "what was looked at may change before it is sent", "      source.stamp = known.stamp\n", "" },
  { "a picture is not made to fit", "or plans and fit.begin or submit.begin", "or submit.begin" },
})

of("client/spending.lua", {
  { "the budget is not asked", "  if not self._budget then return nil end\n",
    "  if true then return nil end\n" },
})

of("client/client.lua", {
  { "a webhook wakes nobody", "  job:wake()\n", "" },
  { "a close does not look into the sockets",
    "  if self._closed then return end\n  self:settle()\n", "  if self._closed then return end\n" },
  { "who waits is not told of a refused key",
    "if not self._flushing and retry.is_hopeless(job.error) then",
    "if false then" },
  { "the next who was refused never tries", "if job and job:wants_slot() then",
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

of("client/transport.lua", {
  { "the key goes to the picture's storage",
    "  if not request.picture then\n", "  if true then\n" },
  { "the key goes along a redirect",
    "if not request.base and origin.sees_key(target, self._base) then",
    "if origin.sees_key(target, self._base) then" },
  { "what may have been sent was not, to a cancel", "return sent == nil or sent >= total",
    "return false" },
})

of("budget.lua", {
  { "a budget may be exceeded", "elseif credits > self:left() + noise then", "elseif false then" },
  { "what was spent is not counted",
    "  self.spent = self.spent - (reservation.settled or 0) + cost\n",
    "" },
  { "what is reserved is never given back",
    "  close(self, reservation)\n  self.spent = self.spent - "
    .. "(reservation.settled or 0)\n", "" },
})

of("job/credits.lua", {
  { "the credits are asked for again and again", "local tries = 3", "local tries = 30" },
})

of("job/answer.lua", {
  { "the id of a cut answer is dropped", "local found = event.body and json.salvage(event.body)",
    "local found" },
  { "a compressed answer is not read",
    "return core.inflate(body, api.limits.answer) or body", "return body" },
  { "a byte order mark hides a paid task", 'text:gsub("^\\239\\187\\191", "")', "text" },
})

of("journal/earlier.lua", {
  { "SAVED is believed without a look at the file",
    "if not info then return false, false end", "if true then return true, true end" },
  { "SAVED is believed of any file of that name",
    "if entry.md5 and system.md5_file(entry.path) ~= entry.md5 then return false, true end", "" },
  { "another edit may have a key of the journal",
    "elseif entry.identity and entry.identity ~= identity.of(checked) then", "elseif false then" },
})

of("journal/identity.lua", {
  { "what tells edits apart forgets the prompt", "if value ~= nil and (field.api or ours",
    'if value ~= nil and field.name ~= "prompt" and (field.api or ours' },
})

of("batch/items.lua", {
  { "what is saved is paid for again",
    "if there then return nil, { saved = known.path, skipped = true } end",
    "if there then return begin_anew(self, index, key) end" },
  { "what was accepted is paid for again", "elseif resume.can_be_asked(known) then",
    "elseif false then" },
  { "what is in doubt is paid for again unless told otherwise",
    "elseif not self._retry_ambiguous then", "elseif self._retry_ambiguous == false then" },
  { "a key of a batch stands for other parameters",
    "if id and known.identity and known.identity ~= id then", "if false then" },
  { "an item takes the picture of a result that failed",
    "if result and result.error then return nil, hung_on_failure(self, index, key, parent) end",
    "if result and result.error then return params.image { bytes = 'x' } end" },
  { "an item takes the first result whatever it names",
    "local parent = self._index_of[key]\n  local result = parent and self._results[parent]",
    "local parent = 1\n  local result = self._results[parent]" },
})

of("batch.lua", {
  { "an item is sent in the step in which its key is refused",
    "    note_refusal(self) -- it may have come in this step\n", "" },
  { "an item does not wait for the result that it takes",
    "if parent and not self._results[parent] then awaited = parent end", "" },
})

of("token.lua", {
  { "half a line of the journal is a line", "core.sha256(text):sub(1, 4)",
    '("abcd"):sub(1, 4)' },
})

return mutants
