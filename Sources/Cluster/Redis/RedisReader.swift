import CHiredis
import Core

/// Turns the bytes of one connection into replies: hiredis's reader, with bounds.
///
/// hiredis allocates an array as large as its header claims, before any element has come, so the claims of one reply are
/// added up and bounded here.
@safe
struct RedisReader: ~Copyable {
  /// Elements of all arrays of one reply together: far beyond a slot map of a thousand nodes.
  static let mostElements = 1 << 18
  /// Bytes of one reply: far beyond any that is asked for.
  static let mostBytes = 8 << 20

  enum Outcome: ~Copyable {
    case reply(RedisReply)
    case incomplete
    /// This is not RESP 2, or beyond a bound. The reader is of no use any more.
    case malformed
  }

  /// What the callback of one reader knows.
  @unsafe
  private struct Budget {
    var elements: Int
    let createArray: @convention(c) (UnsafePointer<redisReadTask>?, Int32) -> UnsafeMutableRawPointer?
  }

  private let reader: UnsafeMutablePointer<redisReader>
  private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
  private let budget: UnsafeMutablePointer<Budget>
  /// Bytes fed since the last whole reply.
  private var pendingBytes = 0

  init() {
    guard let reader = unsafe redisReaderCreate(), let standard = unsafe reader.pointee.fn,
      let createArray = unsafe standard.pointee.createArray
    else { preconditionFailure("out of memory") }
    unsafe self.reader = reader
    unsafe functions = .allocate(capacity: 1)
    unsafe functions.initialize(to: standard.pointee)
    unsafe budget = .allocate(capacity: 1)
    unsafe budget.initialize(to: Budget(elements: Self.mostElements, createArray: createArray))
    unsafe functions.pointee.createArray = { task, count in
      // hiredis hands the reader's private data, our budget, to every task; it lives as long as the reader.
      guard let budget = unsafe task?.pointee.privdata?.assumingMemoryBound(to: Budget.self) else { return nil }
      unsafe budget.pointee.elements -= max(Int(count), 0)
      return unsafe budget.pointee.elements < 0 ? nil : budget.pointee.createArray(task, count)
    }
    unsafe reader.pointee.fn = functions
    unsafe reader.pointee.privdata = UnsafeMutableRawPointer(budget)
  }

  deinit {
    // Frees an unfinished reply with our functions, so they go last.
    unsafe redisReaderFree(reader)
    unsafe functions.deallocate()
    unsafe budget.deallocate()
  }

  /// Takes bytes as they were received. False where the reader has failed, now or before.
  mutating func feed(_ bytes: RawSpan) -> Bool {
    pendingBytes += bytes.byteCount
    return unsafe bytes.withUnsafeBytes { bytes in
      unsafe redisReaderFeed(reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) == REDIS_OK
    }
  }

  /// The next whole reply.
  mutating func next() -> Outcome {
    var reply: UnsafeMutableRawPointer?
    guard unsafe redisReaderGetReply(reader, &reply) == REDIS_OK else { return .malformed }
    guard let reply = unsafe reply else { return pendingBytes > Self.mostBytes ? .malformed : .incomplete }
    // What follows the reply in the reader belongs to the next one.
    pendingBytes = unsafe reader.pointee.len - reader.pointee.pos
    unsafe budget.pointee.elements = Self.mostElements
    return .reply(unsafe RedisReply(owning: reply.assumingMemoryBound(to: redisReply.self)))
  }
}
