---@meta kontext
-- The public interface for editors (LuaCATS): add this folder to Lua.workspace.library.

---@class kontext
---@field webhook kontext.webhook
---@field models kontext.models
---@field emulator table loaded when it is first asked for
local kontext = {}

---@alias kontext.ErrorKind
---| "image" the picture is not what the service takes
---| "file" a file cannot be read or written
---| "invalid" a parameter is wrong
---| "auth" the key is missing or wrong
---| "credits" no credits left
---| "rate_limited" too many active tasks
---| "moderated" refused or held back by the service; not charged
---| "failed" the service could not make the picture
---| "not_found" no such task or endpoint
---| "expired" the link to the picture is too old
---| "network" no connection, or it broke
---| "tls" the server did not prove who it is
---| "timeout" not ended in time
---| "http" an HTTP answer of no use
---| "protocol" an answer that cannot be understood
---| "ambiguous" sent whole, answer lost: it may have been paid for
---| "lost" accepted, and the service no longer knows it: it may have been paid for
---| "fenced" another process has taken the edit over
---| "budget" it would cost more than the budget
---| "cancelled" by job:cancel()
---| "closed" by client:close()
---| "fork" the client belongs to the parent process
---| "internal" a fault in kontext, or no memory

---@class kontext.Error
---@field kind kontext.ErrorKind
---@field message string a sentence: what, which value, what to do
---@field stage "check"|"submit"|"poll"|"download"|"save"|"wait"|"request"|"content"|nil
---@field status integer? the server's HTTP status
---@field code string? libcurl's name, or the system's
---@field retryable boolean the same edit may be made again with no risk of a second charge
---@field charged boolean? nil where it is not known
---@field job_id string?
---@field polling_url string?
---@field token string? what `resume` takes, where the service has accepted the edit
---@field reasons string[]? of moderation
---@field body string? the beginning of the server's answer

---A picture to go by: a path, an image's bytes, an https:// URL; an image of an earlier edit; or
---exactly one of path, bytes and url.
---In a batch also {result=}: the picture that the item of that key makes.
---@alias kontext.Picture string|kontext.Image|{path: string}|{bytes: string}|{url: string}|{result: string}

---@class kontext.Params
---@field prompt string what to change
---@field input_image? kontext.Picture
---@field input_image_2? kontext.Picture
---@field input_image_3? kontext.Picture
---@field input_image_4? kontext.Picture
---@field aspect_ratio? string "W:H" from "3:7" to "7:3"
---@field seed? integer|string any integer; digits as a string where a number would not hold them
---@field prompt_upsampling? boolean
---@field safety_tolerance? integer 0 (strict) to 2 with an input image, to 6 without
---@field output_format? "jpeg"|"png"|"webp" webp with models other than Kontext
---@field webhook_url? string
---@field webhook_secret? string
---@field user? string 1 to 256 characters
---@field input_image_5? kontext.Picture
---@field input_image_6? kontext.Picture
---@field input_image_7? kontext.Picture
---@field input_image_8? kontext.Picture
---@field images? kontext.Picture|kontext.Picture[]
---@field image? kontext.Picture
---@field mask? kontext.Picture
---@field person? kontext.Picture
---@field garment? kontext.Picture
---@field width? integer
---@field height? integer
---@field resolution? string
---@field grounding? boolean
---@field version? string
---@field guidance? number
---@field steps? integer
---@field disable_pup? boolean
---@field transparent_bg? boolean
---@field top? integer
---@field bottom? integer
---@field left? integer
---@field right? integer
---@field dilate_pixels? integer
---@field auto_crop? boolean
---@field reference_offset_x? integer
---@field reference_offset_y? integer
---@field mode? string
---@field model? string one of kontext.models()
---@field timeout? number seconds
---@field save_as? string path; .png or .jpg chooses output_format
---@field no_replace? boolean never replace a file: save_as gets -2, -3 … where it is taken
---@field reserved? boolean save_as is an empty file that the caller has made for this edit
---@field fit? boolean scale or convert before the upload
---@field region? table|string {x=, y=, width=, height=} or "X,Y,W,H": the part that may change
---@field keep_metadata? boolean of a photograph whose region is edited (true)
---@field strip? boolean remove place, names and numbers, before the upload too
---@field on_progress? fun(job: kontext.Job)
---@field key? string names the edit in a journal or a batch

