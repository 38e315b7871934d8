-- The colours of photographs that are not sRGB, as littlecms sees them: in a window that is sent,
-- in the photograph that it is put back into, and in a picture that is made to fit.
local cjson = require "cjson"
local pictures = require "spec.support.pictures"
local support = require "spec.region.support"

-- Asks spec/faults/regions.py many things at once.
local function ask(questions)
  local path, answers = os.tmpname(), {}
  local file = assert(io.open(path, "w"))
  for i, question in ipairs(questions) do
    question.id = i
    file:write(cjson.encode(question), "\n")
  end
  file:close()
  local text = pictures.output("/usr/bin/python3 spec/faults/regions.py < " .. path) or ""
  os.remove(path)
  for line in text:gmatch "[^\n]+" do answers[#answers + 1] = cjson.decode(line) end
  return answers
end

describe("the colours of a photograph", function()
  local engine, folder
  local memory = 64 * 2 ^ 20

  setup(function() engine, folder = support.engine(), support.folder() end)
  teardown(function()
    engine:close()
    os.execute("rm -r " .. folder)
  end)

  local function keep(name, event)
    assert.is_nil(event.kind, event.detail)
    support.write(folder .. "/" .. name, event.body)
    return folder .. "/" .. name
  end

  it("survive the cut, the way back and fit, in Display P3 and Adobe RGB", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local window = { x = 40, y = 30, width = 256, height = 200 }
    local made, asked = {}, {}
    for _, name in ipairs { "display-p3", "adobe-rgb" } do
      for _, format in ipairs { "jpg", "png" } do
        made[#made + 1] = { what = "tagged", name = name, to = folder .. "/" .. name .. "."
          .. format }
      end
    end
    for _, answer in ipairs(ask(made)) do assert.is_nil(answer.failed) end
    for _, one in ipairs(made) do
      local is_png = one.to:match "png$"
      local quality = is_png and 0 or 95
      local stem = one.name .. (is_png and ".png" or ".jpg")
      local fitted = keep("fitted-" .. stem, support.wait(engine, engine:fit { path = one.to,
        width = 180, height = 135, quality = quality, memory = memory }))
      asked[#asked + 1] = { what = "fitted", before = one.to, after = fitted }
      local event = support.wait(engine, engine:region_cut { path = one.to, window = window,
        width = 256, height = 200, quality = quality, memory = memory })
      asked[#asked + 1] = { what = "fitted", before = one.to, after = keep("sent-" .. stem, event),
        window = window }
      local back = keep("back-" .. stem, support.wait(engine, engine:region_compose {
        path = one.to, window = window, answer = event.body, memory = memory }))
      asked[#asked + 1] = { what = "fitted", before = one.to, after = back }
    end
    local answers = ask(asked)
    assert.equal(12, #answers)
    for i, answer in ipairs(answers) do
      assert.is_nil(answer.failed)
      assert.is_true(answer.same, asked[i].after)
      assert.is_true(answer.lab < 1.5, asked[i].after .. ": " .. tostring(answer.lab))
    end
  end)

  it("are not told by a profile of greys where the window is RGB", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local grey = folder .. "/grey.jpg"
    ask { { what = "tagged", name = "grey", to = grey } }
    local event = support.wait(engine, engine:region_cut { path = grey, quality = 95, width = 200,
      height = 200, window = { x = 0, y = 0, width = 200, height = 200 }, memory = memory })
    keep("sent.jpg", event)
    assert.is_nil(event.body:find("ICC_PROFILE", 1, true))
    local back = support.wait(engine, engine:region_compose { path = grey, answer = event.body,
      window = { x = 0, y = 0, width = 200, height = 200 }, memory = memory })
    assert.truthy(back.body:find("ICC_PROFILE", 1, true))
  end)
end)
