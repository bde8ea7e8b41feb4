"use strict";
// Buttons in the heads of tables: a first press sorts from the smallest, a second from the largest, a third gives back
// the order of the page. Cells without a value stay last.
const collator = new Intl.Collator(undefined, { numeric: true });

function compared(one, other) {
  if ("value" in one.dataset && "value" in other.dataset) {
    return Number(one.dataset.value) - Number(other.dataset.value);
  }
  return collator.compare(one.textContent, other.textContent);
}

function sorted(rows, place, sign) {
  return [...rows].sort((one, other) => {
    const cells = [one.cells[place], other.cells[place]];
    const missing = cells.map((cell) => "missing" in cell.dataset);
    return missing[0] || missing[1] ? missing[0] - missing[1] : sign * compared(...cells);
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const given = [...body.rows];
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = "Sort by this column";
    button.addEventListener("click", () => {
      const order = next[head.ariaSort ?? "none"];
      heads.forEach((one) => { one.ariaSort = "none"; });
      head.ariaSort = order;
      const rows = order === "none" ? given : sorted(given, place, order === "ascending" ? 1 : -1);
      body.append(...rows);
    });
    head.ariaSort = "none";
    head.replaceChildren(button);
  });
}
