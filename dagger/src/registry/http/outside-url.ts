/**
 * An http or https address that somebody else wrote (a Location, a Link, a realm, a proxy variable), or null where it is none that can
 * be used: the caller says whose it was. Everything else that is written as a URL here is put together by image-factory.
 */
export const outsideUrl = (text: string, from?: URL): URL | null => {
  if (!URL.canParse(text, from?.href)) return null;
  const url = new URL(text, from);
  return (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "" ? url : null;
};
