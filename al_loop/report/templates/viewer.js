// Draws the chosen frames: atoms as shaded discs in order of depth, coloured by their force uncertainty.
"use strict";
(() => {
  const frames = JSON.parse(document.getElementById("frames").textContent);
  const canvas = document.getElementById("viewer");
  const picker = document.getElementById("frame-picker");
  const words = document.getElementById("frame-words");
  const scale = document.getElementById("frame-scale");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const finite = frames.flatMap((f) => f.sigma).filter((s) => s !== null);
  const most = finite.length ? Math.max(...quantile(finite)) : 0;
  let frame, bonds, zoom, turn;
  const fingers = new Map();

  function quantile(values) { // the largest of 98 %: one broken atom must not make all the others look alike
    const sorted = [...values].sort((a, b) => a - b);
    return [sorted[Math.floor(0.98 * (sorted.length - 1))], 1e-6];
  }

  function colour(sigma, light) {
    if (sigma === null) return `hsl(210 8% ${Math.round(62 * light)}%)`;
    const share = Math.min(1, sigma / most);
    return `hsl(${Math.round(225 - 215 * share)} 72% ${Math.round((46 + 8 * share) * light)}%)`;
  }

  function multiply(a, b) {
    return a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
  }

  function rotate(about_x, about_y) {
    const [cx, sx, cy, sy] = [Math.cos(about_x), Math.sin(about_x), Math.cos(about_y), Math.sin(about_y)];
    turn = multiply([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], multiply([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], turn));
    draw();
  }

  function enlarge(factor) {
    zoom = Math.min(12, Math.max(0.3, zoom * factor));
    draw();
  }

  function bonded() {
    const found = [];
    if (frame.xyz.length > 600) return found;
    frame.xyz.forEach((a, i) => {
      for (let j = 0; j < i; j++) {
        const b = frame.xyz[j];
        const reach = 1.2 * (frame.radii[i] + frame.radii[j]);
        if ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2 < reach * reach) found.push([i, j]);
      }
    });
    return found;
  }

  function corners() {
    const [a, b, c] = frame.cell;
    return [0, 1, 2, 3, 4, 5, 6, 7].map((n) =>
      [0, 1, 2].map((k) => frame.corner[k] + (n & 1) * a[k] + ((n >> 1) & 1) * b[k] + ((n >> 2) & 1) * c[k]));
  }

  function show(index) {
    frame = frames[index];
    bonds = bonded();
    zoom = 1;
    turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    const known = frame.sigma.filter((s) => s !== null);
    const worst = known.length ? frame.sigma.indexOf(Math.max(...known)) : -1;
    words.textContent = `Round ${frame.round}, ${frame.formula}, frame ${frame.id}. Chosen as: ${frame.why}. ` +
      `The gate said ${frame.said}. Label: ${frame.label}. ` + (worst < 0 ? "No uncertainty was known yet." :
        `Most uncertain: ${frame.symbols[worst]} (atom ${worst}), ${frame.sigma[worst].toPrecision(3)} eV/Å.`);
    rotate(0.35, 0.5);
    const painted = pen.getImageData(0, 0, canvas.width, canvas.height).data.some((byte, i) => i % 4 === 3 && byte);
    canvas.dataset.drawn = painted ? String(frame.xyz.length) : "blank";
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const box = frame.cell ? corners() : [];
    const reach = Math.max(1.5, ...[...frame.xyz, ...box].map((p) => Math.hypot(...p))) + 0.6;
    const size = (zoom * Math.min(width, height)) / (2 * reach);
    const place = (p) => {
      const [x, y, z] = turn.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
      return [width / 2 + size * x, height / 2 - size * y, z];
    };
    const line = (from, to) => {
      pen.beginPath();
      pen.moveTo(from[0], from[1]);
      pen.lineTo(to[0], to[1]);
      pen.stroke();
    };
    const at = frame.xyz.map(place);
    const towards = (i, j) => { // where a bond leaves the disc of atom i
      const share = (0.47 * frame.radii[i]) / Math.hypot(...frame.xyz[i].map((x, k) => frame.xyz[j][k] - x));
      return place(frame.xyz[i].map((x, k) => x + Math.min(0.5, share) * (frame.xyz[j][k] - x)));
    };
    pen.lineWidth = 1;
    pen.strokeStyle = "#c3c9d0";
    const ends = box.map(place);
    ends.forEach((end, n) => [1, 2, 4].forEach((bit) => { if (!(n & bit)) line(end, ends[n | bit]); }));
    const parts = [
      ...at.map((p, i) => ({ z: p[2], atom: i })),
      ...bonds.map(([i, j]) => ({ z: (at[i][2] + at[j][2]) / 2, ends: [towards(i, j), towards(j, i)] })),
    ].sort((a, b) => a.z - b.z);
    for (const part of parts) {
      if (part.ends) {
        pen.lineWidth = Math.max(2, 0.14 * size);
        pen.strokeStyle = "#8b939e";
        line(...part.ends);
        continue;
      }
      const [x, y] = at[part.atom];
      const radius = Math.max(2, 0.5 * frame.radii[part.atom] * size);
      const shade = pen.createRadialGradient(x - radius / 3, y - radius / 3, radius / 8, x, y, radius);
      shade.addColorStop(0, colour(frame.sigma[part.atom], 1.55));
      shade.addColorStop(1, colour(frame.sigma[part.atom], 0.9));
      pen.fillStyle = shade;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
      pen.lineWidth = 0.8;
      pen.strokeStyle = "#2b3138";
      pen.stroke();
      if (radius < 9) continue;
      pen.fillStyle = "#fff";
      pen.font = `600 ${Math.min(16, Math.round(radius))}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillText(frame.symbols[part.atom], x, y);
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    };
    const apart = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, event);
    if (fingers.size === 1) rotate((event.clientY - before.clientY) / 120, (event.clientX - before.clientX) / 120);
    else if (apart > 0) enlarge(spread() / apart);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    enlarge(Math.exp(-event.deltaY / 500));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [0, -0.15], ArrowRight: [0, 0.15], ArrowUp: [-0.15, 0], ArrowDown: [0.15, 0] };
    if (turns[event.key]) rotate(...turns[event.key]);
    else if (event.key === "+" || event.key === "=") enlarge(1.15);
    else if (event.key === "-") enlarge(1 / 1.15);
    else return;
    event.preventDefault();
  });
  picker.addEventListener("change", () => show(Number(picker.value)));
  window.addEventListener("resize", draw);

  frames.forEach((f, i) => picker.add(new Option(`round ${f.round} · ${f.formula} · ${f.why} · ${f.id}`, i)));
  scale.previousElementSibling.hidden = !most;
  scale.textContent = most ? `blue: 0, red: ${most.toPrecision(2)} eV/Å and more` : "grey: no uncertainty was known yet";
  show(0);
})();
