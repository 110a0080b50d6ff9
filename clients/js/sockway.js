// @ts-check
/**
 * A client for Sockway that stays connected: one file, no dependencies, for browsers and Node.
 *
 * It promises: after every loss it comes back as the close code asks, never in step with other
 * clients; a network that swallows without closing is a loss, too; what streams of Redis kept meanwhile
 * is asked for by position; whatever may have been missed is told by a `gap` event, behind the `open` from which on
 * nothing is missed again; what is published is answered, and never sent a second time where that could publish it twice.
 * It never keeps a token anywhere but in memory, and puts none into an event.
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
 * @property {"subprotocol" | "query"} [tokenIn] where it is sent; `query` puts it into the URL as `token`, and so do Server-Sent Events always
 * @property {"websocket" | "sse" | "auto"} [transport] `sse`: Server-Sent Events; `auto`: the two in turn, WebSocket first, until one has opened, then that one
 * @property {string | Record<string, string>} [since] where to begin: the `positions` of a client before this one, or the
 *   bare position of an endpoint with one stream
 * @property {number} [last] the newest so many of each stream, where no position is known or it does not recover
 * @property {boolean} [withCredentials] Server-Sent Events from another origin: send cookies
 * @property {"raw" | "binary" | "json"} [format] the endpoint's `format`
 * @property {string} [gapNotice] the endpoint's `gap_notice`
 * @property {string} [heartbeatNotice] a raw or binary endpoint's `heartbeat_notice`; "" when it has none
 * @property {number} [heartbeat] milliseconds: a raw or binary endpoint's `heartbeat`; a json one tells it by itself
 * @property {number} [spread] milliseconds: the gateway's `shutdown.spread`, or what suits your clients
 * @property {number} [minBackoff] milliseconds: the first limit
 * @property {number} [maxBackoff] milliseconds: the last limit
 * @property {number} [openTimeout] milliseconds for getting a token and opening the connection
 * @property {number} [maxMessage] bytes of a frame: the endpoint's `max_message`, beyond which the gateway would end the session
 * @property {number} [queueMessages] so many messages of the page may be unanswered, those that wait for a connection included
 * @property {number} [queueBytes] so many bytes of them
 * @property {any} [WebSocket] a constructor, where there is no global one
 * @property {any} [EventSource] a constructor, where there is no global one
 */

/**
 * @typedef {object} Published
 * @property {string} [id] of a stream: the entry's
 * @property {number} [receivers] of a channel: gateways that got it, where Redis tells
 */

/**
 * @typedef {object} Subscribed
 * @property {string} channel
 * @property {string} [id] of a stream: the position just before its next message
 * @property {boolean} [recovered] where a position was given: whether all that came after it comes now
 * @property {number} [replayed] so many messages come now
 * @property {string} [reason] why it did not recover
 * @property {number | null} [missed]
 */

/**
 * @typedef {Error & { code: string, channel?: string, retryAfter?: number }} RequestError
 * Why something was not done: a `code` of the gateway (docs/protocol.md), or of the client: `queue_full`, `outcome_unknown`, `message_too_big`,
 * `data_invalid`, `not_supported`, `unsubscribed`, `stopped`. `retryAfter`: milliseconds.
 */

/**
 * @typedef {object} Roster who is in a room
 * @property {number} count
 * @property {string[]} [users] none where the room has too many for a list
 */

const DEFAULTS = {
  tokenIn: "subprotocol",
  transport: /** @type {"websocket" | "sse" | "auto"} */ ("websocket"),
  withCredentials: false,
  format: "raw",
  gapNotice: '{"type":"gap"}',
  heartbeatNotice: "",
  heartbeat: 25_000,
  spread: 5_000,
  minBackoff: 1_000,
  maxBackoff: 30_000,
  openTimeout: 15_000,
  maxMessage: 16_384,
  queueMessages: 100,
  queueBytes: 1_048_576,
};

/** Open for this long: whatever failed before is over. Milliseconds. */
const SETTLED = 5_000;

/** Nothing came for so many heartbeats: the connection is dead, though nobody has closed it. */
const PATIENCE = 2.5;

/** … but not sooner: the gateway keeps time by tenths of a second, and networks have delays. Milliseconds. */
const LEAST_PATIENCE = 1_000;

/** How long what may be waiting behind a page that stood still has to be read. Milliseconds. */
const DOUBT = 1_000;

/** Of so many attempts in a row that never open one is made without positions, which may be what is refused. */
const PROBE_EVERY = 3;

/** Most characters that positions take in a URL; the gateway reads 4 KiB of them. */
const LONGEST_SINCE = 4_000;

/** How deep a frame may be nested; of a deeper one the gateway does not read the `ref`. */
const DEEPEST = 128;

/** A subscribe that is refused so may do later. */
const TEMPORARY = ["rate_limited", "subscription_timeout", "redis_unavailable", "at_capacity", "stream_limit", "tracking_refused"];

