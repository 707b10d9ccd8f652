// What the page does beyond forms and links; without it everything can still be read and changed.
"use strict";

for (const slider of document.querySelectorAll("input[type=range]")) {
  const output = slider.form.querySelector("output");
  slider.addEventListener("input", () => { output.textContent = slider.value + " %"; });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

const stale = document.getElementById("stale");
if (stale) {
  const changes = new EventSource("/sse?siteCode=" + encodeURIComponent(stale.dataset.siteCode));
  changes.addEventListener("configuration-update-event", () => { stale.hidden = false; });
}

const live = document.getElementById("live");
if (live) {
  const body = live.tBodies[0];
  const said = document.getElementById("live-state");
  const source = new EventSource(live.dataset.events);
  source.addEventListener("open", () => { said.textContent = "Events appear here as they arrive."; });
  source.addEventListener("error", () => { said.textContent = "The server does not answer; trying again."; });
  source.addEventListener("message", (message) => {
    for (const event of JSON.parse(message.data)) {
      const row = body.insertRow(0);
      for (const text of event.slice(0, 3)) row.insertCell().textContent = text;
      const cell = row.insertCell();
      const code = document.createElement("code");
      code.textContent = event[3];
      cell.append(code);
    }
    while (body.rows.length > 200) body.deleteRow(-1);
  });
}
