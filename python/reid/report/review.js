"use strict";
// One pair at a time; marks live in this browser until they are downloaded as a CSV file.
(() => {
  const box = document.getElementById("tasks");
  const tasks = [...box.querySelectorAll(".task")];
  const key = "reid-review-" + box.dataset.key;
  const WORDS = { s: "same", d: "different", u: "unsure" };
  let marks = {};
  try { marks = JSON.parse(window.localStorage.getItem(key)) || {}; } catch { marks = {}; }
  if (typeof marks !== "object" || Array.isArray(marks)) marks = {};
  const keep = () => { try { window.localStorage.setItem(key, JSON.stringify(marks)); } catch { warn(); } };
  const made = (name, words, parent, more = {}) => {
    const element = Object.assign(document.createElement(name), more);
    element.textContent = words;
    parent.append(element);
    return element;
  };
  document.body.classList.add("one");
  const bar = document.createElement("div");
  bar.className = "marking";
  box.before(bar);
  const buttons = {};
  const row = made("div", "", bar, { className: "row" });
  const back = made("button", "\u2190 Back", row, { type: "button", id: "back" });
  for (const [letter, word] of Object.entries(WORDS)) {
    buttons[word] = made("button", `${word[0].toUpperCase()}${word.slice(1)} (${letter.toUpperCase()})`, row,
      { type: "button", id: word });
    buttons[word].addEventListener("click", () => mark(word));
  }
  const on = made("button", "On \u2192", row, { type: "button", id: "on" });
  const meter = made("progress", "", bar, { max: tasks.length, id: "meter" });
  meter.setAttribute("aria-label", "Pairs marked");
  const status = made("p", "", bar, { id: "status" });
  status.setAttribute("role", "status");
  const last = document.createElement("div");
  last.className = "row";
  box.after(last);
  const download = made("button", "Download review.csv", last, { type: "button", id: "download" });
  const clear = made("button", "Clear all marks", last, { type: "button", id: "clear" });
  let unsaved = false;
  const warn = () => { unsaved = true; };

  const words = Object.values(WORDS);
  const marked = () => tasks.filter((_, i) => words.includes(marks[i])).length;
  const first = tasks.findIndex((_, i) => !words.includes(marks[i]));
  let at = first < 0 ? tasks.length - 1 : first;
  const show = () => {
    tasks.forEach((task, i) => task.classList.toggle("now", i === at));
    for (const word of words) buttons[word].setAttribute("aria-pressed", String(marks[at] === word));
    back.disabled = at === 0;
    on.disabled = at === tasks.length - 1;
    const count = (word) => tasks.filter((_, i) => marks[i] === word).length;
    meter.value = marked();
    download.disabled = count("same") + count("different") === 0;
    status.textContent = `Pair ${at + 1} of ${tasks.length}. Marked ${marked()}: ${count("same")} same, ` +
      `${count("different")} different, ${count("unsure")} unsure.` +
      (marked() === tasks.length ? " All are marked: download the file." : "") +
      (unsaved ? " This browser keeps no marks: download before you close the page." : "");
  };
  const go = (step) => { at = Math.min(tasks.length - 1, Math.max(0, at + step)); show(); };
  const mark = (word) => { marks[at] = word; keep(); go(1); };
  back.addEventListener("click", () => go(-1));
  on.addEventListener("click", () => go(1));
  clear.addEventListener("click", () => {
    if (!window.confirm("Clear all marks of this page?")) return;
    marks = {};
    keep();
    at = 0;
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const word = WORDS[event.key.toLowerCase()];
    if (word) mark(word);
    else if (event.key === "ArrowLeft") go(-1);
    else if (event.key === "ArrowRight") go(1);
    else return;
    event.preventDefault();
  });
  // Lines were quoted and encoded when the page was made: names may be any bytes, which text here cannot hold.
  download.addEventListener("click", () => {
    const parts = [box.dataset.head + "\n"];
    tasks.forEach((task, i) => {
      if (marks[i] !== "same" && marks[i] !== "different") return;
      parts.push(Uint8Array.from(atob(task.dataset.line), (c) => c.charCodeAt(0)), marks[i] + "\n");
    });
    const address = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
    const link = Object.assign(document.createElement("a"), { href: address, download: "review.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
  show();
})();
