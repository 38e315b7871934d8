// bfl_api.mjs URL PICTURE MODEL OUT: the npm package bfl-api edits a picture. It takes https alone
// and downloads nothing from the machine itself, so the picture is fetched here.
import { readFile, writeFile } from "node:fs/promises";
import { BflAPI } from "bfl-api";

const [url, picture, model, out] = process.argv.slice(2);
const api = new BflAPI({ apiKey: "spec-key", baseUrl: url, logLevel: "NONE" });
const edit = model === "flux-2-pro" ? "generateFlux2Pro" : "generateKontextPro";
const task = await api[edit]({
  prompt: "Make it snow",
  input_image: (await readFile(picture)).toString("base64"),
});
const { result } = await api.waitForResult(task.id, {
  pollingUrl: task.polling_url,
  pollInterval: 0.1,
  showSpinner: false,
});
const answer = await fetch(result.sample);
if (!answer.ok) throw new Error(`the download was answered with ${answer.status}`);
await writeFile(out, Buffer.from(await answer.arrayBuffer()));
