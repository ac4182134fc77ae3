// What rustls makes of the certificate, and what comes back: an allowed page and a denied one, also over a WebSocket.
const [hello, denied, socket] = Deno.args;
for (const url of [hello, denied]) {
  const answer = await fetch(url);
  console.log(answer.status, await answer.text());
}
const ws = new WebSocket(socket);
await new Promise((done, fail) => {
  ws.onopen = () => ws.send('from rustls');
  ws.onmessage = (event) => { console.log(event.data); ws.close(); };
  ws.onclose = done;
  ws.onerror = (event) => fail(new Error(event.message));
});
