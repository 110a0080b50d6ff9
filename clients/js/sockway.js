// @ts-check
/**
 * A client for Sockway that stays connected: one file, no dependencies, for browsers and Node.
 *
 * It promises: after every loss it comes back as the close code asks, never in step with other
 * clients; a network that swallows without closing is a loss, too; whatever may have been missed is told by a `gap` event, behind the `open` from which on
 * nothing is missed again. It never keeps a token anywhere but in memory, and puts none into an event.
 *
 * `new WebSocket(url)` works with Sockway just as well; this adds what to do when it closes.
 *
 * @module
 */

/**
 * What the close codes ask for (docs/protocol.md). Any other code, 1006 included: back off.
 *
 * - `now`: reconnect at once; a second time in a row, back off
 * - `soon`: reconnect at a random moment within `spread`, since many were closed together
 * - `backoff`: reconnect after a random time below a limit that doubles
 * - `token`: get a new token, then reconnect
 * - `stop`: reconnecting cannot help
 *
 * @type {Readonly<Record<number, "now" | "soon" | "backoff" | "token" | "stop">>}
 */
export const AFTER_CLOSE = Object.freeze({
  1000: "stop",
  1002: "stop",
  1003: "stop",
  1007: "stop",
  1008: "stop",
  1009: "stop",
  1011: "backoff",
  1012: "soon",
  1013: "backoff",
  3000: "token",
  3003: "stop",
  3008: "now",
  4008: "now",
  4009: "now",
  4010: "soon",
  4011: "stop",
  4012: "backoff",
});

/**
 * @typedef {object} Refused why a token is asked for, when another one did not do
 * @property {number} code the close code: 3000, or 1006 when the connection was never opened
 * @property {string} reason such as `token_expired` or `revoked`
 */

/**
 * @typedef {(refused: Refused | null) => string | null | undefined | Promise<string | null | undefined>} TokenSource
 * Gives a token; no token (signed out) stops the client; an error is tried again later. `refused` is
 * null the first time.
 */

/**
 * @typedef {object} Options
 * @property {string | TokenSource} [token] a token, or how to get one; none for endpoints without authentication
 * @property {"subprotocol" | "query"} [tokenIn] where it is sent; `query` puts it into the URL as `token`
 * @property {"raw" | "json"} [format] the endpoint's `format`
 * @property {string} [gapNotice] the endpoint's `gap_notice`
 * @property {string} [heartbeatNotice] a raw endpoint's `heartbeat_notice`; "" when it has none
 * @property {number} [heartbeat] milliseconds: a raw endpoint's `heartbeat`; a json one tells it by itself
 * @property {number} [spread] milliseconds: the gateway's `shutdown.spread`, or what suits your clients
 * @property {number} [minBackoff] milliseconds: the first limit
 * @property {number} [maxBackoff] milliseconds: the last limit
 * @property {number} [openTimeout] milliseconds for getting a token and opening the connection
 * @property {any} [WebSocket] a constructor, where there is no global one
 */

const DEFAULTS = {
  tokenIn: "subprotocol",
  format: "raw",
  gapNotice: '{"type":"gap"}',
  heartbeatNotice: "",
  heartbeat: 25_000,
  spread: 5_000,
  minBackoff: 1_000,
  maxBackoff: 30_000,
  openTimeout: 15_000,
};

/** Open for this long: whatever failed before is over. Milliseconds. */
const SETTLED = 5_000;

/** Nothing came for so many heartbeats: the connection is dead, though nobody has closed it. */
const PATIENCE = 2.5;

/** … but not sooner: the gateway keeps time by tenths of a second, and networks have delays. Milliseconds. */
const LEAST_PATIENCE = 1_000;

/** How long what may be waiting behind a page that stood still has to be read. Milliseconds. */
const DOUBT = 1_000;

/**
 * A connection that comes back. Events carry their values as properties:
 *
 * - `open`: subscribed; `session` and `channels` on json endpoints
 * - `message`: `data` (text or ArrayBuffer; on json endpoints the value), and there `channel`
 * - `gap`: messages may be missing, fetch the state anew: `reason`, and where known `channel`, `missed`
 * - `waiting`: not connected, and will try again in `delay` milliseconds: `code`, `reason`
 * - `stopped`: the end: `code`, `reason`
 */
export class Sockway extends EventTarget {
  /** @type {"connecting" | "open" | "waiting" | "stopped"} */
  #state = "connecting";
  #url;
  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Counts attempts, so that what belongs to an earlier one is known by its number. */
  #attempt = 0;
  #failures = 0;
  #openedAt = 0;
  /** @type {string | null | undefined} */
  #token;
  /** @type {string | null | undefined} */
  #refusedToken;
  /** @type {Refused | null} */
  #refused = null;
  /** Why the last session ended, until the page has been told of the gap. @type {string | null} */
  #lost = null;
  /** Milliseconds without anything after which the connection is dead; 0: the gateway promises nothing. */
  #patience = 0;
  #heardAt = 0;
  #inDoubt = false;
  #wasOffline = false;
  #ownBackoff = true;

