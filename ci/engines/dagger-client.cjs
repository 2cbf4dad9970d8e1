/**
 * Loads Dagger's client library, which is an ES module. In a file of its own that Node loads by itself: on Node 20 a script that was made from
 * what V8 compiled before (ci/start.ts) cannot import anything.
 */
module.exports = () => import("@dagger.io/dagger");
