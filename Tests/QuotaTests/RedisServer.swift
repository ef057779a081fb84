import CHiredis
import Foundation

/// A real Redis of its own, on a socket in a temporary folder, stopped with the object; and one connection to it.
@safe
final class RedisServer {
  private let process = Process()
  private let folder: URL
  private let connection: UnsafeMutablePointer<redisContext>

  /// An answer of Redis.
  enum Answer: Equatable {
    case bytes([UInt8])
    case status(String)
    case error(String)
    case number(Int64)
    case nothing
    case list([Answer])

    var bytes: [UInt8] { if case .bytes(let bytes) = self { bytes } else { [] } }
    var list: [Answer] { if case .list(let list) = self { list } else { [] } }
    var number: Int64 { if case .number(let number) = self { number } else { -1 } }
  }

  struct Failure: Error { let text: String }

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "sluice-redis-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let socket = folder.appending(path: "s").path
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [
      "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder.path,
      "--hash-max-listpack-entries", "64", "--logfile", folder.appending(path: "log").path,
    ]
    try process.run()
    for _ in 0..<500 {
      if let context = unsafe redisConnectUnix(socket) {
        if unsafe context.pointee.err == 0 {
          unsafe connection = context
          return
        }
        unsafe redisFree(context)
      }
      Thread.sleep(forTimeInterval: 0.01)
    }
    kill(process.processIdentifier, SIGKILL)
    throw Failure(text: "redis-server did not come up")
  }

  deinit {
    unsafe redisFree(connection)
    // It has nothing to save; and it inherits a mask of signals that keeps SIGTERM from it.
    kill(process.processIdentifier, SIGKILL)
    try? FileManager.default.removeItem(at: folder)
  }

  /// A command as bytes.
  static func command(_ arguments: [[UInt8]]) -> [UInt8] {
    arguments.reduce(into: Array("*\(arguments.count)\r\n".utf8)) {
      $0 += Array("$\($1.count)\r\n".utf8) + $1 + Array("\r\n".utf8)
    }
  }

  /// Sends commands that are bytes already, one behind the other, and returns their answers.
  func send(_ commands: [[UInt8]]) throws -> [Answer] {
    for command in commands {
      unsafe command.withUnsafeBufferPointer { bytes in
        // It copies the bytes, which are as many as it is told.
        _ = unsafe bytes.baseAddress!.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
          unsafe redisAppendFormattedCommand(connection, $0, bytes.count)
        }
      }
    }
    return try commands.map { _ in
      var reply: UnsafeMutableRawPointer?
      guard unsafe redisGetReply(connection, &reply) == REDIS_OK, let reply = unsafe reply else {
        throw Failure(text: "redis is gone")
      }
      defer { unsafe freeReplyObject(reply) }
      return unsafe Self.answer(reply.assumingMemoryBound(to: redisReply.self))
    }
  }

  /// Sends one command of words.
  @discardableResult
  func ask(_ words: String...) throws -> Answer {
    let answer = try send([Self.command(words.map { Array($0.utf8) })])[0]
    if case .error(let text) = answer { throw Failure(text: text) }
    return answer
  }

  private static func answer(_ reply: UnsafeMutablePointer<redisReply>) -> Answer {
    // A reply of hiredis lives until it is freed; its lengths are what it parsed.
    let value = unsafe reply.pointee
    let bytes = unsafe value.str.map { unsafe Array(UnsafeRawBufferPointer(start: $0, count: Int(value.len))) } ?? []
    switch unsafe value.type {
    case REDIS_REPLY_STRING: return .bytes(bytes)
    case REDIS_REPLY_STATUS: return .status(String(decoding: bytes, as: UTF8.self))
    case REDIS_REPLY_ERROR: return .error(String(decoding: bytes, as: UTF8.self))
    case REDIS_REPLY_INTEGER: return .number(Int64(unsafe value.integer))
    case REDIS_REPLY_ARRAY:
      return .list((0..<Int(unsafe value.elements)).map { unsafe answer(value.element[$0]!) })
    default: return .nothing
    }
  }
}
