--- The plots of docs/performance.md, drawn by gnuplot.
local lab = require "bench.lab"

local plots = {}

local head = [[
set terminal svg size 760,420 font "sans-serif,13" background "#ffffff"
set grid lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set tics nomirror
set key outside right top
]]

local style = "linespoints lw 2 pt 7 ps 0.7"
local colors = { "#222222", "#aaaaaa", "#d62728", "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd",
  "#8c564b", "#e377c2", "#17becf" }

local function draw(path, commands, ...)
  local script = lab.folder .. "/plot.gp"
  lab.write(script, head .. ("set output %q\n"):format(path) .. commands:format(...) .. "\n")
  lab.shell("gnuplot " .. script .. " 2>&1")
end

-- Writes rows as a data file and returns its name in quotes.
local function data(name, rows)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = table.concat(row, "\t") end
  local path = ("%s/%s.tsv"):format(lab.folder, name)
  lab.write(path, table.concat(lines, "\n") .. "\n")
  return '"' .. path .. '"'
end

--- CPU of a process with one edit, by the picture's size.
function plots.edits(r, path)
  local series = {}
  for i, client in ipairs(r.clients) do
    local rows = {}
    for _, size in ipairs(r.sizes) do
      local of = r.edits[size.name][client.name]
      if of then rows[#rows + 1] = { size.bytes / 1e6, of.cpu * 1e3 } end
    end
    if rows[1] then
      series[#series + 1] = ('%s using 1:2 with %s lc rgb "%s" title "%s"'):format(
        data("edits-" .. client.name:gsub(" ", "-"), rows), style, colors[i], client.name)
    end
  end
  draw(path, 'set logscale xy\nset xlabel "picture, MB"\nset ylabel "CPU, ms"\nplot %s',
    table.concat(series, ", \\\n"))
end

--- A step, and a job's memory, by how many wait.
function plots.queued(r, path)
  local rows = {}
  for _, row in ipairs(r.queued) do
    if row.jobs >= 10 then rows[#rows + 1] = { row.jobs, row.step, row.lua } end
  end
  local file = data("queued", rows)
  draw(path, 'set logscale x\nset xlabel "waiting jobs"\nset ylabel "step, µs"\nset yrange [0:10]\n'
    .. 'set y2label "bytes of Lua a job"\nset y2range [0:5000]\nset y2tics\nplot %s using 1:2 with '
    .. '%s lc rgb "#d62728" title "step", %s using 1:3 axes x1y2 with %s lc rgb "#1f77b4" '
    .. 'title "memory"', file, style, file, style)
end

--- Delay and polls of each schedule, as multiples of the loop's.
function plots.polls(r, path)
  local series = {}
  for i, name in ipairs { "1 s", "doubling", "kontext" } do
    local rows = {}
    for _, row in ipairs(r.polls) do
      rows[#rows + 1] = { row[name].polls / row.loop.polls, row[name].delay / row.loop.delay }
    end
    series[i] = ('%s using 1:2 with points pt 7 ps 0.9 lc rgb "%s" title "%s"'):format(
      data("polls-" .. name:gsub(" ", ""), rows), colors[6 - i], name)
  end
  draw(path, 'set logscale y\nset xrange [0:2]\nset xlabel "polls, of a loop of 0.5 s"\n'
    .. 'set ylabel "delay, of a loop of 0.5 s"\nset arrow from 1.05,0.05 to 1.05,0.65 nohead dt 2\n'
    .. 'set arrow from 0,0.65 to 1.05,0.65 nohead dt 2\nset label "goal" at 0.05,0.55\n'
    .. 'plot %s, "<echo 1 1" using 1:2 with points pt 7 ps 1.2 lc rgb "#222222" title "0.5 s"',
    table.concat(series, ", "))
end

--- Draws all of them.
---@param r table what bench/run has measured
---@param folder string
function plots.draw(r, folder)
  lab.shell("mkdir -p " .. folder)
  for name, plot in pairs { edits = plots.edits, queued = plots.queued, polls = plots.polls } do
    plot(r, ("%s/%s.svg"):format(folder, name))
  end
end

return plots
