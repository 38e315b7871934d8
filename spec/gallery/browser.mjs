// node spec/gallery/browser.mjs MODULES PAGE [FOLDER]: opens a gallery in headless Chromium, uses it
// by mouse, touch and keyboard, and prints what it saw as one JSON object; screenshots go to FOLDER.
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, page_path, folder] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: 120000 });
const seen = { errors: [], requests: [], moves: {} };

// Opens the page in a context of its own.
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(120000); // a busy machine
  page.on("console", message => {
    if (["error", "warning"].includes(message.type())) seen.errors.push(message.text());
  });
  page.on("pageerror", error => seen.errors.push(String(error)));
  page.on("dialog", dialog => { seen.errors.push("dialog"); dialog.dismiss(); });
  page.on("request", request => {
    if (!/^(file|data):/.test(request.url())) seen.requests.push(request.url());
  });
  await page.goto(pathToFileURL(page_path).href);
  return page;
}

// Returns where the first visible slider's line stands, in per cent.
const at = page => page.evaluate(() => {
  const view = [...document.querySelectorAll(".view")].find(each => each.offsetParent);
  const box = view.getBoundingClientRect(), bar = view.querySelector(".bar").getBoundingClientRect();
  return Math.round((bar.left + bar.width / 2 - box.left) / box.width * 100);
});

const shot = async (page, name, fullPage = true) => {
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage });
};

const desk = await open({ viewport: { width: 1280, height: 900 } });
seen.title = await desk.title();
seen.text = await desk.innerText("main");
seen.pictures = await desk.evaluate(() => [...document.images].every(each => each.naturalWidth > 0));
const view = desk.locator(".view:visible").first();
if (await view.count()) {
  const box = await view.boundingBox();
  seen.moves.begin = await at(desk);
  await desk.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await desk.mouse.down();
  await desk.mouse.move(box.x + box.width / 4, box.y + box.height / 2, { steps: 4 });
  seen.moves.mouse = await at(desk);
  await desk.mouse.up();
  await desk.mouse.move(box.x + box.width * 0.9, box.y + box.height / 2);
  seen.moves.released = await at(desk);
  for (const key of ["ArrowRight", "Home", "End", "PageDown", "a", "b"]) {
    await desk.keyboard.press(key);
    seen.moves[key] = await at(desk);
  }
  const before = await desk.evaluate(() =>
    getComputedStyle([...document.querySelectorAll(".view")].find(each => each.offsetParent)
      .querySelector(".before")).clipPath);
  seen.clip = before;
  await desk.keyboard.press("Home");
  for (let n = 0; n < 50; n++) await desk.keyboard.press("ArrowRight");
}
await shot(desk, "light");
const zoom = desk.locator(".zoom").first();
if (await zoom.count()) {
  await zoom.click();
  seen.zoom = await zoom.innerText();
  seen.region = await desk.locator(".view:visible rect").count();
  await shot(desk, "whole");
}
const step = desk.locator(".strip button").first();
if (await step.count()) {
  const shown = () => desk.locator("article:has(.strip) figure:visible").first().innerText();
  seen.last_step = await shown();
  await step.focus();
  await desk.keyboard.press("Enter");
  seen.first_step = await shown();
}
const dark = await open({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
seen.dark = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
await shot(dark, "dark");

const phone = await open({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true,
  deviceScaleFactor: 2 });
seen.overflow = await phone.evaluate(() =>
  document.documentElement.scrollWidth - document.documentElement.clientWidth);
const small = phone.locator(".view:visible").first();
if (await small.count()) {
  await small.scrollIntoViewIfNeeded();
  const box = await small.boundingBox();
  await phone.touchscreen.tap(box.x + box.width * 0.8, box.y + box.height / 2);
  seen.moves.touch = await at(phone);
}
await shot(phone, "phone");
await browser.close();
console.log(JSON.stringify(seen));
