/* An icicle of the FQN tree: rows of a layer table in, an interactive drawing in `container` out.
 *
 *   const view = icicle(container, rows, options);
 *
 * rows: [{layer, phase, group, depth, self, total, ...}], in the table's order. `layer` is the FQN,
 *   `(…)` for a bucket; a row of depth 0 that is no bucket is the model's root. `self` is the row's
 *   own amount of the measure, a number or null where not measured; give integers (nanoseconds,
 *   FLOPs, bytes) and every sum here is exact. Rows of one layer in several phases are added up.
 *   Totals are summed from `self`, so the root's total is the sum of all rows; `total` is not read.
 *   `layer_kind`, where a row has one, is the name that equal blocks of a stack share.
 * options (all may be left out):
 *   measure   {label, format(value) -> text, additive, spreads}. spreads: a blank self makes the
 *             totals above it lower bounds ("at least"). additive false (peak memory): a layer's
 *             amount is the largest of its rows, width counts leaves, darkness shows the amount.
 *   wholeName name of the box above the root and the buckets; drawn only when there are buckets.
 *   colour(node) -> CSS colour, instead of the role's; `legend` [[text, colour]] goes with it.
 *   details(node) -> [[name, text], ...] for the tooltip, instead of the columns of its rows.
 *   merged    true (where left out): equal blocks are one box, the largest first; false: each by
 *             itself, in the order of execution. A button in the bar goes to and fro.
 *   onSelect(layer or null), onZoom(layer), onSearch(text), onMerge(merged): told of what the user did.
 * returns {update(rows, options), select(layer), zoom(layer), search(text), mark(fits), merge(merged),
 *   box(layer), node(layer), zoomed(), merged(), colourOf(group), destroy()}; a layer may be given by its
 *   own name or by its kind's, and `node` has `layers`, the names of all it stands for. select, zoom,
 *   search and mark called here tell nobody. mark(fits) marks the layers with a row for which fits(row)
 *   holds and returns them, the largest amount of those rows first, as Enter in the search field then
 *   goes through them.
 *
 * A plain module without imports, so that a page can hold it inline. It touches nothing outside
 * `container`, fetches nothing, styles through properties only (no style attributes, so it works
 * under a strict Content-Security-Policy) and writes data as text, never as HTML.
 */
