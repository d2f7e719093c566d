/* A trace's address in, the trace shown by ui.perfetto.dev out: handed over between two windows, so
 * that it is never uploaded. Needs a network, for the viewer itself alone. */

const PERFETTO = "https://ui.perfetto.dev";
// How its documentation says: the viewer buffers no message, so PING is sent until it says PONG.

export async function openInPerfetto(address, title) {
  // Opened before anything is awaited: later, the browser takes it for a pop-up nobody asked for.
  // Empty until the trace is there: Chromium forgets a close() that meets a navigation.
  const viewer = window.open("about:blank");
  if (!viewer) throw new Error("the browser refused to open a window for ui.perfetto.dev");
  let buffer;
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`the trace could not be read (${answer.status})`);
    buffer = await answer.arrayBuffer();
  } catch (problem) {
    viewer.close(); // an empty viewer would look like an empty trace
    throw problem;
  }
  viewer.location.replace(PERFETTO);
  const ready = new Promise((resolve, reject) => {
    const asking = setInterval(() => viewer.postMessage("PING", PERFETTO), 100);
    const tired = setTimeout(() => stop(() => reject(new Error("ui.perfetto.dev does not answer"))),
                             60_000);
    const listen = (event) => {
      if (event.origin === PERFETTO && event.source === viewer && event.data === "PONG") stop(resolve);
    };
    function stop(then) {
      clearInterval(asking);
      clearTimeout(tired);
      window.removeEventListener("message", listen);
      then();
    }
    window.addEventListener("message", listen);
  });
  await ready;
  // Handed over, not copied: an XL trace has tens of megabytes. Perfetto unpacks gzip by itself.
  viewer.postMessage({ perfetto: { buffer, title, fileName: `${title}.trace.json.gz` } }, PERFETTO,
                     [buffer]);
}
