import Core

/// What a policy asks of the records that all nodes share: small values under names, beside the limits.
///
/// A record passes (it has a name of its own and an end) or lasts (it stands on a shelf until somebody takes it away).
/// Policies put, get, take and swap those that pass; those that last they can only find, since operators see to them.
///
/// Each of these is one step on one server: of two that take or swap the same record at the same time one succeeds. What
/// was acknowledged may be lost with a server that others have not followed yet: then a record that was put is gone, and
/// one that was taken may be there again, on another server than the one that it was taken from. What must not happen
/// twice even then needs a counter of its own, see ``OnceGuard``.
public struct RecordRequest: Equatable, Sendable {
  /// The most bytes of a value.
  public static let valueLimit = 4_096
  /// The most bytes of a name, and of what it is for.
  public static let nameLimit = 192
  /// The longest that a record can last which passes, in seconds: a day.
  public static let longestLife: Int64 = 86_400
  /// How long the store has for an answer, in nanoseconds: less than a request may be kept waiting for.
  public static let timeout: Int64 = 2_000_000_000

  /// What is done.
  public enum Action: Equatable, Sendable {
    /// Sets a record that passes; with `onlyIfAbsent` refused where there is one.
    case put(value: [UInt8], lifeSeconds: Int64, onlyIfAbsent: Bool)
    /// Reads one.
    case get
    /// Reads one and deletes it.
    case take
    /// Replaces what is exactly as expected, and leaves its end as it is; refused where it differs or is not there.
    case swap(expected: [UInt8], value: [UInt8])
    /// Reads one that lasts.
    case find
  }

  /// What the record is for, and with it the shelf that it stands on.
  public let purpose: String
  /// What it is called.
  public let name: String
  /// What is done.
  public let action: Action

  /// A request; nil where a name is none or something is too long.
  public init?(_ action: Action, purpose: String, name: String) {
    let names = [purpose, name]
    let areNames = names.allSatisfy { text in
      (1...Self.nameLimit).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }
    guard areNames, !purpose.contains(":") else { return nil }
    switch action {
    case .put(let value, let life, _):
      guard value.count <= Self.valueLimit, (1...Self.longestLife).contains(life) else { return nil }
    case .swap(_, let value): if value.count > Self.valueLimit { return nil }
    case .get, .take, .find: break
    }
    (self.purpose, self.name, self.action) = (purpose, name, action)
  }
}

/// What became of a request for a record.
public enum RecordOutcome: Equatable, Sendable {
  /// It was done: what was read, nil where there is none, or nothing was asked for.
  case done([UInt8]?)
  /// It was not done: there is one already, or another one.
  case refused
  /// Nobody knows whether it was done: the store cannot be asked, or has not answered in time.
  case unavailable
}