export function icicle(container, rows, options = {}) {
  const ROW = 32; // pixels a level takes
  const LEAST = 0.8; // narrower boxes are drawn together as one strip: 10,000 modules stay quick
  const FONT = "12px system-ui, sans-serif";
  const DEFAULT = { label: "self", format: (value) => String(value), additive: true };
  // Okabe and Ito's palette, by what a layer does; the same as in layerscope's figures.
  const COLOURS = {
    "convolution": "#D55E00", "self-attention": "#0072B2", "cross-attention": "#56B4E9", "mixer": "#332288",
    "feed-forward": "#E69F00", "norm": "#009E73", "projection": "#CC79A7",
    "lm_head": "#F0E442", "embedding": "#4D4D4D", "other": "#B8B8B8",
  };
  const PAPER = "#ffffff", INK = "#222222";

  let tree = null, measure = DEFAULT, shown = null, selected = null, hovered = null;
  let matches = null, turn = -1; // of the search: what it found, and which one Enter went to
  let boxes = [], width = 0, merged = true, keyOf = new Map();

  // ---- the tree ---------------------------------------------------------------------------------

  function roleOf(group) {
    if (Object.hasOwn(COLOURS, group)) return group;
    if (group === "vision.conv") return "convolution";
    if (group.endsWith("cross_attention")) return "cross-attention";
    if (group.endsWith("attention")) return "self-attention";
    if (group.endsWith("ffn") || group.endsWith("mlp")) return "feed-forward";
    if (group.endsWith(".mixer")) return "mixer";
    return group.endsWith("norm") ? "norm" : "other";
  }

  function newNode(layer, group) {
    return { layer, name: shortName(layer), group, role: roleOf(group), rows: [], layers: new Set(), self: null,
             total: 0, partial: false, parent: null, children: [], leaves: 1 };
  }

  /* The last name; of merged blocks with the name that they are counted under. */
  function shortName(layer) {
    if (layer.startsWith("(")) return layer;
    const names = layer.split(".");
    const last = names[names.length - 1];
    return merged && names.length > 1 && /^[\d*+…-]+$/.test(last) ? names.slice(-2).join(".") : last;
  }

  const nodeOf = (layer) => tree.nodes.get(layer) || tree.nodes.get(keyOf.get(layer)) || null;

  function build() {
    const nodes = new Map();
    let top = null;
    const buckets = [];
    keyOf = new Map(rows.map((row) => [row.layer, (merged && row.layer_kind) || row.layer]));
    for (const row of rows) {
      let node = nodes.get(keyOf.get(row.layer));
      if (!node) {
        node = newNode(keyOf.get(row.layer), row.group);
        nodes.set(node.layer, node);
        if (row.layer.startsWith("(")) buckets.push(node);
        else if (!top && Number(row.depth) === 0) top = node;
      }
      node.rows.push(row);
      node.layers.add(row.layer);
      if (row.self !== null && row.self !== undefined) {
        node.self = measure.additive ? (node.self ?? 0) + row.self
                                     : Math.max(node.self ?? 0, row.self);
      } else if (measure.spreads && !row.layer.startsWith("(")) node.partial = true;
    }
    const whole = newNode("", "other");
    whole.name = options.wholeName || "whole run";
    for (const node of nodes.values()) {
      let parent = whole;
      if (node !== top && !node.layer.startsWith("(")) {
        parent = top || whole;
        // A table filtered by hand may lack a level: the nearest one above that is there takes it.
        // The kind above is that of any of its layers.
        const [layer] = node.layers;
        for (let cut = layer.lastIndexOf("."); cut > 0; cut = layer.lastIndexOf(".", cut - 1)) {
          const above = nodes.get(keyOf.get(layer.slice(0, cut)));
          if (above) { parent = above; break; }
        }
      }
      node.parent = parent;
      parent.children.push(node);
    }
    const root = whole.children.length === 1 ? whole.children[0] : whole;
    root.parent = null;
    if (root === whole) nodes.set("", whole);
    sum(root);
    return { root, nodes };
  }

  function sum(node) {
    const weights = new Map();
    node.total = node.self ?? 0;
    node.leaves = 0;
    node.levels = 1;
    for (const child of node.children) {
      sum(child);
      node.partial = node.partial || child.partial;
      node.total = measure.additive ? node.total + child.total : Math.max(node.total, child.total);
      node.leaves += child.leaves;
      node.levels = Math.max(node.levels, child.levels + 1);
      weights.set(child.role, (weights.get(child.role) || 0) + child.total);
    }
    node.leaves = Math.max(node.layers.size, node.leaves);
    if (merged) node.children.sort((a, b) => weightOf(b) - weightOf(a));
    // A container does nothing of its own: it takes the paler colour of what most of it does.
    node.pale = node.role === "other" && node.children.length > 0;
    if (node.pale) {
      const largest = [...weights].filter(([role]) => role !== "other")
        .sort((a, b) => b[1] - a[1])[0];
      if (largest) node.role = largest[0];
    }
  }

  const weightOf = (node) => (measure.additive ? node.total : node.leaves);

  function pathOf(node) {
    const path = [];
    for (let at = node; at; at = at.parent) path.unshift(at);
    return path;
  }

  // ---- layout: one pass over what is wide enough to see -------------------------------------------

  function layout() {
    boxes = [];
    const above = pathOf(shown);
    above.pop();
    above.forEach((node, level) => put({ node, x: 0, w: width, level, kind: "above" }));
    place(shown, 0, width, above.length);
  }

  function put(box) {
    (boxes[box.level] ||= []).push(box);
  }

  function place(node, x, w, level) {
    put({ node, x, w, level, kind: "box" });
    const whole = weightOf(node);
    if (!node.children.length || whole <= 0) return;
    let at = x, strip = null;
    for (const child of node.children) {
      const wide = (w * weightOf(child)) / whole;
      if (wide >= LEAST) {
        place(child, at, wide, level + 1);
        strip = null;
      } else if (wide > 0) {
        if (!strip) {
          strip = { node, x: at, w: 0, level: level + 1, kind: "strip", count: 0 };
          put(strip);
        }
        strip.w += wide;
        strip.count += 1;
      }
      at += wide;
    }
    if (measure.additive && node.self > 0) {
      put({ node, x: at, w: Math.max(0, x + w - at), level: level + 1, kind: "self" });
    }
  }

  // ---- drawing ------------------------------------------------------------------------------------

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    width = Math.max(200, frame.clientWidth);
    layout();
    // As tall as the whole tree, so that nothing below jumps while the user zooms.
    const height = tree.root.levels * ROW;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = PAPER;
    pen.fillRect(0, 0, width, height);
    pen.font = FONT;
    pen.textBaseline = "middle";
    for (const level of boxes) if (level) for (const box of level) drawBox(pen, box);
    for (const level of boxes) if (level) for (const box of level) outline(pen, box);
    crumbs();
    say();
  }

  function fillOf(box) {
    const { node } = box;
    if (box.kind === "strip") return "#d8d8d8";
    if (options.colour) return options.colour(node);
    if (!measure.additive) {
      const share = tree.root.total > 0 ? node.total / tree.root.total : 0;
      return mix("#0072B2", PAPER, 0.92 * (1 - share));
    }
    return mix(COLOURS[node.role], PAPER, node.pale ? 0.68 : 0.12);
  }

  function drawBox(pen, box) {
    const { node, x, w, level, kind } = box;
    const y = level * ROW, tall = ROW - 1, wide = Math.max(w - (w > 3 ? 1 : 0), 0.5);
    const dim = matches && !matches.has(node) && kind !== "above";
    let fill = kind === "above" ? "#eeeeee" : fillOf(box);
    if (dim) fill = mix(fill, PAPER, 0.78);
    pen.fillStyle = fill;
    pen.fillRect(x, y, wide, tall);
    if (kind === "self") hatch(pen, x, y, wide, tall, fill);
    if (w < 26) return;
    const share = tree.root.total > 0 ? (100 * node.total) / tree.root.total : 0;
    let text = titleOf(node);
    if (kind === "self") text = `self ${measure.format(node.self)}`;
    else if (w > 190) text = `${titleOf(node)}   ${totalText(node)}`
      + (measure.additive && !tree.root.partial ? `   ${share.toFixed(1)} %` : "");
    else if (w > 110) text = `${titleOf(node)}  ${totalText(node)}`;
    pen.save();
    pen.beginPath();
    pen.rect(x, y, wide - 3, tall);
    pen.clip();
    pen.fillStyle = dim ? "#8a8a8a" : kind === "self" ? INK : inkOn(fill);
    pen.fillText(text, x + 5, y + tall / 2 + 0.5);
    pen.restore();
  }

  function hatch(pen, x, y, w, h, fill) {
    pen.save();
    pen.beginPath();
    pen.rect(x, y, w, h);
    pen.clip();
    pen.fillStyle = mix(fill, PAPER, 0.6);
    pen.fillRect(x, y, w, h);
    pen.strokeStyle = mix(fill, PAPER, 0.25);
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = x - h; at < x + w; at += 6) {
      pen.moveTo(at, y + h);
      pen.lineTo(at + h, y);
    }
    pen.stroke();
    pen.restore();
  }

  function outline(pen, box) {
    if (box.kind === "self" || box.kind === "strip") return;
    const chosen = selected !== null && box.node === nodeOf(selected);
    if (!chosen && box.node !== hovered) return;
    pen.strokeStyle = chosen ? "#000000" : "#555555";
    pen.lineWidth = chosen ? 2.5 : 1.5;
    const half = pen.lineWidth / 2;
    pen.strokeRect(box.x + half, box.level * ROW + half, Math.max(box.w - 2 * half - 1, 1),
                   ROW - 1 - 2 * half);
  }

  function channels(colour) {
    return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  }

  function mix(colour, other, share) {
    const to = channels(other);
    return "#" + channels(colour).map((value, i) =>
      Math.round(value + (to[i] - value) * share).toString(16).padStart(2, "0")).join("");
  }

  function inkOn(colour) {
    const [red, green, blue] = channels(colour);
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? INK : "#ffffff";
  }

  // ---- the parts around the drawing -----------------------------------------------------------------

  function make(tag, style, ...inside) {
    const element = document.createElement(tag);
    Object.assign(element.style, style);
    element.append(...inside);
    return element;
  }

  const order = make("button", { font: FONT, padding: "3px 8px", cursor: "pointer" });
  order.type = "button";
  order.className = "order";
  const trail = make("nav", { flex: "1", minWidth: "0", font: FONT, lineHeight: "24px" });
  trail.setAttribute("aria-label", "Path of the zoomed layer");
  const field = make("input", { font: FONT, padding: "3px 6px", width: "220px" });
  field.type = "search";
  field.placeholder = "Search by FQN";
  field.setAttribute("aria-label", "Search layers by FQN");
  const found = make("span", { font: FONT, color: "#555555", minWidth: "11em" });
  found.setAttribute("role", "status");
  const bar = make("div", { display: "flex", gap: "8px", alignItems: "center", flexWrap: "wrap",
                            marginBottom: "4px" }, trail, order, field, found);
  const canvas = make("canvas", { display: "block", width: "100%", cursor: "pointer" });
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label",
    "Icicle of layers. Arrow keys move, Enter zooms, Escape zooms out, Home shows the whole.");
  const tip = make("div", {
    position: "absolute", pointerEvents: "none", visibility: "hidden", zIndex: "5", font: FONT,
    background: "#222222", color: "#ffffff", padding: "6px 9px", borderRadius: "4px",
    maxWidth: "520px", lineHeight: "1.45", overflowWrap: "anywhere",
  });
  tip.setAttribute("role", "tooltip");
  const frame = make("div", { position: "relative" }, canvas, tip);
  const said = make("div", { font: FONT, lineHeight: "20px", minHeight: "20px", color: "#333333",
                             marginTop: "4px", overflowWrap: "anywhere" });
  said.setAttribute("aria-live", "polite");
  const key = make("div", { font: FONT, display: "flex", flexWrap: "wrap", gap: "2px 12px",
                            marginTop: "2px", color: "#444444" });
  container.replaceChildren(bar, frame, said, key);

  function crumbs() {
    trail.replaceChildren();
    for (const node of pathOf(shown)) {
      if (trail.childNodes.length) trail.append(" › ");
      if (node === shown) {
        trail.append(make("strong", {}, titleOf(node)));
        continue;
      }
      const link = make("button", { font: "inherit", border: "0", padding: "0", background: "none",
                                    color: "#0059a0", cursor: "pointer" }, titleOf(node));
      link.type = "button";
      link.addEventListener("click", () => zoomTo(node, true));
      trail.append(link);
    }
  }

  function legend() {
    key.replaceChildren();
    let entries = options.legend;
    if (!entries && !measure.additive) {
      entries = [[`darker: more ${measure.label}; width counts modules`, "#0072B2"]];
    }
    if (!entries) {
      const used = new Set([...tree.nodes.values()].filter((n) => n.total > 0).map((n) => n.role));
      entries = Object.entries(COLOURS).filter(([role]) => used.has(role));
      entries.push(["paler: holds mostly this", "#f6dfb0"], ["hatched: self, beside its children", ""]);
    }
    for (const [text, colour] of entries) {
      const swatch = make("span", { display: "inline-block", width: "11px", height: "11px",
                                    marginRight: "4px", verticalAlign: "-1px" });
      swatch.style.background = colour
        || "repeating-linear-gradient(135deg, #999 0 1px, #eee 1px 4px)";
      key.append(make("span", { whiteSpace: "nowrap" }, swatch, text));
    }
  }

  const titleOf = (node) => (node.layers.size > 1 ? `${node.name} ×${node.layers.size}` : node.name);

  const totalText = (node) => `${node.partial ? "at least " : ""}${measure.format(node.total)}`;

  function summary(node) {
    const part = (whole) => (whole > 0 && !tree.root.partial
      ? `${((100 * node.total) / whole).toFixed(1)} %` : "–");
    const lines = [["total", totalText(node)]];
    if (measure.additive) {
      lines.push(["self", node.self === null ? "not measured" : measure.format(node.self)],
                 ["of the whole", part(tree.root.total)]);
      if (node.parent) lines.push(["of its parent", part(node.parent.total)]);
    }
    return lines;
  }

  function detailsOf(node) {
    if (options.details) return options.details(node);
    const lines = [];
    for (const row of node.rows) {
      const cells = Object.entries(row).filter(([name, value]) =>
        !["layer", "self", "total"].includes(name) && value !== null && value !== "");
      if (node.rows.length === 1) lines.push(...cells);
      else lines.push([row.phase, row.self === null ? "not measured" : measure.format(row.self)]);
    }
    return lines.map(([name, value]) => [name, String(value)]);
  }

  function showTip(box, x, y) {
    const { node } = box;
    const many = node.layers.size > 1 ? ` ×${node.layers.size}` : "";
    tip.replaceChildren(make("strong", {}, (node.layer || node.name) + many));
    let lines = [...summary(node), ...detailsOf(node)];
    if (box.kind === "strip") lines = [["", `${box.count} children too narrow to draw; zoom in`]];
    for (const [name, text] of lines) {
      const label = make("span", { color: "#bbbbbb" }, name ? `${name} ` : "");
      tip.append(make("div", { whiteSpace: "pre-line" }, label, text));
    }
    const wide = tip.offsetWidth, tall = tip.offsetHeight;
    tip.style.left = `${Math.max(0, Math.min(x + 14, width - wide))}px`;
    // Below the pointer; above it where the window ends first.
    const under = frame.getBoundingClientRect().top + y + 18 + tall <= window.innerHeight;
    tip.style.top = `${under ? y + 18 : Math.max(y - 12 - tall, -frame.getBoundingClientRect().top)}px`;
    tip.style.visibility = "visible";
  }

  function hideTip() {
    tip.style.visibility = "hidden";
  }

  function say() {
    const node = nodeOf(selected);
    if (!node) {
      said.textContent = "Click a box to zoom, a box above to zoom out.";
      return;
    }
    const lines = summary(node).map(([name, text]) => `${name} ${text}`);
    said.textContent = `${node.layer || node.name}: ${lines.join(" · ")} · ${node.group}`;
  }

  // ---- what the user does ---------------------------------------------------------------------------

  function boxAt(event) {
    const place = canvas.getBoundingClientRect();
    const x = event.clientX - place.left, y = event.clientY - place.top;
    const level = boxes[Math.floor(y / ROW)] || [];
    return { box: level.find((box) => x >= box.x && x < box.x + box.w) || null, x, y };
  }

  function selectNode(node, tell) {
    selected = node ? node.layer : null;
    if (tell && options.onSelect) options.onSelect(selected);
    draw();
  }

  function zoomTo(node, tell) {
    shown = node;
    hideTip();
    if (tell && options.onZoom) options.onZoom(shown.layer);
    selectNode(node, tell);
  }

  canvas.addEventListener("mousemove", (event) => {
    const { box, x, y } = boxAt(event);
    const node = box ? box.node : null;
    if (node !== hovered) {
      hovered = node;
      draw();
    }
    if (box) showTip(box, x, y);
    else hideTip();
  });
  canvas.addEventListener("mouseleave", () => {
    hovered = null;
    hideTip();
    draw();
  });
  canvas.addEventListener("click", (event) => {
    const { box } = boxAt(event);
    if (!box) return;
    if (box.node.children.length) zoomTo(box.node, true);
    else selectNode(box.node, true);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = move(event.key, nodeOf(selected) || shown);
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    step();
  });

  function move(name, at) {
    const visible = (nodes) => nodes.filter((node) => weightOf(node) > 0);
    const go = (node) => () => {
      // Walking out of the zoomed part takes the drawing along.
      if (!pathOf(node).includes(shown)) zoomTo(node, true);
      selectNode(node, true);
    };
    const beside = (by) => {
      if (!at.parent) return null;
      const row = visible(at.parent.children);
      const next = row[row.indexOf(at) + by];
      return next ? go(next) : null;
    };
    if (name === "ArrowDown") {
      const first = visible(at.children)[0];
      return first ? go(first) : null;
    }
    if (name === "ArrowUp") return at.parent ? go(at.parent) : null;
    if (name === "ArrowLeft") return beside(-1);
    if (name === "ArrowRight") return beside(1);
    if (name === "Enter" || name === " ") return () => zoomTo(at, true);
    if (name === "Escape" || name === "Backspace") {
      return shown.parent ? () => zoomTo(shown.parent, true) : null;
    }
    return name === "Home" ? () => zoomTo(tree.root, true) : null;
  }

  function find(text) {
    const query = text.trim().toLowerCase();
    turn = -1;
    matches = null;
    found.textContent = "";
    if (query) {
      matches = new Set();
      let amount = 0;
      const visit = (node, inside) => {
        const hit = [node.layer, ...node.layers].some((name) => name.toLowerCase().includes(query));
        if (hit) matches.add(node);
        // A match inside a match is already in the outer one's total.
        if (hit && !inside) amount = measure.additive ? amount + node.total
                                                      : Math.max(amount, node.total);
        for (const child of node.children) visit(child, inside || hit);
      };
      visit(tree.root, false);
      const count = matches.size;
      found.textContent = count ? `${count} found, ${measure.format(amount)}` : "none found";
    }
    draw();
  }

  function mark(fits) {
    field.value = "";
    turn = -1;
    const hits = [...tree.nodes.values()]
      .map((node) => ({ node, meant: node.rows.filter(fits) }))
      .filter(({ meant }) => meant.length)
      .map(({ node, meant }) => {
        const own = meant.map((row) => row.self ?? 0);
        return { node, meant, amount: measure.additive ? own.reduce((a, b) => a + b, 0) : Math.max(...own) };
      })
      .sort((a, b) => b.amount - a.amount);
    matches = new Set(hits.map(({ node }) => node));
    const amounts = hits.map(({ amount }) => amount);
    const whole = measure.additive ? amounts.reduce((a, b) => a + b, 0) : Math.max(0, ...amounts);
    const layers = new Set(hits.flatMap(({ meant }) => meant.map((row) => row.layer)));
    found.textContent = `${layers.size} marked, ${measure.format(whole)}`;
    draw();
    return hits.map(({ node }) => node.layer);
  }

  field.addEventListener("input", () => {
    find(field.value);
    if (options.onSearch) options.onSearch(field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !matches || !matches.size) return;
    event.preventDefault();
    turn = (turn + 1) % matches.size;
    zoomTo([...matches][turn], true);
  });

  order.addEventListener("click", () => {
    merge(!merged);
    if (options.onMerge) options.onMerge(merged);
  });

  function merge(now) {
    merged = now;
    update(rows, {});
  }

  // ---- the handle -----------------------------------------------------------------------------------

  function update(newRows, newOptions) {
    rows = newRows;
    options = { ...options, ...newOptions };
    const kept = shown ? [shown.layer, ...shown.layers] : [];
    order.textContent = merged ? "equal blocks merged" : "in order of execution";
    order.title = merged ? "Show each block, in the order of execution"
      : "Merge equal blocks, the largest first";
    measure = { ...DEFAULT, ...options.measure };
    tree = build();
    shown = kept.map(nodeOf).find(Boolean) || tree.root;
    hovered = null;
    hideTip();
    // For readers of the page that cannot see a canvas, tests among them.
    container.dataset.root = tree.root.layer;
    container.dataset.rootTotal = String(tree.root.total);
    legend();
    find(field.value);
  }

  merged = options.merged !== false;
  const observer = new ResizeObserver(() => {
    if (Math.abs(frame.clientWidth - width) > 0.5) draw();
  });
  update(rows, options);
  observer.observe(frame);

  return {
    update,
    merge,
    merged: () => merged,
    select: (layer) => selectNode(nodeOf(layer), false),
    zoom: (layer) => {
      shown = nodeOf(layer) || tree.root;
      draw();
    },
    search: (text) => {
      field.value = text;
      find(text);
    },
    mark,
    /* Where a layer is drawn now, in pixels of the window; null while it is not. */
    box: (layer) => {
      const place = canvas.getBoundingClientRect();
      const node = nodeOf(layer);
      for (const level of boxes) for (const box of level || []) {
        if (node && box.node === node && (box.kind === "box" || box.kind === "above")) {
          return { x: place.left + box.x, y: place.top + box.level * ROW, width: box.w, height: ROW };
        }
      }
      return null;
    },
    node: nodeOf,
    zoomed: () => shown.layer,
    colourOf: (group) => COLOURS[roleOf(group)],
    destroy: () => {
      observer.disconnect();
      container.replaceChildren();
    },
  };
}
