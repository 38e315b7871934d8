-- The table of models against the service's own document.

local cjson = require "cjson"
local drift = require "spec.support.drift"

local path = "../shared/openapi.json"

-- Returns the document anew.
local function document()
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return cjson.decode(text)
end

-- Returns the differences that are not known.
local function new_of(changed)
  local found = {}
  for _, difference in ipairs(drift.compare(changed)) do
    if not difference.why then found[#found + 1] = difference.text end
  end
  return found
end

describe("the service's document", function()
  it("differs from the table in nothing that is not known", function()
    local given = document()
    if not given then return pending(path .. " is not here") end
    assert.same({}, new_of(given))
  end)

  it("is seen to change: a range, a field, a default, a model, strictness", function()
    local given = document()
    if not given then return pending(path .. " is not here") end
    local flex = given.components.schemas.Flux2FlexInputs
    flex.properties.steps.anyOf[1].maximum = 60
    flex.properties.guidance.default = 4
    flex.properties.sharpness = { type = "number" }
    flex.properties.seed = nil
    flex.additionalProperties = false
    given.paths["/v1/flux-9"] = given.paths["/v1/flux-2-pro"]
    given.paths["/v1/flux-2-max"] = nil
    assert.same({
      "flux-2-flex.guidance: default is 5 here and 4 in the document",
      "flux-2-flex.seed: not in the document",
      "flux-2-flex.sharpness: not in the table",
      "flux-2-flex.steps: the most is 50 here and 60 in the document",
      "flux-2-flex.strict: the document forbids other fields, the table does not",
      "flux-2-max: the model is not in the document",
      "flux-9: the model is not in the table",
    }, new_of(given))
  end)

  it("is compared by a script that ends with what it found", function()
    if not document() then return pending(path .. " is not here") end
    local lines = {}
    assert.equal(0, drift.report(path, function(line) lines[#lines + 1] = line end))
    assert.is_true(#lines > 10)
    for _, line in ipairs(lines) do assert.matches("^known  .+ %(.+%)$", line) end
  end)
end)
