import Core
import Crypto
import Synchronization

/// What the cluster has agreed on beside its configuration, as of one moment. Immutable; loops swap it whole.
public final class FactView: Sendable {
  /// What is revoked.
  public let revocations: Revocations
  /// The keys that the cluster has made.
  public let keys: IssuedKeys

  /// These facts.
  public init(revocations: Revocations = Revocations(), keys: IssuedKeys = IssuedKeys()) {
    self.revocations = revocations
    self.keys = keys
  }
}

/// When a node last knew that it had every fact there was. One a node; the control loop writes it, all loops read it.
public final class FactClock: Sendable {
  private let verified = Atomic<Int64>(.min)
  private let staleAnswers = Atomic<UInt64>(0)

  /// The node does not know anything yet.
  public init() {}

  /// Nanoseconds of the boot clock: the node had everything that was there at this moment. Never goes back.
  public var verifiedAt: Int64 {
    get { verified.load(ordering: .relaxed) }
    set { if newValue > verified.load(ordering: .relaxed) { verified.store(newValue, ordering: .relaxed) } }
  }
}

extension FactClock {
  /// How many requests were let through, refused or held up since something may have been missing. Metrics read it.
  public var staleRequests: UInt64 { staleAnswers.load(ordering: .relaxed) }

  func countStale() { staleAnswers.wrappingAdd(1, ordering: .relaxed) }
}

/// What a route does with a caller while its node may have missed a revocation.
public enum StaleRule: String, CaseIterable, Sendable {
  /// Lets it pass, and says so.
  case open
  /// Refuses it.
  case closed
  /// Asks the shared store.
  case ask
}

/// Asks the shared store itself what is revoked, for routes that want to know while a node may have missed something.
public protocol RevocationDesk: AnyObject {
  /// Asks whether any of the marks is revoked, and calls `ticket` when that is known: within ten milliseconds. False where
  /// nobody can be asked.
  func ask(_ marks: RevocationMarks, ticket: UInt64) -> Bool
  /// What became of the question with this ticket, once.
  func answer(ticket: UInt64) -> RevocationAnswer
}

/// What the store says of some marks.
public enum RevocationAnswer: Sendable {
  /// None is revoked.
  case clear
  /// One is.
  case revoked
  /// The store did not answer in time.
  case unknown
}

/// What a caller can be revoked by.
public struct RevocationMarks: BitwiseCopyable, Sendable {
  /// The most that one caller has: those of a token, and of the consumer that it stands for.
  public static let capacity = 10

  private var marks: InlineArray<10, RevocationMark>
  /// How many there are.
  public private(set) var count = 0
  /// The second at which the key or token was made; 0 where nobody knows.
  public var issued: UInt32

  /// No marks yet.
  public init(issued: UInt32) {
    marks = InlineArray(repeating: .none)
    self.issued = issued
  }

  /// Marks that were remembered by their bits; nil where there are too many, or one is none.
  public init?(issued: UInt32, bits: [UInt64]) {
    self.init(issued: issued)
    guard bits.count <= Self.capacity else { return nil }
    for each in bits {
      guard let mark = RevocationMark(bits: each) else { return nil }
      add(mark)
    }
  }

  /// The bits of all marks.
  public var bits: [UInt64] { (0..<count).map { marks[$0].bits } }

  /// The mark at `index`, below ``count``.
  public subscript(index: Int) -> RevocationMark { marks[index] }

  /// Adds a mark; at most ``capacity``.
  mutating func add(_ mark: RevocationMark) {
    marks[count] = mark
    count += 1
  }

  /// Adds those of `other`, as if all had been made when the older was, so that a revocation of what was made before a moment
  /// rather holds than not.
  mutating func add(_ other: RevocationMarks) {
    for index in 0..<other.count { add(other[index]) }
    issued = min(issued, other.issued)
  }
}

/// A loop's hold on the facts of its cluster. Not thread-safe; outlives configurations.
public final class LoopFacts {
  /// Beyond this age, in nanoseconds, what a node knows may lack something, and each route does what its policy says.
  public static let bound: Int64 = 2_000_000_000

  /// What is known.
  public var view: FactView {
    didSet {
      keys = LentFact(view.keys)
      revocations = LentFact(view.revocations)
    }
  }

  /// The parts of ``view``, lent.
  private(set) var keys: LentFact<IssuedKeys>
  private(set) var revocations: LentFact<Revocations>
  /// The key of all marks.
  public let markKey: SipKey
  /// Whom to ask where that is stale.
  public let desk: (any RevocationDesk)?
  private let clock: FactClock
  private let bootTime: () -> Int64
  private let order: (RevocationOrder) -> Bool

  /// A loop's hold; `bootTime` reads the boot clock in nanoseconds, anew at every call, `order` has something revoked.
  public init(
    markKey: SipKey, clock: FactClock, bootTime: @escaping () -> Int64, desk: (any RevocationDesk)? = nil,
    order: @escaping (RevocationOrder) -> Bool = { _ in false }
  ) {
    let view = FactView()
    self.view = view
    keys = LentFact(view.keys)
    revocations = LentFact(view.revocations)
    self.markKey = markKey
    self.clock = clock
    self.bootTime = bootTime
    self.desk = desk
    self.order = order
  }

  /// Has something revoked in the whole cluster, some milliseconds from now. False where nobody takes the order.
  public func revoke(_ order: RevocationOrder) -> Bool { self.order(order) }

  /// Whether something may be missing.
  public var isStale: Bool {
    let verified = clock.verifiedAt
    return verified == .min || bootTime() &- verified > Self.bound
  }

  /// Whether anything is revoked at all.
  public var hasRevocations: Bool { revocations.with { $0.count > 0 } }

  /// Counts a request that met stale facts.
  public func countStale() { clock.countStale() }

  /// Whether any of the marks is revoked.
  public func holds(_ marks: RevocationMarks, at time: WallTime) -> Bool {
    let now = UInt32(clamping: time.seconds)
    return revocations.with { revocations in
      for index in 0..<marks.count where revocations.holds(marks[index], issued: marks.issued, now: now) { return true }
      return false
    }
  }
}

/// A part of a view, used without counting a reference: all loops share it, and would take turns at its counter.
@safe
struct LentFact<Part: AnyObject> {
  private let reference: Unmanaged<Part>

  init(_ part: Part) { unsafe reference = .passUnretained(part) }

  /// Lends it for the length of a call, in which the view is not replaced.
  @inline(__always)
  func with<Result>(_ body: (Part) -> Result) -> Result {
    // The view that ``LoopFacts`` holds keeps its parts.
    unsafe reference._withUnsafeGuaranteedRef(body)
  }
}
