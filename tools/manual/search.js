// Filters the names of the reference. The box is hidden where no script runs.
"use strict";
(function () {
  const box = document.querySelector(".search"), list = document.querySelector(".found");
  const most = 30;
  // How well a name answers: 0 the name itself, 1 it begins so, 2 a part of it does, 3 somewhere in it; -1 not at all.
  function rank(name, text) {
    const last = name.replace(/^.*[.:]/, "");
    if (name === text || last === text) return 0;
    if (name.startsWith(text) || last.startsWith(text)) return 1;
    const at = name.indexOf(text);
    return at < 0 ? -1 : /[a-z0-9]/.test(name[at - 1]) ? 3 : 2;
  }
  function show() {
    const text = box.value.trim().toLowerCase(), found = [];
    if (text !== "") {
      for (const [name, to] of names) {
        const r = rank(name.toLowerCase(), text);
        if (r >= 0) found.push([r, name, to]);
      }
      found.sort((a, b) => a[0] - b[0] || a[1].length - b[1].length || (a[1] < b[1] ? -1 : 1));
    }
    list.replaceChildren(...found.slice(0, most).map(([, name, to]) => {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = box.dataset.root + to;
      link.textContent = name;
      item.append(link);
      return item;
    }));
    if (text !== "" && found.length === 0) list.append("nothing has this name");
    if (found.length > most) list.append(`and ${found.length - most} more`);
    list.hidden = text === "";
  }
  box.hidden = false;
  box.addEventListener("input", show);
  box.addEventListener("keydown", event => {
    const first = list.querySelector("a");
    if (event.key === "Enter" && first) location.href = first.href;
  });
  list.addEventListener("click", () => { box.value = ""; show(); });
})();
