--- The style and the script, which are the same in every gallery. The page loads nothing: a content
--- security policy allows this style and this script by their digests, and the pictures that the
--- page itself holds.
local page = {}

page.style = [[
:root { color-scheme: light dark; --ground: #fff; --text: #1b1b1f; --soft: #5c5c66;
  --line: #d9d9de; --card: #f6f6f8; --accent: #0b57d0; --bad: #b3261e; --badground: #fdeceb }
@media (prefers-color-scheme: dark) {
  :root { --ground: #121214; --text: #ececf1; --soft: #a5a5b0; --line: #36363d;
    --card: #1d1d21; --accent: #8ab4f8; --bad: #ffb4ab; --badground: #3a1d1b }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
header, main { max-width: 76rem; margin: 0 auto; padding: 0 1rem }
header { padding-top: 1.5rem }
h1 { font-size: 1.4rem; margin: 0 }
p { margin: .25rem 0 }
.soft, dt { color: var(--soft) }
article { margin: 1.5rem 0; padding: 1rem; border: 1px solid var(--line); border-radius: .75rem;
  background: var(--card) }
figure { margin: 0 }
figcaption { margin-top: .75rem; overflow-wrap: anywhere }
.prompt { font-size: 1.05rem; white-space: pre-wrap }
dl { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; margin: .25rem 0 0; font-size: .9rem }
dl div { display: flex; gap: .35rem; min-width: 0 }
dd { margin: 0; min-width: 0 }
.view { position: relative; display: block; margin: 0 auto; overflow: hidden; cursor: ew-resize;
  border-radius: .4rem; background: var(--line); touch-action: pan-y; user-select: none;
  width: fit-content; max-width: 100%; --at: 50% }
[hidden] { display: none !important }
.view img { display: block; max-width: 100%; height: auto; max-height: 82vh; width: auto }
.view .before { position: absolute; inset: 0; width: 100%; height: 100%; max-height: none;
  clip-path: inset(0 calc(100% - var(--at)) 0 0) }
.view .before.apart { object-fit: contain; background: var(--line) }
.view svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none }
.view rect { fill: none; stroke: #fff; stroke-width: 2; vector-effect: non-scaling-stroke;
  stroke-dasharray: 6 4; filter: drop-shadow(0 0 1px #000) }
.view .bar { position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none }
.view .bar::after { content: "\2194"; position: absolute; top: 50%; left: 50%; width: 2.4rem;
  height: 2.4rem; margin: -1.2rem; border-radius: 50%; background: #fff; color: #222;
  box-shadow: 0 0 4px #000; text-align: center; line-height: 2.3rem; font-size: 1.2rem }
.view input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  pointer-events: none }
.view:focus-within { outline: 3px solid var(--accent); outline-offset: 2px }
.view .name { position: absolute; bottom: .5rem; padding: .05rem .5rem; border-radius: 1rem;
  background: #000a; color: #fff; font-size: .8rem; pointer-events: none }
.view .name.left { left: .5rem } .view .name.right { right: .5rem }
.alone { display: block; max-width: 100%; height: auto; max-height: 82vh; margin: 0 auto;
  border-radius: .4rem }
.failed .alone { opacity: .45; filter: grayscale(1) }
.error { margin-top: .75rem; padding: .6rem .8rem; border-left: 4px solid var(--bad);
  background: var(--badground); overflow-wrap: anywhere }
.error strong { color: var(--bad) }
.strip { display: flex; gap: .5rem; overflow-x: auto; padding: .25rem; margin: 0 0 .75rem }
.strip .start { flex: none; padding: .3rem; font-size: .8rem; text-align: center;
  color: var(--soft) }
.strip button { flex: none; padding: .2rem; border: 2px solid transparent; border-radius: .5rem;
  background: none; color: inherit; font: inherit; font-size: .8rem; cursor: pointer }
.strip button[aria-pressed=true] { border-color: var(--accent) }
.strip button:focus-visible, .zoom:focus-visible { outline: 3px solid var(--accent) }
.strip img { display: block; height: 4.5rem; width: auto; border-radius: .25rem }
.strip .none { display: block; width: 4.5rem; height: 4.5rem; line-height: 4.5rem;
  border-radius: .25rem; background: var(--badground); color: var(--bad); font-size: 1.6rem }
.zoom { margin: .5rem 0 0; padding: .3rem .8rem; border: 1px solid var(--line);
  border-radius: 1rem; background: var(--ground); color: inherit; font: inherit;
  font-size: .85rem; cursor: pointer }
@media (max-width: 40rem) {
  header, main { padding: 0 .5rem } header { padding-top: 1rem }
  article { padding: .6rem; margin: 1rem 0 }
  .view img, .alone { max-height: 70vh }
}
]]

page.script = [[
"use strict";
for (const view of document.querySelectorAll(".view")) {
  const range = view.querySelector("input");
  const move = value => {
    range.value = value;
    view.style.setProperty("--at", range.value + "%");
  };
  const follow = event => {
    const box = view.getBoundingClientRect();
    move((event.clientX - box.left) / box.width * 100);
  };
  range.addEventListener("input", () => move(range.value));
  range.addEventListener("keydown", event => {
    if (event.key === "b") move(100);
    if (event.key === "a") move(0);
  });
  view.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    view.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true });
    follow(event);
    event.preventDefault();
  });
  view.addEventListener("pointermove", event => {
    if (view.hasPointerCapture(event.pointerId)) follow(event);
  });
  move(50);
}
for (const button of document.querySelectorAll(".zoom")) {
  const [near, whole] = button.closest("figure").querySelectorAll(".view");
  button.addEventListener("click", () => {
    near.hidden = !near.hidden;
    whole.hidden = !near.hidden;
    button.textContent = near.hidden ? "Show the region" : "Show the whole picture";
  });
}
for (const strip of document.querySelectorAll(".strip")) {
  const figures = strip.parentElement.querySelectorAll("figure");
  const buttons = strip.querySelectorAll("button");
  const choose = chosen => {
    figures.forEach((figure, n) => { figure.hidden = n !== chosen; });
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(n === chosen)));
  };
  buttons.forEach((button, n) => button.addEventListener("click", () => choose(n)));
  strip.hidden = false;
  choose(buttons.length - 1);
}
]]

return page
