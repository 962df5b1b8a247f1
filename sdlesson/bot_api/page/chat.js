// The chat page: asks the server for news twice a second, and sends what its user does.
// Addresses are relative, so that the page works behind a proxy such as Colab's too.
"use strict";

const WORDS = {
  en: {
    banner: "A local stand-in, not Telegram: nothing leaves this machine.",
    other: "ES", otherTitle: "Español", write: "Message", send: "Send", attach: "Attach a photo",
    detach: "Remove the photo", commands: "Commands", start: "Start", messages: "Messages",
    ready: "bot, running", off: "the bot is not running", lost: "no connection to the notebook",
    typing: "typing…", upload_photo: "sending a photo…", upload_document: "sending a file…",
    busy: "working…", edited: "edited", photo: "photo", file: "file", blocked: "You blocked the bot.",
    empty: "No messages yet.", tooLong: "At most 1,024 characters beside a photo or a file.",
    refused: "That could not be sent.",
  },
  es: {
    banner: "Un sustituto local, no es Telegram: nada sale de esta máquina.",
    other: "EN", otherTitle: "English", write: "Mensaje", send: "Enviar", attach: "Adjuntar una foto",
    detach: "Quitar la foto", commands: "Comandos", start: "Empezar", messages: "Mensajes",
    ready: "bot, en marcha", off: "el bot no está en marcha", lost: "sin conexión con el cuaderno",
    typing: "escribiendo…", upload_photo: "enviando una foto…", upload_document: "enviando un archivo…",
    busy: "trabajando…", edited: "editado", photo: "foto", file: "archivo", blocked: "Has bloqueado el bot.",
    empty: "Todavía no hay mensajes.", tooLong: "Como mucho 1024 caracteres junto a una foto o un archivo.",
    refused: "No se ha podido enviar.",
  },
};
const PEOPLE = [{ name: "Ana", language_code: "es" }, { name: "Ben", language_code: "en" }];
const MAX_CAPTION = 1024;
const LOOK_EVERY_MS = 500;
const HIDDEN_LOOK_EVERY_MS = 3000;
const TOAST_MS = 3000;
const PHOTO_PX = 1280; // as the apps of Telegram, which make photos small before they send them

const at = (id) => document.getElementById(id);
let language = new URLSearchParams(location.search).get("lang") || navigator.language.slice(0, 2);
let people = [];
let me = null;
let chat = { revision: 0, messages: [], commands: [], notice: {} };
let attached = null;
let toastTimer = 0;

const words = () => WORDS[language] || WORDS.en;

async function ask(path, body) {
  const options = body && {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  };
  const answer = await fetch(`control/${path}`, options);
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.error);
  return result;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// What is shown

function showWords() {
  const text = words();
  document.documentElement.lang = language in WORDS ? language : "en";
  at("banner").textContent = text.banner;
  at("language").textContent = text.other;
  at("language").title = text.otherTitle;
  at("text").placeholder = text.write;
  for (const [id, label] of [["text", text.write], ["send", text.send], ["attach", text.attach],
    ["detach", text.detach], ["commands", text.commands], ["messages", text.messages]]) {
    at(id).setAttribute("aria-label", label);
    at(id).title = id === "messages" ? "" : label;
  }
}

function showPeople() {
  at("people").replaceChildren(...people.map((person) => {
    const tab = make("button", "", `${person.name} · ${person.language_code.toUpperCase()}`);
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", person === me);
    tab.onclick = () => choosePerson(person);
    return tab;
  }));
}

function showState(isConnected) {
  const text = words();
  const isOff = !isConnected || !chat.is_running;
  at("state").className = isOff ? "off" : chat.action ? "busy" : "";
  const doing = chat.action && (text[chat.action] || text.busy);
  at("state").textContent = !isConnected ? text.lost : isOff ? text.off : doing || text.ready;
}

const isNearEnd = (list, px) => list.scrollHeight - list.scrollTop - list.clientHeight < px;
const goToEnd = () => { at("messages").scrollTop = at("messages").scrollHeight; };

function showMessages() {
  const list = at("messages");
  const isAtEnd = isNearEnd(list, 80);
  const shown = new Map([...list.querySelectorAll(".message")].map((one) => [one.dataset.id, one]));
  const wanted = chat.messages.map((message) => {
    const key = JSON.stringify([message, language]);
    const old = shown.get(String(message.id));
    return old?.dataset.key === key ? old : makeMessage(message, key);
  });
  if (!wanted.length) wanted.push(make("p", "note", words().empty), makeStart());
  if (chat.is_blocked) wanted.push(make("p", "note", words().blocked));
  list.replaceChildren(...wanted);
  if (isAtEnd) goToEnd();
}

function makeMessage(message, key) {
  const element = make("article", message.is_from_bot ? "message" : "message mine");
  element.dataset.id = message.id;
  element.dataset.key = key;
  const bubble = make("div", "bubble");
  if (message.replied_html) {
    const replied = make("span", "replied");
    replied.innerHTML = message.replied_html;
    bubble.append(replied);
  }
  if (message.photo) bubble.append(makePhoto(message.photo));
  if (message.document) {
    const link = make("a", "file", `📄 ${message.document.file_name}`);
    link.href = message.document.path;
    link.download = message.document.file_name;
    bubble.append(link);
  }
  const text = make("div", "words");
  text.innerHTML = message.html; // escaped by the server
  const date = new Date(message.date * 1000);
  const time = date.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
  text.append(make("span", "time", message.is_edited ? `${words().edited} ${time}` : time));
  bubble.append(text);
  element.append(bubble, ...message.buttons.map((row) => makeKeys(message, row)));
  return element;
}

