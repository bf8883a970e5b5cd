// Four small things: names for the arrows of the navigation, a way for the keyboard into wide formulas, a
// hint above each table that is wider than the page, and the switch "Hide the code" of a lesson.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("nav details > summary")) {
    const entry = arrow.closest("li").querySelector("a").textContent.trim();
    arrow.setAttribute("aria-label", `Pages of ${entry}`);
  }
});

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  for (const formula of document.querySelectorAll("mjx-container[display]")) {
    if (formula.scrollWidth > formula.clientWidth) {
      formula.tabIndex = 0;
    }
  }
});

// A table has another width on another screen, when a fold opens, and when the window changes.
document.addEventListener("DOMContentLoaded", () => {
  const say = new ResizeObserver((changed) => {
    for (const { target: box } of changed) {
      const wide = box.scrollWidth > box.clientWidth + 4;
      if (wide === box.classList.contains("scrolls")) {
        continue;
      }
      box.classList.toggle("scrolls", wide);
      if (wide) {
        const hint = document.createElement("p");
        hint.className = "scroll-hint";
        hint.textContent = "Wider than the page: scroll sideways →";
        box.before(hint);
        box.tabIndex = 0;
      } else {
        box.previousElementSibling.remove();
        box.removeAttribute("tabindex");
      }
    }
  });
  for (const box of document.querySelectorAll("article .pst-scrollable-table-container")) {
    say.observe(box);
  }
});

// What the reader chose holds for all lessons.
document.addEventListener("DOMContentLoaded", () => {
  const page = document.documentElement;
  const show = (button, hidden) => {
    page.classList.toggle("no-code", hidden);
    button.textContent = hidden ? "Show the code" : "Hide the code";
  };
  for (const button of document.querySelectorAll(".code-switch")) {
    button.hidden = false;
    show(button, localStorage.getItem("code") === "hidden");
    button.addEventListener("click", () => {
      const hidden = !page.classList.contains("no-code");
      localStorage.setItem("code", hidden ? "hidden" : "shown");
      show(button, hidden);
    });
  }
});
