// Light or dark: as the system says, unless the reader chose.
type Choice = "system" | "light" | "dark";
const dark = matchMedia("(prefers-color-scheme: dark)");
const stored = () => {
  try {
    const s = localStorage.getItem("theme");
    return s === "light" || s === "dark" ? s : "system";
  } catch {
    return "system";
  }
};

export const theme = $state<{ choice: Choice; dark: boolean }>({ choice: stored(), dark: false });

function apply() {
  theme.dark = theme.choice === "dark" || (theme.choice === "system" && dark.matches);
  document.documentElement.dataset.theme = theme.dark ? "dark" : "light";
}
dark.addEventListener("change", apply);
apply();

export function choose(choice: Choice) {
  theme.choice = choice;
  try {
    if (choice === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", choice);
  } catch {
    // Private windows may have no storage; the choice then lasts as long as the page.
  }
  apply();
}
