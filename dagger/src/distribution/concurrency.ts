/** Works on items in their order, so many at the same time. After a failure no further one is begun. @throws what failed first */
export const eachAtOnce = async <T>(items: readonly T[], limit: number, work: (item: T) => Promise<unknown>): Promise<void> => {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      await work(item).catch((error: unknown) => {
        queue.length = 0;
        throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
};

/** All results. Unlike Promise.all it waits for the others when one fails: what is under way is not cut off. @throws what failed first in the list */
export const allOf = async <T extends readonly unknown[]>(...work: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> => {
  const settled = await Promise.allSettled(work);
  const failed = settled.find((one): one is PromiseRejectedResult => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return settled.map((one) => (one as PromiseFulfilledResult<unknown>).value) as unknown as T;
};
