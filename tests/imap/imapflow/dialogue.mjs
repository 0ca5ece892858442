// What a JavaScript mail program does with imapflow; prints what it saw as one JSON object.
// node dialogue.mjs HOST PORT USER PASSWORD ROOTS
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The library is installed beside the working directory, not beside this file.
const { ImapFlow } = createRequire(process.cwd() + "/")("imapflow");
const [host, port, user, pass, roots] = process.argv.slice(2);
const client = new ImapFlow({
  host,
  port: Number(port),
  secure: true,
  auth: { user, pass },
  tls: { ca: readFileSync(roots), servername: "localhost" },
  logger: false,
});
const seen = {};
await client.connect();
seen.folders = (await client.list()).map((folder) => [folder.path, folder.specialUse ?? ""]);
seen.status = await client.status("INBOX", { messages: true, unseen: true, uidNext: true });
const lock = await client.getMailboxLock("INBOX");
try {
  seen.exists = client.mailbox.exists;
  seen.subjects = [];
  for await (const message of client.fetch("1:*", { envelope: true, bodyStructure: true, flags: true, uid: true })) {
    seen.subjects.push([message.uid, message.envelope.subject, message.bodyStructure.type]);
  }
  const { content } = await client.download("1");
  let octets = 0;
  for await (const piece of content) octets += piece.length;
  seen.downloaded = octets;
  seen.found = await client.search({ subject: "urgence" }, { uid: true });
  await client.messageFlagsAdd("1", ["\\Flagged", "$Label1"]);
  seen.flags = [...(await client.fetchOne("1", { flags: true })).flags].sort();
  const appended = await client.append("Brouillons", "Subject: brouillon\r\n\r\ntexte\r\n", ["\\Draft"]);
  seen.appended = [appended.destination, appended.uid];
  const moved = await client.messageMove("1", "Corbeille");
  seen.moved = [moved.destination, [...moved.uidMap.entries()]];
  seen.left = client.mailbox.exists;
} finally {
  lock.release();
}
await client.mailboxCreate(["Été", "2025"]);
seen.created = (await client.list()).some((folder) => folder.path === "Été/2025");
await client.mailboxDelete("Été/2025");
seen.quota = await client.getQuota("INBOX");
await client.logout();
console.log(JSON.stringify(seen));
