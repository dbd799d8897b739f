/** Light or dark: as the system prefers, until the user chooses. */

const KEY = "mgdali-explore-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Set the theme of the page, and follow the system's. */
export function startTheme() {
  apply(chosen() ?? preferred());
  dark.addEventListener("change", () => chosen() === null && apply(preferred()));
}

/** Change between light and dark, and remember it. */
export function toggleTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  apply(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}

function preferred() {
  return dark.matches ? "dark" : "light";
}

function chosen() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "dark" || theme === "light" ? theme : null;
  } catch {
    return null;
  }
}

function apply(theme) {
  document.documentElement.dataset.theme = theme;
  const other = theme === "dark" ? "light" : "dark";
  document.getElementById("theme").setAttribute("aria-label", `Change to ${other} colours`);
}
