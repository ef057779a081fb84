import Core

/// A kind of refusal: an entry of the ``ProblemCatalogue``, or one of the admin API's own.
public struct Problem: Sendable {
  /// The HTTP status, 400 to 599.
  public let status: UInt16
  /// The stable code, the last part of `urn:sluice:problem:<code>`.
  public let code: StaticString
  /// What is wrong, in a few words, the same each time.
  public let title: StaticString
  /// What it means for the caller and what to do.
  public let detail: StaticString
  /// Its name in the catalogue; nil for the admin API's own.
  public let entry: ProblemCatalogue.Entry?

  /// An entry; `title` and `detail` are ASCII without quotation marks, backslashes and control characters.
  @inlinable
  public init(_ status: UInt16, _ code: StaticString, _ title: StaticString, _ detail: StaticString) {
    self.status = status
    self.code = code
    self.title = title
    self.detail = detail
    entry = nil
  }

  /// An entry of the catalogue.
  init(
    _ entry: ProblemCatalogue.Entry, _ status: UInt16, _ code: StaticString, _ title: StaticString,
    _ detail: StaticString
  ) {
    self.status = status
    self.code = code
    self.title = title
    self.detail = detail
    self.entry = entry
  }

  /// The media type of problem documents (RFC 9457 section 3).
  public static let contentType: StaticString = "application/problem+json"

  /// Appends the problem document (RFC 9457) of this entry for one decision.
  public func write(_ decision: DecisionID, into buffer: ByteBuffer) {
    buffer.append("{\"type\":\"urn:sluice:problem:")
    buffer.append(code)
    buffer.append("\",\"title\":\"")
    buffer.append(title)
    buffer.append("\",\"status\":")
    buffer.append(decimal: UInt64(status))
    buffer.append(",\"detail\":\"")
    buffer.append(detail)
    buffer.append("\",\"instance\":\"urn:sluice:decision:")
    decision.write(into: buffer)
    buffer.append("\"}\n")
  }
}

/// The random name of one decision, by which `explain` and the access log find it again.
public struct DecisionID: Equatable, Sendable, BitwiseCopyable {
  /// The first eight bytes.
  public var high: UInt64
  /// The last eight bytes.
  public var low: UInt64

  /// The name made of these bits.
  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The name written as 32 hexadecimal digits, or as the `instance` of a problem document; nil for anything else.
  public init?(text: String) {
    let prefix = "urn:sluice:decision:"
    let digits = Array((text.hasPrefix(prefix) ? text.dropFirst(prefix.count) : text[...]).utf8)
    guard digits.count == 32, digits.allSatisfy({ ($0 | 32) >= 97 && ($0 | 32) <= 102 || $0 >= 48 && $0 <= 57 }),
      let high = UInt64(String(decoding: digits[..<16], as: UTF8.self), radix: 16),
      let low = UInt64(String(decoding: digits[16...], as: UTF8.self), radix: 16)
    else { return nil }
    self.init(high: high, low: low)
  }

  /// The 32 hexadecimal digits.
  public var text: String {
    let buffer = ByteBuffer()
    write(into: buffer)
    return String(decoding: buffer.array, as: UTF8.self)
  }

  /// Appends the 32 hexadecimal digits.
  public func write(into buffer: ByteBuffer) {
    buffer.append(hexadecimal: high, low)
  }
}
