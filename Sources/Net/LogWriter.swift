// Access logs leave the loops as blocks of whole lines. A loop collects lines in a `LogStream` of its own and hands the
// block over when it is full or a tenth of a second old; one thread writes. A loop never waits: where the queue is being
// touched by somebody else at that moment it tries again with the next line, and where the queue is full (the disk is
// slower than the traffic) the block is dropped and its lines are counted.
import Core
import Glibc
import Synchronization

/// Writes blocks of lines to a file or to standard output on a thread of its own. Full disks and broken pipes are
/// counted, never fatal.
public final class LogWriter: LogSink {
  /// Where the lines go.
  public enum Destination: Hashable, Sendable {
    /// Standard output.
    case standardOutput
    /// A file, created where it is missing (mode 0640) and always appended to.
    case file(path: String)
  }

  /// What became of the lines so far.
  public struct Statistics: Equatable, Sendable {
    /// Lines that were written whole.
    public var writtenLines: Int
    /// Lines that were lost because the queue was full or because a write failed.
    public var droppedLines: Int
    /// Writes that the system refused: a full disk, a pipe without a reader.
    public var failedWrites: Int
  }

  /// Bytes that wait at most by default: a second of heavy traffic.
  public static let defaultQueueLimit = 32 << 20

  /// Written blocks that are kept for loops to go on with, so that a busy node neither copies nor allocates them.
  private static let spareLimit = 4
  /// How much memory a block has that is worth keeping, in bytes.
  private static let spareCapacities = LogStream.defaultBlockSize...LogStream.defaultBlockSize * 2

  private struct Queue {
    var blocks: [LogBlock] = []
    var spares: [LogBlock] = []
    var byteCount = 0
    var isClosed = false
    var mustReopen = false
  }

  private let destination: Destination
  private let queueLimit: Int
  private let queue = Mutex(Queue())
  private let wakeUp: WakeUp
  private let thread = Mutex<OSThread?>(nil)
  private let writtenLines = Atomic<Int>(0)
  private let droppedLines = Atomic<Int>(0)
  private let failedWrites = Atomic<Int>(0)

  /// Opens the destination and starts the thread. Throws where the file cannot be opened or descriptors have run out.
  public init(_ destination: Destination, queueLimit: Int = LogWriter.defaultQueueLimit) throws(NetworkError) {
    self.destination = destination
    self.queueLimit = queueLimit
    Signals.ignoreBrokenPipes()
    wakeUp = try WakeUp()
    let output = try Self.open(destination)
    let started = OSThread.spawn(name: "log") { [self] in run(LogOutput(output)) }
    thread.withLock { $0 = started }
  }

  /// What became of the lines so far. From any thread.
  public var statistics: Statistics {
    Statistics(
      writtenLines: writtenLines.load(ordering: .relaxed), droppedLines: droppedLines.load(ordering: .relaxed),
      failedWrites: failedWrites.load(ordering: .relaxed))
  }

  /// Asks the thread to open the file anew, as is needed after it was renamed. Where that fails the old one is kept and
  /// the failure counted. From any thread.
  public func reopen() {
    queue.withLock { $0.mustReopen = true }
    wakeUp.signal()
  }

  /// Writes what waits, ends the thread and waits for it: at most about a second where nobody reads the other end.
  /// Lines that arrive afterwards are dropped.
  public func close() {
    queue.withLock { $0.isClosed = true }
    wakeUp.signal()
    let running = thread.withLock { thread in
      let running = thread
      thread = nil
      return running
    }
    running?.join()
  }

  /// Hands a block of whole lines over, without waiting, and leaves an empty one. False where the queue is in use at this
  /// moment: try again later. A block that finds the queue full or closed is dropped and counted.
  public func submit(_ block: inout LogBlock) -> Bool {
    enum Outcome { case first, queued, full }
    let outcome = queue.withLockIfAvailable { queue -> Outcome in
      let count = block.buffer.count
      guard !queue.isClosed, queue.byteCount + count <= queueLimit else { return .full }
      queue.byteCount += count
      if block.isSparse {
        queue.blocks.append(LogBlock(compact: block))
        block.removeAll()
      } else {
        queue.blocks.append(block)
        block = queue.spares.popLast() ?? LogBlock()
      }
      return queue.blocks.count == 1 ? .first : .queued
    }
    switch outcome {
    case nil: return false
    case .first: wakeUp.signal()
    case .queued: break
    case .full:
      droppedLines.add(block.lineCount, ordering: .relaxed)
      block.removeAll()
    }
    return true
  }

