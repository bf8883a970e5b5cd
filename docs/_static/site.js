// Five small things: names for the arrows of the navigation, a way for the keyboard into wide formulas, a
// hint above each table that is wider than the page, the switch "Hide the code" of a lesson, and the place
// that the switch of the language keeps.
"use strict";

const words = (english, chinese) => (document.documentElement.lang === "zh-CN" ? chinese : english);

document.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("nav details > summary")) {
    const entry = arrow.closest("li").querySelector("a").textContent.trim();
    arrow.setAttribute("aria-label", words(`Pages of ${entry}`, `${entry}：各页`));
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
        hint.textContent = words("Wider than the page: scroll sideways →", "比页面宽：可左右滑动 →");
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
    button.textContent = hidden ? words("Show the code", "显示代码") : words("Hide the code", "隐藏代码");
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

// The other language opens at the section that is being read: the one of the address, if it is in view, or
// the last that begins at the top of the window or above.
document.addEventListener("DOMContentLoaded", () => {
  const link = document.querySelector(".language-switch");
  const keepPlace = () => {
    const top = (section) => section.getBoundingClientRect().top;
    const aimed = document.querySelector(":target")?.closest("section section");
    const inView = aimed && top(aimed) >= 0 && top(aimed) < window.innerHeight;
    const above = [...document.querySelectorAll("article section section")].filter(
      (section) => top(section) < 120,
    );
    const section = inView ? aimed : above.pop();
    link.hash = section ? section.id : "";
  };
  for (const press of ["pointerdown", "click"]) {
    link?.addEventListener(press, keepPlace);
  }
});
