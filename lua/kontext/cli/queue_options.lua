--- The command line of what a queue in PostgreSQL needs: queue, enqueue, worker, status, requeue,
--- webhook.
local queue_options = {}

local function add_queue(command)
  command:option "--queue":argname "URL"
    :description("The queue's database, as postgres://HOST/DATABASE ($KONTEXT_QUEUE); a password "
      .. "is read as libpq does, from ~/.pgpass or $PGPASSWORD.")
end

--- Adds the commands.
---@param root table the parser
---@param make table<string, function> the parser's own: add, common, service, seconds, whole
function queue_options.add(root, make)
  local queue = make.add(root, "queue")
    :description "Make the tables of a queue in PostgreSQL, or bring them up to date."
  queue:argument "action":choices { "init" }
  add_queue(queue)
  make.common(queue)
  queue:flag "-q --quiet":description "No remarks."

  local enqueue = make.add(root, "enqueue")
    :description "Add the edits of lists to a queue, as they are read; a second run adds nothing."
    :epilog [[
A list has one JSON object a line, or is CSV with a header, as for batch; it may be of any length.
An edit has its own `key`, or one of what it asks for: what is in the queue already is not added.
Workers read the pictures and write the results under the same names: keep both in a folder that
all of them share. A result replaces no file: it gets the next free name.]]
  enqueue:argument "list":args "+":description "Lists; - for standard input."
  enqueue:option "-d --directory":argname "DIR"
    :description "Where results go that name no save_as, as IMAGE-edit.jpg (beside the picture)."
  enqueue:option "--model":argname "NAME":description "For edits that name none."
  enqueue:option "--aspect":argname "W:H":description "Aspect ratio, 3:7 to 7:3 (the picture's)."
  enqueue:option "--format":choices { "jpeg", "png" }:description "jpeg or png (jpeg)."
  enqueue:option "--safety":argname "N":convert(make.whole("--safety", 0, 6))
    :description "Moderation from 0, strict, to 2 (2)."
  enqueue:flag "--upsample":description "Let the service write the prompt out."
  enqueue:flag "--fit":description "Scale a large picture before the upload."
  enqueue:flag "--strip":description "Remove place, names and serial numbers before the upload."
  add_queue(enqueue)
  make.common(enqueue)
  enqueue:flag "-q --quiet":description "No live line and no remarks; errors only."

  local worker = make.add(root, "worker")
    :description "Make the edits of a queue, beside other workers; print the path of each picture."
    :epilog [[
All workers of one key share its 24 tasks. SIGTERM hands over: what is not sent waits again, what
is accepted is another worker's to go on with.]]
  add_queue(worker)
  worker:flag "--once":description "End when the queue has nothing left."
  worker:option "--max-active":argname "N":convert(make.whole("--max-active", 1))
    :description "Edits at once of this worker (24)."
  worker:option "--name":argname "NAME"
    :description("What this worker is called. One that is started again under its name goes on at "
      .. "once with what the dead one had; give each its own (the host's name, without that).")
  worker:option "--lease":argname "S":convert(make.seconds "--lease")
    :description("Seconds without a sign of life after which others go on with its edits (the "
      .. "timeout and 60).")
  make.service(worker)

  local status = make.add(root, "status")
    :description "Tell how far a queue is: waiting, active, done, failed by kind, credits, rate."
  add_queue(status)
  status:flag "--watch":description "Again and again, every two seconds."
  make.common(status)

  local requeue = make.add(root, "requeue")
    :description "Make edits wait again that have ended without a picture."
  requeue:option "--kind":argname "KIND":count "1"
    :description "Those that ended so, such as network, moderated, ambiguous, lost."
  requeue:option "--key":argname "KEY":description "That edit alone."
  requeue:flag "--consent"
    :description "Also where it may have been paid for: ambiguous, lost, expired."
  add_queue(requeue)
  make.common(requeue)
  requeue:flag "-q --quiet":description "No remarks."

  local webhook = make.add(root, "webhook")
    :description "Receive the service's webhooks, and wake the worker whose task has ended."
    :epilog [[
The edits of the list have webhook_url, which leads here, and webhook_secret. The address is the
first line on standard output. A proxy before it speaks TLS.]]
  webhook:option "--listen":argname "[HOST:]PORT":count "1"
    :description "Where (127.0.0.1); port 0 for any free one."
  webhook:option "--secret-file":argname "FILE"
    :description "The webhook_secret in its first line ($KONTEXT_WEBHOOK_SECRET)."
  add_queue(webhook)
  make.common(webhook)
end

return queue_options
