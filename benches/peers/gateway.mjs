// What many teams write by hand: ws and ioredis, one process. No authentication; paths as in benches/src/channels.rs.
// usage: node gateway.mjs LISTEN_HOST:PORT REDIS_HOST:PORT
import http from "node:http";
import Redis from "ioredis";
import { WebSocketServer } from "ws";

const [listen, redisAt] = process.argv.slice(2).map((address) => address.split(":"));
const redis = new Redis({ host: redisAt[0], port: Number(redisAt[1]) });
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const members = new Map(); // channel → { sockets, confirmed }

function channelsOf(path) {
  if (path === "/all") return ["bench:all"];
  const [, kind, id] = path.match(/^\/(own|both)\/(\d+)$/) ?? [];
  if (kind === "own") return [`bench:${id}`];
  if (kind === "both") return [`bench:${id}`, "bench:all"];
  const many = path.match(/^\/many\?c=(.+)$/);
  return many ? many[1].split(",").map((each) => `bench:${each}`) : null;
}

function subscribed(channel) {
  if (!members.has(channel)) members.set(channel, { sockets: new Set(), confirmed: redis.subscribe(channel) });
  return members.get(channel).confirmed;
}

const server = http.createServer((_, response) => response.writeHead(404).end());
server.on("upgrade", async (request, connection, head) => {
  const channels = channelsOf(request.url);
  if (!channels) return connection.destroy();
  await Promise.all(channels.map(subscribed));
  sockets.handleUpgrade(request, connection, head, (socket) => {
    for (const channel of channels) members.get(channel).sockets.add(socket);
    socket.on("close", () => channels.forEach((channel) => members.get(channel).sockets.delete(socket)));
    socket.on("error", () => socket.terminate());
  });
});

redis.on("messageBuffer", (channel, message) => {
  for (const socket of members.get(channel.toString())?.sockets ?? []) socket.send(message, { binary: false });
});

server.listen({ host: listen[0], port: Number(listen[1]), backlog: 4096 });
