--- What an edit costs. No file and no network: only numbers come in.
local price = {}

local megapixel = 1024 * 1024

-- Returns a picture's megapixels as they are charged, and whether rounding changed nothing. Of a
-- picture whose size is not known here it is the most that can be charged.
local function megapixels(rule, picture)
  local most = rule.max_megapixels or math.huge
  if not picture.width then return rule.max_megapixels or 4, false end
  local exact = picture.width * picture.height / megapixel
  return math.min(math.max(math.ceil(exact), 1), most), exact % 1 == 0 and exact <= most
end

-- The rules. Each gets the row's `price`, the parameters, the answer's size and the input pictures,
-- and returns the credits and whether they are confirmed.
local rules = {}

function rules.flat(rule)
  return rule.credits, true
end

function rules.megapixels(rule, _, output, pictures)
  local count, exact = megapixels(rule, output)
  local credits, confirmed = rule.first + rule.output * (count - 1), exact
  for _, picture in ipairs(pictures) do
    count, exact = megapixels(rule, picture)
    credits, confirmed = credits + rule.input * count, confirmed and exact
  end
  return credits, confirmed or not rule.doubts.megapixels
end

rules["first input"] = function(rule, _, output, pictures)
  local credits = rule.first + rule.output * megapixels(rule, output)
  local inputs = 0
  for _, picture in ipairs(pictures) do
    local count = megapixels(rule, picture)
    inputs = inputs + count
  end
  return credits + rule.input * math.max(inputs - 1, 0), true
end

function rules.resolution(rule, params)
  local resolution = params.resolution or rule.default
  local credits = rule.credits[resolution]
  if credits then return credits, not rule.doubts[resolution] end
  for _, other in pairs(rule.credits) do -- not published: no more than the dearest
    credits = math.max(credits or 0, other)
  end
  return credits, false
end

function rules.mode(rule, params, output)
  local mode = params.mode or rule.default
  local of = rule[mode]
  local credits = of.credits
  if of.per_megapixel then
    local count = megapixels(rule, output)
    credits = of.per_megapixel * count
  end
  return credits, not rule.doubts[mode]
end

--- Returns what an edit costs. A sum of tenths is rounded to what the service writes.
---@param row table the model's
---@param params table the edit's parameters by the names of the request
---@param output { width: integer?, height: integer? } the answer's size
---@param pictures { width: integer?, height: integer? }[] the input pictures, without a mask
---@return number? credits nil: the model's price is not known
---@return boolean confirmed
function price.credits(row, params, output, pictures)
  local rule = row.price
  local credits, confirmed = rules[rule.rule](rule, params, output, pictures)
  if not credits then return nil, false end
  credits = math.floor(credits * 1e4 + 0.5) / 1e4
  if credits % 1 == 0 then credits = math.floor(credits) end
  return credits, (confirmed and rule.confirmed ~= false and row.confirmed ~= false) == true
end

return price
