// Loads what is shown anew when the server tells of a change, and now and then in any case. Without this script the browser loads the whole page every half a minute.
"use strict";
(() => {
  const watched = document.body.dataset.live; // a node's name, or * for all
  const notice = document.getElementById("live");
  const quiet = 500, pause = 2000, anyway = 30000, missed = 3000; // ms
  let stream = null, timer = 0, due = 0, loaded = Date.now(), last = 0, spoken = 0, loading = false;

  const say = (text) => {
    clearTimeout(spoken);
    notice.textContent = text;
  };
  const sayShortly = (text) => {
    say(text);
    spoken = setTimeout(() => say(""), 8000);
  };

  // soon has the page loaded in so many ms, but not sooner after the last time than the server likes.
  const soon = (ms) => {
    const at = Math.max(Date.now() + ms, loaded + pause);
    if (timer && due <= at) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(load, at - Date.now());
  };

  const load = async () => {
    timer = 0;
    if (loading || document.hidden) return;
    const active = document.activeElement, picked = getSelection();
    if (active.matches("input, select") || (picked && !picked.isCollapsed)) return soon(5000); // somebody is at it
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.status === 401) throw new Error("You are signed out. Load the page again to sign in.");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("main")) throw new Error("The server did not answer.");
      show(fresh, active);
      if (!stream || stream.readyState === EventSource.OPEN) clearNotice();
    } catch (error) {
      say((error instanceof TypeError ? "The server can't be reached." : error.message) + " What you see was so at the time below.");
      notice.dataset.kind = "trouble";
    }
    loading = false;
    loaded = Date.now();
    soon(anyway);
  };

  const clearNotice = () => {
    if (notice.dataset.kind === "trouble") say("");
    delete notice.dataset.kind;
  };

  // show puts the new content in, and leaves open what was open and the focus where it was.
  const show = (fresh, active) => {
    for (const open of document.querySelectorAll("main details[open][id]")) {
      const same = fresh.getElementById(open.id);
      if (same) same.open = true;
    }
    const place = (e) => (e.id ? "#" + CSS.escape(e.id) : e.matches("summary") ? place(e.parentElement) + " > summary" : e.getAttribute("href") ? `a[href="${CSS.escape(e.getAttribute("href"))}"]` : "");
    const at = active.closest("main") && place(active);
    const main = document.importNode(fresh.getElementById("main"), true);
    document.getElementById("main").replaceWith(main);
    document.querySelector("header nav").replaceWith(document.importNode(fresh.querySelector("header nav"), true));
    document.title = fresh.title;
    const back = at && main.querySelector(at);
    if (back) back.focus({ preventScroll: true });
    if (Number(main.dataset.generation) < last) soon(missed); // it was older than the change that we heard of
  };

  const listen = () => {
    stream = new EventSource("/v1/events");
    stream.addEventListener("verdict", (event) => {
      const change = JSON.parse(event.data);
      if (watched !== "*" && change.node !== watched) return;
      last = Math.max(last, change.generation);
      sayShortly(`${change.node} is ${change.trust} now`);
      soon(quiet);
    });
  };

  // A tab that nobody sees needs no stream: a browser has only a few connections to a server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return stream.close();
    listen();
    soon(0);
  });
  listen();
  soon(anyway);
})();
