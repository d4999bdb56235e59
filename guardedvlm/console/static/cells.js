// The grid over the picture: chooses cells by mouse, finger and keyboard, and writes them into the form's text.
const CELLS = 32, SVG = "http://www.w3.org/2000/svg";
const frame = document.getElementById("frame"), text = document.getElementById("cells");
const layer = document.getElementById("chosen"), cursor = document.getElementById("cursor"), spoken = document.getElementById("spoken");
const chosen = new Set();
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
let row = 0, column = 0, painting = null;

function draw() {
  layer.replaceChildren(...[...chosen].map((cell) => {
    const [y, x] = cell.split(","), drawn = document.createElementNS(SVG, "rect");
    for (const [name, value] of [["x", x], ["y", y], ["width", 1], ["height", 1]]) drawn.setAttribute(name, value);
    return drawn;
  }));
}

function write() {
  const ordered = [...chosen].map((cell) => cell.split(",").map(Number)).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  text.value = ordered.map((cell) => cell.join(",")).join(" ");
  draw();
}

function read() {
  chosen.clear();
  for (const word of text.value.split(/\s+/)) {
    const found = /^(\d{1,2})[,.](\d{1,2})$/.exec(word);
    if (found && +found[1] < CELLS && +found[2] < CELLS) chosen.add(`${+found[1]},${+found[2]}`);
  }
  draw();
}

function choose(value) {
  const cell = `${row},${column}`;
  if (value) chosen.add(cell); else chosen.delete(cell);
  write();
}

function place(y, x) {
  row = Math.min(CELLS - 1, Math.max(0, y));
  column = Math.min(CELLS - 1, Math.max(0, x));
  cursor.setAttribute("x", column);
  cursor.setAttribute("y", row);
}

function say() {
  spoken.textContent = `Row ${row}, column ${column}${chosen.has(`${row},${column}`) ? ", chosen" : ""}; ${chosen.size} chosen`;
}

function under(event) {
  const area = frame.getBoundingClientRect();
  place(Math.floor(CELLS * (event.clientY - area.top) / area.height), Math.floor(CELLS * (event.clientX - area.left) / area.width));
}

frame.tabIndex = 0;
frame.setAttribute("role", "application");
frame.setAttribute("aria-label", "Grid over the picture");
frame.setAttribute("aria-describedby", "grid-help");
frame.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (move) {
    if (event.shiftKey) choose(true);
    place(row + move[0], column + move[1]);
    if (event.shiftKey) choose(true);
  } else if (event.key === " " || event.key === "Enter") {
    choose(!chosen.has(`${row},${column}`));
  } else if (event.key === "Escape") {
    chosen.clear();
    write();
  } else {
    return;
  }
  event.preventDefault();
  cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  say();
});
frame.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  under(event);
  painting = !chosen.has(`${row},${column}`);
  choose(painting);
  if (event.pointerType === "mouse") frame.setPointerCapture(event.pointerId);
});
frame.addEventListener("pointermove", (event) => {
  if (painting === null || event.pointerType !== "mouse") return;
  under(event);
  choose(painting);
});
for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { painting = null; });
frame.addEventListener("dragstart", (event) => event.preventDefault());
text.addEventListener("input", read);
read();