---@class kontext.Options
---@field api_key? string default: $BFL_API_KEY
---@field base_url? string default: $BFL_BASE_URL, else https://api.bfl.ai
---@field region? "global"|"eu"|"us"
---@field model? string one of kontext.models()
---@field timeout? number seconds for an edit (300)
---@field connect_timeout? number seconds (10)
---@field stall_timeout? number seconds without a byte (30)
---@field max_active? integer tasks at once (24; 6 for max)
---@field budget? number credits: nothing is sent that could cost more than is left
---@field poll_interval? number seconds; default: adaptive
---@field ca_file? string
---@field proxy? string
---@field user_agent? string
---@field loop? string|fun(client: kontext.Client, seconds: number?) how `wait` waits
---@field journal? string a path, or postgres://…
---@field budget? number credits; nothing is sent that could cost more in all
---@field on_event? fun(event: kontext.EditEvent) told what happens to each edit

---What has happened to an edit. No key, no link to a picture and no token is in it.
---@class kontext.EditEvent
---@field event "submit"|"retry"|"limited"|"accepted"|"poll"|"ready"|"saved"|"failed"
---@field job integer numbers the client's edits
---@field time integer seconds since 1970
---@field ms integer since the first event of this edit
---@field id string? the task's
---@field key string? the edit's
---@field model string
---@field try integer? of submit: 1 for the first
---@field seconds number? of retry and limited: until the next try
---@field status string? of poll: the service's word
---@field http integer? the server's HTTP status
---@field code string? libcurl's name, or the system's
---@field bytes integer? of accepted: sent; of saved: the picture's
---@field credits number?
---@field progress number? 0 … 1
---@field path string? of saved
---@field kind kontext.ErrorKind? of failed, as the next three
---@field stage string?
---@field charged boolean?
---@field message string?

---@class kontext.Info what a picture is
---@field format "jpeg"|"png"|"webp"
---@field width integer
---@field height integer
---@field megapixels number
---@field bytes integer
---@field orientation integer Exif's, 1 to 8

---@class kontext.Event of a webhook
---@field id string
---@field status string as a poll would call it
---@field result table? its URLs are not to be trusted

---@class kontext.Image
---@field bytes string the file as the service made it
---@field format "jpeg"|"png"|"webp"
---@field width integer
---@field height integer
---@field seed integer|string?
---@field prompt string?
---@field duration number? seconds
---@field cost number? credits
---@field id string
---@field path string? where save_as put it
---@field original_answer string? of a region: the service's own picture of the window
---@field region kontext.Rectangle? of a region: what was to change, in the upright picture's pixels
---@field window kontext.Rectangle? of a region: what was sent
---@field match number? of a region: how alike the margins are, 0 … 1; nil: none could be compared
---@field shift {x: number, y: number}? of a region: how far the answer lay off, in pixels
local Image = {}

---Writes the file: afterwards the old one is there or the whole new one.
---@param path string
---@return string? path
---@return string? message
---@return kontext.Error? err
function Image:save(path) end

---Edits the picture further.
---@param params kontext.Params
---@return kontext.Job
function Image:edit(params) end

---@class kontext.Job
---@field id string?
---@field status "waiting"|"uploading"|"pending"|"downloading"|"ready"|"failed"|"cancelled"
---@field progress number? 0 … 1
---@field sent integer bytes of the upload
---@field received integer bytes of the download
---@field total integer? bytes of the one that is under way
---@field polling_url string?
---@field cost number? credits
---@field warnings string[]? what went wrong without ending the edit
---@field image kontext.Image?
---@field error kontext.Error?
local Job = {}

---Waits for the end, or at most `seconds`.
---@param seconds? number
---@return kontext.Image? image
---@return string? message
---@return kontext.Error? err
function Job:wait(seconds) end

---One step: never blocks, never yields.
---@return string status
---@return number? progress
function Job:poll() end

---Ends the job here, at once; the service knows no cancel.
function Job:cancel() end

---Returns whether nothing more will happen to the job.
---@return boolean
function Job:ended() end

---All that `resume` needs in another process, without a key.
---@return string?
---@return string? message
function Job:token() end

---The job of `credits`: its `wait` gives a number, and it can be neither resumed nor saved.
---@class kontext.CreditsJob
---@field status "pending"|"ready"|"failed"|"cancelled"
---@field error kontext.Error?
---@field wait fun(self: kontext.CreditsJob, seconds: number?): number?, string?, kontext.Error?
---@field poll fun(self: kontext.CreditsJob): string
---@field cancel fun(self: kontext.CreditsJob)
---@field ended fun(self: kontext.CreditsJob): boolean

