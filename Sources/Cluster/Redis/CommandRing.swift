import Core

/// A command under way.
struct PendingCommand: BitwiseCopyable {
  /// Whose it is.
  enum Step: UInt8, BitwiseCopyable {
    /// The owner's.
    case user
    /// The following are the link's own.
    case authenticate, select, name, role, server, replication, persistence, functionLibrary, script, probe, asking
    /// Answered once for each channel.
    case subscribe
    /// The client's, answered to it as if it were an owner's.
    case map
  }

  var tag: UInt64
  /// When it was taken, in nanoseconds.
  var since: Int64
  /// When its owner stops waiting, in nanoseconds.
  var deadline: Int64
  var byteCount: Int
  var step: Step
  var isExpired = false
  /// It was refused once because the library was missing.
  var isReplay = false
  /// How often another node of a cluster was named for it.
  var redirections: UInt8 = 0
}

/// Commands in the order in which they were written, which is that of their replies. Grows to the most there were.
struct CommandRing {
  private var storage: ContiguousArray<PendingCommand> = []
  private var head = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  var first: PendingCommand? { count == 0 ? nil : storage[head] }

  /// The command `index` places behind the first.
  subscript(index: Int) -> PendingCommand {
    get {
      precondition(index < count)
      return storage[(head + index) & (storage.count - 1)]
    }
    set {
      precondition(index < count)
      storage[(head + index) & (storage.count - 1)] = newValue
    }
  }

  mutating func append(_ command: PendingCommand) {
    if count == storage.count { grow(filler: command) }
    storage[(head + count) & (storage.count - 1)] = command
    count += 1
  }

  mutating func popFirst() -> PendingCommand? {
    guard count > 0 else { return nil }
    let command = storage[head]
    head = (head + 1) & (storage.count - 1)
    count -= 1
    return command
  }

  mutating func removeAll() {
    head = 0
    count = 0
  }

  private mutating func grow(filler: PendingCommand) {
    var larger = ContiguousArray(repeating: filler, count: max(16, storage.count * 2))
    for index in 0..<count { larger[index] = self[index] }
    storage = larger
    head = 0
  }
}
