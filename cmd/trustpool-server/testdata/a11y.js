// What is wrong with the page that is shown, in sentences.
(() => {
  const wrong = [];
  const say = (what, element) => wrong.push(element ? `${what}: ${element.outerHTML.slice(0, 120)}` : what);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent || "").join(" ") || e.textContent || "").trim();
  const isShown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";

  if (!document.documentElement.lang) say("no language");
  if (!document.title) say("no title");
  if (all("main").length !== 1) say("not one main landmark");
  if (all("h1").length !== 1) say("not one h1");
  if (!document.body.classList.contains("signin") && (all("body > header").length !== 1 || all("header nav").length !== 1)) say("no header or navigation");
  let level = 1;
  for (const h of all("h1, h2, h3, h4")) {
    const next = Number(h.tagName[1]);
    if (next > level + 1) say(`a heading skips from ${level} to ${next}`, h);
    if (!name(h)) say("an empty heading", h);
    level = next;
  }
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) say(`two elements have the id ${id}`);
  for (const e of all("[aria-labelledby]")) for (const id of e.getAttribute("aria-labelledby").split(" ")) if (!document.getElementById(id)) say(`nothing has the id ${id}`, e);
  for (const e of all("nav, section, [role=region]")) if (!name(e) || !(e.hasAttribute("aria-label") || e.hasAttribute("aria-labelledby"))) say("a landmark without a name", e);
  for (const e of all("a, button, summary")) {
    if (!name(e)) say("nothing says where it leads", e);
    if (e.tagName === "A" && !e.hasAttribute("href")) say("no link", e);
  }
  for (const e of all("input, select, textarea")) if (!e.labels.length && !e.getAttribute("aria-label")) say("no label", e);
  for (const e of all("svg, img")) if (e.getAttribute("aria-hidden") !== "true" && !e.getAttribute("alt") && !e.getAttribute("aria-label")) say("a picture without words", e);
  for (const e of all(".badge, .word")) if (!e.textContent.trim()) say("a status by colour alone", e);
  for (const e of all("table")) {
    if (!e.caption) say("a table without a caption", e);
    if (all("th").some((th) => !th.scope)) say("a head without a scope", e);
  }
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) say("an order of its own for keys", e);

  // Contrast (WCAG 2.2, 1.4.3): 4.5 for text, 3 for large text.
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(e) || !isShown(e) || e.closest(".hidden, .skip, noscript, script, option")) continue;
    seen.add(e);
    const style = getComputedStyle(e), a = light(rgb(style.color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, e);
    if (size < 12) say(`text of ${size}px`, e);
  }
  if (document.documentElement.scrollWidth > innerWidth) {
    const far = all("main *").filter((e) => isShown(e) && !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1)[0];
    say(`wider than the window by ${document.documentElement.scrollWidth - innerWidth}px`, far);
  }
  return wrong;
})()
