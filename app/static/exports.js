// Asks the API for what the page shows. The token stays in this tab, and goes into the header of each request.
"use strict";
(() => {
  const part = (id) => document.getElementById(id);
  const main = document.querySelector("main"), { login, logout, exports } = main.dataset;
  const FINISHED = new Set(["COMPLETED", "FAILED"]);
  const wanted = new URLSearchParams(location.search).get("file"); // the file that a mail told of
  let token = sessionStorage.getItem("token") || "", cursor = null, timer = null, waiting = null;

  const say = (text, isProblem = false) => {
    part("notice").textContent = text;
    part("notice").hidden = !text;
    part("notice").classList.toggle("problem", isProblem);
  };

  async function ask(path, options = {}) {
    const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...(options.body ? { "Content-Type": "application/json" } : {}), ...options.headers };
    const answer = await fetch(path, { ...options, headers, credentials: "omit" });
    if (answer.status === 401 && token) keep("");
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      const fields = (problem.errors || []).map((one) => one.detail).join("; ");
      throw Object.assign(new Error(fields || problem.detail || `The service answered ${answer.status}.`), { status: answer.status });
    }
    return answer;
  }

  function keep(secret) {
    token = secret;
    if (secret) sessionStorage.setItem("token", secret); else sessionStorage.removeItem("token");
    part("sign-in").hidden = Boolean(secret);
    part("signed-in").hidden = !secret;
    clearTimeout(timer);
    clearTimeout(waiting);
    if (secret) { seek(); guarded(() => load())(); }
  }

  const guarded = (work) => async (event) => {
    event?.preventDefault?.();
    try { say(""); await work(event); } catch (error) { say(error.message, true); }
  };

  if (wanted) part("why").textContent = "Sign in to fetch your file.";

  part("sign-in").addEventListener("submit", guarded(async (event) => {
    const form = new FormData(event.target);
    const body = { email: form.get("email"), password: form.get("password"), ...(form.get("organization") ? { organization: form.get("organization") } : {}) };
    keep((await (await ask(login, { method: "POST", body: JSON.stringify(body) })).json()).token);
    event.target.reset();
  }));
  part("use-token").addEventListener("click", guarded(async () => {
    const given = part("sign-in").elements.token;
    const secret = given.value.trim();
    await ask(`${exports}?limit=1`, { headers: { Authorization: `Bearer ${secret}` } });
    given.value = "";
    keep(secret);
  }));
  part("sign-out").addEventListener("click", guarded(async () => {
    if (token.startsWith("uss_")) await ask(logout, { method: "POST" }).catch(() => {});
    keep("");
  }));
  part("order").addEventListener("submit", guarded(async (event) => {
    const form = new FormData(event.target);
    const body = JSON.stringify({ type: form.get("type"), format: form.get("format") });
    const answer = await (await ask(exports, { method: "POST", body, headers: { "Idempotency-Key": crypto.randomUUID() } })).json();
    if (!answer.queued) say("It is noted, and made as soon as the broker is back.");
    await load();
  }));
  part("more").addEventListener("click", guarded(() => load(true)));

  async function load(more = false) {
    clearTimeout(timer);
    const found = await (await ask(more && cursor ? `${exports}?limit=20&cursor=${encodeURIComponent(cursor)}` : `${exports}?limit=20`)).json();
    cursor = found.nextCursor;
    const rows = await Promise.all(found.data.map(row));
    if (more) part("exports").append(...rows); else part("exports").replaceChildren(...rows);
    part("empty").hidden = part("exports").childElementCount > 0;
    part("more").hidden = !cursor;
    if (found.data.some((one) => !FINISHED.has(one.status)) && !more) timer = setTimeout(() => { if (!document.hidden) load().catch((error) => say(error.message, true)); }, 1000);
  }

  const cell = (...children) => { const made = document.createElement("td"); made.append(...children); return made; };

  async function row(one) {
    const made = document.createElement("tr"), state = document.createElement("span");
    state.textContent = one.status === "FAILED" ? `failed: ${one.error || ""}` : one.status.toLowerCase();
    if (one.status === "FAILED") state.className = "failed";
    const states = [state];
    if (one.status === "PROCESSING" && one.jobId) {
      const job = await ask(`/api/queues/status/${one.jobId}`).then((answer) => answer.json()).catch(() => ({}));
      const bar = document.createElement("progress");
      bar.max = 100;
      bar.value = job.progress || 0;
      bar.setAttribute("aria-label", `Progress of ${one.type}`);
      states.push(" ", bar);
    }
    const actions = one.fileUrl ? [fetcher(one), " "] : [];
    const gone = document.createElement("button");
    gone.textContent = FINISHED.has(one.status) ? "Delete" : "Stop";
    gone.addEventListener("click", guarded(async () => { await ask(`${exports}/${one.id}`, { method: "DELETE" }); seek(); await load(); }));
    actions.push(gone);
    const expired = one.status === "COMPLETED" && !one.fileUrl ? "expired" : one.size === null ? "" : `${one.rows === null ? "" : `${one.rows.toLocaleString()} rows, `}${Math.ceil(one.size / 1024).toLocaleString()} kB`;
    made.append(cell(`${one.type} (${one.format})`), cell(new Date(one.createdAt).toLocaleString()), cell(...states), cell(expired), cell(...actions));
    return made;
  }

  function fetcher(one) {
    const button = document.createElement("button");
    button.textContent = "Download";
    button.addEventListener("click", guarded(() => download(one)));
    return button;
  }

  // Says what became of the file that a mail told of, and looks again until that shows.
  async function seek() {
    clearTimeout(waiting);
    part("wanted").hidden = true;
    if (!wanted) return;
    const asked = token;
    const [title, text] = part("wanted").children;
    let one = null;
    try {
      one = (await (await ask(`${exports}/${encodeURIComponent(wanted)}`)).json()).exportJob;
      if (token !== asked) return;
    } catch (error) {
      if (token !== asked && error.status !== 401) return;
      if (error.status === 401) return say(error.message, true);
      title.textContent = "The file of the link";
      text.replaceChildren(error.status === 404 ? "There is no such file of yours. Whoever ordered it can fetch it, signed in to the organisation that it is of." : error.message);
      part("wanted").hidden = false;
      return;
    }
    title.textContent = `${one.type} (${one.format})`;
    if (one.fileUrl && new Date(one.expiresAt) > new Date()) text.replaceChildren("It is ready. ", fetcher(one));
    else if (one.status === "COMPLETED") text.replaceChildren("It has expired and was deleted. Ask for it again.");
    else if (one.status === "FAILED") text.replaceChildren(`It could not be made: ${one.error || ""}`);
    else {
      text.replaceChildren("It is being made.");
      waiting = setTimeout(seek, 2000);
    }
    part("wanted").hidden = false;
  }

  async function download(one) {
    const answer = await ask(`${exports}/${one.id}/download`);
    const name = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") || "")?.[1] || one.type;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  keep(token);
})();
