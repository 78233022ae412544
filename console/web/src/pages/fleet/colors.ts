// The page's colours for what is drawn and not styled.
export type Rgb = [number, number, number];

export function rgb(name: string): Rgb {
  const value = css(name);
  // The build shortens #ffffff to #fff.
  const long = value.length === 4 ? value.replace(/[^#]/g, "$&$&") : value;
  const n = parseInt(long.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}
export const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export interface Palette { severity: Rgb[]; ground: Rgb; signal: Rgb; text: string; muted: string; line: string; lineStrong: string; accent: string; signalCss: string; groundCss: string; severityCss: string[] }

const severityNames = ["--bar", "--mark-info", "--mark-low", "--mark-medium", "--mark-high", "--mark-critical"];

/** Read anew when the theme changes. */
export function palette(): Palette {
  return {
    severity: severityNames.map(rgb), severityCss: severityNames.map(css), ground: rgb("--bg"), signal: rgb("--signal"), text: css("--text"), muted: css("--muted"),
    line: css("--line"), lineStrong: css("--line-strong"), accent: css("--accent"), signalCss: css("--signal"), groundCss: css("--bg"),
  };
}

/** A picture's own canvas is no stop for the keyboard: what is around it is, and says what it shows. */
export function quiet(holder: HTMLElement) {
  const canvas = holder.querySelector("canvas");
  if (!canvas) return;
  canvas.tabIndex = -1;
  canvas.setAttribute("aria-hidden", "true");
}
