local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local terminal = require "kontext.terminal"

-- Red, green / blue, white.
local rgb = "\255\0\0\0\255\0\0\0\255\255\255\255"

local function environment(variables)
  return terminal.graphics(function(name) return variables[name] end)
end

local function decoded(text) -- by another's decoder
  return pictures.output(("printf '%%s' '%s' | base64 -d"):format(text))
end

describe("a picture in a terminal", function()
  it("is drawn by what the terminal says it is, and in cells where that is nothing", function()
    assert.equal("kitty", environment { TERM = "xterm-kitty" })
    assert.equal("kitty", environment { KITTY_WINDOW_ID = "1", TERM = "xterm-256color" })
    assert.equal("iterm2", environment { TERM_PROGRAM = "iTerm.app" })
    assert.equal("iterm2", environment { TERM_PROGRAM = "WezTerm" })
    assert.equal("sixel", environment { TERM = "foot-extra" })
    assert.equal("cells", environment { TERM = "xterm-256color" })
    assert.equal("cells", environment { TERM = "xterm-kitty", TMUX = "/tmp/tmux-0/default,1,0" })
    assert.equal("cells", environment {})
  end)

  it("has two pixels in a cell, in all colours or in the nearest of 256", function()
    local left = "\27[38;2;255;0;0m\27[48;2;0;0;255m▀"
    local right = "\27[38;2;0;255;0m\27[48;2;255;255;255m▀"
    assert.same({ left .. right .. "\27[0m" }, terminal.cells(rgb, 2, 1, 2 ^ 24))
    left, right = "\27[38;5;196m\27[48;5;21m▀", "\27[38;5;46m\27[48;5;231m▀"
    assert.same({ left .. right .. "\27[0m" }, terminal.cells(rgb, 2, 1, 256))
  end)

  it("says a colour once for equal neighbours", function()
    assert.same({ "\27[38;5;196m\27[48;5;196m▀▀▀\27[0m" },
      terminal.cells(("\255\0\0"):rep(6), 3, 1, 256))
  end)

  it("goes to kitty in pieces of at most 4096 characters, each marked but the last", function()
    local png = ("x"):rep(7000)
    local drawing, sent, marks = terminal.kitty(png, 3, 2, 7), {}, {}
    for control, data in drawing:gmatch "\27_G([^;]*);([^\27]*)\27\\" do
      assert.is_true(#data <= 4096)
      sent[#sent + 1] = data
      marks[#marks + 1] = control:match "m=(%d)"
    end
    assert.equal(core.base64(png), table.concat(sent))
    assert.equal("110", table.concat(marks))
    assert.matches("^\27_Ga=T,f=100,c=3,r=2,i=7,q=2,C=1,m=1;", drawing)
  end)

  it("goes to iTerm2 as a file of so many cells", function()
    local data = terminal.iterm2("any bytes", 3, 2):match
      "^\27%]1337;File=inline=1;size=9;width=3;height=2;preserveAspectRatio=0:(.*)\7$"
    assert.equal("any bytes", decoded(data))
  end)

  it("is the same picture when sixels are read back", function()
    -- Levels of full intensity are exact; so are six rows and two of the next band.
    local row = "\255\0\0\0\255\0\0\0\255\255\255\255\0\0\0"
    local sixels = terminal.sixel(row:rep(8), 5, 8)
    local colors, image, x, y, hue = {}, {}, 0, 0, nil
    local body = sixels:match '^\27P0;1;0q"1;1;5;8(.*)\27\\$'
    body = body:gsub("#(%d+);2;(%d+);(%d+);(%d+)", function(number, ...)
      colors[number] = { ... }
      return ""
    end)
    local function paint(char, count)
      for _ = 1, count do
        for bit = 0, 5 do
          if math.floor((char:byte() - 63) / 2 ^ bit) % 2 == 1 then
            image[(y + bit) * 5 + x] = table.concat(colors[hue], ",")
          end
        end
        x = x + 1
      end
    end
    while body ~= "" do
      local number = body:match "^#(%d+)"
      local count, char = body:match "^!(%d+)(.)"
      if number then hue = number
      elseif count then paint(char, tonumber(count))
      elseif body:find "^%$" then x = 0
      elseif body:find "^%-" then x, y = 0, y + 6
      else paint(body:sub(1, 1), 1) end
      body = body:sub(1 + (number and #number + 1 or count and #count + 2 or 1))
    end
    local expected = { [0] = "100,0,0", "0,100,0", "0,0,100", "100,100,100", "0,0,0" }
    for at = 0, 39 do assert.equal(expected[at % 5], image[at]) end
  end)

  it("is drawn over just its cells, from a file", function()
    local png = core.thumbnail({ bytes = pictures.whole_png(2, 2,
      "\0\255\0\0\0\255\0\0\0\0\255\255\255\255") }, 2, 2, "png")
    pictures.with_file(png, function(path)
      local how = { columns = 2, rows = 1, colors = 256, id = 1, cell_width = 8, cell_height = 16 }
      how.graphics = "cells"
      assert.equal(terminal.cells(rgb, 2, 1, 256)[1], terminal.draw(how, path))
      for graphics, format in pairs { kitty = "png", iterm2 = "jpeg" } do
        how.graphics = graphics
        local data = assert(terminal.draw(how, path)):match "[;:]([%w+/=]+)\27?[\7\\]$"
        local info = core.check { bytes = decoded(data) }
        assert.same({ format, 16, 16 }, { info.format, info.width, info.height })
      end
      how.graphics = "sixel"
      assert.matches('^\27P0;1;0q"1;1;16;16#', terminal.draw(how, path))
      assert.is_nil(terminal.draw(how, path .. ".gone"))
    end)
  end)
end)
