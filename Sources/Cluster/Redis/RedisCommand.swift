import CHiredis
import Core

/// Writes commands as hiredis formats them.
public enum RedisCommand {
  /// Appends the command with these arguments, the first of which is its name. For commands that are sent now and then:
  /// it allocates. Frequent ones write their bytes themselves.
  public static func append(_ arguments: [String], to buffer: ByteBuffer) {
    append(arguments.map { Array($0.utf8) }, to: buffer)
  }

  /// Appends the command with these arguments, the first of which is its name.
  public static func append(_ arguments: [[UInt8]], to buffer: ByteBuffer) {
    precondition(!arguments.isEmpty)
    let joined = arguments.flatMap { $0 }
    let lengths = arguments.map(\.count)
    var target: UnsafeMutablePointer<CChar>?
    let count = unsafe joined.withUnsafeBufferPointer { bytes -> Int32 in
      // An empty argument still needs an address; nothing is read through it.
      let empty = unsafe UnsafePointer<UInt8>(bitPattern: 1)
      var start = 0
      var pointers: [UnsafePointer<CChar>?] = unsafe []
      for length in lengths {
        let address = unsafe bytes.baseAddress.map { unsafe $0 + start } ?? empty
        unsafe pointers.append(UnsafeRawPointer(address)?.assumingMemoryBound(to: CChar.self))
        start += length
      }
      return unsafe lengths.withUnsafeBufferPointer { lengths in
        unsafe redisFormatCommandArgv(&target, Int32(lengths.count), &pointers, lengths.baseAddress)
      }
    }
    guard let target = unsafe target, count > 0 else { preconditionFailure("out of memory") }
    unsafe buffer.append(RawSpan(_unsafeStart: UnsafeRawPointer(target), byteCount: Int(count)))
    unsafe redisFreeCommand(target)
  }
}
