import Core
import HTTP

/// Where in a request's head a token lies. Means nothing in another head.
public struct TokenSpot: Equatable, Sendable, BitwiseCopyable {
  private let (field, start, end): (Int32, Int32, Int32)

  /// A part of the value of the field at this index.
  public init(field: Int, _ range: Range<Int>) {
    (self.field, start, end) = (Int32(field), Int32(range.lowerBound), Int32(range.upperBound))
  }

  /// The same by its text, which lies there; nil for any other.
  public init?(of text: RawSpan, field: Int, in request: RequestHead) {
    guard let range = request.value(of: field).byteOffsets(of: text) else { return nil }
    self.init(field: field, range)
  }

  /// The token.
  @_lifetime(borrow request)
  public func text(in request: RequestHead) -> RawSpan {
    request.value(of: Int(field)).extracting(Int(start)..<Int(end))
  }
}

extension Exchange {
  /// A failure to prove who one is.
  public struct Failure: Sendable {
    /// The answer.
    public let refusal: Refusal
    /// What the caller says it is called; nil for nothing.
    public let name: QuotaKey?

    /// A failure that is answered by `refusal`.
    public init(refusal: Refusal, name: QuotaKey?) { (self.refusal, self.name) = (refusal, name) }
  }
}

/// What a policy that waits is waiting for, where it may be one of several things.
public enum Awaited: UInt8, BitwiseCopyable, Sendable {
  /// Nothing, or what every policy of its kind waits for: whether the caller is revoked.
  case nothing
  /// The keys of an issuer.
  case keys
  /// What is fetched.
  case outcome
  /// What is fetched for somebody else.
  case sharedOutcome
  /// Whether something is used for the first time.
  case use
  /// Whether somebody has failed too often.
  case failures
  /// Whether a password is right.
  case password
  /// The request's body.
  case body
  /// Whether what a user has granted is used for the first time.
  case grant
  /// That what a user has granted is given up.
  case givingUp
  /// Whether somebody asks too often.
  case pace
  /// A client that operators have registered.
  case client
  /// What became of a record that nodes share.
  case record
}
