"use strict";
// Tables are sorted by their headings; colours follow the system until the switch is used.
(() => {
  const kept = (() => { try { return window.localStorage; } catch { return null; } })();
  const read = (key) => { try { return kept && kept.getItem(key); } catch { return null; } };
  const keep = (key, value) => { try { if (kept) kept.setItem(key, value); } catch { /* a full or forbidden store */ } };
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.createElement("button");
  button.type = "button";
  const paint = (theme) => {
    if (theme) root.dataset.theme = theme;
    button.textContent = (theme || (dark.matches ? "dark" : "light")) === "dark" ? "Light colours" : "Dark colours";
  };
  paint(["light", "dark"].includes(read("reid-theme")) ? read("reid-theme") : "");
  dark.addEventListener("change", () => paint(root.dataset.theme || ""));
  button.addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    keep("reid-theme", next);
    paint(next);
  });
  document.getElementById("switch").append(button);

  // What a cell was logged as stands in its title; what it shows may be rounded, or have a unit.
  const value = (cell) => {
    const text = cell.textContent.trim();
    for (const word of [cell.title, text]) {
      const number = Number(word.replaceAll(",", ""));
      if (word !== "" && Number.isFinite(number)) return number;
    }
    const leading = parseFloat(text);
    return Number.isNaN(leading) ? text : leading;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.className = "sort";
      sorter.append(...head.childNodes);
      head.append(sorter);
      sorter.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
        rows.sort((x, y) => (falling ? compare(y[0], x[0]) : compare(x[0], y[0])));
        body.append(...rows.map((pair) => pair[1]));
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      });
    });
  }
})();
