//! Expressions that a page answers with what is wrong with it; nothing is "".

/// What axe-core, which has to be there, finds wrong: rules of WCAG 2.2 up to AA, and best practices.
pub(crate) const VIOLATIONS: &str = r#"axe.run(document, { resultTypes: ["violations"] }).then((found) => {
  if (found.passes.length < 20) return `only ${found.passes.length} rules apply`;
  return found.violations
    .map((rule) => `${rule.id}: ${rule.help}: ${rule.nodes.map((one) => one.html.slice(0, 120)).join(", ")}`).join("; ");
})"#;

/// Texts whose contrast with what they stand on is below 4.5 (WCAG 2.2, 1.4.3).
pub(crate) const FAINT: &str = r#"(() => {
  const channels = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    const one = text.parentElement;
    if (!text.data.trim() || one.closest("script, noscript, .unseen") || !one.getClientRects().length) continue;
    const [a, b] = [light(channels(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} "${text.data.trim().slice(0, 40)}"`);
  }
  return faint.join("; ");
})()"#;

/// Landmarks that are missing or double, controls and scrolling regions without a name, ids that are not unique.
pub(crate) const NAMELESS: &str = r#"(() => {
  const wrong = [];
  for (const mark of ["header", "main", "footer"])
    if (document.querySelectorAll(`body > ${mark}`).length !== 1) wrong.push(`not one ${mark}`);
  for (const one of document.querySelectorAll("a, button, summary, section, article, [role=region], nav, ol.route")) {
    const by = one.getAttribute("aria-labelledby");
    const name = one.getAttribute("aria-label") || (by ? document.getElementById(by)?.textContent : "") ||
      (one.matches("a, button, summary") ? one.textContent : "");
    if (!name || !name.trim()) wrong.push(`${one.nodeName} without a name`);
  }
  for (const one of document.querySelectorAll("svg")) if (one.getAttribute("aria-hidden") !== "true") wrong.push("a bare svg");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`id ${id} twice`);
  if (document.documentElement.lang !== "en") wrong.push("no language");
  return wrong.join("; ");
})()"#;

/// Headings that leave out a level.
pub(crate) const HEADINGS: &str = r#"(() => {
  let level = 0;
  const wrong = [];
  for (const one of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const next = Number(one.nodeName[1]);
    if (next > level + 1) wrong.push(`${one.nodeName} after H${level}: ${one.textContent}`);
    level = next;
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  return wrong.join("; ");
})()"#;

/// Controls that the keyboard does not reach, and an order of focus that is not the page's.
pub(crate) const UNREACHABLE: &str = r#"[...document.querySelectorAll("a, button, summary, pre")]
  .filter((one) => one.getClientRects().length && !one.classList.contains("skip"))
  .filter((one) => one.tabIndex !== 0)
  .map((one) => `${one.nodeName} ${one.id || one.textContent}`).join("; ")"#;
