--- What edits would cost: for --dry-run, which sends no edit.
local kontext = require "kontext"
local given = require "kontext.cli.given"
local report = require "kontext.cli.report"
local service = require "kontext.cli.service"

local price = {}

-- Credits of one edit, by model; a credit is 0.01 USD.
local credits = { pro = 4, max = 8, ["flux-kontext-pro"] = 4, ["flux-kontext-max"] = 8 }

--- Returns the credits of one edit.
---@param options table
---@return number? credits nil where the model's price is not known
function price.of(options)
  return credits[options.model or "pro"]
end

-- Returns the credits that the account has, or nil where it cannot be asked.
local function account(options)
  local asked, credit = pcall(function()
    return (service.wait(service.client(options):credits()))
  end)
  return asked and credit or nil
end

--- Returns what edits would cost and what is wrong with their pictures; sends no edit.
---@param options table
---@param pictures string[] as of the command line
---@param edits integer how many
---@return integer code
function price.tell(options, pictures, edits)
  local code, bytes = 0, 0
  for _, name in ipairs(pictures) do
    local source = name ~= "-" and given.picture(name) or {}
    local wanted = given.parameters(options)
    if source.path and (wanted.region or wanted.mask) then
      local plan, _, err = kontext.region(source, wanted.mask and { mask = wanted.mask.path }
        or wanted.region)
      if plan then
        bytes = bytes + plan.upload.bytes
        local window = plan.window
        report.note(options, ("%s: the window of %d x %d pixels at %d, %d is sent at %.0f%% of its "
          .. "size"):format(name, window.width, window.height, window.x, window.y,
          plan.scale * 100))
      else
        local each = report.fail(options, err)
        code = code == 0 and each or code
      end
    elseif source.path then
      local info, _, err = kontext.check(source)
      if info then bytes = bytes + info.bytes
      elseif not (options.fit and err.kind == "image") then
        local each = report.fail(options, err)
        code = code == 0 and each or code
      end
    end
  end
  local each, have = price.of(options), account(options)
  local total = each and each * edits
  if options.json then
    report.say_json({ edits = edits, credits = total, usd = total and total / 100, have = have,
      upload = bytes }, "edits credits usd have upload")
  else
    report.say(("%d edit%s, %.1f MB to upload: %s%s; nothing was sent"):format(edits,
      edits == 1 and "" or "s", bytes / 1e6,
      total and ("%g credits (%.2f USD)"):format(total, total / 100) or "the price is not known",
      have and (", of %g that you have"):format(have) or ""))
  end
  if have and total and have < total and code == 0 then
    return report.fail(options, { kind = "credits",
      message = ("%g credits are not enough for it"):format(have) })
  end
  return code
end

return price
