"use strict";
// Renews the page in place: what is the same stays as it is, opened, focused and selected.
(() => {
  const EVERY = 2000;
  const pause = document.getElementById("pause"), say = document.getElementById("say");
  let paused = false, lost = false;

  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    for (const { name, value } of fresh.attributes)
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      let same = at;
      if (child.id) same = [...old.children].find((one) => one.id === child.id);
      else if (at && (at.id || at.nodeName !== child.nodeName)) same = null;
      if (!same) { old.insertBefore(child, at); continue; }
      if (same !== at) old.insertBefore(same, at);
      if (same.nodeType === 1) morph(same, child);
      else if (same.data !== child.data) same.data = child.data;
      at = same.nextSibling;
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };

  const said = (root) => new Map([...root.querySelectorAll("[data-say]")].map((one) => [one.id, one.dataset.say]));

  const renew = async () => {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const before = said(document), focused = document.activeElement && document.activeElement.id;
      for (const id of ["when", "main", "foot"]) morph(document.getElementById(id), fresh.getElementById(id));
      document.title = fresh.title;
      if (focused && document.activeElement === document.body)
        document.getElementById(focused)?.focus({ preventScroll: true });
      const news = [...said(document)].filter(([id, text]) => before.get(id) !== text).map(([, text]) => text);
      if (news.length) say.textContent = news.slice(0, 3).join(". ") + (news.length > 3 ? `. And ${news.length - 3} more.` : ".");
      else if (lost) say.textContent = "The agent answers again.";
      lost = false;
    } catch {
      if (!lost) say.textContent = document.getElementById("when").textContent = "The agent does not answer; this page is old.";
      lost = true;
    }
    document.body.classList.toggle("lost", lost);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) renew();
  });
  document.addEventListener("visibilitychange", renew);
  const turn = () => renew().finally(() => setTimeout(turn, EVERY));
  setTimeout(turn, EVERY);
})();
