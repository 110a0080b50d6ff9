// Try it, in `sockway dev` only: open a socket with the made-up token, publish, see it arrive, write back.
//
// What arrives is shown as text, whatever it is; heartbeats are not shown, but missed.

const KEPT = 100;
/** Silent for so many heartbeats, or this many milliseconds: the connection is dead, though nobody closed it. */
const PATIENCE = 2.5, LEAST_PATIENCE = 1_000;
const at = (id) => document.getElementById(id);
let socket = null, endpoints = [], offer = null;
/** The id that came last, by the path of a stream: where the next connection goes on. */
const positions = new Map();
/** Names of what this page writes, so that it knows the answers. */
let written = 0;
/** Who is in the room; null: there is no list of them. */
let users = null;

const chosen = () => endpoints[at("try-endpoint").selectedIndex];
const room = () => at("try-room").value;
const takesRoom = ({ path }) => path.includes("{room}");

function log(text, kind) {
  const line = document.createElement("li"), time = document.createElement("time");
  time.textContent = new Date().toTimeString().slice(0, 8);
  line.className = kind;
  line.append(time, text);
  const list = at("try-log");
  list.append(line);
  while (list.childElementCount > KEPT) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

function choose() {
  const endpoint = chosen();
  at("try-room-label").hidden = !takesRoom(endpoint);
  at("try-token-label").hidden = !endpoint.token;
  at("try-channel-label").textContent = endpoint.stream ? "Stream" : "Channel";
  at("try-channel").value = endpoint.channel.replace("{room}", room());
  at("try-write").hidden = !endpoint.publish;
}

function state(open, text) {
  at("try-state").textContent = text;
  at("try-open").textContent = open ? "Disconnect" : "Connect";
  at("try-open").classList.toggle("second", open);
}

/** The object of a json frame; empty for anything else. */
function object(data) {
  try { return JSON.parse(data) ?? {}; } catch { return {}; }
}

/** Calls `dead` when nothing came for too long; to be told of all that comes. */
function watch(dead) {
  let patience = 0, timer;
  return ({ type, heartbeat_ms: heartbeat } = {}) => {
    if (type === "ready" && heartbeat) patience = Math.max(heartbeat * PATIENCE, LEAST_PATIENCE);
    clearTimeout(timer);
    if (type !== "closed" && patience) timer = setTimeout(dead, patience, patience / 1_000);
  };
}

function address(endpoint, path, since) {
  const url = new URL(offer.websocket + path);
  if (endpoint.token) url.searchParams.set("token", offer.token);
  if (since) url.searchParams.set("since", since);
  return url;
}

/** Keeps the position that a frame of a stream has; `ready` has that of the one stream of such an endpoint. */
function remember(path, { id, streams = {} }) {
  const last = id ?? Object.values(streams)[0]?.id;
  if (last) positions.set(path, last);
}

/** Shows who is there; nothing when there is no room. */
function present(text) {
  at("try-present").hidden = !text;
  at("try-present").textContent = text;
}

function follow({ type, count, users: listed, user }) {
  if (type === "presence") users = listed ?? null;
  else users = type === "join" ? [...(users ?? []), user] : (users ?? []).filter((one) => one !== user);
  present(users ? `${users.length} here: ${users.join(", ")}` : `${count} here`);
}

/** What became of what was written last. */
function answered({ type, ref, id, receivers, code, retry_after_ms: wait }) {
  if (ref !== String(written)) return;
  const place = id ? `, kept as ${id}` : receivers === undefined ? "" : `, to ${receivers} gateway${receivers === 1 ? "" : "s"}`;
  const later = wait ? `: again in ${wait} ms` : "";
  at("try-answer").textContent = type === "published" ? `published${place}` : `refused ${code}${later}`;
}

const HEARD = { presence: follow, join: follow, leave: follow, published: answered, refused: answered };

/** Sends a message as the client that is connected: JSON as it is, anything else as a string. */
function write() {
  if (socket?.readyState !== WebSocket.OPEN) return "connect first";
  let data = at("try-written").value;
  try { data = JSON.parse(data); } catch { /* it is a string */ }
  socket.send(JSON.stringify({ type: "publish", data, ref: String(++written) }));
  return "sent …";
}

function connect() {
  const endpoint = chosen();
  const path = endpoint.path.replace("{room}", encodeURIComponent(room()));
  const since = positions.get(path), own = (socket = new WebSocket(address(endpoint, path, since)));
  state(true, "connecting …");
  const heard = watch((seconds) => { log(`nothing came for ${seconds} s: the connection is dead`, "event"); own.close(1000); });
  own.onopen = () => { state(true, "connected"); log(`open ${path}${since ? `, since ${since}` : ""}`, "event"); };
  own.onmessage = ({ data }) => {
    const frame = object(data);
    heard(frame);
    if (endpoint.stream) remember(path, frame);
    if (endpoint.publish && socket === own) HEARD[frame.type]?.(frame);
    if (frame.type !== "heartbeat") log(typeof data === "string" ? data : `${data.size} bytes`, "message");
  };
  own.onclose = ({ code, reason }) => {
    heard({ type: "closed" });
    if (socket === own) { socket = null; state(false, "not connected"); present(""); }
    log(`closed ${code} ${reason}`, "event");
  };
}

async function publish() {
  const body = JSON.stringify({ channel: at("try-channel").value, message: at("try-message").value, stream: chosen().stream });
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch("/try/publish", { method: "POST", headers, body });
    const said = await answer.json();
    if (!answer.ok) return said.detail;
    if (said.id) return `Redis keeps it as ${said.id}${socket ? "" : ": connect, and it comes"}`;
    return said.subscribers ? "Redis passed it to this gateway" : "nobody is subscribed: connect first";
  } catch {
    return "the gateway does not answer";
  }
}

/** Shows the panel with what the gateway offers. */
export async function startTrying(ask) {
  offer = await (await ask("/try")).json();
  endpoints = offer.endpoints;
  at("try-endpoint").replaceChildren(...endpoints.map(({ name, path }) => new Option(`${name}  ${path}`)));
  at("try-token").value = offer.token;
  at("try-user").textContent = offer.user;
  at("try-endpoint").addEventListener("change", choose);
  at("try-room").addEventListener("input", choose);
  at("try-connect").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket) socket.close(1000); else connect();
  });
  at("try-publish").addEventListener("submit", async (event) => {
    event.preventDefault();
    at("try-result").textContent = await publish();
  });
  at("try-write").addEventListener("submit", (event) => {
    event.preventDefault();
    at("try-answer").textContent = write();
  });
  choose();
  at("try").hidden = false;
}
