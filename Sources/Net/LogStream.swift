import Core

/// Where blocks of whole lines go: a ``LogWriter``, or a test that looks at them.
public protocol LogSink: AnyObject, Sendable {
  /// Takes a block without waiting and leaves an empty one in its place. False where that is not possible at this
  /// moment: try again later. A block that is taken may still be dropped, and then counted.
  func submit(_ block: inout LogBlock) -> Bool
}

/// The lines of one loop on their way to a ``LogWriter``. Not thread-safe: it belongs to its loop.
public final class LogStream {
  /// The size at which a block is handed over by default: some hundred lines.
  public static let defaultBlockSize = 64 << 10
  /// How old a line becomes before it is handed over.
  public static let maximumAgeNanoseconds: Int64 = 100_000_000

  /// Where the loop appends the line under construction, its newline included. Another one after each line.
  public var buffer: ByteBuffer { block.buffer }

  private let writer: any LogSink
  private let blockSize: Int
  private var block = LogBlock()
  private var oldest = Instant.never

  /// A stream of whole lines to `writer`. A line may be larger than `blockSize`; it then travels alone.
  public init(_ writer: any LogSink, blockSize: Int = LogStream.defaultBlockSize) {
    self.writer = writer
    self.blockSize = blockSize
  }

  /// When ``flush(now:)`` should be called at the latest; ``Instant/never`` while nothing waits.
  public var deadline: Instant { oldest.advanced(byNanoseconds: Self.maximumAgeNanoseconds) }

  /// Says that a whole line was appended to ``buffer``. Without a system call, but for the line that fills the block.
  public func endLine(now: Instant) {
    if block.lineCount == 0 { oldest = now }
    block.lineCount &+= 1
    if block.buffer.count >= blockSize { handOver(now: now) }
  }

  /// Hands over what is old enough. To be called once a turn; costs a comparison where nothing is due.
  public func flush(now: Instant) {
    if block.lineCount > 0, deadline <= now { handOver(now: now) }
  }

  /// Hands over what there is, for the end of a loop.
  public func flushAll() {
    while block.lineCount > 0 { handOver(now: .never) }
  }

  @inline(never)
  private func handOver(now: Instant) {
    guard writer.submit(&block) else {
      // Somebody else is at the queue for some hundred nanoseconds: the next line or the next turn tries again.
      oldest = now.advanced(byNanoseconds: 1_000_000 - Self.maximumAgeNanoseconds)
      return
    }
    // An unusually long line must not pin its storage for ever. Room for another block lets the last line be long.
    block.removeAll(keeping: blockSize * 2)
    block.buffer.reserve(blockSize * 2)
    oldest = .never
  }
}
