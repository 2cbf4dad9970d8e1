import * as z from "zod";
import { readJson } from "../common/answer.js";
import { shownAddress, urlOf } from "../common/http.js";

export type SimpleFile = { filename: string; url: string; sha256: string | null };

const page = z.object({ files: z.array(z.unknown()) });
const file = z.object({
  filename: z.string().max(1024),
  url: z.string(),
  hashes: z.object({ sha256: z.string().optional() }),
});

/**
 * A page of a package index, in either form that indexes speak: JSON (PEP 691) or HTML (PEP 503). An entry that cannot be read counts as absent.
 * @throws FactoryError MIRROR_FAILED when the page is of neither form
 */
export function readSimple(text: string, from: string): SimpleFile[] {
  if (/^[\s\ufeff]*[{[]/.test(text))
    return readJson(shownAddress(from), text, page).files.flatMap((one) => {
      const { data } = file.safeParse(one);
      return data === undefined ? [] : entry(data.filename, data.url, data.hashes.sha256, from);
    });
  return text
    .split(/<a\b/i)
    .slice(1)
    .flatMap((link) => {
      // At each place one alternative can match, and a link has a largest length: the time is linear in whatever comes.
      const opened = /^(?:[^>"']|"[^"]*"|'[^']*')*>/.exec(link.slice(0, most))?.[0] ?? "";
      const href = /\bhref=(?:"([^"]+)"|'([^']+)')/i.exec(opened)?.slice(1).find(Boolean)?.replaceAll("&amp;", "&");
      const filename = link.slice(opened.length, most).split("<", 1)[0]!.trim();
      if (href === undefined || filename === "") return [];
      const hash = href.includes("#") ? href.slice(href.indexOf("#") + 1) : "";
      return entry(filename, href, /(?:^|&)sha256=([0-9a-f]{64})(?:&|$)/.exec(hash)?.[1], from);
    });
}

/** A link is shorter: what is longer is no link to a file. */
const most = 8192;

const entry = (filename: string, address: string, sha256: string | undefined, from: string): SimpleFile[] => {
  const url = urlOf(address, from);
  if (url === null) return [];
  url.username = url.password = url.hash = "";
  return [{ filename, url: url.href, sha256: sha256 !== undefined && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null }];
};
