import CLinux
import Core
import Synchronization

/// Messages from any thread to one loop, in the order in which they were sent.
///
/// A message that finds the box empty costs one system call; further ones ride along until the loop has emptied it.
public final class Mailbox<Message: Sendable>: Sendable {
  /// The most messages that wait by default: more than any reasonable burst of administration.
  public static var defaultLimit: Int { 65_536 }

  /// The most messages that wait.
  public let limit: Int

  private let waiting: Mutex<[Message]>
  let wakeUp: WakeUp

  /// An empty mailbox. Throws `.exhausted` where descriptors have run out.
  public init(limit: Int = Mailbox.defaultLimit) throws(NetworkError) {
    precondition(limit > 0)
    self.limit = limit
    waiting = Mutex([])
    wakeUp = try WakeUp()
  }

  /// Hands `message` to the loop; false, and nothing is sent, where ``limit`` messages already wait.
  @discardableResult
  public func send(_ message: Message) -> Bool {
    let found = waiting.withLock { queue in
      let found = queue.count
      if found < limit { queue.append(message) }
      return found
    }
    if found == 0 { wakeUp.signal() }
    return found < limit
  }

  /// Takes everything that waits. For the loop, or for a test that stands in for one.
  public func takeAll() -> [Message] {
    waiting.withLock { queue in
      let taken = queue
      queue = []
      return taken
    }
  }
}
