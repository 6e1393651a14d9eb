// What a page gains with scripts: it keeps itself up to date, and takes the keyboard. Without them it reads the same.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = {
    get: (name) => { try { return localStorage.getItem(`understudy-${name}`) || ""; } catch { return ""; } },
    set: (name, value) => { try { localStorage.setItem(`understudy-${name}`, value); } catch { /* private browsing */ } },
  };
  root.dataset.script = "yes";

  const theme = document.getElementById("theme");
  const paint = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; };
  paint(stored.get("theme"));
  if (theme) {
    theme.value = stored.get("theme");
    theme.addEventListener("change", () => { stored.set("theme", theme.value); paint(theme.value); });
  }

  // -- up to date ---------------------------------------------------------------------------------------------------
  const live = () => [...document.querySelectorAll("[data-live][id]")].filter((part) => !("still" in part.dataset));
  const ended = () => document.querySelector("[data-still]");
  const stale = document.getElementById("stale");
  let asking = false, turns = 0, fresh = new Date();

  const isBusy = (part) => {
    const active = document.activeElement;
    const types = active && part.contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName) && active.type !== "checkbox";
    const typed = [...part.querySelectorAll("input[name]:not([type=hidden], [type=checkbox], [type=radio]), textarea")];
    const chosen = [...part.querySelectorAll("select")].some((list) => list.selectedIndex > 0 && !list.options[list.selectedIndex].defaultSelected);
    return types || chosen || typed.some((field) => field.value !== field.defaultValue) || String(getSelection() || "") !== "" && part.contains(getSelection().anchorNode);
  };

  // What has ended changes no more, and may be deleted: it is asked for when counts change, and now and then.
  async function refresh(counted = false) {
    const parts = live();
    if (asking || document.hidden || !(parts.length || ended() && (counted || ++turns % 6 === 0))) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (!answer.ok && answer.status !== 404) return warn({ 401: "You are signed out.", 403: "You may not see this any more." }[answer.status] || `The server answers with an error, ${answer.status}.`);
      fresh = new Date();
      if (stale) stale.hidden = true;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok) { gone(parts, page); return; }
      for (const part of parts) {
        const next = page.getElementById(part.id);
        if (next && !isBusy(part) && next.innerHTML !== part.innerHTML) replace(part, next);
      }
    } catch { warn("The server does not answer."); } finally { asking = false; }
  }

  // The next turn asks again; until then nobody shall take what is old for what is.
  function warn(why) {
    if (!stale) return;
    const text = `${why} This page shows how it was at ${fresh.toLocaleTimeString()}. `;
    if (stale.hidden || stale.firstChild?.textContent !== text) {
      const again = document.createElement("a");
      again.href = location.href;
      again.textContent = "Load it again";
      stale.replaceChildren(text, again);
    }
    stale.setAttribute("role", "alert");
    stale.hidden = false;
  }

  // What the page is about was deleted meanwhile: nothing of it is left to be acted on.
  function gone(parts, page) {
    const said = document.createElement("p");
    said.className = "notice problem";
    said.setAttribute("role", "alert");
    said.textContent = "This is gone: it was deleted while you looked at it.";
    for (const part of parts) part.dataset.still = "";
    document.getElementById("main").replaceChildren(said, ...page.getElementById("main").childNodes);
  }

  function replace(part, next) {
    const kept = (selector, key) => new Set([...part.querySelectorAll(selector)].map(key));
    const boxes = kept("input[type=checkbox]:checked", (box) => box.value);
    const choices = kept("input[type=radio]:checked", (choice) => choice.value);
    const folds = kept("details[open] > summary", (summary) => summary.textContent);
    const row = part.querySelector("[data-current] a")?.getAttribute("href");
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scrolled = [...part.querySelectorAll("[tabindex][id]")].map((box) => [box.id, box.scrollTop, box === document.activeElement]);
    if ("still" in next.dataset) part.dataset.still = "";
    part.replaceChildren(...next.childNodes);
    for (const [id, top, hadFocus] of scrolled) {
      const box = document.getElementById(id);
      if (box) { box.scrollTop = top; if (hadFocus) box.focus({ preventScroll: true }); }
    }
    for (const box of part.querySelectorAll("input[type=checkbox]")) box.checked = boxes.has(box.value);
    for (const choice of part.querySelectorAll("input[type=radio]")) if (choices.has(choice.value)) choice.checked = true;
    for (const summary of part.querySelectorAll("details > summary")) if (folds.has(summary.textContent)) summary.parentElement.open = true;
    const link = (href) => href && [...part.querySelectorAll("a")].find((one) => one.getAttribute("href") === href);
    link(row)?.closest("[data-row]")?.setAttribute("data-current", "");
    link(focused)?.focus();
  }

  let source = null, timer = null;
  const interval = document.getElementById("interval");
  const feed = document.querySelector("[data-live-url]")?.dataset.liveUrl;

  function follow() {
    source?.close(); clearInterval(timer); source = timer = null;
    const wanted = stored.get("interval") || "live";
    if (document.hidden || wanted === "off") return;
    if (wanted === "live" && feed && window.EventSource) {
      source = new EventSource(feed);
      let first = true;
      source.addEventListener("counts", () => { if (first) first = false; else refresh(true); });
      source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) { source = null; timer ??= setInterval(refresh, 5000); } });
      timer = setInterval(refresh, 5000); // what changes without a count: progress, logs, ages
    } else {
      timer = setInterval(refresh, 1000 * (Number(wanted) || 5));
    }
  }
  if (interval) {
    interval.value = stored.get("interval") || "live";
    interval.addEventListener("change", () => { stored.set("interval", interval.value); follow(); });
  }
  document.addEventListener("visibilitychange", () => { follow(); refresh(); });
  addEventListener("pagehide", () => source?.close());
  follow();

  // -- copying ------------------------------------------------------------------------------------------------------
  for (const text of document.querySelectorAll("pre.copy")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    text.after(button);
  }

  // -- keys ---------------------------------------------------------------------------------------------------------
  const rows = () => [...document.querySelectorAll("[data-row]")];
  function move(step) {
    const all = rows(), now = all.findIndex((row) => "current" in row.dataset);
    if (!all.length) return;
    const next = all[Math.min(all.length - 1, Math.max(0, now + step))];
    if (now >= 0) delete all[now].dataset.current;
    next.dataset.current = "";
    next.scrollIntoView({ block: "nearest" });
  }
  const help = document.getElementById("keys");
  const show = () => help?.showModal();
  document.getElementById("help")?.addEventListener("click", show);

  const box = () => document.querySelector("input[type=search]");
  if (location.hash === "#q") box()?.focus();
  function search() {
    if (box()) box().focus();
    else if (help) location.href = `${help.dataset.jobsUrl}#q`;
  }
  function retry() {
    const chosen = () => document.querySelector("[data-row] input[type=checkbox]:checked");
    const all = document.querySelector("form.bulk button[value=retry]");
    const own = document.querySelector("[data-current] button.retry") || document.querySelector("main > div button.retry");
    const row = document.querySelector("[data-current] input[type=checkbox]");
    if (!all) { own?.click(); return; }
    if (row && !chosen()) row.checked = true;
    if (chosen()) all.click();
  }
  const keys = {
    "/": search,
    j: () => move(1),
    k: () => move(-1),
    Enter: () => document.querySelector("[data-current] a")?.click(),
    x: () => document.querySelector("[data-current] input[type=checkbox]")?.click(),
    r: retry,
    "?": show,
  };
  addEventListener("keydown", (event) => {
    const { tagName, type } = event.target, isBox = tagName === "INPUT" && /^(checkbox|radio)$/.test(type);
    const isTyped = /^(INPUT|SELECT|TEXTAREA)$/.test(tagName) && !isBox;
    const isPressed = event.key === "Enter" && (isBox || /^(BUTTON|A|SUMMARY)$/.test(tagName));
    if (event.ctrlKey || event.metaKey || event.altKey || help?.open || isTyped || isPressed) {
      if (event.key === "Escape" && isTyped) event.target.blur();
      return;
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
})();
