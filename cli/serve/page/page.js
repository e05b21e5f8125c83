// SPDX-License-Identifier: MPL-2.0
// The page of vmctl-serve: what /v1/vms and /v1/events say, as it changes. Text of machines is only
// ever set as text.
"use strict";

const $ = (id) => document.getElementById(id);
const EVENTS_SHOWN = 50;
const rows = new Map(); // by the machine's name
let vms = [];
let shown = null; // the machine whose details are open
let newest = 0; // the sequence of the last event that is known
let allowsChanges = false;
let isLoading = false, isOutdated = false;

// ---- asking ----

let token = new URLSearchParams(location.hash.slice(1)).get("token") || sessionStorage.getItem("token");
if (location.hash) history.replaceState(null, "", location.pathname);

const headers = (more) => ({ ...(token ? { Authorization: "Bearer " + token } : {}), ...more });

async function ask(path, options = {}) {
    const answer = await fetch(path, { ...options, headers: headers(options.headers) });
    $("login").hidden = answer.status !== 401;
    if (answer.status === 401) throw new Error("a token is asked for");
    return answer;
}

async function askJson(path, options) {
    const answer = await ask(path, options);
    const body = await answer.json();
    if (!answer.ok) throw new Error(messageOf(body) || answer.statusText);
    return body;
}

function messageOf(body) {
    const error = body.error || (body.vms || []).map((vm) => vm.error).find(Boolean);
    return error && error.message + (error.help ? " (" + error.help + ")" : "");
}

const pathOf = (name) => "/v1/vms/" + encodeURIComponent(name.replace("/", "+"));

function showFailure(text) {
    $("failure").textContent = text || "";
    $("failure").hidden = !text;
}

// ---- showing ----

function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
}

function setText(target, text) {
    if (target.textContent !== text) target.textContent = text; // a screen reader reads what changes
}

function tone(vm) {
    if (vm.ready) return "good";
    if (["Stopped", "Prepared", "Suspended"].includes(vm.display)) return "off";
    return condition(vm, "Stalled") || /Failed|Error|BackOff|Invalid|Damaged/.test(vm.display) ? "bad" : "busy";
}

function conditions(vm) {
    const all = (vm.status && vm.status.conditions) || {};
    return Object.entries(all).map(([type, value]) => ({ type, ...value }));
}

function condition(vm, type) {
    return conditions(vm).find((c) => c.type === type && c.status === "True");
}

function cause(vm) {
    if (vm.ready) return "";
    const failed = condition(vm, "Stalled") || conditions(vm).find((c) => c.status === "False" && c.message);
    return failed ? failed.message || failed.reason : "";
}

function address(vm) {
    const status = vm.status || {};
    return status.sshPort ? (status.sshHost || "127.0.0.1") + ":" + status.sshPort : "-";
}

function actionButton(vm, verb) {
    const button = element("button", verb);
    button.type = "button";
    button.setAttribute("aria-label", verb + " " + vm.name);
    button.addEventListener("click", () => act(vm.name, verb));
    return button;
}

function makeRow(vm) {
    const row = element("tr"), name = element("button", vm.name, "name"), head = element("th");
    head.scope = "row";
    name.type = "button";
    name.addEventListener("click", () => openDetails(vm.name));
    head.append(name);
    const cells = [element("td"), element("td"), element("td"), element("td")];
    for (const verb of ["start", "stop", "restart"]) cells[3].append(actionButton(vm, verb));
    row.append(head, ...cells);
    return { row, cells };
}

function showVms() {
    const names = new Set(vms.map((vm) => vm.name));
    for (const [name, made] of rows) {
        if (!names.has(name)) {
            made.row.remove();
            rows.delete(name);
        }
    }
    vms.forEach((vm, i) => {
        if (!rows.has(vm.name)) rows.set(vm.name, makeRow(vm));
        const { row, cells } = rows.get(vm.name);
        setText(cells[0], vm.display);
        cells[0].className = tone(vm);
        setText(cells[1], address(vm));
        setText(cells[2], cause(vm));
        cells[3].hidden = !allowsChanges;
        const [start, stop] = cells[3].children, isOff = tone(vm) === "off";
        start.disabled = vm.ready;
        stop.disabled = isOff;
        if ($("vms").children[i] !== row) $("vms").insertBefore(row, $("vms").children[i] || null);
    });
    $("no-vms").hidden = vms.length > 0;
    $("actions-title").hidden = !allowsChanges;
    showDetails();
}