  /**
   * @param {string | URL} url `wss://host/path`; relative ones and http(s) are understood as well
   * @param {Options} [options]
   * @throws {TypeError} when the URL is none, or there is no WebSocket to use
   */
  constructor(url, options = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    if (typeof this.#options.WebSocket !== "function") {
      throw new TypeError("there is no global WebSocket here: pass options.WebSocket");
    }
    for (const [target, type] of this.#surroundings()) target?.addEventListener?.(type, this.#onSurroundings);
    queueMicrotask(() => this.#connect()); // behind the listeners that the caller adds now
  }

  get state() {
    return this.#state;
  }

  /** Ends it for good: `stopped` with 1000. */
  close() {
    this.#stop(1000, "bye");
  }

  /**
   * Sends a fresh token of the same user, on a json endpoint: the session lives on to its expiry.
   *
   * @param {string} token
   * @returns {boolean} whether there was a session to send it to
   */
  refresh(token) {
    this.#token = token;
    if (this.#state !== "open") return false;
    this.#socket?.send(JSON.stringify({ type: "refresh", token }));
    return true;
  }

  async #connect() {
    if (this.#state === "stopped") return;
    const attempt = ++this.#attempt;
    this.#state = "connecting";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(1006, "open_timeout"), this.#options.openTimeout);
    let token;
    try {
      token = await this.#currentToken();
    } catch {
      if (attempt === this.#attempt) this.#lose(1006, "no_token");
      return;
    }
    if (attempt !== this.#attempt) return; // closed, or given up, while the token was made
    if (this.#options.token !== undefined && !token) {
      this.#stop(this.#refused?.code ?? 3000, this.#refused?.reason ?? "token_missing");
    } else {
      this.#dial(token);
    }
  }

  /** The token to connect with; empty when there is none to be had. */
  async #currentToken() {
    const source = this.#options.token;
    if (this.#token || source === undefined) return this.#token;
    const token = typeof source === "function" ? await source(this.#refused) : source;
    // One that was refused by name is refused again: asking on would never end.
    const again = this.#refused?.code === 3000 && token === this.#refusedToken;
    return (this.#token = again ? null : token);
  }

  /** @param {string | null | undefined} token */
  #dial(token) {
    const { WebSocket, tokenIn } = this.#options;
    const url = new URL(this.#url);
    if (token && tokenIn === "query") url.searchParams.set("token", token);
    let socket;
    try {
      socket = token && tokenIn === "subprotocol" ? new WebSocket(url.href, ["bearer", token]) : new WebSocket(url.href);
    } catch {
      // The error's text may have the token in it.
      return this.#stop(1006, "unusable_url_or_token");
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const current = () => socket === this.#socket;
    socket.addEventListener("open", () => current() && this.#options.format === "raw" && this.#openedRaw());
    socket.addEventListener("message", (/** @type {any} */ event) => {
      if (!current()) return;
      this.#heardAt = Date.now();
      this.#received(event.data);
    });
    socket.addEventListener("error", () => {}); // `close` follows, and says as much
    socket.addEventListener("close", (/** @type {any} */ event) => current() && this.#lose(event.code, event.reason));
  }

  /** @param {number | undefined} heartbeat milliseconds; none or 0: the gateway sends none */
  #expect(heartbeat) {
    this.#patience = heartbeat ? Math.max(heartbeat * PATIENCE, LEAST_PATIENCE) : 0;
  }

  /** Looks now, and as often as it takes, whether the gateway is still heard. */
  #watch() {
    if (this.#state !== "open" || !this.#patience) return;
    clearTimeout(this.#timer);
    this.#inDoubt = false;
    this.#look();
  }

  #look() {
    const now = Date.now(); // not a clock that stands still while the machine sleeps
    this.#heardAt = Math.min(this.#heardAt, now); // it may have been set back
    const left = this.#heardAt + this.#patience - now;
    if (left > 0) this.#inDoubt = false;
    else if (this.#inDoubt) return this.#lose(1006, "heartbeats_missed");
    // A page that stood still finds its timers due before the messages that came meanwhile.
    else this.#inDoubt = true;
    this.#timer = setTimeout(() => this.#look(), this.#inDoubt ? Math.min(DOUBT, this.#patience / 5) : left);
  }

  #openedRaw() {
    const { heartbeat, heartbeatNotice } = this.#options;
    this.#expect(heartbeatNotice === "" ? 0 : heartbeat);
    this.#opened({});
  }

  /** @param {object} values */
  #opened(values) {
    clearTimeout(this.#timer);
    this.#state = "open";
    this.#openedAt = this.#heardAt = Date.now();
    this.#refused = null;
    this.#watch();
    this.#tell("open", values);
    const reason = this.#lost;
    this.#lost = null;
    if (reason !== null) this.#tell("gap", { reason });
  }

  /** @param {any} data */
  #received(data) {
    if (this.#options.format === "raw") {
      const { gapNotice, heartbeatNotice } = this.#options;
      if (data === gapNotice) this.#tell("gap", { reason: "notice" });
      else if (!heartbeatNotice || data !== heartbeatNotice) this.#tell("message", { data });
      return;
    }
    const { type, heartbeat_ms: heartbeat, ...frame } = object(data);
    if (type === "ready") this.#expect(heartbeat);
    if (type === undefined) this.#stop(1003, "not_a_json_endpoint");
    else if (type === "ready") this.#opened(frame);
    else if (type === "gap") this.#tell("gap", frame);
    else if (type === "message") this.#tell("message", { channel: frame.channel, data: payload(frame) });
  }

  /**
   * The connection ended, or never came to be.
   *
   * @param {number} code
   * @param {string} reason
   */
  #lose(code, reason) {
    const wasOpen = this.#state === "open";
    const next = AFTER_CLOSE[code] ?? "backoff";
    if (wasOpen) this.#lost = reason || "connection_lost";
    if (next === "stop") return this.#stop(code, reason);
    if (wasOpen && Date.now() - this.#openedAt >= SETTLED) this.#failures = 0;
    this.#drop();
    if (next === "token" || !wasOpen) this.#giveUpToken(code, reason);
    if (next === "token" && typeof this.#options.token !== "function") return this.#stop(code, reason);
    this.#wait(this.#delay(next), code, reason);
  }

  /**
   * A browser is not told of a 401, it sees 1006: after a connection that was never opened, too, the
   * token may be at fault.
   *
   * @param {number} code
   * @param {string} reason
   */
  #giveUpToken(code, reason) {
    this.#refused = { code, reason };
    this.#refusedToken = this.#token;
    this.#token = undefined;
  }

  /**
   * Full jitter: any time below the limit, so that clients lost together come back apart.
   *
   * @param {"now" | "soon" | "backoff" | "token" | "stop"} next
   */
  #delay(next) {
    const { minBackoff, maxBackoff, spread } = this.#options;
    const failures = this.#failures++;
    this.#ownBackoff = !(next === "soon" && failures === 0);
    if (failures === 0 && (next === "now" || next === "token")) return 0;
    if (!this.#ownBackoff) return Math.random() * spread;
    return Math.random() * Math.min(maxBackoff, minBackoff * 2 ** failures);
  }

  /**
   * @param {number} delay
   * @param {number} code
   * @param {string} reason
   */
  #wait(delay, code, reason) {
    this.#state = "waiting";
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#tell("waiting", { code, reason, delay });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #stop(code, reason) {
    if (this.#state === "stopped") return;
    this.#state = "stopped";
    this.#drop();
    this.#token = undefined;
    for (const [target, type] of this.#surroundings()) target?.removeEventListener?.(type, this.#onSurroundings);
    this.#tell("stopped", { code, reason });
  }

  /** Forgets the socket, if any, and what was planned. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  /** @returns {[any, string][]} */
  #surroundings() {
    return [[globalThis, "offline"], [globalThis, "online"], [globalThis.document, "visibilitychange"]];
  }

  #onSurroundings = (/** @type {Event} */ event) => {
    if (event.type === "offline") {
      this.#wasOffline = true;
    } else if (event.type === "online") {
      // Another network: the old connection is dead, and nobody would notice for a while.
      if (this.#wasOffline && this.#state === "open") this.#lose(1006, "network_changed");
      this.#wasOffline = false;
      this.#watch();
      this.#hurry();
    } else if (globalThis.document.visibilityState === "visible") {
      this.#watch();
      this.#hurry();
    }
  };

  /** Tries now what was backed off; a moment that the gateway asked for is kept. */
  #hurry() {
    if (this.#state !== "waiting" || !this.#ownBackoff) return;
    this.#failures = 0;
    this.#connect();
  }

  /**
   * @param {string} type
   * @param {object} values
   */
  #tell(type, values) {
    this.dispatchEvent(Object.assign(new Event(type), values));
  }
}

/**
 * A frame of a json endpoint; empty when it is none.
 *
 * @param {any} data
 * @returns {any}
 */
function object(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}

/**
 * The payload of a json message: bytes that are no text come as base64.
 *
 * @param {{ data?: any, data_base64?: string }} frame
 */
function payload({ data, data_base64: base64 }) {
  if (base64 === undefined) return data;
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}