  private static func open(_ destination: Destination) throws(NetworkError) -> Int32 {
    let number: Int32
    switch destination {
    case .standardOutput: number = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
    case .file(let path):
      // Non-blocking for the sake of named pipes: without a reader they are an error now, not a wait.
      number = unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o640)
    }
    guard number >= 0 else { throw NetworkError(code: errno) }
    return number
  }

  private func run(_ output: consuming LogOutput) {
    var isClosed = false
    while !isClosed {
      var blocks: [LogBlock] = []
      var mustReopen = false
      queue.withLock { queue in
        swap(&blocks, &queue.blocks)
        queue.byteCount = 0
        isClosed = queue.isClosed
        mustReopen = queue.mustReopen
        queue.mustReopen = false
      }
      if mustReopen {
        do throws(NetworkError) {
          output.replace(try Self.open(destination))
        } catch {
          failedWrites.add(1, ordering: .relaxed)
        }
      }
      for block in blocks { write(block, to: &output) }
      if blocks.isEmpty, !isClosed { wakeUp.wait(milliseconds: -1) }
    }
  }

  /// Writes a block, keeps its memory for another one, and counts its lines.
  private func write(_ block: LogBlock, to output: inout LogOutput) {
    let lineCount = block.lineCount
    let written = output.write(block.buffer) { [self] in queue.withLock { $0.isClosed } }
    let isWhole = written == block.buffer.count
    let writtenCount = isWhole ? lineCount : (0..<written).count { block.buffer[$0] == UInt8(ascii: "\n") }
    if Self.spareCapacities.contains(block.buffer.capacity) {
      var spare = block
      spare.removeAll()
      queue.withLock { if $0.spares.count < Self.spareLimit { $0.spares.append(spare) } }
    }
    writtenLines.add(writtenCount, ordering: .relaxed)
    if isWhole { return }
    droppedLines.add(lineCount - writtenCount, ordering: .relaxed)
    failedWrites.add(1, ordering: .relaxed)
  }
}

/// The writing end: whole blocks, whatever the kernel makes of them.
private struct LogOutput: ~Copyable {
  /// What a pipe that is ready takes without blocking (PIPE_BUF).
  private static let pipeChunk = 4096
  /// How long a reader that does not read holds up a writer that was told to end.
  private static let farewellMilliseconds = 1000
  private static let pollMilliseconds: Int32 = 100

  private var descriptor: Descriptor
  private var isRegularFile: Bool
  /// The last write stopped inside a line: the next one begins on a new line.
  private var isTorn = false

  init(_ number: Int32) {
    descriptor = Descriptor(number)
    isRegularFile = Self.isRegularFile(number)
  }

  mutating func replace(_ number: Int32) {
    descriptor = Descriptor(number)
    isRegularFile = Self.isRegularFile(number)
    isTorn = false
  }

  private static func isRegularFile(_ number: Int32) -> Bool {
    var status = stat()
    return unsafe fstat(number, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// Writes all bytes unless the system refuses; returns how many were written.
  mutating func write(_ bytes: ByteBuffer, isClosing: () -> Bool) -> Int {
    if isTorn {
      let newline: [UInt8] = [UInt8(ascii: "\n")]
      guard write(RawSpan(newline), from: 0) == 1 else { return 0 }
      isTorn = false
    }
    var offset = 0
    var waited = 0
    while offset < bytes.count {
      if !isRegularFile {
        // A pipe may be in blocking mode; asking first keeps the thread able to end.
        var entry = pollfd(fd: descriptor.number, events: Int16(POLLOUT), revents: 0)
        if unsafe poll(&entry, 1, Self.pollMilliseconds) == 0 {
          waited += Int(Self.pollMilliseconds)
          if isClosing(), waited >= Self.farewellMilliseconds { break }
          continue
        }
      }
      let count = write(bytes.bytes, from: offset)
      if count < 0 {
        if errno == EINTR || errno == EAGAIN { continue }
        break
      }
      offset += count
    }
    isTorn = offset > 0 && offset < bytes.count && bytes[offset - 1] != UInt8(ascii: "\n")
    return offset
  }

  private func write(_ bytes: RawSpan, from offset: Int) -> Int {
    let rest = bytes.byteCount - offset
    let limit = isRegularFile ? rest : min(rest, Self.pipeChunk)
    return unsafe bytes.withUnsafeBytes { source in
      unsafe Glibc.write(descriptor.number, source.baseAddress.map { unsafe $0 + offset }, limit)
    }
  }
}
