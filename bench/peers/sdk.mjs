// sdk.mjs URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [OUT [MODEL]]: the most used TypeScript SDK of
// this API. The last picture is written to OUT.
import { readFile, writeFile } from "node:fs/promises";
import { createBlackForestLabs } from "@ai-sdk/black-forest-labs";
import { generateImage } from "ai";

const [url, picture, edits, inFlight, interval, out, model] = process.argv.slice(2);
const service = createBlackForestLabs({
  apiKey: "bench",
  baseURL: `${url}/v1`,
  pollIntervalMillis: Math.max(1, interval * 1000),
});
let left = Number(edits);

async function run() {
  while (left-- > 0) {
    const { image } = await generateImage({
      model: service.image(model ?? "flux-kontext-pro"),
      prompt: { text: "bench", images: [await readFile(picture)] },
    });
    if (!image.uint8Array.length) throw new Error("no picture");
    if (out) await writeFile(out, image.uint8Array);
  }
}

await Promise.all(Array.from({ length: Number(inFlight) }, run));
