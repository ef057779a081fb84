import Core
import Crypto

/// Which keys session tickets are sealed with, and when they change.
///
/// They follow from a secret and the number of a period of civil time, so that the nodes of a cluster have the same ones
/// without a word to each other, and a ticket is of use for two periods at most. Where clocks differ the key of the next
/// period opens tickets already.
struct TicketSchedule {
  /// How long a key seals, in seconds.
  static let period: Int64 = 43_200

  /// What keys follow from where there is no cluster: nobody else has it, and it ends with the process.
  private let own = SecureRandom.bytes(32)
  private var made: (secret: [UInt8], former: [UInt8], number: Int64)?

  /// The keys for `now`; nil where they have not changed. The secrets are the cluster's, empty where there is none; what the
  /// former one sealed is still opened. Some ten microseconds.
  mutating func advance(secret: [UInt8], former: [UInt8], now: WallTime) -> TLSTicketKeys? {
    let number = now.seconds / Self.period
    let secret = secret.isEmpty ? own : secret
    if let made, made == (secret, former, number) { return nil }
    made = (secret, former, number)
    var seeds = [number, number - 1, number + 1].map { Self.seed(secret, $0) }
    if !former.isEmpty { seeds += [number, number - 1].map { Self.seed(former, $0) } }
    return TLSTicketKeys(seeds: seeds)
  }

  /// How long the present keys go on to be the right ones, in nanoseconds.
  static func rest(at now: WallTime) -> Int64 { (period - now.seconds % period) * 1_000_000_000 }

  private static func seed(_ secret: [UInt8], _ number: Int64) -> [UInt8] {
    KeyDerivation.key(from: secret, purpose: "sluice tls tickets \(number)", count: TLSTicketKeys.seedBytes)
  }
}
