// Opens the console in a real browser: what it shows, by keyboard, narrow, dark, without script, and under hostile text.
// usage: node check.mjs ADDRESS FOLDER   (playwright-core in NODE_PATH's folder; the browser in CHROMIUM)
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const { chromium } = createRequire(path.join(process.env.CONSOLE_MODULES, "/"))("playwright-core");
const [address, folder] = process.argv.slice(2);
const origin = `http://${address}`;
mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const wide = { viewport: { width: 1280, height: 900 } };
const narrow = { viewport: { width: 380, height: 800 }, deviceScaleFactor: 2, hasTouch: true };
let n_checks = 0;
const check = (is, message) => {
  n_checks += 1;
  assert.ok(is, message);
};

// A page whose every complaint is a failure: an error, a breach of its policy, a request to somewhere else.
async function open(options, to) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error}`));
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && complaints.push(said.text()));
  page.on("dialog", (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => request.url().startsWith(origin) || complaints.push(`asks ${request.url()}`));
  await page.goto(origin + to);
  return { page, close: async () => { assert.deepEqual(complaints, [], to); n_checks += 1; await context.close(); } };
}

// Text against what lies behind it, by WCAG 2: at least 4.5 to 1.
const lowContrast = () => {
  const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const linear = (channel) => { const c = channel / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest("title")) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [low, high] = [luminance(ink), luminance(behind(element))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${texts.currentNode.data.slice(0, 40)}`);
  }
  return [...found];
};

const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;

async function links(page) {
  const listed = await page.locator("#recent-verdicts tbody tr").evaluateAll((rows) =>
    rows.map((row) => [row.querySelector("th a").textContent, row.querySelector("th a").getAttribute("href")]));
  return new Map(listed);
}

// === The overview ===
{
  const { page, close } = await open(wide, "/");
  await page.locator("#live-state[data-kind=on]").waitFor();
  check((await page.title()).startsWith("Overview"), "its title");
  check(await page.locator("#fleet-workers tbody tr").count() === 2, "both workers");
  check((await page.locator("#in-flight-requests").innerText()).includes("5 of 12 samples"), "what is in flight");
  await close();
}
const { page: first, close: closeFirst } = await open(wide, "/");
const verdicts = await links(first);
const inFlight = await first.locator("#in-flight-requests a").getAttribute("href");
await closeFirst();
const hostile = [...verdicts].find(([name]) => name.includes("<script>"))[1];
const pages = {
  overview: "/", request: inFlight, verdict: verdicts.get("capital"), ranked: verdicts.get("capital-ranked"),
  group: verdicts.get("group-of-64"), unreadable: verdicts.get("unreadable"), hostile, missing: "/verdicts/999",
};

// === Every page, wide and narrow, light and dark ===
for (const [name, to] of Object.entries(pages)) {
  for (const [size, options] of [["wide", wide], ["narrow", narrow]]) {
    for (const colorScheme of ["light", "dark"]) {
      if (name === "missing" && size === "narrow") continue;
      const context = await browser.newContext({ ...options, colorScheme, reducedMotion: "reduce" });
      const page = await context.newPage();
      await page.goto(origin + to);
      check((await page.title()) !== "broken", `${name}: a script of a response ran`);
      check(await page.evaluate(overflow) <= 0, `${name}, ${size}: wider than the window by ${await page.evaluate(overflow)}`);
      check(await page.locator("h1").count() === 1, `${name}: one first heading`);
      const dim = await page.evaluate(lowContrast);
      check(dim.length === 0, `${name}, ${colorScheme}: ${dim.join("; ")}`);
      const motion = await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior);
      check(motion === "auto", "no motion where none is wanted");
      await page.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png`, fullPage: name !== "group" });
      await context.close();
    }
  }
}

// === Hostile text ===
{
  const { page, close } = await open(wide, hostile);
  check(await page.locator("main script, main img, main style, main h1 + script").count() === 0, "text became an element");
  check((await page.locator("#response-0 .said").innerText()).startsWith("<script>"), "it is shown as it is");
  check(await page.locator("#response-1 .unseen", { hasText: "U+202E" }).count() === 1, "what turns text around is written out");
  const box = await page.locator("#response-2").boundingBox();
  check(box.width < 1280, "a word without an end stays inside");
  check(await page.locator("[onclick], [onerror], [style]").count() === 0, "no handler, no style in an attribute");
  await close();
}

// === By keyboard alone ===
{
  const { page, close } = await open(wide, pages.ranked);
  await page.keyboard.press("Tab");
  const skip = page.locator(":focus");
  check((await skip.innerText()) === "Skip to the content", "the first stop skips to the content");
  check((await skip.boundingBox()).y >= 0, "and is seen");
  await page.keyboard.press("Enter");
  check(await page.evaluate(() => document.activeElement.id === "content"), "it leads there");
  let outlined = 0;
  let sample = null;
  for (let stop = 0; stop < 60 && !sample; stop += 1) {
    await page.keyboard.press("Tab");
    outlined += await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none" ? 1 : 0);
    sample = await page.evaluate(() => document.activeElement.matches(".sample > summary") || null);
    if (!sample) check(outlined === stop + 1, "the focus is seen");
  }
  check(sample, "every sample is reached");
  await page.keyboard.press("Enter");
  const opened = page.locator("details.sample[open]");
  check(await opened.count() === 1 && (await opened.innerText()).includes("Accuracy"), "and opens");
  await page.screenshot({ path: `${folder}/sample-open.png` });
  await opened.screenshot({ path: `${folder}/sample.png` });
  await close();
}

// === What is open stays open while the page is kept up to date ===
{
  const { page, close } = await open(wide, inFlight);
  // The page's first look is held until a sample is open.
  let letLook;
  const isOpen = new Promise((resolve) => { letLook = resolve; });
  await page.route(origin + inFlight, async (route) => {
    if (route.request().resourceType() === "fetch") await isOpen;
    await route.continue();
  });
  await page.reload();
  await page.locator("#sample-0 > summary").click();
  await page.evaluate(() => { document.activeElement.blur(); document.getElementById("state").isOld = true; });
  letLook();
  await page.waitForFunction(() => !document.getElementById("state").isOld);
  check(await page.locator("#sample-0[open]").count() === 1, "a sample that is open stays open");
  await close();
}

// === Without script ===
{
  const context = await browser.newContext({ ...wide, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(origin + pages.verdict);
  check((await page.locator(".lead").innerText()).includes("is best"), "a verdict");
  await page.locator("#sample-0 > summary").click();
  check((await page.locator("#sample-0").innerText()).includes("Accuracy"), "a sample");
  await page.goto(origin + inFlight);
  check((await page.locator("#state").innerText()).includes("5 of 12"), "a request in flight");
  await context.close();
}

await browser.close();
console.log(`${n_checks} checks hold; pictures in ${folder}`);
