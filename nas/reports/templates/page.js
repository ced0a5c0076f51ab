"use strict";
(() => {
  const chart = document.querySelector(".chart");
  if (!chart) return;
  const { points, types } = JSON.parse(document.getElementById("points").textContent);
  const front = chart.closest(".front");
  const tip = front.querySelector(".tip-box");
  const card = document.querySelector(".card");
  const marks = [...chart.querySelectorAll(".point")];
  const NS = chart.namespaceURI;
  const REACH = 24; // pixels from a point at which it is meant
  let shown = null;

  const make = (name, text, parent, className) => {
    const element = document.createElement(name);
    if (text) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  };
  const shape = (name, attributes, parent) => {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  };

  // The network as a row of blocks: the colour is the type, the height the resolution.
  const strip = (point, parent) => {
    const width = Math.min(16, 300 / point.blocks.length);
    const high = 30;
    const svg = shape("svg", {
      class: "strip", viewBox: `0 0 ${width * point.blocks.length + 2} ${high + 2}`,
      width: width * point.blocks.length + 2, "aria-hidden": "true",
    }, parent);
    point.blocks.forEach(([type, halvings], at) => {
      const height = high * 0.72 ** halvings;
      shape("rect", {
        class: types[type][1], x: 1 + at * width, y: 1 + (high - height) / 2, width: width - 2, height, rx: 1.5,
      }, svg);
    });
  };
  const fill = (point, parent, heading) => {
    const role = point.roles.length ? `: ${point.roles.join(", ")}` : "";
    make(heading, point.name + role, parent);
    make("div", point.architecture, parent);
    strip(point, parent);
    const facts = make("div", "", parent, "facts");
    for (const text of point.facts) make("span", text, facts);
  };

  const place = (mark) => {
    const frame = front.getBoundingClientRect();
    const box = mark.getBoundingClientRect();
    const x = box.left + box.width / 2 - frame.left;
    const y = box.top - frame.top;
    const left = Math.max(4, Math.min(x - tip.offsetWidth / 2, frame.width - tip.offsetWidth - 4));
    const below = y - tip.offsetHeight - 10 < -60;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? y + box.height + 10 : y - tip.offsetHeight - 10}px`;
  };
  const show = (mark) => {
    if (mark === shown) return;
    if (shown) shown.classList.remove("at");
    shown = mark;
    tip.hidden = !mark;
    if (!mark) return;
    mark.classList.add("at");
    tip.replaceChildren();
    const point = points[mark.dataset.at];
    fill(point, tip, "strong");
    make("code", point.command, tip);
    place(mark);
  };

  const pin = (mark) => {
    const point = points[mark.dataset.at];
    card.hidden = false;
    card.replaceChildren();
    fill(point, card, "h3");
    const line = make("div", "", card, "command");
    make("code", point.command, line);
    const button = make("button", "Copy", line);
    button.type = "button";
    button.addEventListener("click", () => copy(point.command, button));
    const drawing = document.getElementById(`net-${mark.dataset.at}`);
    if (drawing) card.append(drawing.querySelector(".net-box").cloneNode(true));
    else if (point.roles.length) make("p", `Drawing: ${point.show}`, card, "note");
  };
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", text, document.body);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  const nearest = (event) => {
    let best = null;
    let least = REACH ** 2;
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const dx = box.left + box.width / 2 - event.clientX;
      const dy = box.top + box.height / 2 - event.clientY;
      const member = mark.hasAttribute("tabindex"); // of points that lie close, those of the front are meant
      const distance = (dx * dx + dy * dy) * (member ? 0.4 : 1);
      if (distance < least) [best, least] = [mark, distance];
    }
    return best;
  };
  chart.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") show(nearest(event)); });
  chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") show(null); });
  chart.addEventListener("click", (event) => {
    const mark = nearest(event);
    show(mark);
    if (mark) pin(mark);
  });
  for (const mark of marks) {
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", () => show(null));
  }
  chart.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(null);
    if ((event.key === "Enter" || event.key === " ") && shown) {
      event.preventDefault();
      pin(shown);
    }
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details.print").forEach((element) => { element.open = true; });
  });
})();
