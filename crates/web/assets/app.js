// What the pages gain where scripts run: the reader's own time zone, and a line in each part below.
// Every part finds its own elements by a data attribute and leaves the rest alone; without it the
// page still does everything. Nothing here makes markup out of text.
"use strict";

const parts = [];

// Times in the reader's zone; the exact time stays in the title.
parts.push((root) => {
  const style = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.textContent = style.format(at);
    time.dataset.local = "";
  }
});

// Buttons that copy the text of another element, for what is shown only once.
parts.push((root) => {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copies]")) {
    const words = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copies);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Copying is not allowed here";
      }
      setTimeout(() => { button.textContent = words; }, 2000);
    });
  }
});

// Runs every part over what is new on the page.
function enliven(root) {
  for (const part of parts) part(root);
}

document.addEventListener("DOMContentLoaded", () => enliven(document));
