// What the pages need beside the theme's own scripts.

// A page that was opened from a file may not read the others to quote them in a search.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A formula wider than its place scrolls, and so must be within reach of the keyboard.
function markWideFormulas() {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    const hidden = formula.scrollWidth > formula.clientWidth || formula.scrollHeight > formula.clientHeight;
    formula.toggleAttribute("tabindex", hidden);
    if (hidden) formula.tabIndex = 0;
  }
}

addEventListener("load", async () => {
  if (!window.MathJax) return;
  await MathJax.startup.promise;
  await document.fonts.ready;
  markWideFormulas();
  addEventListener("resize", markWideFormulas);
});
