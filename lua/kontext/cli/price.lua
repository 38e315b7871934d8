--- What edits would cost: for --dry-run, which sends no edit.
local estimate = require "kontext.estimate"
local given = require "kontext.cli.given"
local kontext = require "kontext"
local report = require "kontext.cli.report"
local service = require "kontext.cli.service"

local price = {}

-- Returns the account's credits, or nil if the service cannot be asked.
local function account(options)
  local asked, credit = pcall(function()
    return (service.wait(service.client(options):credits()))
  end)
  return asked and credit or nil
end

-- Says which part of a photograph is sent.
local function tell_window(options, wanted)
  local plan = kontext.region(wanted.input_image, wanted.mask and { mask = wanted.mask.path }
    or wanted.region)
  if not plan then return end
  local window = plan.window
  report.note(options, ("%s: the window of %d x %d pixels at %d, %d is sent at %.0f%% of its size")
    :format(wanted.input_image.path or "-", window.width, window.height, window.x, window.y,
      plan.scale * 100))
end

-- Adds up the estimates, and reports each of their warnings once.
local function add_up(options, estimates)
  local sum, told = { credits = 0, upload = 0, confirmed = true, known = 0 }, {}
  for _, each in ipairs(estimates) do
    if each then
      sum.known = sum.known + 1
      sum.credits = sum.credits and each.credits and sum.credits + each.credits
      sum.upload = sum.upload + (each.upload or 0)
      sum.confirmed = sum.confirmed and each.confirmed
      sum.as_of = sum.as_of or each.as_of
      for _, warning in ipairs(each.warnings or {}) do
        if not told[warning] then report.note(options, warning) end
        told[warning] = true
      end
    end
  end
  sum.usd = sum.credits and sum.credits / 100
  return sum
end

--- Reports what edits would cost and what is wrong with them. It sends no edit.
---@param options table
---@param edits table[] their parameters
---@param called? string[] what each is called
---@return integer code
function price.tell(options, edits, called)
  local code = 0
  local estimates, errs = estimate.list(edits, options.model)
  for i, wanted in ipairs(edits) do
    if errs[i] then
      local each = report.fail(options, errs[i], nil, called and called[i])
      code = code == 0 and each or code
    elseif given.has_region(wanted) and type(wanted.input_image) == "table" then
      tell_window(options, wanted)
    end
  end
  local sum = add_up(options, estimates)
  if sum.known == 0 and code ~= 0 then return code end
  local total, have = sum.credits, account(options)
  sum.edits, sum.have = #edits, have
  if options.json then
    report.say_json(sum, "edits credits usd have upload confirmed as_of")
  else
    report.say(("%d edit%s, %.1f MB to upload: %s%s; nothing was sent"):format(#edits,
      #edits == 1 and "" or "s", sum.upload / 1e6,
      total and ("%.14g credits (%.2f USD%s)"):format(total, sum.usd,
        sum.confirmed and "" or ", not confirmed") or "the price is not known",
      have and (", of %.14g that you have"):format(have) or ""))
  end
  if code ~= 0 or not total then return code end
  if options.budget and total > options.budget then
    return report.fail(options, { kind = "budget", charged = false,
      message = ("%.14g credits are more than the budget of %.14g"):format(total, options.budget) })
  elseif have and have < total then
    return report.fail(options, { kind = "credits",
      message = ("%.14g credits are not enough for it"):format(have) })
  end
  return 0
end

return price
