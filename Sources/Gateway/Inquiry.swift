import Core
import Pipeline
import Synchronization

/// Something that somebody outside the loops wants to know of limits. A loop answers: what it holds of a shared limit is
/// known to itself alone.
public struct Inquiry: Sendable {
  /// What it is about. Consumers, keys and routes are named as in the configuration.
  public enum Topic: Sendable {
    /// How all limits of a consumer stand, who must be the tenant's where one is named. Limits by address are told where one is
    /// given.
    case usage(consumer: String, address: IPAddress?, tenant: String? = nil)
    /// How a request would be decided now; without a key it is the consumer's first, without a consumer nobody's.
    case route(String, consumer: String?, key: String?, address: IPAddress?, request: Request = Request())
    /// Why a request was refused. Only the loop that did so knows.
    case refusal(DecisionID)
  }

  /// A request that somebody might send, as far as access rules go by it.
  public struct Request: Sendable {
    /// What it asks for; GET unless said otherwise.
    public var method = "GET"
    /// Its path; `/` unless said otherwise.
    public var path = "/"
    /// The host that it names; empty for none.
    public var host = ""
    /// What the caller's token says, an object of JSON; nil for none.
    public var claims: [UInt8]?

    /// A request for `/` by nobody.
    public init() {}
  }

  /// What is found.
  public enum Answer: Sendable {
    /// A JSON document.
    case document([UInt8])
    /// The configuration has nothing of that name: a `consumer`, `key` or `route`; or nobody remembers the `decision`.
    case unknown(StaticString)
    /// The route takes nobody without a key, so that a consumer must be named.
    case consumerNeeded
    /// The loop has as much to find out as it takes on.
    case busy
  }

  /// What it is about.
  public let topic: Topic
  /// Takes the answer, once; on the loop's thread, which it must not block.
  public let answer: @Sendable (Answer) -> Void

  /// An inquiry about `topic`.
  public init(_ topic: Topic, answer: @escaping @Sendable (Answer) -> Void) {
    self.topic = topic
    self.answer = answer
  }
}

/// Inquiries of one loop that wait for a shared store.
final class OpenInquiries {
  /// The most that wait at the same time.
  static let capacity = 64
  /// How long one waits at most, in nanoseconds: whoever asked has given up by then.
  private static let longestWait: Int64 = 5_000_000_000

  struct Entry {
    let inquiry: Inquiry
    let configuration: LoopConfiguration
    let subject: UsageSubject
    /// The route that it is about; −1 for all.
    let route: Int32
    /// What access rules make of it; nil where it is about no route.
    var access: AccessReport?
    /// How many counters have been answered.
    var answeredCount = 0
    var question = LimitQuestion()
    let text = ByteBuffer()
    let meters = UsageMeters()
    let startedAt: Instant
  }

  private var entries: [UInt64: Entry] = [:]
  private var serial: UInt32 = 0

  /// A ticket that no exchange has: their indexes are not negative.
  func nextTicket() -> UInt64 {
    serial &+= 1
    return UInt64(serial) << 32 | 0xffff_ffff
  }

  func take(_ ticket: UInt64) -> Entry? { entries.removeValue(forKey: ticket) }

  /// Keeps an inquiry until its ticket is called; false where there is no room.
  func keep(_ entry: Entry, _ ticket: UInt64, now: Instant) -> Bool {
    if entries.count >= Self.capacity {
      entries = entries.filter { now.nanoseconds(since: $0.value.startedAt) < Self.longestWait }
    }
    guard entries.count < Self.capacity else { return false }
    entries[ticket] = entry
    return true
  }
}

extension Inquiry {
  /// The same for `count` loops, of which one may know: the first that does answers, or the last one to say that it does
  /// not.
  func toAll(_ count: Int) -> Inquiry {
    let outstanding = Outstanding(count)
    let answer = answer
    return Inquiry(topic) { found in
      if outstanding.settles(found) { answer(found) }
    }
  }

  /// How many loops have still to answer. They do so on threads of their own, so there is a lock; it is the last one that
  /// anybody takes.
  private final class Outstanding: Sendable {
    private let count: Mutex<Int>

    init(_ count: Int) { self.count = Mutex(count) }

    /// Takes one answer in. Whether it is the one that counts.
    func settles(_ answer: Answer) -> Bool {
      let isKnown = if case .document = answer { true } else { false }
      return count.withLock { count in
        guard count > 0 else { return false }
        count = isKnown ? 0 : count - 1
        return count == 0
      }
    }
  }
}
