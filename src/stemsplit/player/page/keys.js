// Keys of the whole page. A control that has the focus by keyboard keeps its own keys.

/** Listen to keys. `commands` are [keys, words, action] with keys as in "Space k" or "Shift+ArrowLeft". */
export function listenToKeys(commands) {
  const actions = new Map(commands.flatMap(([keys, , action]) => keys.split(" ").map((key) => [key, action])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    const range = target.matches("input, select, textarea");
    if (range && /^(Arrow|Home|End|Page| )/.test(event.key)) return;
    if (event.key === " " && target.matches("button:focus-visible, a")) return;
    const name = event.key === " " ? "Space" : event.key;
    const digit = /^Digit[1-9]$/.test(event.code) ? event.code.slice(5) : "";
    const key = digit && event.shiftKey ? `Shift+${digit}` : event.shiftKey && name.length > 1 ? `Shift+${name}` : name;
    const action = actions.get(key) ?? actions.get(key.toLowerCase());
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Fill a definition list with the keys and what they do. */
export function listKeys(list, commands, make) {
  const shown = (key) => {
    const name = key.replace("Shift+", "Shift ").replace("ArrowLeft", "←").replace("ArrowRight", "→");
    return name.length === 1 ? name.toUpperCase() : name;
  };
  for (const [keys, words] of commands) {
    if (!words) continue;
    const names = keys.split(" ").map((key) => make("kbd", {}, shown(key)));
    list.append(make("dt", {}, ...names), make("dd", {}, words));
  }
}
