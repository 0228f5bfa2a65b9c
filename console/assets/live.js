// Keeps a page up to date: after each event the page is fetched again, and the parts that changed are replaced.
// Elements that a person has opened, selected or focused stay as they are. Without this file the page still works, by
// reloading it.
"use strict";

(() => {
  const source = document.body.dataset.live;
  const state = document.getElementById("live-state");
  let isFetching = false;
  let isStale = false;

  const tell = (text, kind) => {
    state.textContent = text;
    state.dataset.kind = kind;
  };

  const isInUse = (element) => {
    const selection = document.getSelection();
    const isSelected = selection && !selection.isCollapsed && selection.containsNode(element, true);
    return element.contains(document.activeElement) || isSelected;
  };

  // Elements with a key are units: each is replaced as a whole, and only if it differs.
  const renew = (fresh) => {
    const keyed = (root) => root.querySelectorAll("[data-key]");
    const old = new Map([...keyed(document)].map((element) => [element.dataset.key, element]));
    for (const element of keyed(fresh)) {
      const current = old.get(element.dataset.key);
      if (!current) {
        const parent = element.parentElement.closest("[data-list]");
        const into = parent && document.querySelector(`[data-list="${parent.dataset.list}"]`);
        if (into) insert(into, element, parent);
        continue;
      }
      if (current.isEqualNode(element) || isInUse(current)) continue;
      if (current.matches("details[open]")) {
        element.open = true;
        if (current.isEqualNode(element)) continue;
      }
      current.replaceWith(document.adoptNode(element));
    }
  };

  // At the position that it has in the new list.
  const insert = (into, element, parent) => {
    const after = [...parent.children].slice([...parent.children].indexOf(element) + 1);
    const next = after.map((other) => document.getElementById(other.id)).find((other) => other && other.parentElement === into);
    into.insertBefore(document.adoptNode(element.cloneNode(true)), next || null);
  };

  const look = async () => {
    if (isFetching || document.hidden) {
      isStale = true;
      return;
    }
    isFetching = true;
    isStale = false;
    try {
      const response = await fetch(location.href, { credentials: "same-origin" });
      // A finished request has become a verdict, or is gone.
      if (response.redirected || !response.ok) {
        events.close();
        if (response.redirected) location.replace(response.url);
        else tell("over; load again for news", "off");
        return;
      }
      renew(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      tell("the coordinator does not answer", "off");
    } finally {
      isFetching = false;
      if (isStale && !document.hidden) look();
    }
  };

  const events = new EventSource(source);
  events.addEventListener("open", () => tell("live", "on"));
  events.addEventListener("look", look);
  events.addEventListener("error", () => {
    tell(events.readyState === EventSource.CLOSED ? "not live; load again for news" : "connecting again", "off");
    if (events.readyState === EventSource.CLOSED) look();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && isStale) look();
  });
})();
