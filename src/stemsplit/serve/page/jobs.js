// The queue: a card for each song that is uploaded, waits, is worked on, or failed.

import { make } from "./tracks.js";
import { clock } from "./data.js";

/** States after which nothing more happens to a job. */
export const OVER = ["done", "failed", "cancelled"];
const WORDS = { queued: "waits for its turn", cancelled: "cancelled" };

/** What a card says of a job. */
export function wordsOf(job, now = Date.now() / 1000) {
  if (job.state === "failed") return job.error;
  if (job.state === "done") return ["done", ...job.warnings].join(" · ");
  if (job.state !== "running") return WORDS[job.state] ?? job.state;
  if (job.cancelling) return "stopping …";
  if (!job.seconds || !job.done_seconds) return "reading …";
  const share = Math.min(1, job.done_seconds / job.seconds);
  if (share === 1) return "making the player …";
  const left = ((now - job.started) * (1 - share)) / share;
  return `${Math.floor(share * 100)} % · ${clock(job.seconds)} of music · about ${clock(left)} left`;
}

/**
 * Make the card of a job.
 * @param {{cancel: () => void, dismiss: () => void}} actions what its buttons do
 */
export function jobCard(name, actions) {
  const title = make("h3", {}, name);
  const about = make("p", { className: "about", attributes: { "aria-live": "polite" } });
  const bar = make("progress", { max: 1, attributes: { "aria-label": `Progress of ${name}` } });
  const button = (text, onclick) => make("button", { type: "button", className: "button", onclick }, text);
  const cancel = button("Cancel", actions.cancel);
  const dismiss = button("Dismiss", actions.dismiss);
  const listen = make("a", { className: "button strong" }, "Listen");
  const doing = make("div", { className: "doing" }, listen, cancel, dismiss);
  const item = make("li", { className: "job" }, title, about, doing, bar);
  const set = (element, there) => { element.hidden = !there; };
  const show = (words, share, { over = false, page = null, state = "" } = {}) => {
    if (about.textContent !== words) about.textContent = words;
    item.className = `job ${state}`;
    set(bar, !over);
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    set(cancel, !over);
    set(dismiss, over);
    set(listen, page !== null);
    if (page !== null) listen.href = page;
  };
  return {
    item,
    /** Show that the file is being sent: a share from 0 to 1. */
    uploading(share) { show(share < 1 ? `uploading, ${Math.floor(share * 100)} %` : "the server reads it …", share); },
    /** Show that the server did not take it. */
    refused(why) { show(why, 0, { over: true, state: "failed" }); },
    /** Show a job as the server tells it. */
    update(job) {
      const over = OVER.includes(job.state);
      const known = job.state === "queued" || (job.seconds && job.done_seconds);
      const share = known ? Math.min(1, job.done_seconds / (job.seconds || 1)) : null;
      show(wordsOf(job), share, { over, page: job.page, state: job.state });
    },
  };
}
