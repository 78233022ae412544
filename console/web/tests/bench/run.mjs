// Measures the fleet's pictures in headless Chromium with software GL, on a server that runs: `leastwise bench-page` calls it
// with a one-time link. Prints a line of JSON for each figure.
//   node tests/bench/run.mjs LINK
import { launch, watch } from "../e2e/browser.mjs";

const [link] = process.argv.slice(2);
if (!link) throw new Error("Give the link that `leastwise bench-page --serve` prints.");
const origin = new URL(link).origin;
const viewport = { width: 1440, height: 900 };
const loads = 5, moving = 4000;
const figure = (Name, Value, Unit, Budget, Note) => console.log(JSON.stringify({ Name, Value, Unit, Budget, Note }));
const sorted = (list) => [...list].sort((a, b) => a - b);
const quantile = (list, share) => sorted(list)[Math.max(0, Math.ceil(share * list.length) - 1)];

/** Runs in the page, before anything of its own: tells when a canvas of WebGL holds a picture of many things. */
function notice() {
  window.drawn = window.draws = 0;
  // Where each kind of drawing is told how many things it draws.
  for (const [name, count] of Object.entries({ drawArrays: 2, drawElements: 1, drawArraysInstanced: 3, drawElementsInstanced: 4 })) {
    const draw = WebGL2RenderingContext.prototype[name];
    WebGL2RenderingContext.prototype[name] = function (...args) {
      draw.apply(this, args);
      window.draws++;
      if (window.drawn || args[count] < 20) return;
      // Commands to GL are only queued: reading a pixel back waits until all that was asked for is drawn.
      this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4));
      window.drawn = -1;
      requestAnimationFrame(() => setTimeout(() => (window.drawn = performance.now())));
    };
  }
}

