import { type DescFile, type FileRegistry, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** Status code of gRPC for what is not there. */
const NOT_FOUND = 5;
/** Status code of gRPC for what reflection here does not tell. */
const UNIMPLEMENTED = 12;

const LENGTH = 2;
const VARINT = 0;

/**
 * Answers requests of `grpc.reflection.v1.ServerReflection` (and of its identical v1alpha form) from the descriptor set,
 * bytes to bytes, so that grpcurl and `buf curl` can explore the operator's socket.
 *
 * @param services full names of the services that are to be listed
 * @see grpc-proto, grpc/reflection/v1/reflection.proto
 */
export function createReflection(registry: FileRegistry, services: readonly string[]): (request: Uint8Array) => Buffer {
  return (request) => {
    const asked = readRequest(request);
    const answer = new BinaryWriter().uint32(tag(2, LENGTH)).bytes(request);
    const fail = (code: number, text: string): Buffer => {
      const error = new BinaryWriter().uint32(tag(1, VARINT)).int32(code).uint32(tag(2, LENGTH)).string(text).finish();
      return Buffer.from(answer.uint32(tag(7, LENGTH)).bytes(error).finish());
    };
    const files = (file: DescFile | undefined, what: string): Buffer => {
      if (file === undefined) return fail(NOT_FOUND, `${what} is not in the contract`);
      const found = new BinaryWriter();
      for (const each of withDependencies(file)) {
        found.uint32(tag(1, LENGTH)).bytes(toBinary(FileDescriptorProtoSchema, each.proto));
      }
      return Buffer.from(answer.uint32(tag(4, LENGTH)).bytes(found.finish()).finish());
    };
    switch (asked.field) {
      case 3:
        return files(registry.getFile(asked.text), asked.text);
      case 4:
        return files(fileOfSymbol(registry, asked.text), asked.text);
      case 7: {
        const list = new BinaryWriter();
        for (const name of services) {
          list.uint32(tag(1, LENGTH)).bytes(new BinaryWriter().uint32(tag(1, LENGTH)).string(name).finish());
        }
        return Buffer.from(answer.uint32(tag(6, LENGTH)).bytes(list.finish()).finish());
      }
      default:
        return fail(UNIMPLEMENTED, 'only files, symbols and the list of services are told');
    }
  };
}

function readRequest(bytes: Uint8Array): { field: number; text: string } {
  const reader = new BinaryReader(bytes);
  let asked = { field: 0, text: '' };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType === LENGTH && field >= 3) asked = { field, text: Buffer.from(reader.bytes()).toString('utf8') };
    else reader.skip(wireType);
  }
  return asked;
}

/** The file that defines a message, enum, service, method, field or enum value. */
function fileOfSymbol(registry: FileRegistry, symbol: string): DescFile | undefined {
  const name = symbol.replace(/^\./, '');
  const owner = registry.get(name) ?? registry.get(name.slice(0, Math.max(0, name.lastIndexOf('.'))));
  return owner?.file;
}

function withDependencies(file: DescFile): Set<DescFile> {
  const found = new Set<DescFile>();
  const visit = (each: DescFile): void => {
    if (found.has(each)) return;
    found.add(each);
    for (const dependency of each.dependencies) visit(dependency);
  };
  visit(file);
  return found;
}

function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}
