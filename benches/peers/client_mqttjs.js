// Devices of mqtt.js: connect, subscribe, publish; one line on standard output at the end of each phase, one on input begins the next.
"use strict";
const mqtt = require("mqtt");
const readline = require("readline");

const [host, port, key] = process.argv.slice(2, 5);
const [devices, messages] = process.argv.slice(5).map(Number);
const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const phase = (name) => {
  console.log(name);
  return input.next();
};

const connect = (number) =>
  new Promise((resolve, reject) => {
    const name = `mqttjs-${String(number).padStart(5, "0")}`;
    const client = mqtt.connect(`mqtt://${host}:${port}`, { clientId: name, username: name, password: key, reconnectPeriod: 0 });
    client.on("error", reject);
    client.on("connect", () => client.subscribe("ota-cbor-c2d", { qos: 1 }, (error) => (error ? reject(error) : resolve(client))));
  });

(async () => {
  await phase("ready");
  const clients = [];
  for (let from = 0; from < devices; from += 50) {
    const numbers = Array.from({ length: Math.min(50, devices - from) }, (_, at) => from + at);
    clients.push(...(await Promise.all(numbers.map(connect))));
  }
  await phase("connected");
  const payload = Buffer.from([0xa1, 0, 0]);
  const publish = async (client) => {
    for (let sent = 0; sent < messages; sent += 1) {
      await client.publishAsync("ingest-cbor", payload, { qos: 0 });
    }
  };
  await Promise.all(clients.map(publish));
  await phase("published");
  process.exit(0);
})();
