/** Whether an error is the operating system's, with one of these codes, such as ENOENT. */
export const isErrno = (error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));