function showDetails() {
    const vm = vms.find((one) => one.name === shown);
    $("details").hidden = !vm;
    $("typing").hidden = !allowsChanges || terminal !== null;
    if (!vm) return;
    setText($("details-title"), vm.name + ": " + vm.display);
    $("conditions").replaceChildren(...conditions(vm).map((c) => {
        const row = element("tr"), since = c.lastTransitionTime;
        const time = since ? new Date(since).toLocaleString() : "";
        row.append(...[c.type, c.status, c.reason || "", c.message || "", time].map((text) => element("td", text)));
        return row;
    }));
}

// ---- logs ----

const LOG_SHOWN = 65536;
let logs = new AbortController();

// A log is no terminal: what moves the cursor or colours is left out.
function plain(text) {
    return text.replace(/\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?|\x1b./g, "")
        .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
}

async function followLog(name, what, signal) {
    const target = $(what), screen = what === "console" ? terminal : null;
    target.replaceChildren();
    if (screen) screen.reset();
    const answer = await ask(pathOf(name) + "/" + what + "?follow=1", { signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; answer.ok;) {
        const { done, value } = await reader.read();
        if (done) return;
        if (screen) {
            screen.write(value);
            continue;
        }
        const isAtEnd = target.scrollTop + target.clientHeight >= target.scrollHeight - 4;
        text = (text + value).slice(-LOG_SHOWN);
        target.textContent = plain(text);
        if (isAtEnd) target.scrollTop = target.scrollHeight;
    }
}

function followLogs(name) {
    logs.abort();
    logs = new AbortController();
    if (name) for (const what of ["console", "provision"]) followLog(name, what, logs.signal).catch(() => {}); // aborted
}

let typed = "", isTyping = false;

// One request after the other, so that keys stay in their order.
async function type(text) {
    typed += text;
    while (typed && !isTyping) {
        const name = shown, piece = [...typed].slice(0, 1000).join(""); // 4096 bytes at most
        typed = typed.slice(piece.length);
        isTyping = true;
        try {
            showFailure("");
            await askJson(pathOf(name) + "/type", { method: "POST", body: piece });
        } catch (error) {
            typed = "";
            showFailure("console of " + name + ": " + error.message);
        } finally {
            isTyping = false;
        }
    }
}

// ---- the terminal: xterm.js, where it is installed; else the log is shown as text ----

const DARK = matchMedia("(prefers-color-scheme: dark)");
const COLOURS = {
    dark: { background: "#16181b", foreground: "#ececec", cursor: "#ececec" },
    light: {
        background: "#ffffff", foreground: "#1a1a1a", cursor: "#1a1a1a", selection: "#0b57b840",
        green: "#1a6b2d", yellow: "#7a4d00", cyan: "#00616b", white: "#595959",
        brightGreen: "#1a6b2d", brightYellow: "#7a4d00", brightCyan: "#00616b", brightWhite: "#1a1a1a",
    },
};
const REPORT = /^\x1b\[([?>]?[\d;]*c|\d+;\d+R|0n)$/; // to a question that is in the log, and was answered then
let terminal = null, terminalSought = null;

// xterm.js comes as modules of Node.js, each a function here.
const modules = {}, exported = {};

function requireFrom(folder, path) {
    const parts = folder.concat(path.split("/")).filter((part) => part !== ".");
    for (let i; (i = parts.indexOf("..")) > 0;) parts.splice(i - 1, 2);
    const name = parts.join("/");
    if (!exported[name]) {
        const module = exported[name] = { exports: {} };
        modules[name](module, module.exports, (below) => requireFrom(parts.slice(0, -1), below));
    }
    return exported[name].exports;
}

function loadPart(tag, fields) {
    return new Promise((resolve) => {
        const part = Object.assign(document.createElement(tag), fields);
        part.onload = () => resolve(true);
        part.onerror = () => resolve(false);
        document.head.append(part);
    });
}

async function openTerminal() {
    const parts = await Promise.all([loadPart("link", { rel: "stylesheet", href: "/xterm/xterm.css" }),
        loadPart("script", { src: "/xterm/modules.js" })]);
    if (parts.includes(false)) return;
    const theme = () => COLOURS[DARK.matches ? "dark" : "light"];
    const made = new (requireFrom([], "public/Terminal").Terminal)({ cols: 80, rows: 24, scrollback: 5000, fontSize: 14, screenReaderMode: true,
        disableStdin: !allowsChanges, theme: theme() });
    $("details").hidden = $("terminal").hidden = false; // it measures its letters
    $("console").hidden = true;
    $("terminal-keys").hidden = !allowsChanges;
    made.open($("terminal"));
    showDetails();
    made.on("data", (text) => REPORT.test(text) || !allowsChanges || type(text));
    DARK.addEventListener("change", () => made.setOption("theme", theme()));
    terminal = made;
}

// ---- the screen ----

const takesKeys = (target) => $("terminal").contains(target) || $("viewer").contains(target);
const LOOK_EVERY_MS = 2000;
let looks = 0; // a later look ends the earlier ones

function showPicture(blob, text) {
    const image = $("screen");
    if (image.src) URL.revokeObjectURL(image.src);
    image.hidden = !blob;
    if (blob) image.src = URL.createObjectURL(blob);
    else image.removeAttribute("src");
    image.alt = blob ? "the screen of " + shown : "";
    setText($("no-screen"), text || "");
    $("no-screen").hidden = !text;
}

async function lookOnce(name) {
    const answer = await ask(pathOf(name) + "/screen");
    return answer.ok ? { blob: await answer.blob() } : { text: messageOf(await answer.json()) || answer.statusText };
}

// noVNC, where it is installed and may be used; else pictures are shown.
let viewer = null, endViewer = () => {};

async function view(RFB, name) {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + pathOf(name) + "/vnc", "binary");
    const ended = new Promise((resolve) => socket.addEventListener("close", resolve));
    endViewer = () => socket.close();
    socket.addEventListener("open", () => {
        socket.send("Bearer " + token);
        $("viewer").hidden = $("viewer-keys").hidden = false;
        viewer = new RFB($("viewer"), socket);
        viewer.scaleViewport = true;
        viewer.addEventListener("connect", () => setText($("no-screen"), ""));
        const canvas = $("viewer").querySelector("canvas");
        canvas.tabIndex = 0;
        canvas.setAttribute("role", "application");
        canvas.setAttribute("aria-label", "the screen of " + name + ", with keyboard and mouse; Ctrl+] leaves it");
    });
    const { reason } = await ended;
    $("viewer").hidden = $("viewer-keys").hidden = true;
    $("viewer").replaceChildren();
    viewer = null;
    return reason || "no connection to the screen";
}

// While it is open and visible.
async function look() {
    const mine = ++looks, name = shown;
    endViewer();
    showPicture(null, "");
    const library = name && allowsChanges && $("screen-part").open && await import("/novnc/core/rfb.js").catch(() => null);
    while (mine === looks && name && $("screen-part").open) {
        if (library) {
            const why = await view(library.default, name);
            if (mine === looks) showPicture(null, why);
            await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
            continue;
        }
        const seen = document.hidden ? null : await lookOnce(name).catch((error) => ({ text: error.message }));
        if (mine !== looks) return;
        if (seen) showPicture(seen.blob, seen.text);
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
}

async function openDetails(name) {
    shown = name;
    typed = "";
    showDetails();
    look();
    $("details-title").focus();
    await (terminalSought ||= openTerminal().catch(() => {})); // without it there is the text
    if (shown !== name) return;
    showDetails();
    followLogs(name);
}

function closeDetails() {
    const made = rows.get(shown);
    shown = null;
    followLogs(null);
    look();
    showDetails();
    if (made) made.row.querySelector("button").focus();
}

// One that is counted up comes again, in place of what it was.
function addEvent(event) {
    const key = [event.vm, event.reason, event.first].join(" ");
    for (const old of [...$("events").children]) if (old.dataset.key === key) old.remove();
    newest = event.sequence;
    const item = element("li"), time = element("time", new Date(event.last).toLocaleTimeString());
    time.dateTime = new Date(event.last).toISOString();
    item.dataset.key = key;
    const count = event.count > 1 ? " (" + event.count + " times)" : "";
    item.append(time, " ", element("b", event.vm), " ", element("span", event.reason, event.type === "Warning" ? "bad" : ""),
        " " + event.message + count);
    $("events").prepend(item);
    while ($("events").children.length > EVENTS_SHOWN) $("events").lastChild.remove();
}

// ---- living ----

async function load() {
    if (isLoading) {
        isOutdated = true;
        return;
    }
    isLoading = true;
    try {
        do {
            isOutdated = false;
            vms = await askJson("/v1/vms");
            showVms();
        } while (isOutdated);
    } finally {
        isLoading = false;
    }
}

async function act(name, verb) {
    try {
        showFailure("");
        await askJson(pathOf(name) + "/" + verb, { method: "POST" });
    } catch (error) {
        showFailure(verb + " " + name + ": " + error.message);
    }
}

function take(message) {
    const fields = {};
    for (const line of message.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
    if (fields.event === "event") addEvent(JSON.parse(fields.data));
    if (fields.event === "changed") load().catch(() => {}); // the stream's own end shows it
}

// With fetch(), because EventSource sends no Authorization. What comes while it is not connected is not lost.
async function follow() {
    const answer = await ask("/v1/events", { headers: { Accept: "text/event-stream", "Last-Event-ID": String(newest) } });
    if (!answer.ok) throw new Error(answer.statusText);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    setText($("connection"), "live");
    for (let text = ""; ;) {
        const { done, value } = await reader.read();
        if (done) throw new Error("the server has ended");
        const messages = (text + value).split("\n\n");
        text = messages.pop();
        messages.forEach(take);
    }
}

let attempt = 0; // the token may be given while an earlier attempt still waits

async function run() {
    const mine = ++attempt;
    while (mine === attempt) {
        try {
            allowsChanges = (await askJson("/v1/server")).allowsChanges;
            const past = await askJson("/v1/events");
            $("events").replaceChildren();
            newest = 0;
            past.slice(-EVENTS_SHOWN).forEach(addEvent);
            await load();
            followLogs(shown); // they ended with the last connection
            await follow();
        } catch (error) {
            if (!$("login").hidden) {
                setText($("connection"), "not logged in");
                $("token").focus();
                return;
            }
            setText($("connection"), "not connected: " + error.message);
        }
        await new Promise((resolve) => setTimeout(resolve, 1000));
    }
}

$("login").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    sessionStorage.setItem("token", token);
    run();
});
$("screen-part").addEventListener("toggle", look);
$("typing").addEventListener("submit", (event) => {
    event.preventDefault();
    type($("line").value + "\r");
    $("line").value = "";
});
$("interrupt").addEventListener("click", () => type("\x03"));
$("close").addEventListener("click", closeDetails);
document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown && !takesKeys(event.target)) closeDetails();
});
// Both take every key, so that one leads out of them: that of `vmctl console`.
document.addEventListener("keydown", (event) => {
    if (!event.ctrlKey || event.key !== "]" || !takesKeys(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
    if (viewer) viewer.sendKey(0xffe3, "ControlLeft", false);
    ($("viewer").contains(event.target) ? $("provision") : document.querySelector("#screen-part summary")).focus();
}, true);
$("reboot-keys").addEventListener("click", () => viewer && viewer.sendCtrlAltDel());
if (token) sessionStorage.setItem("token", token);
run();
