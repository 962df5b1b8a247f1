// Measure every page of a document that Marp made: a list of problems for each page.
({ minContrast, minText }) => {
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const opaque = (colour) => {
    const parts = parse(colour);
    return colour.startsWith("rgb") && (parts.length < 4 || parts[3] > 0.99);
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a.slice(0, 3)), luminance(b.slice(0, 3))];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const shrunk = (element) => {
    let block = element;
    while (!block.offsetWidth && block.parentElement) block = block.parentElement;
    return block.getBoundingClientRect().width / block.offsetWidth;
  };
  const behindHtml = (element, section) => {
    for (let node = element; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (opaque(colour)) return parse(colour);
      if (node === section) break;
    }
    return [255, 255, 255];
  };
  const behindSvg = (text, section) => {
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const shapes = [...text.ownerSVGElement.querySelectorAll("rect, circle")].reverse();
    for (const shape of shapes) {
      const around = shape.getBoundingClientRect();
      const inside = around.left <= x && x <= around.right && around.top <= y && y <= around.bottom;
      const fill = getComputedStyle(shape).fill;
      if (inside && opaque(fill)) return { fill: parse(fill), box: around };
    }
    return { fill: behindHtml(text.ownerSVGElement, section), box: null };
  };
  const pages = [];
  for (const section of document.querySelectorAll("section")) {
    const page = section.getBoundingClientRect();
    const scale = page.width / section.offsetWidth;
    const problems = [], over = new Set();
    const say = (element, what) => {
      const words = (element.textContent || element.getAttribute("alt") || "").trim();
      problems.push(`${element.tagName.toLowerCase()} “${words.slice(0, 40)}” ${what}`);
    };
    const sources = section.querySelector("p.sources");
    const foot = sources ? sources.getBoundingClientRect().top : page.bottom - 14 * scale;
    for (const element of section.querySelectorAll("*")) {
      if (element.closest("defs, mjx-container mjx-assistive-mml")) continue;
      const box = element.getBoundingClientRect();
      if (!box.width || !box.height) continue;
      const floating = element.closest("p.sources, p.live");
      const past = [
        ["left", page.left - box.left], ["right", box.right - page.right],
        ["top", page.top - box.top], ["bottom", box.bottom - (floating ? page.bottom : foot)],
      ].filter(([, by]) => by > 1.5);
      if (past.length) over.add(element);
      if (!over.has(element.parentElement)) // else it was said of what is around it
        for (const [side, by] of past)
          say(element, `runs over the ${side} by ${Math.round(by)} px`);
      if (element.tagName === "IMG" && !element.naturalWidth) say(element, "is a missing picture");
      if (element.closest("mjx-container")) continue;
      const inSvg = element.tagName === "text";
      const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      if (!own || (element.closest("svg.diagram") && !inSvg)) continue;
      const style = getComputedStyle(element);
      const behind = inSvg ? behindSvg(element, section) : { fill: behindHtml(element, section) };
      const contrast = ratio(parse(inSvg ? style.fill : style.color), behind.fill);
      if (contrast < minContrast) say(element, `has a contrast of ${contrast.toFixed(2)}`);
      if (behind.box && (box.left < behind.box.left || box.right > behind.box.right))
        say(element, "is wider than its box");
      const height = inSvg
        ? parseFloat(style.fontSize) * element.ownerSVGElement.getBoundingClientRect().width
          / element.ownerSVGElement.viewBox.baseVal.width / scale
        : parseFloat(style.fontSize) * shrunk(element) / scale;
      if (height < minText[section.offsetWidth]) say(element, `is small: ${height.toFixed(1)} px`);
    }
    pages.push(problems);
  }
  return pages;
}
