// What the pages gain where scripts run: the reader's own time zone, and a line in each part below.
// Every part finds its own elements by a data attribute and leaves the rest alone; without it the
// page still does everything. Nothing here makes markup out of text: what a live page is told are
// parts that the server's own templates made.
"use strict";

const parts = [];

// Times in the reader's zone; the exact time stays in the title.
parts.push((root) => {
  const style = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const hour = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  const short = new Intl.DateTimeFormat(undefined, hour);
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.textContent = ("short" in time.dataset ? short : style).format(at);
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

// What a chart says at one place: where somebody points, or goes by the arrow keys.
parts.push((root) => {
  for (const chart of root.querySelectorAll("[data-chart]")) {
    const drawing = chart.querySelector("svg");
    const told = chart.querySelector("[data-told]");
    const steps = [...drawing.querySelectorAll("g")];
    let at = steps.length;
    const show = (next) => {
      steps[at]?.classList.remove("shown");
      at = Math.min(Math.max(next, 0), steps.length - 1);
      steps[at].classList.add("shown");
      told.textContent = steps[at].querySelector("title").textContent;
    };
    drawing.tabIndex = 0;
    told.textContent = "Point at it, or go along it with the arrow keys.";
    drawing.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 };
      const next = ways[event.key];
      if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      show(next);
    });
    drawing.addEventListener("pointerover", (event) => {
      const step = event.target.closest("g");
      if (step) show(steps.indexOf(step));
    });
  }
});

// A page that waits for something looks again by itself, a while after it was shown.
parts.push((root) => {
  for (const link of root.querySelectorAll("a[data-again]")) {
    setTimeout(() => location.replace(link.href), Number(link.dataset.again));
  }
});

// Times that are typed: shown in the reader's zone, sent in UTC as without scripts.
parts.push((root) => {
  const two = (number) => String(number).padStart(2, "0");
  const typed = (at, zone) => {
    const of = (name) => at[`get${zone}${name}`]();
    const day = `${of("FullYear")}-${two(of("Month") + 1)}-${two(of("Date"))}`;
    return `${day}T${two(of("Hours"))}:${two(of("Minutes"))}:${two(of("Seconds"))}`;
  };
  for (const input of root.querySelectorAll("input[data-utc]")) {
    const at = new Date(`${input.value}Z`);
    if (!Number.isNaN(at.getTime())) input.value = typed(at, "");
    const zone = input.labels?.[0]?.querySelector("[data-zone]");
    if (zone) zone.textContent = "(your time)";
    input.form?.addEventListener("formdata", (event) => {
      const at = new Date(input.value);
      if (!Number.isNaN(at.getTime())) event.formData.set(input.name, typed(at, "UTC"));
    });
  }
});

// Fields of a filter that were left empty stay out of the address.
parts.push((root) => {
  for (const form of root.querySelectorAll("form[data-filters]")) {
    form.addEventListener("formdata", ({ formData }) => {
      for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    });
  }
});

// All lines of a list at once, and how many are chosen.
parts.push((root) => {
  for (const all of root.querySelectorAll("input[data-all]")) {
    const list = all.closest("table");
    const boxes = () => [...list.querySelectorAll("tbody input[type=checkbox]")];
    const told = document.querySelector("[data-chosen]");
    const tell = () => {
      const chosen = boxes().filter((box) => box.checked).length;
      all.checked = chosen > 0 && chosen === boxes().length;
      all.indeterminate = chosen > 0 && !all.checked;
      if (told) told.textContent = chosen > 0 ? `${chosen} chosen` : "";
    };
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes()) box.checked = all.checked;
      tell();
    });
    list.addEventListener("change", (event) => { if (event.target !== all) tell(); });
    list.addEventListener("told", tell);
    tell();
  }
});

// A form that is sent once, however often its button is pressed.
parts.push((root) => {
  for (const form of root.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent !== undefined) event.preventDefault();
      form.dataset.sent = "";
    });
  }
});
// Coming back by the browser's own button, it may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// How webhooks are doing, read again from this very page now and then while somebody looks.
parts.push((root) => {
  for (const table of root.querySelectorAll("table[data-live=standings]")) {
    const told = new WeakMap();
    const again = async () => {
      if (document.hidden) return;
      const answer = await fetch(location.href).catch(() => null);
      if (!answer?.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const cell of table.querySelectorAll("[data-webhook] [data-part]")) {
        const row = page.getElementById(cell.closest("[data-webhook]").id);
        const fresh = row?.querySelector(`[data-part=${cell.dataset.part}]`);
        const is = fresh?.innerHTML;
        // Nothing is taken away from under whoever uses it.
        if (!fresh || told.get(cell) === is || cell.contains(document.activeElement)) continue;
        told.set(cell, is);
        cell.replaceChildren(...fresh.childNodes);
        enliven(cell);
      }
    };
    setInterval(again, 10000);
  }
});

