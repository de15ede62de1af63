/** What a handler is told of the call it answers. It carries no gRPC, so every lane can make one. */
export interface CallContext {
  /** Full method path, for example `/modhost.v1.ChainService/GetBlock`. */
  readonly method: string;
  /** Fires when the caller cancels, the deadline passes, a permission is withdrawn or the session ends. */
  readonly signal: AbortSignal;
  /** Milliseconds left until the deadline, at least 0; Infinity for streams without one. */
  timeLeftMs(): number;
}

/** One method of a generated service definition, as far as the lanes need it. */
export interface MethodDefinition {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the generated definitions are heterogeneous; exact types are derived below
  readonly requestDeserialize: (bytes: Buffer) => any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly responseSerialize: (value: any) => Buffer;
}

/** A generated service definition: what `outputServices=grpc-js` exports as `XService`. */
export type ServiceDefinition = Readonly<Record<string, MethodDefinition>>;

type RequestOf<M> = M extends { readonly requestDeserialize: (bytes: Buffer) => infer R } ? R : never;
type ResponseOf<M> = M extends { readonly responseSerialize: (value: infer R) => Buffer } ? R : never;

type Incoming<M> = M extends { readonly requestStream: true } ? AsyncIterable<RequestOf<M>> : RequestOf<M>;
type Outgoing<M> = M extends { readonly responseStream: true }
  ? AsyncIterable<ResponseOf<M> | Encoded<ResponseOf<M>>>
  : Promise<ResponseOf<M> | Encoded<ResponseOf<M>>>;

/** A handler of one method: promise or async-iterable code that throws HostError. */
export type MethodHandler<M> = (request: Incoming<M>, context: CallContext) => Outgoing<M>;

/**
 * Everything that a service must answer, derived from its generated definition, so that a new rpc without a handler
 * does not compile.
 */
export type ServiceImpl<D> = { readonly [K in keyof D]: MethodHandler<D[K]> };

/**
 * The bytes of a message that is encoded already, so that one encoding serves many receivers. The type parameter
 * keeps bytes of one message from standing in for another.
 */
export class Encoded<T> {
  readonly bytes: Buffer;
  /** Only for the type checker; never set. */
  declare readonly message: T;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}
