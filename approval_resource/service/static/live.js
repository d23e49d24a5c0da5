"use strict";
// Puts times into the reader's zone, and says when there is something new. It changes no form, and decides nothing.
for (const time of document.querySelectorAll("time")) {
  const told = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  time.title = told;
  if (time.classList.contains("local")) time.textContent = told;
  if (time.nextElementSibling?.classList.contains("abs")) time.nextElementSibling.textContent = `(${told})`;
}
const live = document.getElementById("live");
if (live) {
  let tag = live.dataset.etag ? `"${live.dataset.etag}"` : "";
  let before = null;
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.watch, { headers: tag ? { "If-None-Match": tag } : {}, credentials: "same-origin" });
      if (answer.status === 401) live.textContent = "Your session is over. Sign in again to decide.";
      if (answer.status !== 200) return;
      const text = await answer.text();
      const opened = tag && JSON.parse(text).passages.length > Number(live.dataset.passages);
      if (opened) live.textContent = "The gate has opened. Reload the page to see for which build.";
      else if (tag) live.textContent = "This has changed. Reload the page to see it as it is now.";
      else if (before !== null && before !== text) live.textContent = "There is something new. Reload the page to see it.";
      before = text;
    } catch { /* The next look may reach the service again. */ }
  };
  setInterval(look, 5000);
}
