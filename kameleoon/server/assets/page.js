// What the page does beyond forms and links; without it everything can still be read and changed.
"use strict";

for (const slider of document.querySelectorAll("input[type=range]")) {
  const output = slider.form.querySelector("output");
  slider.addEventListener("input", () => { output.textContent = slider.value + "%"; });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// A browser opens six connections to a server and no more. Pages that nobody sees, in other tabs or kept for the way back, would hold one
// each and leave none for the next page; so a page listens only while it is seen.
function listenWhileSeen(open, again) {
  let source = null;
  let wasOpen = false;
  const stop = () => {
    source?.close();
    source = null;
  };
  const follow = () => {
    if (document.hidden) stop();
    else if (!source) {
      if (wasOpen) again();
      wasOpen = true;
      source = open();
    }
  };
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", follow);
  follow();
}

const stale = document.getElementById("stale");
if (stale) {
  const code = encodeURIComponent(stale.dataset.siteCode);
  const open = () => {
    const changes = new EventSource("/sse?siteCode=" + code);
    changes.addEventListener("configuration-update-event", () => { stale.hidden = false; });
    return changes;
  };
  const again = async () => {
    const answer = await fetch("/v3/" + code, { cache: "no-store", headers: { "If-Modified-Since": stale.dataset.modified } });
    if (answer.status === 200) stale.hidden = false;
  };
  listenWhileSeen(open, again);
}

const live = document.getElementById("live");
if (live) {
  const body = live.tBodies[0];
  const said = document.getElementById("live-state");
  const cell = (row, kind, text) => {
    const element = document.createElement(kind);
    element.textContent = text;
    row.insertCell().append(element);
    return element;
  };
  const add = ([time, visitor, event, words, data]) => {
    const row = body.insertRow(0);
    const first = row.insertCell();
    first.className = "time";
    first.textContent = time;
    cell(row, "a", visitor).href = live.dataset.visitor + "&code=" + encodeURIComponent(visitor);
    row.insertCell().textContent = event;
    const code = cell(row, "code", data);
    code.className = "quiet";
    if (words) {
      code.before(words);
      if (data) code.before(document.createElement("br"));
    }
  };
  const open = () => {
    const source = new EventSource(live.dataset.events);
    source.addEventListener("open", () => { said.textContent = "Events appear here as they arrive, newest first."; });
    source.addEventListener("error", () => { said.textContent = "The server does not answer; trying again."; });
    source.addEventListener("message", (message) => {
      document.getElementById("live-none")?.remove();
      JSON.parse(message.data).forEach(add);
      while (body.rows.length > 200) body.deleteRow(-1);
    });
    return source;
  };
  // What arrived while nobody looked is in the page as the server makes it.
  listenWhileSeen(open, () => location.reload());
}
