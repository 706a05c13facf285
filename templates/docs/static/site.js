// What every page does once it is there: formulas are typeset, plots are drawn, the gallery filters.
"use strict";
(() => {
  const SMALLEST = 0.5; // of the usual size, for a formula that is wider than its place

  const typeset = (place) => {
    const display = place.tagName === "DIV";
    const source = place.dataset.tex ?? (place.dataset.tex = place.textContent);
    katex.render(source, place, { displayMode: display, throwOnError: false, strict: "ignore" });
  };

  // A formula that is still too wide is made smaller, and below half its size it scrolls.
  const fit = (place) => {
    place.style.fontSize = "";
    const inside = place.querySelector(".katex-html");
    if (!inside || !place.clientWidth) return;
    // What hangs over a cell of a table counts too, so it is measured and not asked for.
    const wide = Math.max(place.scrollWidth, ...[...inside.children].map((part) => part.getBoundingClientRect().width));
    const scale = (place.clientWidth - 2) / wide;
    if (scale < 1) place.style.fontSize = `${Math.max(scale * 0.99, SMALLEST) * 100}%`;
    if (place.scrollWidth > place.clientWidth + 1) place.setAttribute("tabindex", "0");
    else place.removeAttribute("tabindex");
  };

  const formulas = () => {
    const all = [...document.querySelectorAll("div.sl-math, span.sl-math")];
    const displayed = all.filter((place) => place.tagName === "DIV");
    const again = () => displayed.filter((place) => place.dataset.tex).forEach(fit);
    // What is folded is typeset when it is opened: a derivation can have hundreds of formulas, and none a width.
    all.filter((place) => !place.closest("details:not([open])")).forEach(typeset);
    again();
    document.fonts.ready.then(again);
    addEventListener("resize", again);
    document.querySelectorAll("details").forEach((part) =>
      part.addEventListener("toggle", () => {
        const inside = all.filter((place) => part.contains(place) && !place.closest("details:not([open])"));
        inside.filter((place) => !place.dataset.tex).forEach(typeset);
        const opened = () => inside.filter((place) => place.tagName === "DIV").forEach(fit);
        opened();
        document.fonts.ready.then(opened); // large brackets may be the first of their font
      }),
    );
  };

  const gallery = () => {
    const root = document.querySelector(".sl-gallery");
    if (!root) return;
    const cards = [...root.querySelectorAll(".sl-card")], search = root.querySelector("input[type=search]");
    const count = root.querySelector(".sl-count"), none = root.querySelector(".sl-none");
    const show = () => {
      const chosen = [...root.querySelectorAll("button[data-filter][aria-pressed=true]")].map((b) => b.dataset.filter);
      const families = chosen.filter((one) => one.startsWith("family:"));
      const traits = chosen.filter((one) => !one.startsWith("family:"));
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const card of cards) {
        const has = card.dataset.traits.split(" ");
        card.hidden = !(
          (!families.length || families.some((family) => has.includes(family))) &&
          traits.every((trait) => has.includes(trait)) &&
          words.every((word) => card.dataset.names.includes(word))
        );
        shown += !card.hidden;
      }
      count.textContent = shown;
      none.hidden = shown > 0;
    };
    for (const button of root.querySelectorAll("button[data-filter]")) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        show();
      });
    }
    search.addEventListener("input", show);
    show();
  };

  // A link to something that is folded opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (folded) folded.open = true;
  };

  const keepPlace = () => {
    const link = document.querySelector("a.sl-language");
    if (!link) return;
    const page = link.getAttribute("href").split("#")[0];
    link.addEventListener("click", () => {
      link.setAttribute("href", page + location.hash);
      try {
        localStorage.setItem("symloss-language", link.lang);
      } catch {
        // without storage the choice isn't kept
      }
    });
  };

  const start = () => {
    formulas();
    gallery();
    symloss.plots();
    unfold();
    keepPlace();
    addEventListener("hashchange", unfold);
    document.documentElement.dataset.ready = "yes";
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
