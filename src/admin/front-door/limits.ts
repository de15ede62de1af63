/** Bounds of the front door. What it refuses beyond them costs nothing but the refusal. */

/** Largest body of a request, bytes: a block as hex has 8 MB, and it may stand in a batch with another one. */
export const MAX_BODY_BYTES = 20 * 1024 * 1024;
/** Bodies that are read or worked on together, bytes: what clients with the password may make the host keep. */
export const MAX_BODIES_BYTES = 64 * 1024 * 1024;
/** Calls in one batch: Bitcoin clients send some hundreds. */
export const MAX_BATCH_CALLS = 1_000;
/** All answers of one request together, bytes: several verbose blocks. Calls of a batch beyond it are not made. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Requests that are worked on at a time: Bitcoin Core's `-rpcworkqueue` since version 30. */
export const MAX_OPEN_REQUESTS = 64;
/** Connections open at a time; further ones are closed at once. */
export const MAX_CONNECTIONS = 128;
/** Header lines of a request together, bytes: Node's own default, said aloud. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Time from the first byte, or from the connection, to the end of the headers, milliseconds. */
export const HEADERS_TIMEOUT_MS = 10_000;
/** Time for headers and body together, milliseconds: the largest body over loopback takes a second. */
export const REQUEST_TIMEOUT_MS = 15_000;
/** How often connections are looked at for those two, milliseconds. */
export const CHECK_INTERVAL_MS = 1_000;
/** Idle time after which a kept connection is closed, milliseconds: Bitcoin Core's `-rpcservertimeout`. */
export const KEEP_ALIVE_MS = 30_000;
/** Time in which a client that does not read its answer must take something of it, milliseconds. */
export const ANSWER_STALL_MS = 30_000;
/** Longest time for one request with all its calls, milliseconds: a module's command may take 600 s, and the way back. */
export const MAX_REQUEST_MS = 660_000;
/** Longest `id`, bytes: it is echoed with every answer. */
export const MAX_ID_BYTES = 1_024;
/** Longest method name that is looked at, characters. */
export const MAX_METHOD_CHARS = 256;
/** Longest Authorization header, characters. */
export const MAX_AUTHORIZATION_CHARS = 1_024;
/** Wait before a wrong password is refused, milliseconds, against guessing: Bitcoin Core's own figure. */
export const WRONG_PASSWORD_DELAY_MS = 250;
/** How long one word on readiness or one page of metrics serves everybody, milliseconds: they need no password. */
export const PAGE_CACHE_MS = 1_000;