---@class kontext.BatchOptions
---@field max_active? integer edits at once (the client's)
---@field on_progress? fun(result: kontext.BatchResult, batch: kontext.Batch)
---@field stop_on_error? boolean begin nothing more after the first error
---@field retry_ambiguous? boolean send again what may have been paid for in an earlier run
---@field remake? boolean pay again for a picture that is gone, here and at the service

---@class kontext.BatchResult
---@field key string
---@field index integer the item's place in the list
---@field image kontext.Image? where the item has no save_as
---@field saved string? where it was saved
---@field region kontext.Rectangle? of an edit of a region: what was to change
---@field window kontext.Rectangle? the same of what was sent
---@field match number? how alike the margins are, 0 … 1; nil: none could be compared
---@field shift {x: number, y: number}? how far the answer lay off, in pixels
---@field skipped boolean? an earlier run had saved it
---@field fetched_again boolean? an earlier run had saved it, its file was gone, and the service had it
---@field remade boolean? the same, and the service had it no more: it was paid for again
---@field warnings string[]? of the job
---@field error kontext.Error?

---@class kontext.Batch
---@field total integer items
---@field done integer results so far
---@field failed integer results with an error so far
local Batch = {}

---Waits for the end of all items, or at most `seconds`.
---@param seconds? number
---@return kontext.BatchResult[]? results in the order of the list
---@return string? message
---@return kontext.Error? err
function Batch:wait(seconds) end

---Iterates over the results as they come.
---@return fun(): kontext.BatchResult?
function Batch:results() end

---Cancels what is under way and begins nothing more.
function Batch:cancel() end

---Returns whether there is a result for every item.
---@return boolean
function Batch:ended() end

---@class kontext.Client
local Client = {}

---Begins an edit, at once and always; what goes wrong is the job's error.
---@param params kontext.Params
---@return kontext.Job
function Client:edit(params) end

---Begins an edit that removes what is white in a mask.
---@param edit_params table image, mask and more
---@return kontext.Job
function Client:erase(edit_params) end

---Begins an edit that paints around a picture.
---@param edit_params table input_image and margins, or width and height
---@return kontext.Job
function Client:outpaint(edit_params) end

---Goes on with an edit of another process, or with the unfinished ones of a journal.
---@param from string|{journal: string}
---@param overrides? {save_as?: string, no_replace?: boolean, on_progress?: fun(job: kontext.Job)}
---@return kontext.Job|kontext.Job[]
function Client:resume(from, overrides) end

---Begins many edits with a few in flight.
---@param list kontext.Params[]|fun(): kontext.Params?
---@param options? kontext.BatchOptions
---@return kontext.Batch
function Client:batch(list, options) end

---A job whose `wait` gives the number of credits left.
---@return kontext.CreditsJob
function Client:credits() end

---Wakes the job that a webhook's event names.
---@param event kontext.Event
---@return boolean known whether a job of this client waits for it
function Client:notify(event) end

---Does all that is due, without blocking.
---@return integer open the number of jobs that have not ended
function Client:step() end

---Waits up to `seconds` (0) for something to do, then steps.
---@param seconds? number
---@return integer open
function Client:poll(seconds) end

---The descriptor that is readable when `step` has something to do.
---@return integer?
function Client:pollfd() end

---The same by the name that luasocket's select asks for.
---@return integer?
function Client:getfd() end

---What the descriptor is to be watched for.
---@return "r"
function Client:events() end

---When `step` is due at the latest.
---@return number? seconds
function Client:timeout() end

---Ends all jobs at once; a second call does nothing.
function Client:close() end

---Makes a client.
---@param options? kontext.Options
---@return kontext.Client
function kontext.new(options) end

---Returns what an image is by its header; nothing is sent.
---@param image string|kontext.Image|{path: string}|{bytes: string}
---@return kontext.Info? info
---@return string? message
---@return kontext.Error? err
function kontext.check(image) end

---Returns the size that the service will answer with.
---@param ratio_or_width_or_image string|number|kontext.Image|{path: string}|{bytes: string}
---@param height? number
---@return integer? width
---@return integer|string height or, after nil, a message
---@return kontext.Error? err
function kontext.output_size(ratio_or_width_or_image, height) end

---@class kontext.Estimate
---@field model string
---@field credits number? the most that the service can charge; nil: the price is not known
---@field usd number?
---@field width integer? nil: it depends on what only the service sees
---@field height integer?
---@field upload integer? bytes
---@field confirmed boolean
---@field as_of string? the month of the price
---@field warnings string[]?

---Returns what an edit will cost and how large its answer will be; nothing is sent.
---@param edit_params kontext.Params the prompt may be missing
---@return kontext.Estimate? estimate
---@return string? message
---@return kontext.Error? err
function kontext.estimate(edit_params) end

---@class kontext.Model
---@field name string
---@field path string
---@field fields table[] name, type and what the value may be
---@field images table style, first, max
---@field mask table?
---@field sizes table rule
---@field formats string[]
---@field default_format string
---@field strict boolean the service refuses fields that it does not know
---@field active integer tasks at once
---@field price table rule
---@field cost_at "submit"|"poll"
---@field link_life integer seconds
---@field doubts table<string, boolean> the facts that one source alone tells
---@field confirmed boolean
---@field as_of string? the month

---The models; called without a name, their names, sorted; with one, what is known of it, as a copy.
---@class kontext.models
---@overload fun(): string[]
---@overload fun(name: string): kontext.Model?, string?
local models = {}

---Adds a model of your own, checked like ours; raises what is wrong with it.
---@param name string
---@param row table
function models.define(name, row) end

---@class kontext.Rectangle
---@field x integer
---@field y integer
---@field width integer
---@field height integer

---@class kontext.RegionPlan
---@field window kontext.Rectangle what is sent, in pixels of the upright picture
---@field region kontext.Rectangle what may change
---@field scale number pixels of the answer for one of the picture's; 1: nothing is resampled
---@field stretch number by which one side is scaled more than the other
---@field upload table width, height and bytes (an estimate) of the picture that is sent
---@field output table width and height of the answer
---@field memory integer bytes that it takes

---Returns which window of a photograph an edit of a region sends; nothing is sent.
---@param image string|table a path, an image's bytes, an image, {path=} or {bytes=}
---@param region string|table in pixels or per cent of the upright picture; or {mask = path}
---@param options? table margin: pixels of context
---@return kontext.RegionPlan? plan
---@return string? message
---@return kontext.Error? err
function kontext.region(image, region, options) end

---Begins an edit that removes what is white in a mask.
---@param edit_params table image, mask and more
---@return kontext.Job
function kontext.erase(edit_params) end

---Begins an edit that paints around a picture.
---@param edit_params table input_image and margins, or width and height
---@return kontext.Job
function kontext.outpaint(edit_params) end

---Makes the prompt that replaces a text in a picture.
---@param old string
---@param new string
---@return string prompt
function kontext.replace_text(old, new) end

---Runs functions as coroutines until all have ended.
---@param fn function
---@param ... function
---@return true? ok
---@return any error the first
function kontext.run(fn, ...) end

---The versions of what is at work.
---@return table<string, string>
function kontext.info() end

---Begins an edit with the default client.
---@param params kontext.Params
---@return kontext.Job
function kontext.edit(params) end

---Goes on with an edit of another process, or with the unfinished ones of a journal.
---@param from string|{journal: string}
---@return kontext.Job|kontext.Job[]
function kontext.resume(from) end

---A job whose `wait` gives the number of credits left.
---@return kontext.CreditsJob
function kontext.credits() end

---Begins many edits with a few in flight, with the default client.
---@param list kontext.Params[]|fun(): kontext.Params?
---@param options? kontext.BatchOptions
---@return kontext.Batch
function kontext.batch(list, options) end

---Wakes the default client's job that a webhook's event names.
---@param event kontext.Event
---@return boolean known
function kontext.notify(event) end

---@return integer open the number of the default client's jobs that have not ended
function kontext.step() end

---@param seconds? number
---@return integer open
function kontext.poll(seconds) end

---@return integer? descriptor of the default client
function kontext.pollfd() end

---@return integer? descriptor of the default client
function kontext.getfd() end

---@return "r"
function kontext.events() end

---@return number? seconds
function kontext.timeout() end

---Closes the default client, where there is one; the next call makes another.
function kontext.close() end

---@class kontext.webhook
local webhook = {}

---Verifies that a call is the service's, and returns what it reports.
---@param headers table|userdata|function the request's headers as the host has them
---@param body string the request's body, byte for byte
---@param secret string
---@return kontext.Event? event
---@return string? message
---@return kontext.Error? err of kind "auth" or "protocol"
function webhook.verify(headers, body, secret) end

return kontext
