import Core
import Crypto

/// Names and passwords that a loop has lately had checked, so that not every request costs what checking one does.
///
/// Neither is kept: entries are found by a code of both, under a key that is made with the cache and never leaves it. Right
/// ones and wrong ones have room of their own, so that nobody who guesses displaces anybody who knows.
public final class CredentialCache {
  /// Right credentials that are remembered.
  public static let capacity = 4_096
  /// Wrong ones.
  public static let wrongCapacity = 1_024
  /// How long wrong ones are, in nanoseconds.
  public static let wrongLifetime: Int64 = 10_000_000_000

  /// What is known of credentials.
  public enum Finding: Sendable {
    /// They have lately been right, or wrong.
    case right, wrong
    /// Nothing.
    case unknown
  }

  private let key = SecureRandom.bytes(32)
  private var right = Book(capacity: CredentialCache.capacity)
  private var wrong = Book(capacity: CredentialCache.wrongCapacity)

  init() {}

  /// What credentials are found by: those of one policy, since each has users of its own. About a microsecond.
  public func code(_ name: [UInt8], _ password: [UInt8], of policy: AnyObject) -> [UInt8] {
    // A name holds no zero.
    let number = UInt(bitPattern: ObjectIdentifier(policy))
    let place = (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt(8 * $0)) }
    let bytes = place + name + [0] + password
    return HMACSHA256.code(of: RawSpan(bytes), key: key)
  }

  /// What is known of the credentials with this code.
  public func find(_ code: [UInt8], now: Instant) -> Finding {
    if right.holds(code, now) { return .right }
    return wrong.holds(code, now) ? .wrong : .unknown
  }

  /// Remembers right credentials for so many nanoseconds.
  public func remember(_ code: [UInt8], for nanoseconds: Int64, now: Instant) {
    if nanoseconds > 0 { right.add(code, until: now.advanced(byNanoseconds: nanoseconds)) }
  }

  /// Remembers wrong ones.
  public func rememberWrong(_ code: [UInt8], now: Instant) {
    wrong.add(code, until: now.advanced(byNanoseconds: Self.wrongLifetime))
  }

  /// Codes with an end each; the oldest makes room.
  private struct Book {
    let capacity: Int
    private var ends: [[UInt8]: Instant] = [:]
    private var order: [[UInt8]] = []
    private var oldest = 0

    init(capacity: Int) { self.capacity = capacity }

    func holds(_ code: [UInt8], _ now: Instant) -> Bool { ends[code].map { $0 > now } ?? false }

    mutating func add(_ code: [UInt8], until end: Instant) {
      if ends.updateValue(end, forKey: code) != nil { return }
      if order.count < capacity { return order.append(code) }
      ends[order[oldest]] = nil
      order[oldest] = code
      oldest = (oldest + 1) % capacity
    }
  }
}