// A list whose rows come and go is read anew as a whole, unless somebody is within it.
parts.push((root) => {
  for (const list of root.querySelectorAll("[data-live=rows]")) {
    let told = list.innerHTML;
    const again = async () => {
      if (document.hidden || list.contains(document.activeElement)) return;
      const answer = await fetch(location.href).catch(() => null);
      if (!answer?.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(list.id);
      if (!fresh || fresh.innerHTML === told) return;
      told = fresh.innerHTML;
      list.replaceChildren(...fresh.childNodes);
      enliven(list);
    };
    setInterval(again, 10000);
  }
});

// What happens while a page is open: parts of it, each an element with an id. It takes the place
// of the one there is, or comes first into the list that its `data-in` names.
parts.push((root) => {
  for (const page of root.querySelectorAll("[data-live^='/']")) follow(page);
});

function follow(page) {
  const status = page.querySelector("[data-live-status]");
  const lines = 500;
  let source = null;
  let mark = "";
  let fresh = 0;
  let telling = null;

  // Said once in a while, not for each line: a reader who listens is not talked over.
  const count = () => {
    fresh += 1;
    telling ??= setTimeout(() => {
      telling = null;
      if (status) status.textContent = `${fresh} new since you opened this page.`;
    }, 1500);
  };

  // What somebody does with the old element goes on with the one that takes its place.
  const replace = (old, part) => {
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    for (const was of old.querySelectorAll("input[id]:checked, details[id][open]")) {
      const is = part.querySelector(`#${CSS.escape(was.id)}`);
      if (!is) continue;
      if ("open" in was) is.open = true; else is.checked = true;
    }
    old.replaceWith(part);
    if (active) (active.id && document.getElementById(active.id))?.focus();
  };

  // By number if the parts have one, the highest first; else on top.
  const insert = (list, part) => {
    const rank = (element) => (element.dataset.order ?? "").split(".").map(Number);
    const above = (a, b) => a[0] > b[0] || (a[0] === b[0] && (a[1] ?? 0) > (b[1] ?? 0));
    const own = rank(part);
    const next = [...list.children].find((other) => !above(rank(other), own));
    list.insertBefore(part, next ?? null);
    if (list.children.length > lines) list.lastElementChild.remove();
    part.classList.add("new");
    for (const empty of page.querySelectorAll("[data-live-empty]")) empty.hidden = true;
    for (const full of page.querySelectorAll("[data-live-full]")) full.hidden = false;
    count();
  };

  const put = (text) => {
    const holder = document.createElement("template");
    holder.innerHTML = text;
    for (const part of [...holder.content.children]) {
      enliven(part);
      const old = document.getElementById(part.id);
      const list = document.getElementById(part.dataset.in);
      if (old) replace(old, part); else if (list) insert(list, part);
      part.closest("table")?.dispatchEvent(new Event("told"));
    }
  };

  const close = () => { source?.close(); source = null; };
  const open = () => {
    if (source || document.hidden || page.dataset.over !== undefined) return;
    const place = new URL(page.dataset.live, location.href);
    if (mark) place.searchParams.set("mark", mark);
    source = new EventSource(place);
    const on = (name, told) => source.addEventListener(name, (event) => {
      mark = event.lastEventId || mark;
      told(event.data);
    });
    on("put", put);
    on("too-many", () => {
      for (const many of page.querySelectorAll("[data-live-many]")) many.hidden = false;
    });
    on("over", () => { page.dataset.over = ""; close(); });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      page.dataset.over = "";
      if (status) status.textContent = "What is new is not shown any more: load the page again.";
    });
  };

  // Nobody looks at a page in the background, and connections are few.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

// Runs every part over what is new on the page.
function enliven(root) {
  for (const part of parts) part(root);
}

document.addEventListener("DOMContentLoaded", () => enliven(document));
