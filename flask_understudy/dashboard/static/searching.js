// The search box completes the word under the cursor, and a page of jobs is selected at once. Without scripts both work by hand.
"use strict";
(() => {
  // -- completing -----------------------------------------------------------------------------------------------------
  const MOST = 20;
  const box = document.querySelector("input[data-words]");
  const list = box && document.getElementById(box.dataset.list);
  const words = box && JSON.parse(box.dataset.words);
  let current = -1, offered = [];

  /** Where the word under the cursor begins and ends; what double quotes hold together is one word. */
  function wordAt(text, cursor) {
    let start = 0, end = text.length, quoted = false;
    for (let n = 0; n < text.length; n++) {
      if (text[n] === '"') quoted = !quoted;
      else if (/\s/.test(text[n]) && !quoted) {
        if (n < cursor) start = n + 1;
        else { end = n; break; }
      }
    }
    return { start, end, text: text.slice(start, end) };
  }

  const written = (name, value) => `${name}:${/[\s"]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value}`;

  /** What a word can become: the values of its qualifier, else qualifiers, else types and queues that hold it. */
  function completions(word) {
    const [, name, part] = /^([A-Za-z]+):(.*)$/s.exec(word) || [];
    const qualifier = name && (words.synonyms[name.toLowerCase()] || name.toLowerCase());
    const wanted = (Object.hasOwn(words.values, qualifier) ? part : word).replaceAll('"', "").toLowerCase();
    const of = (name) => (words.values[name] || []).filter((value) => value.toLowerCase().includes(wanted))
      .sort((a, b) => !a.toLowerCase().startsWith(wanted) - !b.toLowerCase().startsWith(wanted))
      .map((value) => ({ text: written(name, value), says: "", after: " " }));
    let found;
    if (Object.hasOwn(words.values, qualifier)) found = of(qualifier);
    else {
      found = words.qualifiers.filter(([known]) => known.startsWith(wanted))
        .map(([known, says]) => ({ text: known.endsWith(".") ? known : `${known}:`, says, after: "" }));
      if (wanted) found = [...found, ...of("state"), ...of("type"), ...of("queue")];
    }
    return found.filter((one) => one.text !== word).slice(0, MOST);
  }

  function close() {
    list.hidden = true; offered = []; current = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  }

  function offer(evenNothing) {
    const word = wordAt(box.value, box.selectionStart);
    offered = word.text || evenNothing ? completions(word.text) : [];
    if (!offered.length) return close();
    current = -1;
    box.removeAttribute("aria-activedescendant");
    list.replaceChildren(...offered.map((one, n) => {
      const item = document.createElement("li"), text = document.createElement("code");
      item.id = `${list.id}-${n}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      text.textContent = one.text;
      item.append(text);
      if (one.says) {
        const says = document.createElement("small");
        says.textContent = ` ${one.says}`;
        item.append(says);
      }
      item.addEventListener("mousedown", (event) => { event.preventDefault(); take(n); });
      return item;
    }));
    list.hidden = false;
    box.setAttribute("aria-expanded", "true");
  }

  function mark(n) {
    list.children[current]?.setAttribute("aria-selected", "false");
    current = (n + offered.length) % offered.length;
    const item = list.children[current];
    item.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  }

  function take(n) {
    const word = wordAt(box.value, box.selectionStart), one = offered[n];
    const rest = box.value.slice(word.end);
    const text = one.text + (one.after && !rest.startsWith(" ") ? one.after : "");
    box.value = box.value.slice(0, word.start) + text + rest;
    const at = word.start + text.length;
    box.setSelectionRange(at, at);
    close();
    if (!one.after) offer(false);
  }

  if (box && list) {
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false" }))
      box.setAttribute(name, value);
    box.addEventListener("input", () => offer(false));
    box.addEventListener("click", () => { if (!list.hidden) offer(false); });
    box.addEventListener("blur", close);
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "ArrowDown" && list.hidden) { offer(true); if (offered.length) mark(0); event.preventDefault(); return; }
      if (list.hidden) return;
      if (event.key === "ArrowDown") mark(current + 1);
      else if (event.key === "ArrowUp") mark(current < 0 ? -1 : current - 1);
      else if (event.key === "Escape") { close(); event.stopPropagation(); }
      else if ((event.key === "Enter" || event.key === "Tab") && current >= 0 && !event.shiftKey) take(current);
      else return;
      event.preventDefault();
    });
  }

  // -- selecting ------------------------------------------------------------------------------------------------------
  const jobs = document.getElementById("live-jobs");
  const boxes = () => [...jobs.querySelectorAll("tbody input[type=checkbox]")];

  function count() {
    const all = boxes(), chosen = all.filter((one) => one.checked).length, every = document.getElementById("every");
    if (!every) return;
    every.checked = chosen > 0 && chosen === all.length;
    every.indeterminate = chosen > 0 && chosen < all.length;
  }
  jobs?.addEventListener("change", (event) => {
    if (event.target.id === "every") for (const one of boxes()) one.checked = event.target.checked;
    count();
  });
  if (jobs) new MutationObserver(count).observe(jobs, { childList: true });
  if (jobs) { count(); addEventListener("pageshow", count); }
})();
