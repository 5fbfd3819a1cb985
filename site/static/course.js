// What the pages need beside the theme's own scripts.

// A page that was opened from a file may not read the others to quote them in a search.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// What is wider than its place scrolls, and so must be within reach of the keyboard. The theme
// sees to most of this, but not to formulas, nor when a sidebar slides after the window changed.
function reachWhatScrolls() {
  const scrolling = "pre, .cell_output > .output, .pst-scrollable-table-container, mjx-container[display]";
  for (const one of document.querySelectorAll(scrolling)) {
    const hidden = one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight;
    one.tabIndex = hidden ? 0 : -1;
  }
}

addEventListener("load", async () => {
  await window.MathJax?.startup.promise;
  await document.fonts.ready;
  new ResizeObserver(reachWhatScrolls).observe(document.querySelector("article") ?? document.body);
});
