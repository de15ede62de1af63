import { type ChannelOptions, Client, credentials } from '@grpc/grpc-js';

/** What every gRPC library receives by default, and a raw block of 4,000,000 bytes fits. */
export const DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** First wait before a lost connection is dialled again, milliseconds: the socket is on this machine. */
const RECONNECT_FIRST_MS = 100;
/** Longest such wait, milliseconds. */
const RECONNECT_MAX_MS = 2_000;

/** How a channel differs from the usual. */
export interface ChannelSettings {
  /** Largest message in either direction, bytes; `SessionContext.limits.maxMessageBytes` tells the host's. */
  maxMessageBytes?: number;
}

/**
 * Makes the channel to the host's socket; it connects with the first call, and again by itself. Close it with `close()`.
 *
 * @param socketPath value of MODHOST_SOCKET
 */
export function createChannel(socketPath: string, settings: ChannelSettings = {}): Client {
  const maxBytes = settings.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
  const options: ChannelOptions = {
    // HTTP/2 servers refuse a path as authority
    'grpc.default_authority': 'localhost',
    'grpc.max_receive_message_length': maxBytes,
    'grpc.max_send_message_length': maxBytes,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_FIRST_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
    // two channels of one process must not share a connection that one of them closes
    'grpc.use_local_subchannel_pool': 1,
    // a call is sent once: who may send it again is for withRetry, and long streams of requests are not kept in memory
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_channelz': 0,
  };
  return new Client(`unix:${socketPath}`, credentials.createInsecure(), options);
}
