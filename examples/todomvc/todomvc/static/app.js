// The page changes at once; the change goes to the server behind it, one after the other. What the server refuses is taken
// back, and the page says so.
"use strict";

const state = JSON.parse(document.getElementById("state").textContent);
const find = (selector) => document.querySelector(selector);
const list = find(".todo-list");
const newTodo = find(".new-todo");
const notice = find("#notice");
const READ_ONLY = "Read-only for now: your todos are here, changes are possible again soon.";
const LOST = "The server cannot be reached. Trying again.";
let editing = null;
let retry = null;
let queue = Promise.resolve();
let pending = 0;

function identifier() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// ---- Server

const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

// A network that changes breaks what is under way. Every change may be sent twice, so it is: todos have their names from here.
async function ask(path, options) {
  for (const wait of [200, 1000]) {
    try {
      return await fetch(path, options);
    } catch (error) {
      await pause(wait);
    }
  }
  return fetch(path, options);
}

async function request(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await ask(path, options);
  if (!response.ok) {
    const error = new Error((await response.json().catch(() => ({}))).error || response.statusText);
    error.status = response.status;
    error.retryAfter = Number(response.headers.get("Retry-After")) || 0;
    throw error;
  }
  return { body: await response.json(), readOnly: response.headers.has("X-Read-Only") };
}

// The order of the user's changes is the order in which the server sees them.
function send(method, path, body) {
  pending += 1;
  queue = queue
    .then(() => request(method, path, body))
    .then(() => { pending -= 1; }, async (error) => {
      pending -= 1;
      // What follows was decided on a list that is not the server's.
      queue = Promise.resolve();
      if (error.status === 404) return refresh();
      say(error.status === 503 ? READ_ONLY : error.status ? error.message : LOST);
      await refresh().catch(() => {});
      watch(error.retryAfter);
    });
}

async function refresh() {
  const answer = await request("GET", "/api/todos");
  if (pending) return answer;
  state.todos = answer.body.todos;
  render();
  return answer;
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

// Ask until changes are possible again.
function watch(seconds) {
  clearTimeout(retry);
  retry = setTimeout(async () => {
    try {
      const answer = await refresh();
      if (!answer.readOnly) return say("");
      say(READ_ONLY);
    } catch (error) {
      say(LOST);
    }
    watch(5);
  }, Math.max(seconds || 5, 1) * 1000);
}

// ---- Changes

function add(title) {
  const todo = { id: identifier(), title, completed: false };
  state.todos.push(todo);
  send("POST", "/api/todos", { id: todo.id, title });
  render();
}

function change(todo, changes) {
  Object.assign(todo, changes);
  send("PATCH", `/api/todos/${todo.id}`, changes);
  render();
}

function remove(todo) {
  state.todos = state.todos.filter((other) => other !== todo);
  send("DELETE", `/api/todos/${todo.id}`);
  render();
}

function edit(todo) {
  editing = todo.id;
  render();
  const field = list.querySelector(".editing .edit");
  field.value = todo.title;
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

// Enter and leaving the field save, Escape does not; an empty title deletes.
function finish(save) {
  const todo = state.todos.find((other) => other.id === editing);
  const field = list.querySelector(".editing .edit");
  editing = null;
  if (!todo || !field || !save) return render();
  const title = field.value.trim();
  if (!title) remove(todo);
  else if (title !== todo.title) change(todo, { title });
  else render();
}

// ---- Page

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function item(todo) {
  const toggle = element("input", { className: "toggle", type: "checkbox" });
  toggle.setAttribute("aria-label", "Completed");
  const destroy = element("button", { className: "destroy", type: "button" });
  destroy.setAttribute("aria-label", "Delete");
  const made = element("li", {}, element("div", { className: "view" }, toggle, element("label"), destroy));
  made.dataset.id = todo.id;
  return made;
}

function render() {
  const left = state.todos.filter((todo) => !todo.completed).length;
  const shown = state.todos.filter((todo) => state.filter === "all" || todo.completed === (state.filter === "completed"));
  const present = new Map(Array.from(list.children, (child) => [child.dataset.id, child]));
  shown.forEach((todo, index) => {
    const child = present.get(todo.id) || item(todo);
    present.delete(todo.id);
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] || null);
    child.classList.toggle("completed", todo.completed);
    child.classList.toggle("editing", todo.id === editing);
    child.querySelector(".toggle").checked = todo.completed;
    child.querySelector("label").textContent = todo.title;
    const field = child.querySelector(".edit");
    if (todo.id !== editing) field?.remove();
    else if (!field) {
      const made = element("input", { className: "edit", maxLength: 500 });
      made.setAttribute("aria-label", "Edit todo");
      child.append(made);
    }
  });
  present.forEach((child) => child.remove());
  find(".main").hidden = find(".footer").hidden = !state.todos.length;
  find(".toggle-all").checked = Boolean(state.todos.length) && !left;
  find(".todo-count").replaceChildren(element("strong", { textContent: String(left) }), left === 1 ? " item left" : " items left");
  find(".clear-completed").hidden = left === state.todos.length;
  for (const link of document.querySelectorAll(".filters a")) {
    const selected = link.pathname === location.pathname;
    link.classList.toggle("selected", selected);
    if (selected) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

const todoOf = (target) => state.todos.find((todo) => todo.id === target.closest("li")?.dataset.id);

newTodo.addEventListener("keydown", (event) => {
  const title = newTodo.value.trim();
  if (event.key !== "Enter" || event.isComposing || !title) return;
  newTodo.value = "";
  add(title);
});

find(".toggle-all").addEventListener("change", (event) => {
  const completed = event.target.checked;
  state.todos.forEach((todo) => { todo.completed = completed; });
  send("POST", "/api/todos/toggle-all", { completed });
  render();
});

find(".clear-completed").addEventListener("click", () => {
  state.todos = state.todos.filter((todo) => !todo.completed);
  send("POST", "/api/todos/clear-completed", {});
  render();
  newTodo.focus();
});

list.addEventListener("change", (event) => {
  if (event.target.matches(".toggle")) change(todoOf(event.target), { completed: event.target.checked });
});

list.addEventListener("click", (event) => {
  if (event.target.matches(".destroy")) remove(todoOf(event.target));
});

list.addEventListener("dblclick", (event) => {
  if (event.target.matches(".view label")) edit(todoOf(event.target));
});

list.addEventListener("keydown", (event) => {
  if (!event.target.matches(".edit") || event.isComposing) return;
  if (event.key === "Enter") finish(true);
  if (event.key === "Escape") finish(false);
});

list.addEventListener("focusout", (event) => {
  if (event.target.matches(".edit") && editing !== null) finish(true);
});

function show() {
  state.filter = { "/active": "active", "/completed": "completed" }[location.pathname] || "all";
  render();
}

find(".filters").addEventListener("click", (event) => {
  if (!event.target.matches("a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", event.target.pathname);
  show();
});

window.addEventListener("popstate", show);

// A page that comes back from the browser's memory shows what is true now.
window.addEventListener("pageshow", (event) => { if (event.persisted) refresh().catch(() => {}); });

show();
if (state.readOnly) watch(5);