/**
 * A connection that comes back. Events carry their values as properties:
 *
 * - `open`: subscribed; on json endpoints and by Server-Sent Events `session`, `channels`, `streams`
 * - `recovered`: nothing of the stream `channel` is missing: `replayed` messages of it come now
 * - `message`: `data` (text or ArrayBuffer; on json endpoints the value), and there `channel`; of a stream its `id`
 * - `gap`: messages may be missing, fetch the state anew: `reason`, and where known `channel`, `missed`, `id`
 * - `presence`: who is in the room `channel`: `count`, and `users` where the room is not too large
 * - `join`, `leave`: `user` has come into the room `channel`, or gone
 * - `unsubscribed`: what the page subscribed to is taken away: `channel`, `reason`
 * - `waiting`: not connected, and will try again in `delay` milliseconds: `code`, `reason`
 * - `stopped`: the end: `code`, `reason`
 */
export class Sockway extends EventTarget {
  /** @type {"connecting" | "open" | "waiting" | "stopped"} */
  #state = "connecting";
  #url;
  #options;
  /** @type {{ close(code?: number): void, send?(text: string): void } | null} */
  #connection = null;
  /** What the next attempt uses. @type {"websocket" | "sse"} */
  #transport = "websocket";
  #hasOpened = false;
  /** The id that came last, by stream. @type {Map<string, string>} */
  #positions = new Map();
  /** A position whose stream is not known by name yet. */
  #barePosition = "";
  /** Attempts in a row that never opened, for no reason that was told. */
  #unopened = 0;
  /** This attempt asks for nothing of streams, to learn whether that is why the others never opened. */
  #isProbe = false;
  /** A probe has opened, and there are streams: the positions are asked for once more. */
  #isLastTry = false;
  /** False: the endpoint is known to have no streams. */
  #asksStreams = true;
  /** The stream of a session that has only one. @type {string | undefined} */
  #onlyStream;
  /** What the session opened with, or the last one did; none: that was not told. @type {Set<string> | undefined} */
  #fixed;
  /** @type {Map<string, Roster>} */
  #rosters = new Map();
  #outbox;
  #subscriptions;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Counts attempts, so that what belongs to an earlier one is known by its number. */
  #attempt = 0;
  #failures = 0;
  #openedAt = 0;
  /** @type {string | null | undefined} */
  #token;
  /** The one that the session has, or the attempt. @type {string | null | undefined} */
  #sentToken;
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
   * @throws {TypeError} when the URL is none, `since` has something that is no position, or there is no
   *   WebSocket or EventSource to use
   */
  constructor(url, options = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    const { WebSocket, EventSource } = globalThis;
    this.#options = { WebSocket, EventSource, ...DEFAULTS, ...options };
    this.#transport = this.#options.transport === "sse" ? "sse" : "websocket";
    for (const name of needed(this.#options.transport)) {
      if (typeof this.#options[name] === "function") continue;
      throw new TypeError(`there is no global ${name} here: pass options.${name}`);
    }
    this.#beginAt(options.since ?? {});
    const line = {
      isOpen: () => this.#state === "open",
      send: (/** @type {string} */ text) => this.#connection?.send?.(text),
      tell: (/** @type {string} */ type, /** @type {object} */ values) => this.#tell(type, values),
      forget: (/** @type {string} */ channel) => this.#forget(channel),
    };
    this.#subscriptions = new Subscriptions(line, this.#positions, this.#options);
    this.#outbox = new Outbox(line, this.#subscriptions, this.#options);
    for (const [target, type] of this.#surroundings()) target?.addEventListener?.(type, this.#onSurroundings);
    queueMicrotask(() => this.#connect()); // behind the listeners that the caller adds now
  }

  get state() {
    return this.#state;
  }

  /**
   * The id that came last of each stream: what `since` of a client after this one takes, so that a page
   * that is loaded again misses nothing. It changes only with `open`, `message` and `gap`, before their listeners run.
   *
   * @returns {Record<string, string>}
   */
  get positions() {
    return Object.fromEntries(this.#positions);
  }

  /**
   * Who is in which room, as it was told last. It changes only with `open`, `presence`, `join`, `leave` and the end of a subscription,
   * before their listeners run; `open` empties it, the rosters come behind.
   *
   * @returns {Record<string, Roster>}
   */
  get presence() {
    return Object.fromEntries(this.#rosters);
  }

  /**
   * Publishes, on a json endpoint by WebSocket; with a channel where the endpoint has more than one to write to. What is published while
   * there is no connection waits for it, in order. Resolves when Redis has it.
   *
   * @overload
   * @param {unknown} data what JSON can say
   * @returns {Promise<Published>}
   */
  /**
   * @overload
   * @param {string | undefined} channel
   * @param {unknown} data
   * @returns {Promise<Published>} rejected with a {@link RequestError}
   */
  /** @param {[unknown] | [string | undefined, unknown]} values */
  async publish(...values) {
    const [channel, data] = values.length === 1 ? [undefined, values[0]] : values;
    this.#needRequests(channel);
    return this.#outbox.publish(channel, data);
  }

  /**
   * Adds a channel or stream, on a json endpoint by WebSocket, until `unsubscribe`: sessions to come are subscribed to it, too. A stream goes on
   * from `since`, else from the client's own position.
   *
   * @param {string} channel
   * @param {{ since?: string, last?: number }} [from] of a stream: a position, and how many of the newest where it does not recover
   * @returns {Promise<Subscribed>} resolved from when on messages come; rejected with a {@link RequestError}
   */
  async subscribe(channel, { since, last } = {}) {
    if (since !== undefined && !isPosition(since)) throw new TypeError(`since: ${since} is no position`);
    this.#needRequests(channel);
    return this.#subscriptions.add(channel, since, last);
  }

  /**
   * Gives back what was subscribed to. While there is no connection that is done at once.
   *
   * @param {string} channel
   * @returns {Promise<void>} resolved behind its last message; rejected with a {@link RequestError}
   */
  async unsubscribe(channel) {
    this.#needRequests(channel);
    return this.#subscriptions.remove(channel);
  }

  /** The session does not have it any more. @param {string} channel */
  #forget(channel) {
    this.#positions.delete(channel);
    this.#rosters.delete(channel);
  }

  /** @param {string | undefined} channel */
  #needRequests(channel) {
    if (this.#state === "stopped") throw failure("stopped", { channel });
    if (!this.#takesRequests()) throw failure("not_supported", { channel });
  }

  /** Whether there are answers: raw endpoints tell nobody what became of a message, and Server-Sent Events go one way. */
  #takesRequests() {
    const isEvents = this.#options.transport === "sse" || (this.#hasOpened && this.#transport === "sse");
    return this.#options.format === "json" && !isEvents;
  }

  /** Ends it for good: `stopped` with 1000. */
  close() {
    this.#stop(1000, "bye");
  }

  /**
   * Sends a fresh token of the same user, on a json endpoint: the session lives on to its expiry. Server-Sent
   * Events cannot send: there it is the token of the next session.
   *
   * @param {string} token
   * @returns {boolean} whether there was a session to send it to
   */
  refresh(token) {
    this.#token = token;
    if (this.#state !== "open" || !this.#connection?.send) return false;
    this.#sentToken = token;
    this.#connection.send(JSON.stringify({ type: "refresh", token }));
    return true;
  }

  /** @param {string | Record<string, string>} since */
  #beginAt(since) {
    const isBare = typeof since === "string";
    for (const id of isBare ? [since] : Object.values(since)) {
      if (!isPosition(id)) throw new TypeError(`since: ${id} is no position`);
    }
    if (isBare) this.#barePosition = since;
    else for (const [stream, id] of Object.entries(since)) this.#positions.set(stream, id);
  }

  async #connect() {
    if (this.#state === "stopped") return;
    const attempt = ++this.#attempt;
    this.#state = "connecting";
    this.#isProbe = this.#mayProbe();
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
      this.#sentToken = token;
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

  /**
   * Whether positions may be why nothing opens. A browser is told of no refusal, it sees 1006; and an endpoint that
   * has no streams any more refuses every position.
   */
  #mayProbe() {
    // A raw WebSocket would not be told whether there are streams.
    const isTold = this.#options.format === "json" || this.#transport === "sse";
    const isDue = this.#unopened % PROBE_EVERY === PROBE_EVERY - 1 && !this.#isLastTry;
    return isTold && isDue && this.#askedOfStreams().length > 0;
  }

  /** @param {string | null | undefined} token */
  #dial(token) {
    try {
      if (this.#transport === "sse") this.#dialEventSource(token);
      else this.#dialWebSocket(token);
    } catch {
      // The error's text may have the token in it.
      this.#stop(1006, "unusable_url_or_token");
    }
  }

  /** @param {string | null | undefined} token */
  #dialWebSocket(token) {
    const { WebSocket, tokenIn } = this.#options;
    const url = this.#address("ws", tokenIn === "query" ? token : null);
    const socket = token && tokenIn === "subprotocol" ? new WebSocket(url, ["bearer", token]) : new WebSocket(url);
    this.#connection = socket;
    socket.binaryType = "arraybuffer";
    const current = () => socket === this.#connection;
    socket.addEventListener("open", () => current() && this.#options.format !== "json" && this.#openedRaw());
    socket.addEventListener("message", (/** @type {any} */ event) => {
      if (!current()) return;
      this.#heardAt = Date.now();
      this.#received(event.data);
    });
    socket.addEventListener("error", () => {}); // `close` follows, and says as much
    socket.addEventListener("close", (/** @type {any} */ event) => current() && this.#lose(event.code, event.reason));
  }

  /**
   * An EventSource would reconnect by itself, to the URL that it had, token and position included. This one is given up at its
   * first error instead, and what happens then is decided here as for a WebSocket.
   *
   * @param {string | null | undefined} token
   */
  #dialEventSource(token) {
    const { EventSource, format, withCredentials } = this.#options;
    const source = new EventSource(this.#address("http", token), { withCredentials });
    this.#connection = source;
    /** @param {string} type @param {(event: any) => void} heard */
    const on = (type, heard) =>
      source.addEventListener(type, (/** @type {any} */ event) => {
        if (source !== this.#connection) return;
        this.#heardAt = Date.now();
        heard(event);
      });
    on("ready", (event) => this.#ready(object(event.data)));
    on("heartbeat", () => {}); // heard, that is all
    on("error", () => this.#lose(1006, ""));
    on("close", (event) => {
      const { code = 1006, reason = "" } = object(event.data);
      this.#lose(code, reason);
    });
    if (format !== "json") return this.#listenRaw(on);
    for (const type of ["message", "gap", "presence", "join", "leave"]) on(type, (event) => this.#received(event.data));
  }

  /**
   * The frames of a raw endpoint have no ids, its events do: those of the one stream that a session with
   * Server-Sent Events has at most.
   *
   * @param {(type: string, heard: (event: any) => void) => void} on
   */
  #listenRaw(on) {
    /** @param {string | undefined} id */
    const position = (id) => {
      if (this.#onlyStream === undefined || !id) return {};
      this.#positions.set(this.#onlyStream, id);
      return { id };
    };
    on("message", ({ data, lastEventId }) => this.#tell("message", { data, ...position(lastEventId) }));
    on("base64", ({ data, lastEventId }) => this.#tell("message", { data: bytes(data), ...position(lastEventId) }));
    on("gap", ({ data }) => {
      const { type, ...gap } = object(data); // in every format; of a channel it has no id
      this.#tell("gap", { ...gap, ...position(gap.id) });
    });
  }

  /**
   * Where to connect to.
   *
   * @param {"ws" | "http"} scheme
   * @param {string | null | undefined} token for the query
   */
  #address(scheme, token) {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace(/^(ws|http)/, scheme);
    if (token) url.searchParams.set("token", token);
    if (!this.#isProbe) for (const [name, value] of this.#askedOfStreams()) url.searchParams.set(name, value);
    return url.href;
  }

  /** What is asked for of streams: parameters and their values. */
  #askedOfStreams() {
    if (!this.#asksStreams) return [];
    // What the page has added is asked for within the session.
    const isAsked = (/** @type {string} */ stream) => this.#fixed?.has(stream) || !this.#subscriptions.has(stream);
    const positions = [...this.#positions].filter(([stream]) => isAsked(stream));
    const asked = [["since", this.#barePosition || listed(positions)], ["last", String(this.#options.last ?? "")]];
    return asked.filter(([, value]) => value !== "");
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

  /** @param {any} ready the frame, or the event's data */
  #ready({ type, heartbeat_ms: heartbeat, ...values }) {
    this.#expect(heartbeat);
    this.#opened(values);
  }

  /** @param {any} values */
  #opened(values) {
    const streams = Object.entries(values.streams ?? {});
    if (this.#isProbe && streams.length > 0) return this.#tryOnceMore();
    if (this.#isProbe) this.#lost ??= "no_streams";
    this.#asksStreams = streams.length > 0 || !this.#isProbe;
    this.#unopened = 0;
    this.#isLastTry = false;
    clearTimeout(this.#timer);
    this.#state = "open";
    this.#openedAt = this.#heardAt = Date.now();
    this.#hasOpened = true;
    this.#refused = null;
    this.#watch();
    const missing = this.#missing(values, streams);
    this.#lost = null;
    this.#barePosition = "";
    this.#onlyStream = streams[0]?.[0];
    this.#begin(values, streams);
    const attempt = this.#attempt;
    this.#tell("open", values);
    for (const told of missing) if (attempt === this.#attempt) this.#tell(...told); // unless a listener has closed it
  }

  /**
   * What the session has from its beginning, and what the page wants beside that.
   *
   * @param {any} values of `ready`
   * @param {[string, any][]} streams
   */
  #begin({ session, channels = [], patterns = [] }, streams) {
    const fixed = new Set([...channels, ...patterns, ...streams.map(([stream]) => stream)]);
    this.#fixed = session === undefined ? undefined : fixed;
    this.#rosters.clear();
    for (const stream of this.#positions.keys()) if (!this.#subscriptions.has(stream)) this.#positions.delete(stream);
    for (const [stream, { id }] of streams) {
      if (id) this.#positions.set(stream, id);
      else this.#positions.delete(stream);
    }
    if (this.#takesRequests()) {
      this.#subscriptions.opened(fixed);
      this.#outbox.advance();
    } else {
      this.#giveUpRequests("not_supported");
    }
  }

  /** @param {string} code */
  #giveUpRequests(code) {
    this.#subscriptions.giveUp(code);
    this.#outbox.giveUp(code);
  }

  /** The gateway is there, and has what the positions are of: it may have been away before. */
  #tryOnceMore() {
    this.#isLastTry = true;
    this.#drop();
    this.#connect();
  }

  /** The connection never opened, and nobody has said why. */
  #countUnopened() {
    this.#unopened += 1;
    if (!this.#isLastTry) return;
    // A moment ago it opened without positions: they are what it refuses.
    this.#isLastTry = false;
    this.#lost ??= "positions_refused";
    this.#forgetPositions();
  }

  /**
   * What to tell, behind `open`, of what was published before it.
   *
   * @param {any} values of `ready`
   * @param {[string, any][]} streams
   * @returns {[string, object][]}
   */
  #missing({ session, channels = [], patterns = [] }, streams) {
    const answered = streams.filter(([, { recovered }]) => recovered !== undefined);
    /** @type {[string, object][]} */
    const told = answered.map(([channel, { recovered, replayed, reason, missed, id }]) =>
      recovered ? ["recovered", { channel, replayed }] : ["gap", { channel, reason, missed, id }],
    );
    const unanswered = streams.filter(([stream, { recovered }]) => recovered === undefined && this.#positions.has(stream));
    const reason = this.#lost ?? (unanswered.length > 0 ? "no_position" : null);
    // Channels keep nothing, and so may have missed something; a stream that no position was sent for, too. What was added
    // is told when it is subscribed to again.
    const isKnown = streams.length > 0 || (session !== undefined && this.#fixed?.size === 0);
    const isAnswered = isKnown && answered.length === streams.length && channels.length + patterns.length === 0;
    return reason === null || isAnswered ? told : [...told, ["gap", { reason }]];
  }

  /** @param {any} data */
  #received(data) {
    if (this.#options.format !== "json") {
      const { gapNotice, heartbeatNotice } = this.#options;
      if (data === gapNotice) this.#tell("gap", { reason: "notice" });
      else if (!heartbeatNotice || data !== heartbeatNotice) this.#tell("message", { data });
      return;
    }
    const { type, ...frame } = object(data);
    const { channel, id } = frame;
    if (type === "ready") return this.#ready(frame);
    if (type === undefined) return this.#stop(1003, "not_a_json_endpoint");
    // The last one counts, even where it is smaller: a stream may have been rolled back.
    if (id !== undefined && (type === "gap" || type === "message")) this.#positions.set(channel, id);
    if (type === "gap") this.#tell("gap", frame);
    else if (type === "message") this.#tell("message", { channel, data: payload(frame), ...(id !== undefined && { id }) });
    else if (type === "presence" || type === "join" || type === "leave") this.#receivedPresence(type, frame);
    else this.#receivedAnswer(type, frame);
  }

  /**
   * @param {"presence" | "join" | "leave"} type
   * @param {any} frame
   */
  #receivedPresence(type, frame) {
    const { channel, user } = frame;
    const { users } = this.#rosters.get(channel) ?? {};
    if (type === "presence") this.#rosters.set(channel, { count: frame.count, ...(frame.users && { users: frame.users }) });
    // None comes of someone who is listed already, or not any more; and none where there is no list.
    else if (users) this.#rosters.set(channel, roster(type === "join" ? [...users, user] : users.filter((one) => one !== user)));
    this.#tell(type, frame);
  }

  /**
   * @param {string} type
   * @param {any} frame
   */
  #receivedAnswer(type, frame) {
    if (type === "subscribed") this.#subscriptions.subscribed(frame);
    else if (type === "unsubscribed") this.#subscriptions.unsubscribed(frame);
    else if (type === "published") this.#outbox.published(frame);
    else if (type === "refused") this.#subscriptions.refused(frame) || this.#outbox.refused(frame);
    this.#outbox.advance(); // what waited for a subscription
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
    if (wasOpen || code === 4009) this.#lost = reason || "connection_lost";
    if (next === "stop") return this.#stop(code, reason);
    if (wasOpen && Date.now() - this.#openedAt >= SETTLED) this.#failures = 0;
    if (wasOpen) this.#subscriptions.lost(this.#lost ?? "");
    if (code === 4009) this.#forgetPositions();
    if (!wasOpen && code === 1006 && reason === "") this.#countUnopened();
    this.#drop();
    if (!this.#hasOpened && this.#options.transport === "auto") this.#tryTheOther();
    if (next === "token" || !wasOpen) this.#giveUpToken(code, reason);
    if (next === "token" && typeof this.#options.token !== "function") return this.#stop(code, reason);
    this.#wait(this.#delay(next), code, reason);
  }

  /** The page fetches its state anew: what was published before that is in it. */
  #forgetPositions() {
    this.#positions.clear();
    this.#barePosition = "";
  }

  /** Proxies and firewalls that stop the one may let the other pass. */
  #tryTheOther() {
    this.#transport = this.#transport === "sse" ? "websocket" : "sse";
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
    this.#refusedToken = this.#sentToken;
    if (this.#token === this.#sentToken) this.#token = undefined;
  }

  /**
   * How long to wait, milliseconds.
   *
   * @param {"now" | "soon" | "backoff" | "token" | "stop"} next
   */
  #delay(next) {
    const failures = this.#failures++;
    this.#ownBackoff = !(next === "soon" && failures === 0);
    if (failures === 0 && (next === "now" || next === "token")) return 0;
    return this.#ownBackoff ? backoff(this.#options, failures) : Math.random() * this.#options.spread;
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
    this.#giveUpRequests("stopped");
    this.#token = undefined;
    for (const [target, type] of this.#surroundings()) target?.removeEventListener?.(type, this.#onSurroundings);
    this.#tell("stopped", { code, reason });
  }

  /** Forgets the connection, if any, and what was planned. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    const connection = this.#connection;
    this.#connection = null;
    connection?.close(1000);
    this.#outbox.lost();
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
 * @typedef {object} Line what a client lends to its parts
 * @property {() => boolean} isOpen
 * @property {(text: string) => void} send
 * @property {(type: string, values: object) => void} tell
 * @property {(channel: string) => void} forget
 */

/**
 * @typedef {object} Promised
 * @property {(value?: any) => void} resolve
 * @property {(error: RequestError) => void} reject
 */

/** @typedef {{ ref: string, text: string, size: number, channel: string | undefined } & Promised} Publication */

/**
 * What the page publishes, until it is answered. While there is a connection and nothing waits, a message is sent at once. What waited is
 * sent one by one, each when the one before is answered, as fast as the gateway lets a user publish. None is sent a second time unless the
 * gateway has refused it.
 */
class Outbox {
  #line;
  #subscriptions;
  #options;
  /** Not sent, in their order. @type {Publication[]} */
  #waiting = [];
  /** Not answered, by `ref`. @type {Map<string, Publication>} */
  #sent = new Map();
  /** The one of those that had to wait. @type {Publication | undefined} */
  #single;
  /** Until the user may publish again. @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /**
   * @param {Line} line
   * @param {Subscriptions} subscriptions
   * @param {{ maxMessage: number, queueMessages: number, queueBytes: number }} options
   */
  constructor(line, subscriptions, options) {
    this.#line = line;
    this.#subscriptions = subscriptions;
    this.#options = options;
  }

  /**
   * @param {string | undefined} channel
   * @param {unknown} data
   * @returns {Promise<Published>}
   */
  publish(channel, data) {
    const ref = nextReference();
    const { text, size } = encoded({ type: "publish", ref, channel, data }, this.#options.maxMessage);
    if (!this.#hasRoom(size)) throw failure("queue_full", { channel });
    return new Promise((resolve, reject) => {
      const publication = { ref, text, size, channel, resolve, reject };
      if (this.#waiting.length === 0 && !this.#single && this.#mayGo(publication)) this.#send(publication);
      else this.#waiting.push(publication);
    });
  }

  /** @param {number} size */
  #hasRoom(size) {
    const unanswered = [...this.#sent.values(), ...this.#waiting];
    const bytes = unanswered.reduce((sum, one) => sum + one.size, size);
    return unanswered.length < this.#options.queueMessages && bytes <= this.#options.queueBytes;
  }

  /** @param {Publication} publication */
  #mayGo({ channel }) {
    return this.#line.isOpen() && !(channel !== undefined && this.#subscriptions.isUnderWay(channel));
  }

  /** @param {Publication} publication */
  #send(publication) {
    this.#sent.set(publication.ref, publication);
    this.#line.send(publication.text);
  }

  /** Sends the first of those that wait, if it is its turn. */
  advance() {
    const [first] = this.#waiting;
    if (!first || this.#single || this.#pause !== undefined || !this.#mayGo(first)) return;
    this.#single = this.#waiting.shift();
    this.#send(first);
  }

  /** @param {any} frame */
  published({ ref, ...values }) {
    this.#answered(ref)?.resolve(values);
  }

  /** @param {any} frame */
  refused({ ref, code, retry_after_ms: retryAfter }) {
    const hadToWait = this.#single !== undefined && this.#single.ref === ref;
    const publication = this.#answered(ref);
    if (!publication) return;
    if (!hadToWait || code !== "rate_limited") return publication.reject(failure(code, { channel: publication.channel, retryAfter }));
    this.#waiting.unshift(publication);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.advance();
    }, retryAfter);
  }

  /** @param {string} ref */
  #answered(ref) {
    const publication = this.#sent.get(ref);
    this.#sent.delete(ref);
    if (publication === this.#single) this.#single = undefined;
    return publication;
  }

  /** The connection is gone: what was sent may have been published, or may not. */
  lost() {
    clearTimeout(this.#pause);
    this.#pause = this.#single = undefined;
    for (const { reject, channel } of this.#sent.values()) reject(failure("outcome_unknown", { channel }));
    this.#sent.clear();
  }

  /**
   * Nothing will be sent any more.
   *
   * @param {string} code
   */
  giveUp(code) {
    this.lost();
    for (const { reject, channel } of this.#waiting) reject(failure(code, { channel }));
    this.#waiting = [];
  }
}

/**
 * @typedef {object} Added a channel or stream that the page has added
 * @property {string} ref of the latest `subscribe`
 * @property {boolean} isOn whether the session has it
 * @property {string | null} lost why its messages ended, until it is on again
 * @property {number} failures subscribes in a row that were refused for now
 * @property {number} [last]
 * @property {ReturnType<typeof setTimeout>} [timer] until the next try
 * @property {Promised[]} promises of those who wait for it to be on
 */

/** What the page has added to its sessions: each session is asked for it. */
class Subscriptions {
  #line;
  #positions;
  #options;
  /** By channel. @type {Map<string, Added>} */
  #added = new Map();
  /** Unsubscribes that are not answered, by `ref`. @type {Map<string, { channel: string } & Promised>} */
  #leaving = new Map();
  /** What the session opened with. @type {Set<string>} */
  #fixed = new Set();

  /**
   * @param {Line} line
   * @param {Map<string, string>} positions
   * @param {{ maxMessage: number, minBackoff: number, maxBackoff: number }} options
   */
  constructor(line, positions, options) {
    this.#line = line;
    this.#positions = positions;
    this.#options = options;
  }

  /** @param {string} channel */
  has(channel) {
    return this.#added.has(channel);
  }

  /** Whether the session is asked for it now. @param {string} channel */
  isUnderWay(channel) {
    const added = this.#added.get(channel);
    return added !== undefined && !added.isOn && added.timer === undefined;
  }

  /**
   * @param {string} channel
   * @param {string} [since]
   * @param {number} [last]
   * @returns {Promise<Subscribed>}
   */
  add(channel, since, last) {
    const known = this.#added.get(channel);
    if (known?.isOn) return Promise.resolve({ channel });
    return new Promise((resolve, reject) => {
      if (known) return known.promises.push({ resolve, reject });
      const isOn = this.#line.isOpen() && this.#fixed.has(channel);
      const added = { ref: "", isOn, lost: null, failures: 0, last, promises: [{ resolve, reject }] };
      if (since !== undefined && !isOn) this.#positions.set(channel, since);
      this.#added.set(channel, added);
      if (isOn) settle(added, { channel });
      else if (this.#line.isOpen()) this.#ask(channel, added);
    });
  }

  /**
   * @param {string} channel
   * @param {Added} added
   */
  #ask(channel, added) {
    added.ref = nextReference();
    const frame = { type: "subscribe", ref: added.ref, channel, since: this.#positions.get(channel), last: added.last };
    try {
      this.#line.send(encoded(frame, this.#options.maxMessage).text);
    } catch (error) {
      this.#drop(channel, /** @type {RequestError} */ (error));
    }
  }

  /**
   * @param {string} channel
   * @returns {Promise<void>}
   */
  remove(channel) {
    if (this.#fixed.has(channel)) throw failure("channel_fixed", { channel });
    this.#drop(channel, failure("unsubscribed", { channel }));
    if (!this.#line.isOpen()) return Promise.resolve();
    const ref = nextReference();
    const { text } = encoded({ type: "unsubscribe", ref, channel }, this.#options.maxMessage);
    return new Promise((resolve, reject) => {
      this.#leaving.set(ref, { channel, resolve, reject });
      this.#line.send(text);
    });
  }

  /**
   * @param {string} channel
   * @param {RequestError} error for those who wait for it
   */
  #drop(channel, error) {
    const added = this.#added.get(channel);
    if (!added) return;
    clearTimeout(added.timer);
    this.#added.delete(channel);
    this.#line.forget(channel);
    for (const { reject } of added.promises) reject(error);
  }

  /**
   * There is a session.
   *
   * @param {Set<string>} fixed what it has by itself
   */
  opened(fixed) {
    this.#fixed = fixed;
    for (const [channel, added] of this.#added) {
      if (fixed.has(channel)) settle(added, { channel });
      else this.#ask(channel, added);
    }
  }

  /** @param {any} frame */
  subscribed({ ref, channel, ...values }) {
    const added = this.#added.get(channel);
    if (added?.ref !== ref || !added) return; // of one that was given back
    const { lost } = added;
    const { id, recovered, replayed, reason, missed } = values;
    if (id === undefined) this.#positions.delete(channel);
    else this.#positions.set(channel, id);
    settle(added, { channel, ...values });
    if (recovered) this.#line.tell("recovered", { channel, replayed });
    else if (recovered === false) this.#line.tell("gap", { channel, reason, missed, id });
    else if (lost !== null) this.#line.tell("gap", { channel, reason: lost });
  }

  /** @param {any} frame */
  unsubscribed({ ref, channel, reason }) {
    const leaving = this.#leaving.get(ref);
    this.#leaving.delete(ref);
    if (leaving) {
      this.#left(leaving);
    } else if (reason !== undefined && this.#added.get(channel)?.isOn) {
      this.#takenAway(channel, reason);
    }
  }

  /**
   * @param {string} channel
   * @param {string} reason
   */
  #takenAway(channel, reason) {
    this.#drop(channel, failure(reason, { channel }));
    this.#line.tell("unsubscribed", { channel, reason });
  }

  /**
   * @param {any} frame
   * @returns {boolean} whether it answers one of these
   */
  refused({ ref, code, retry_after_ms: retryAfter }) {
    const [channel, added] = [...this.#added].find(([, one]) => one.ref === ref) ?? [];
    if (channel !== undefined && added) {
      if (added.lost === null) this.#drop(channel, failure(code, { channel, retryAfter }));
      else this.#refusedAgain(channel, added, code, retryAfter);
      return true;
    }
    const leaving = this.#leaving.get(ref);
    this.#leaving.delete(ref);
    leaving?.reject(failure(code, { channel: leaving.channel, retryAfter }));
    return leaving !== undefined;
  }

  /**
   * What an earlier session had is refused to this one.
   *
   * @param {string} channel
   * @param {Added} added
   * @param {string} code
   * @param {number | undefined} retryAfter
   */
  #refusedAgain(channel, added, code, retryAfter) {
    if (code === "since_invalid" && (this.#positions.has(channel) || added.last !== undefined)) {
      this.#positions.delete(channel); // it is no stream any more
      added.last = undefined;
      this.#ask(channel, added);
    } else if (TEMPORARY.includes(code)) {
      const delay = retryAfter ?? backoff(this.#options, added.failures++);
      added.timer = setTimeout(() => {
        added.timer = undefined;
        this.#ask(channel, added);
      }, delay);
    } else {
      this.#takenAway(channel, code);
    }
  }

  /**
   * The session is over: the next one is asked for all of it.
   *
   * @param {string} reason
   */
  lost(reason) {
    for (const added of this.#added.values()) {
      clearTimeout(added.timer);
      added.timer = undefined;
      if (added.isOn) added.lost = reason;
      added.isOn = false;
    }
    this.#allLeft();
  }

  /**
   * It is not in the session any more, unless it was added again meanwhile.
   *
   * @param {{ channel: string } & Promised} leaving
   */
  #left({ channel, resolve }) {
    if (!this.#added.has(channel)) this.#line.forget(channel);
    resolve();
  }

  #allLeft() {
    for (const leaving of this.#leaving.values()) this.#left(leaving);
    this.#leaving.clear();
  }

  /**
   * Nothing will be subscribed to any more; positions stay, for the page to store.
   *
   * @param {string} code
   */
  giveUp(code) {
    for (const [channel, { timer, promises }] of this.#added) {
      clearTimeout(timer);
      for (const { reject } of promises) reject(failure(code, { channel }));
    }
    this.#added.clear();
    this.#allLeft();
  }
}

/**
 * The session has it.
 *
 * @param {Added} added
 * @param {Subscribed} answer
 */
function settle(added, answer) {
  added.isOn = true;
  added.lost = null;
  added.failures = 0;
  for (const { resolve } of added.promises.splice(0)) resolve(answer);
}

let references = 0;

/** What a frame is called, so that its answer is known. */
function nextReference() {
  references += 1;
  return String(references);
}

/**
 * A frame as it is sent. What the gateway cannot read, or would end the session for, is refused here.
 *
 * @param {{ channel?: string, [member: string]: unknown }} frame
 * @param {number} maxMessage
 */
function encoded(frame, maxMessage) {
  const { channel } = frame;
  let text;
  try {
    text = JSON.stringify(frame);
  } catch {
    throw failure("data_invalid", { channel }); // a cycle, a BigInt
  }
  const size = new TextEncoder().encode(text).length;
  if (size > maxMessage) throw failure("message_too_big", { channel });
  if (!isSound(text) || ("data" in frame && !("data" in object(text)))) throw failure("data_invalid", { channel });
  return { text, size };
}

/**
 * Whether JSON is nested no deeper than the gateway reads, and has no half of a character (a surrogate alone).
 *
 * @param {string} text
 */
function isSound(text) {
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"|[[\]{}]/g)) {
    if (token[0] === '"') {
      // JSON.stringify escapes halves alone, and backslashes in pairs.
      if (/^(?:[^\\]|\\[^u]|\\u(?!d[89a-f]))*$/.test(token)) continue;
      return false;
    }
    depth += token === "[" || token === "{" ? 1 : -1;
    if (depth > DEEPEST) return false;
  }
  return true;
}

/**
 * @param {string} code
 * @param {{ channel?: string, retryAfter?: number }} values
 * @returns {RequestError}
 */
function failure(code, { channel, retryAfter }) {
  const where = channel === undefined ? "" : `${channel}: `;
  return Object.assign(new Error(where + code), { code, ...(channel !== undefined && { channel }), ...(retryAfter !== undefined && { retryAfter }) });
}

/** @param {string[]} users */
function roster(users) {
  return { count: users.length, users };
}

/**
 * Full jitter: any time below a limit that doubles, so that clients lost together come back apart.
 *
 * @param {{ minBackoff: number, maxBackoff: number }} options
 * @param {number} failures
 */
function backoff({ minBackoff, maxBackoff }, failures) {
  return Math.random() * Math.min(maxBackoff, minBackoff * 2 ** failures);
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
  return base64 === undefined ? data : bytes(base64);
}

/** @param {string} base64 */
function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}

/**
 * Whether it is the id of an entry: two numbers of 64 bits.
 *
 * @param {unknown} id
 */
function isPosition(id) {
  const numbers = typeof id === "string" && /^(\d{1,20})-(\d{1,20})$/.exec(id);
  return numbers && numbers.slice(1).every((number) => BigInt(number) < 2n ** 64n);
}

/**
 * Positions as `since` takes them: `CHANNEL@ID,CHANNEL@ID`. Those that find no room are left out, and
 * so are told as a gap.
 *
 * Each has its stream's name, also where there is only one: after a token of another user, or another
 * configuration, it would else be taken for the position of another stream.
 *
 * @param {[string, string][]} positions
 */
function listed(positions) {
  let list = "";
  for (const [stream, id] of positions) {
    const longer = `${list}${list && ","}${stream.replace(/[%,@]/g, (character) => encodeURIComponent(character))}@${id}`;
    if (encodeURIComponent(longer).length <= LONGEST_SINCE) list = longer;
  }
  return list;
}

/** @type {Record<string, ("WebSocket" | "EventSource")[]>} */
const NEEDED = { websocket: ["WebSocket"], sse: ["EventSource"], auto: ["WebSocket", "EventSource"] };

/**
 * The constructors that a transport needs.
 *
 * @param {string} transport
 */
function needed(transport) {
  if (!Object.hasOwn(NEEDED, transport)) throw new TypeError(`there is no transport ${transport}`);
  return NEEDED[transport];
}