function makePhoto(photo) {
  const image = make("img");
  image.alt = words().photo;
  image.width = photo.width;
  image.height = photo.height;
  image.src = photo.path;
  return image;
}

function makeKeys(message, row) {
  const keys = make("div", "keys");
  keys.append(...row.map((button) => {
    const key = make(button.url ? "a" : "button", "", button.text);
    if (button.url) Object.assign(key, { href: button.url, target: "_blank", rel: "noopener" });
    else key.onclick = () => press(message, button, key);
    return key;
  }));
  return keys;
}

function makeStart() {
  const start = make("button", "start", words().start);
  start.onclick = () => say({ text: "/start" });
  return start;
}

function showMenu(isOpen) {
  const isAtEnd = isNearEnd(at("messages"), 80);
  at("menu").hidden = !isOpen;
  at("commands").setAttribute("aria-expanded", isOpen);
  at("menu").replaceChildren(...chat.commands.map((command) => {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.append(make("b", "", `/${command.command}`), make("span", "", command.description));
    button.onclick = () => { showMenu(false); say({ text: `/${command.command}` }); };
    item.append(button);
    return item;
  }));
  if (isAtEnd) goToEnd();
}

function showToast(text) {
  clearTimeout(toastTimer);
  at("toast").textContent = text;
  at("toast").hidden = !text;
  toastTimer = setTimeout(() => { at("toast").hidden = true; }, TOAST_MS);
}

function showAttached() {
  URL.revokeObjectURL(at("preview").src);
  at("attached").hidden = !attached;
  at("attached-name").textContent = attached?.name || "";
  at("preview").src = attached ? URL.createObjectURL(attached) : "";
}

// What is done

async function look() {
  if (!me) return;
  const asked = me;
  const news = await ask(`chats/${me.id}?revision=${chat.revision}`);
  if (asked !== me) return; // the user was switched meanwhile
  const notice = JSON.stringify(chat.notice);
  const isNew = news.messages !== undefined;
  chat = { ...chat, ...news };
  at("bot").textContent = chat.bot.name;
  document.title = chat.bot.name;
  if (!isNew) return;
  showMessages();
  at("commands").hidden = !chat.commands.length;
  if (JSON.stringify(chat.notice) !== notice && chat.notice.text) {
    if (chat.notice.show_alert) alert(chat.notice.text);
    else showToast(chat.notice.text);
  }
}

async function keepLooking() {
  let isConnected = true;
  try {
    if (!me) await begin();
    await look();
  } catch {
    isConnected = false;
  }
  showState(isConnected);
  setTimeout(keepLooking, document.hidden ? HIDDEN_LOOK_EVERY_MS : LOOK_EVERY_MS);
}

async function begin() {
  people = [];
  for (const person of PEOPLE) people.push(await ask("people", person));
  choosePerson(people.find((person) => person.language_code === language) || people[0]);
}

function choosePerson(person) {
  me = person;
  chat = { revision: 0, messages: [], commands: [], notice: {}, is_running: chat.is_running };
  at("messages").replaceChildren();
  showPeople();
  showMenu(false);
  look().catch(() => showState(false));
}

async function say(body) {
  try {
    await ask(`chats/${me.id}/messages`, body);
  } catch (error) {
    console.warn(error.message);
    showToast(words().refused);
    return false;
  }
  await look().catch(() => showState(false));
  goToEnd();
  return true;
}

async function press(message, button, key) {
  key.classList.add("waiting");
  try {
    const data = button.callback_data;
    await ask(`chats/${me.id}/presses`, { message_id: message.id, button: data });
  } catch (error) {
    console.warn(error.message); // the button went while it was pressed
  }
  setTimeout(() => key.classList.remove("waiting"), 600);
}

async function submit() {
  const text = at("text").value.trim();
  if (!text && !attached) return;
  if (attached && text.length > MAX_CAPTION) { showToast(words().tooLong); return; }
  const file = attached;
  fill("", null); // at once, so that the next message can be written while this one is sent
  const isSent = await say(file ? { text, ...await pack(file) } : { text });
  if (!isSent && !at("text").value && !attached) fill(text, file);
}

function fill(text, file) {
  at("text").value = text;
  attached = file;
  showAttached();
  fitText();
}

// A photo as the apps send it; what the browser cannot read goes as a file.
async function pack(file) {
  try {
    const image = await createImageBitmap(file);
    const scale = Math.min(1, PHOTO_PX / Math.max(image.width, image.height));
    const canvas = make("canvas");
    canvas.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = Math.max(1, Math.round(image.height * scale));
    const brush = canvas.getContext("2d");
    brush.fillStyle = "white";
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    return { photo: canvas.toDataURL("image/jpeg", 0.87).split(",")[1] };
  } catch {
    return { file: await inBase64(file), file_name: file.name };
  }
}

function inBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] || "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

function fitText() {
  at("text").style.height = "auto";
  at("text").style.height = `${at("text").scrollHeight}px`;
}

at("writer").onsubmit = (event) => { event.preventDefault(); submit(); };
at("text").oninput = fitText;
at("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
};
at("file").onchange = () => { attached = at("file").files[0] || attached; at("file").value = ""; showAttached(); at("text").focus(); };
at("attach").onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") at("file").click(); };
at("detach").onclick = () => { attached = null; showAttached(); };
at("commands").onclick = () => showMenu(at("menu").hidden);
at("language").onclick = () => {
  language = words() === WORDS.es ? "en" : "es";
  showWords();
  showMessages();
};
showWords();
at("commands").hidden = true;
keepLooking();