/** Runs in the page: the times between frames while `step` is called for each. */
async function frames([lasts, step]) {
  const move = step ? new Function("t", step) : () => {};
  const times = [];
  const begin = performance.now();
  let last = begin;
  await new Promise((done) => {
    const next = () => {
      const now = performance.now();
      times.push(now - last);
      last = now;
      if (now - begin > lasts) return done();
      move((now - begin) / lasts);
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  return times.slice(2);
}

const browser = await launch();
const wrong = [];
try {
  const signIn = await browser.newContext({ viewport });
  await (await signIn.newPage()).goto(link);
  const cookies = await signIn.cookies();
  await signIn.close();

  /** A browser that has nothing of the page yet but the session. */
  async function fresh() {
    const context = await browser.newContext({ viewport, reducedMotion: "reduce" });
    await context.addCookies(cookies);
    await context.addInitScript(notice);
    const page = await context.newPage();
    watch(page, origin, wrong);
    return page;
  }
  async function picture(page, path) {
    await page.goto(origin + path, { waitUntil: "commit" });
    await page.waitForFunction(() => window.drawn > 0, null, { timeout: 60_000, polling: 50 });
    return page.evaluate(() => window.drawn);
  }

  // First pictures.
  let page, count;
  for (const [name, path] of [["lanes", "/fleet"], ["space", "/fleet?view=space"]]) {
    const times = [];
    for (let n = 0; n < loads; n++) {
      await page?.context().close();
      page = await fresh();
      times.push(await picture(page, path));
    }
    count = await page.evaluate(async () => {
      const buffer = await (await fetch("/v1/fleet?state=active")).arrayBuffer();
      const length = new DataView(buffer).getUint32(0, true);
      return { bytes: buffer.byteLength, credentials: JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))).count };
    });
    figure(`first picture, ${name}`, quantile(times, 0.5) / 1000, "s", 2,
      `${count.credentials} active credentials, ${(count.bytes / 1e6).toFixed(1)} MB; from the beginning of the navigation to the end of the frame in which the canvas was drawn and read back; signed in before, nothing cached, software GL; middle of ${loads} (${(Math.min(...times) / 1000).toFixed(2)} to ${(Math.max(...times) / 1000).toFixed(2)} s)`);
  }

  // What an empty scene of the same size costs here and now: a canvas that is cleared for each frame.
  await page.context().close();
  page = await fresh();
  await picture(page, "/fleet");
  const emptyPage = await (await browser.newContext({ viewport })).newPage();
  async function emptyScene({ width, height }) {
    await emptyPage.goto("about:blank");
    await emptyPage.evaluate(([width, height]) => {
      document.body.style.margin = "0";
      const canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = height;
      document.body.append(canvas);
      window.gl = canvas.getContext("webgl2");
    }, [width, height]);
    await emptyPage.bringToFront();
    return emptyPage.evaluate(frames, [moving, "const gl = window.gl; gl.clearColor(t, t, t, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);"]);
  }

  const at = "const s = document.querySelector('.scroller'), b = s.getBoundingClientRect(); const o = { bubbles: true, cancelable: true, clientX: b.left + b.width * 0.6, clientY: b.top + b.height / 2 };";
  const drag = "const c = window.scene; const b = c.getBoundingClientRect(); const o = { bubbles: true, cancelable: true, clientX: b.left + b.width * (0.5 + 0.2 * Math.sin(t * 12)), clientY: b.top + b.height / 2 };";
  const moves = {
    "lanes, scrolling": ["/fleet", "document.querySelector('.scroller').scrollTop += 60;"],
    "lanes, panning in time": ["/fleet", at + "s.dispatchEvent(new WheelEvent('wheel', { ...o, deltaX: t < 0.5 ? 12 : -12 }));"],
    "lanes, zooming in time": ["/fleet", at + "s.dispatchEvent(new WheelEvent('wheel', { ...o, ctrlKey: true, deltaY: t < 0.5 ? -6 : 6 }));"],
    "lanes, all at once, panning": ["/fleet?rows=whole", at + "s.dispatchEvent(new WheelEvent('wheel', { ...o, deltaX: t < 0.5 ? 12 : -12 }));"],
    "space, turning": ["/fleet?view=space", null],
    "space, zooming": ["/fleet?view=space", drag + "c.dispatchEvent(new WheelEvent('wheel', { ...o, deltaY: t < 0.5 ? -30 : 30 }));"],
  };
  for (const [name, [path, step]] of Object.entries(moves)) {
    await page.bringToFront();
    await picture(page, path);
    await page.waitForTimeout(1500); // what follows the first picture is over
    const canvas = await page.evaluate(() => {
      const c = (window.scene = [...document.querySelectorAll("canvas")].find((c) => c.width > 300 && c.getContext("webgl2")));
      window.draws = 0;
      return { width: c.width, height: c.height };
    });
    let times;
    if (step) times = await page.evaluate(frames, [moving, step]);
    else {
      // Turning is dragging: the mouse's own events, so that the picture captures the pointer as it does for people.
      const middle = { x: viewport.width * 0.45, y: viewport.height * 0.55 };
      await page.mouse.move(middle.x, middle.y);
      await page.mouse.down();
      const counting = page.evaluate(frames, [moving, null]);
      const end = Date.now() + moving;
      for (let n = 0; Date.now() < end; n++) await page.mouse.move(middle.x + 250 * Math.sin(n / 20), middle.y + 60 * Math.cos(n / 31));
      times = await counting;
      await page.mouse.up();
    }
    const draws = await page.evaluate(() => window.draws);
    if (draws < 3) wrong.push(`${name}: the picture did not move (${draws} times drawn)`);
    const empty = await emptyScene(canvas);
    const ratio = (share) => quantile(times, share) / quantile(empty, share);
    figure(`frames, ${name}`, ratio(0.95), "times an empty scene's", 3,
      `95th of 100 frames: ${quantile(times, 0.95).toFixed(1)} ms against ${quantile(empty, 0.95).toFixed(1)} ms; middle ${quantile(times, 0.5).toFixed(1)} against ${quantile(empty, 0.5).toFixed(1)} ms (${ratio(0.5).toFixed(2)} times)${Math.abs(quantile(empty, 0.5) - 1000 / 60) < 1 ? "; the empty scene waits for the screen's next beat (16.7 ms), so that 3 times is 20 pictures a second" : ""}; ${times.length} frames, drawn ${draws} times, canvas ${canvas.width} × ${canvas.height}`);
  }
} finally {
  await browser.close();
}
if (wrong.length) {
  console.error([...new Set(wrong)].join("\n"));
  process.exitCode = 1;
}
