/**
 * A gateway by script: connections that a test opens, feeds and closes, and of which it sees the address. For what a
 * real one does only by chance, such as ids that go back.
 */
import { Sockway } from "../sockway.js";
import { Diary, until } from "./rig.js";

/** What a test does with a connection, of either kind. */
class Connection extends EventTarget {
  constructor(url, args) {
    super();
    Object.assign(this, { url: new URL(url), args, isClosed: false });
  }

  /** The query, decoded once, as the gateway reads it. */
  get query() {
    return Object.fromEntries(this.url.searchParams);
  }

  tell(type, values = {}) {
    this.dispatchEvent(Object.assign(new Event(type), values));
  }

  close() {
    this.isClosed = true;
  }
}

class ScriptedSocket extends Connection {
  open() {
    this.tell("open");
  }

  say(frame) {
    this.tell("message", { data: JSON.stringify(frame) });
  }

  end(code, reason = "") {
    this.tell("close", { code, reason });
  }

  send(text) {
    (this.sent ??= []).push(text);
  }

  /** The frames that were sent so far. */
  get frames() {
    return (this.sent ?? []).map((text) => JSON.parse(text));
  }

  /** Answers the frame that was sent last, or this one. */
  answer(type, values = {}, { ref, channel } = this.frames.at(-1)) {
    this.say({ type, ref, ...(type !== "published" && channel && { channel }), ...values });
  }
}

class ScriptedEvents extends Connection {
  lastEventId = "";

  /** As a browser does: an event without an id has that of the one before. */
  event(type, data, id) {
    this.lastEventId = id ?? this.lastEventId;
    this.tell(type, { data: typeof data === "string" ? data : JSON.stringify(data), lastEventId: this.lastEventId });
  }

  end(code, reason = "") {
    this.event("close", { code, reason });
  }
}

/** A client, its diary, and the connections that it has made so far, in their order. */
export function scripted(t, options = {}) {
  const made = [];
  const kept = (Kind) =>
    class extends Kind {
      constructor(url, ...args) {
        super(url, args);
        made.push(this);
      }
    };
  const fast = { minBackoff: 10, maxBackoff: 20, spread: 10, format: "json" };
  const kinds = { WebSocket: kept(ScriptedSocket), EventSource: kept(ScriptedEvents) };
  const client = new Sockway("wss://example.com/ws", { ...fast, ...kinds, ...options });
  const diary = new Diary(t, client);
  const next = async () => {
    const number = (next.taken ?? 0) + 1;
    next.taken = number;
    await until("a connection", () => made.length >= number);
    return made[number - 1];
  };
  return { client, diary, made, next };
}

/** A `ready` with these streams: what it says of each, or its id alone. */
export function ready(streams, rest = {}) {
  const said = Object.entries(streams).map(([name, of]) => [name, typeof of === "string" ? { id: of } : of]);
  return { type: "ready", session: "9", streams: Object.fromEntries(said), heartbeat_ms: 25_000, ...rest };
}

export function message(channel, id, data) {
  return { type: "message", channel, data, id };
}
