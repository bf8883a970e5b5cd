// Three small things: names for the arrows of the navigation, a way for the keyboard into wide formulas,
// and the switch "Hide the code" of a lesson.
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
