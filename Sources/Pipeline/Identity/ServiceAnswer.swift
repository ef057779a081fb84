import Core

/// What a service has said of a request, and what follows from it. Immutable.
public final class ServiceAnswer: Sendable {
  /// The most that a loop remembers of those that let requests pass, and of the others. With their fields up to 20 KiB each, a
  /// few hundred bytes as a rule.
  public static let cacheCapacity = 8_192

  /// What becomes of the request.
  public enum Kind: Equatable, Sendable {
    /// It passes.
    case allowed
    /// It is refused with the gateway's own document.
    case refused(ProblemCatalogue.Entry)
    /// The client gets this answer.
    case answered(status: UInt16, body: [UInt8])
  }

  /// What becomes of the request.
  public let kind: Kind
  /// Lines `Name: value\r\n` for the upstream.
  public let upstreamFields: [UInt8]
  /// Lines `Name: value\r\n` for the client.
  public let clientFields: [UInt8]
  /// Whether they hold a challenge.
  public let hasChallenge: Bool
  /// Whether it is for the one client that it was given to, and nobody who has waited for the same.
  public let isPersonal: Bool
  /// From this moment on the service is asked again; the moment of the answer where it holds for one request.
  public let asksAgainAt: Instant

  /// An answer with these consequences.
  public init(
    _ kind: Kind, upstreamFields: [UInt8], clientFields: [UInt8], hasChallenge: Bool = false, isPersonal: Bool = false,
    asksAgainAt: Instant
  ) {
    (self.kind, self.upstreamFields, self.clientFields) = (kind, upstreamFields, clientFields)
    (self.hasChallenge, self.isPersonal, self.asksAgainAt) = (hasChallenge, isPersonal, asksAgainAt)
  }
}
