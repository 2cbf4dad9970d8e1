/** A text without what it ends in, however often. Not `/x+$/`: that takes the square of the length for a text with many of them in its middle. */
export const withoutEnd = (text: string, end: string): string => {
  let length = text.length;
  while (text.endsWith(end, length) && length > 0) length -= end.length;
  return text.slice(0, length);
};
