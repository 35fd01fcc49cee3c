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

// Check boxes in groups: search within them, all or none of what is found, how many are chosen.
parts.push((root) => {
  for (const field of root.querySelectorAll("[data-checks]")) {
    const search = field.querySelector("input[type=search]");
    const count = field.querySelector("[data-count]");
    const checks = [...field.querySelectorAll(".check")];
    if (!search || checks.length < 2) continue;
    const box = (check) => check.querySelector("input");
    const tell = () => {
      const chosen = checks.filter((check) => box(check).checked).length;
      const found = checks.filter((check) => !check.hidden).length;
      const seen = found < checks.length ? `, ${found} found` : "";
      count.textContent = `${chosen} of ${checks.length} chosen${seen}`;
    };
    const words = checks.map((check) => check.textContent.toLowerCase());
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      checks.forEach((check, at) => { check.hidden = !words[at].includes(wanted); });
      for (const group of field.querySelectorAll("[data-group]")) {
        group.hidden = !group.querySelector(".check:not([hidden])");
      }
      tell();
    });
    // The form is not sent by looking for something.
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
    for (const button of field.querySelectorAll("[data-choose]")) {
      const within = button.closest("[data-group]") ?? field;
      button.addEventListener("click", () => {
        for (const check of within.querySelectorAll(".check:not([hidden])")) {
          box(check).checked = button.dataset.choose === "all";
        }
        tell();
      });
    }
    field.addEventListener("change", tell);
    for (const tools of field.querySelectorAll("[data-tools]")) tools.hidden = false;
    tell();
  }
});

// Two lists of which the second depends on the first, in place of one with both.
parts.push((root) => {
  for (const field of root.querySelectorAll("[data-pair]")) {
    const both = field.querySelector("select");
    const note = field.querySelector("p[data-note]");
    const label = field.querySelector("label");
    const list = (name, words) => {
      const holder = document.createElement("div");
      const title = document.createElement("label");
      const select = document.createElement("select");
      select.id = `${both.id}-${name}`;
      for (const copied of ["aria-describedby", "aria-invalid", "required"]) {
        if (both.hasAttribute(copied)) select.setAttribute(copied, both.getAttribute(copied));
      }
      title.htmlFor = select.id;
      title.textContent = words;
      holder.append(title, select);
      return { holder, select };
    };
    const first = list("first", field.dataset.first);
    const second = list("second", field.dataset.second);
    const groups = [...both.querySelectorAll("optgroup")];
    const fill = (at) => {
      const group = groups[at];
      second.select.replaceChildren(new Option("Choose", ""));
      for (const option of group ? group.children : []) {
        second.select.append(new Option(option.dataset.short, option.value));
      }
      second.select.disabled = !group;
    };
    const tell = () => {
      note.textContent = both.selectedOptions[0]?.dataset.note ?? "";
    };
    const show = () => {
      const at = groups.indexOf(both.selectedOptions[0]?.parentElement);
      first.select.value = at < 0 ? "" : String(at);
      fill(first.select.value);
      second.select.value = both.value;
      tell();
    };
    first.select.append(new Option("Choose", ""));
    groups.forEach((group, at) => first.select.append(new Option(group.label, at)));
    first.select.addEventListener("change", () => {
      const before = both.selectedOptions[0]?.dataset.short;
      fill(first.select.value);
      // The same trigger stays chosen where the other resource has it, too.
      const same = [...second.select.options].find((own) => before && own.text === before);
      second.select.value = same ? same.value : "";
      both.value = second.select.value;
      tell();
    });
    second.select.addEventListener("change", () => {
      both.value = second.select.value;
      tell();
    });
    show();
    // A browser may put back what was chosen before somebody went away and came back.
    window.addEventListener("pageshow", show);
    const pair = document.createElement("div");
    pair.className = "pair";
    pair.append(first.holder, second.holder);
    both.before(pair);
    // What is sent is still the one list; the links of a summary lead to the first of the two.
    both.hidden = true;
    both.required = false;
    label.hidden = true;
    for (const link of document.querySelectorAll(`a[href="#${both.id}"]`)) {
      link.href = `#${first.select.id}`;
    }
  }
});

// A page that waits for something looks again by itself, a while after it was shown.
parts.push((root) => {
  for (const link of root.querySelectorAll("a[data-again]")) {
    setTimeout(() => location.replace(link.href), Number(link.dataset.again));
  }
});

// Runs every part over what is new on the page.
function enliven(root) {
  for (const part of parts) part(root);
}

document.addEventListener("DOMContentLoaded", () => enliven(document));
