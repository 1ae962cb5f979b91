// Dark or light: the system's choice, until the reader makes another one.

const KEY = "stemsplit-theme";

function kept() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

/** Take over the reader's choice. Returns a function that takes the other one. */
export function startTheme(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  if (["dark", "light"].includes(kept())) document.documentElement.dataset.theme = kept();
  system.addEventListener("change", changed);
  return () => {
    const theme = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem(KEY, theme); } catch { /* the choice lasts as long as the page */ }
    changed();
  };
}
