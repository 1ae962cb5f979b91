// Requests to the server, and the events that it sends.

/** Get a JSON value. */
export async function get(address) {
  return answered(await fetch(address));
}

/** Send a request without a body; DELETE has no answer. */
export async function send(method, address) {
  return answered(await fetch(address, { method }));
}

async function answered(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  const text = await response.json().then(({ detail }) => detail, () => response.statusText);
  throw new Error(typeof text === "string" ? text : response.statusText);
}

/** Upload a song with what is wanted of it. Resolves to its job; `sent` is told the share that is uploaded. */
export function upload(file, wanted, sent) {
  const form = new FormData();
  for (const [name, value] of Object.entries(wanted)) if (value) form.append(name, value);
  form.append("file", file);
  const request = new XMLHttpRequest(); // fetch does not tell how much is sent
  const job = new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => sent(total ? loaded / total : 0);
    request.onerror = () => reject(new Error("the server cannot be reached"));
    request.onabort = () => reject(new Error("cancelled"));
    request.onload = () => {
      if (request.status === 202) resolve(request.response);
      else reject(new Error(request.response?.detail ?? `the server said ${request.status}`));
    };
  });
  request.open("POST", "/separate");
  request.responseType = "json";
  request.send(form);
  return { job, cancel: () => request.abort() };
}

/** Listen to what becomes of jobs. `lost` is told whether the server is away. */
export function listen(changed, lost) {
  const source = new EventSource("/events");
  source.addEventListener("job", ({ data }) => changed(JSON.parse(data)));
  source.onopen = () => lost(false);
  source.onerror = () => lost(true);
  return source;
}
