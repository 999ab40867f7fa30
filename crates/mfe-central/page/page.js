// Keeps the page as it is in the office: asks for the rows again when a till has changed, at most twice a second.
"use strict";
const main = document.querySelector("main");
const form = document.querySelector("form");
const lost = document.querySelector("#lost");
const language = document.documentElement.lang;
const PAUSE = 500;
let asked = false;
let again = false;

// Times in the reader's own zone; today's without their date.
function localize() {
  const today = new Date().toDateString();
  for (const time of main.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    const style = date.toDateString() === today ? {} : { dateStyle: "short" };
    time.textContent = date.toLocaleString(language, { ...style, timeStyle: "medium" });
    time.title = time.dateTime;
  }
}

async function refresh() {
  if (asked) {
    again = true;
    return;
  }
  asked = true;
  try {
    const query = new URLSearchParams(location.search);
    query.set("part", "rows");
    const answer = await fetch(`./?${query}`);
    if (answer.ok) {
      const active = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      main.innerHTML = await answer.text();
      localize();
      if (active) main.querySelector(`a[href="${CSS.escape(active)}"]`)?.focus();
    }
  } catch {
    // The stream tells that the office doesn't answer.
  }
  setTimeout(() => {
    asked = false;
    if (again) {
      again = false;
      refresh();
    }
  }, PAUSE);
}

function search() {
  const query = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...query]) if (!value) query.delete(name);
  history.replaceState(null, "", `?${query}`);
  refresh();
}

form.addEventListener("input", search);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
localize();
const events = new EventSource("events?only=tills");
events.addEventListener("till", refresh);
events.addEventListener("engine", refresh);
events.addEventListener("open", () => {
  lost.hidden = true;
  refresh();
});
events.addEventListener("error", () => {
  lost.hidden = false;
  // A browser doesn't come again by itself after an answer that is no stream.
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
});
