// The error page: clips play, keys and buttons give them labels, the corrections are kept in the browser and saved as CSV.
(() => {
  const section = document.getElementById("clips");
  if (!section) return;
  const { cards, identity } = JSON.parse(document.getElementById("mer-ray-data").textContent).clips;
  const storageKey = `mer-ray-corrections:${identity}`;
  const UNKNOWN = "", LEAVE_OUT = "-";
  // Browsers bound the players of a page: those played longest ago go back to their still.
  const MAX_PLAYERS = 8;

  const element = (name) => document.getElementById(`clips-${name}`);
  const articles = [...section.querySelectorAll(".clip")];
  const cardOf = (article) => cards[Number(article.dataset.card)];
  const mediaOf = (article) => article.querySelector("video, audio");
  const players = [];
  let current = articles[0];

  // slug -> {clip_id, corpus, old_emotion, emotion, note}; emotion null: a note alone, the label stays.
  let corrections = new Map();
  let isKept = true;

  function load() {
    try {
      corrections = new Map(JSON.parse(localStorage.getItem(storageKey) ?? "[]"));
    } catch {
      isKept = false; // pages opened from a file may have no storage
    }
  }

  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify([...corrections]));
      isKept = true;
    } catch {
      isKept = false;
    }
  }

  function change(article, part) {
    const { slug, clip_id, corpus, label } = cardOf(article);
    const entry = { clip_id, corpus, old_emotion: label, emotion: null, note: "", ...corrections.get(slug), ...part };
    if (entry.emotion === null && !entry.note) corrections.delete(slug);
    else corrections.set(slug, entry);
    keep();
    show();
  }

  function give(article, emotion) {
    change(article, { emotion });
    say(`${cardOf(article).clip_id}: ${verdict(corrections.get(cardOf(article).slug))}.`);
  }

  function remove(slug) {
    const entry = corrections.get(slug);
    if (!entry) return;
    corrections.delete(slug);
    keep();
    show();
    say(`${entry.clip_id}: correction taken back.`);
  }

  const called = (emotion) => emotion || "unknown";
  const decided = (entry) => entry.emotion ?? entry.old_emotion ?? UNKNOWN;

  function verdict(entry) {
    const emotion = decided(entry), old = entry.old_emotion ?? UNKNOWN;
    if (emotion === LEAVE_OUT) return "left out";
    if (emotion === old) return entry.emotion === null ? `stays ${called(old)}` : `${called(old)} confirmed`;
    return `${called(old)} → ${called(emotion)}`;
  }

  function say(text) {
    element("status").textContent = text;
  }

  function show() {
    for (const article of articles) {
      const entry = corrections.get(cardOf(article).slug);
      article.classList.toggle("corrected", Boolean(entry));
      for (const button of article.querySelectorAll("[data-emotion]"))
        button.setAttribute("aria-pressed", String(entry != null && button.dataset.emotion === entry.emotion));
      const told = article.querySelector(".verdict span"), note = article.querySelector(".remark input");
      told.hidden = !entry;
      told.firstElementChild.textContent = entry ? verdict(entry) : "";
      if (note !== document.activeElement) note.value = entry?.note ?? "";
    }
    const count = corrections.size;
    element("count").textContent = count ? `${count} correction${count === 1 ? "" : "s"}` : "No corrections yet";
    element("save").disabled = !count;
    element("list").hidden = !count;
    element("list").querySelector("ol").replaceChildren(...[...corrections].map(([slug, entry]) => listed(slug, entry)));
    element("kept").hidden = isKept;
  }

  function listed(slug, entry) {
    const item = document.createElement("li"), link = document.createElement("a"), button = document.createElement("button");
    link.href = `#${slug}`;
    link.className = "id";
    link.textContent = entry.clip_id;
    button.type = "button";
    button.className = "plain";
    button.textContent = "take back";
    button.setAttribute("aria-label", `Take back the correction of ${entry.clip_id}`);
    button.addEventListener("click", () => remove(slug));
    item.append(link, ` ${verdict(entry)}${entry.note ? ` (${entry.note})` : ""} `, button);
    return item;
  }

  // RFC 4180.
  const field = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const row = (fields) => `${fields.map(field).join(",")}\r\n`;

  function csv(entries) {
    const rows = entries.map((entry) => [entry.clip_id, decided(entry), entry.old_emotion ?? UNKNOWN, entry.note]);
    return [["clip_id", "emotion", "old_emotion", "note"], ...rows].map(row).join("");
  }

  function save() {
    if (!corrections.size) return say("There is no correction to save.");
    const entries = [...corrections.values()], corpora = new Set(entries.map((entry) => entry.corpus));
    // Ids belong to a corpus: clips of several corpora go to a file each.
    const several = new Set(cards.map((card) => card.corpus)).size > 1;
    for (const corpus of corpora) {
      const link = document.createElement("a");
      link.download = several ? `corrections_${corpus}.csv` : "corrections.csv";
      link.href = URL.createObjectURL(new Blob([csv(entries.filter((entry) => entry.corpus === corpus))], { type: "text/csv" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    }
    return say(`Saved: ${several ? `${corpora.size} files` : "corrections.csv"}.`);
  }

  const visible = () => articles.filter((article) => !article.hidden);

  function enter(article) {
    current = article;
    article.focus({ preventScroll: true });
    article.scrollIntoView({ block: "nearest" });
    const media = mediaOf(article);
    if (media && element("autoplay").checked) play(media);
  }

  function step(from, by) {
    const shown = [...section.querySelectorAll(".clip:not([hidden])")];
    const place = shown.indexOf(from ?? current);
    const next = shown[from && place >= 0 ? place + by : Math.max(place, 0)];
    if (next) enter(next);
    else say(by > 0 ? "This is the last clip." : "This is the first clip.");
  }

  function quietBut(media) {
    for (const other of section.querySelectorAll("video, audio")) if (other !== media) other.pause();
  }

  function play(media) {
    quietBut(media);
    media.play().catch((error) => {
      // Moving on stops a clip before it has begun; a copy that is gone is told by its own event.
      if (error.name === "NotAllowedError") say("The browser plays after the first click or key only.");
    });
  }

  function toggle(article) {
    const media = mediaOf(article);
    if (!media) return say(article.querySelector(".screen .note").textContent);
    return media.paused || media.ended ? play(media) : media.pause();
  }

  function started(media) {
    if (media.paused) return; // told late: another clip plays by now
    quietBut(media);
    current = media.closest(".clip");
    if (players.includes(media)) players.splice(players.indexOf(media), 1);
    players.push(media);
    if (players.length > MAX_PLAYERS) players.shift().load();
  }

  function isTyping(target) {
    return target.matches("textarea, select, input:not([type=checkbox])") || target.isContentEditable;
  }

  function inClip(article, key, event) {
    const { classes } = cardOf(article);
    if (/^[1-9]$/.test(key) && Number(key) <= Math.min(9, classes.length)) give(article, classes[Number(key) - 1]);
    else if (key === "0" || key === "u") give(article, UNKNOWN);
    else if (key === "x") give(article, LEAVE_OUT);
    else if (key === "Backspace") remove(cardOf(article).slug);
    else if (key === "n") article.querySelector(".remark input").focus();
    else if (key === " " && !event.target.matches("button, summary, a, video, audio")) toggle(article);
    else return false;
    return true;
  }

  function pressed(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target, key } = event, article = target.closest?.(".clip") ?? null;
    if (!section.contains(target) && target !== document.body) return;
    if (isTyping(target)) {
      if (article && (key === "Escape" || key === "Enter")) enter(article);
      return;
    }
    const arrows = article && !target.matches("video, audio"); // there they wind and change the volume
    if (key === "j" || (arrows && (key === "ArrowDown" || key === "ArrowRight"))) step(article, 1);
    else if (key === "k" || (arrows && (key === "ArrowUp" || key === "ArrowLeft"))) step(article, -1);
    else if (key === "s") save();
    else if (!article || !inClip(article, key, event)) return;
    event.preventDefault();
  }

  function choose() {
    const run = element("run")?.value ?? "", group = element("group")?.value ?? "";
    const place = (article) => {
      const asked = cardOf(article).verdicts.filter((one) => !run || one.run === run);
      const ranks = asked.flatMap((one) => Object.entries(one.ranks)).filter(([key]) => !group || key === group);
      return ranks.length ? Math.min(...ranks.map(([, rank]) => rank)) : null;
    };
    for (const article of articles) article.hidden = place(article) === null;
    // As the run ranks them; over all runs those that most of them list come first, as the page has them.
    const order = run || group ? [...articles].sort((a, b) => place(a) - place(b)) : articles;
    section.querySelector(".clips").append(...order);
    for (const article of articles) bars(article, run);
    const shown = visible();
    element("shown").textContent = `${shown.length} of ${articles.length} clips`;
    if (!shown.includes(current)) current = shown[0];
  }

  function bars(article, run) {
    const { verdicts, classes } = cardOf(article);
    const one = verdicts.find((other) => other.run === run) ?? verdicts.find((other) => Object.keys(other.ranks).length);
    classes.forEach((name, position) => {
      const button = article.querySelector(`[data-emotion="${CSS.escape(name)}"]`), share = one.probabilities[position] ?? 0;
      button.style.setProperty("--share", (100 * share).toFixed(1));
      button.querySelector(".share").textContent = `${(100 * share).toFixed(0)} %`;
    });
    article.querySelector(".choices").setAttribute("aria-label", `Label of ${cardOf(article).clip_id}; bars: probability by ${one.name}`);
    for (const line of article.querySelectorAll(".verdicts li")) line.classList.toggle("shown", line.dataset.run === one.run);
  }

  function follow() {
    const article = articles.find((one) => `#${one.id}` === location.hash);
    if (!article) return;
    if (article.hidden) {
      for (const name of ["run", "group"]) if (element(name)) element(name).value = "";
      choose();
    }
    enter(article);
  }

  section.addEventListener("click", (event) => {
    const button = event.target.closest(".clip button"), article = event.target.closest(".clip");
    if (!button) return;
    if (button.dataset.act === "remove") {
      remove(cardOf(article).slug);
      article.focus({ preventScroll: true });
    } else if (button.getAttribute("aria-pressed") === "true") change(article, { emotion: null });
    else give(article, button.dataset.emotion);
  });
  section.addEventListener("input", (event) => {
    if (event.target.matches(".remark input")) change(event.target.closest(".clip"), { note: event.target.value.trim() });
  });
  section.addEventListener("focusin", (event) => (current = event.target.closest(".clip") ?? current));
  section.addEventListener("play", (event) => started(event.target), true);
  section.addEventListener(
    "error",
    (event) => {
      const note = document.createElement("p");
      note.className = "note";
      note.textContent = "The copy cannot be played: its folder belongs beside this page.";
      event.target.replaceWith(note);
    },
    true,
  );
  for (const name of ["run", "group"]) element(name)?.addEventListener("change", choose);
  element("save").addEventListener("click", save);
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", follow);
  window.addEventListener("storage", (event) => {
    if (event.key !== storageKey) return;
    load(); // the same report in another window
    show();
  });

  load();
  choose();
  show();
  if (location.hash) follow();
})();
