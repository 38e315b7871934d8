// node spec/gallery/terminal.mjs MODULES COLUMNS OUT.png <SCREEN: a terminal's screen, with its colours
// as escape sequences (tmux capture-pane -e), as a picture.
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";

const [modules, columns, out] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);

const basic = ["#1d1d21", "#d0524b", "#62a56a", "#c9a24a", "#5a8fd6", "#a874c9", "#4fa9a9", "#d8d8de",
  "#6e6e78", "#ef7a72", "#86cc8e", "#e6c46d", "#82b1f0", "#c79ae4", "#76cccc", "#ffffff"];
const level = n => (n ? 55 + 40 * n : 0);

// Returns the colour of one of 256.
function color(n) {
  if (n < 16) return basic[n];
  if (n > 231) return `rgb(${[0, 0, 0].map(() => 8 + 10 * (n - 232))})`;
  const at = n - 16;
  return `rgb(${[Math.floor(at / 36), Math.floor(at / 6) % 6, at % 6].map(level)})`;
}

const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
let style = {};

// Takes the numbers of one escape sequence.
function set(numbers) {
  while (numbers.length) {
    const n = numbers.shift();
    if (n === 0) style = {};
    else if (n === 1) style.bold = true;
    else if (n === 7) style.reverse = true;
    else if (n === 22) delete style.bold;
    else if (n === 27) delete style.reverse;
    else if (n === 38 || n === 48) {
      const name = n === 38 ? "text" : "ground", kind = numbers.shift();
      style[name] = kind === 2 ? `rgb(${numbers.splice(0, 3)})` : color(numbers.shift());
    } else if (n === 39) delete style.text;
    else if (n === 49) delete style.ground;
    else if (n >= 30 && n < 38) style.text = basic[n - 30];
    else if (n >= 40 && n < 48) style.ground = basic[n - 40];
    else if (n >= 90 && n < 98) style.text = basic[n - 82];
    else if (n >= 100 && n < 108) style.ground = basic[n - 92];
  }
}

// Returns the text as HTML in the colours of now.
function span(text) {
  let { text: front = "#d8d8de", ground = "transparent" } = style;
  if (style.reverse) [front, ground] = [ground === "transparent" ? "#1d1d21" : ground, front];
  const safe = text.replace(/[&<>]/g, char => entities[char]);
  return `<span style="color:${front};background:${ground}${style.bold ? ";font-weight:bold" : ""}">`
    + `${safe}</span>`;
}

const screen = readFileSync(0, "utf8").replace(/\s+$/, "").replace(/\x1b[()]./g, "");
const html = screen.split("\n").map(line => line.split(/(\x1b\[[0-9;:]*m)/).map(part => {
  const found = /^\x1b\[([0-9;:]*)m$/.exec(part);
  if (!found) return part ? span(part) : "";
  set(found[1] === "" ? [0] : found[1].split(/[;:]/).map(Number));
  return "";
}).join("")).join("\n");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: 120000 });
const page = await browser.newPage({ deviceScaleFactor: 1.5 });
page.setDefaultTimeout(120000);
await page.setContent(`<meta charset="utf-8"><style>body{margin:0;background:#fff}
  pre{display:inline-block;margin:0;padding:10px 12px;min-width:${columns}ch;border-radius:8px;
  background:#1d1d21;font:14px/16px "DejaVu Sans Mono",monospace}span{display:inline-block;height:16px;
  white-space:pre}</style><pre>${html}</pre>`);
await page.locator("pre").screenshot({ path: out });
await browser.close();
