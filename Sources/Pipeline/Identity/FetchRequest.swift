import Core
import HTTP

/// A field of a request or an answer.
public struct FetchField: Hashable, Sendable {
  /// Its name; in lower case in an answer.
  public let name: String
  /// Its value.
  public let value: String

  /// A field.
  public init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}

/// A request that the node makes by itself, beside those that it passes on: for keys, for the word of another service.
public struct FetchRequest: Sendable {
  /// How long a fetch may take unless said otherwise, in nanoseconds: less than a request may be kept waiting for.
  public static let defaultTimeout: Int64 = 4_000_000_000
  /// The most bytes of a body that is sent.
  public static let bodyLimit = 262_144
  /// The most bytes of a head that is sent.
  public static let headLimit = 16_384

  /// Where it goes.
  public var url: FetchURL
  /// What is asked for.
  public var method: Method
  /// Fields beside those that every request has: `Host`, `User-Agent`, `Connection` and what says how long the body is.
  public var fields: [FetchField]
  /// The body; empty for none.
  public var body: [UInt8]
  /// The PEM text of the authorities whose certificates are good; nil for the system's.
  public var authorities: String?
  /// From the moment it is begun to the last byte of the answer, in nanoseconds.
  public var timeoutNanoseconds: Int64

  /// A request.
  public init(
    _ url: FetchURL, method: Method = .get, fields: [FetchField] = [], body: [UInt8] = [], authorities: String? = nil,
    timeoutNanoseconds: Int64 = FetchRequest.defaultTimeout
  ) {
    (self.url, self.method, self.fields, self.body) = (url, method, fields, body)
    (self.authorities, self.timeoutNanoseconds) = (authorities, timeoutNanoseconds)
  }

  /// What is sent, head and body; nil where a field is none, or is the node's own to set, or something is too long.
  public var message: [UInt8]? {
    let name = "\(method.name)"
    guard !name.isEmpty, method != .connect, body.count <= Self.bodyLimit else { return nil }
    var head = "\(name) \(url.target) HTTP/1.1\r\nHost: \(url.authority)\r\nUser-Agent: sluice\r\nConnection: close\r\n"
    for field in fields {
      guard Self.isSendable(field) else { return nil }
      head += "\(field.name): \(field.value)\r\n"
    }
    if !body.isEmpty || method == .post || method == .put || method == .patch {
      head += "Content-Length: \(body.count)\r\n"
    }
    head += "\r\n"
    return head.utf8.count <= Self.headLimit ? Array(head.utf8) + body : nil
  }

  /// RFC 9110 section 5.6.2.
  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }

  private static func isSendable(_ field: FetchField) -> Bool {
    let name = Array(field.name.utf8)
    let isText = field.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 9 }
    guard isText, !name.isEmpty, name.allSatisfy(isTokenByte) else { return false }
    switch FieldName.of(RawSpan(name)) {
    case .host, .userAgent, .connection, .contentLength, .transferEncoding, .te, .trailer, .upgrade, .expect,
      .keepAlive, .proxyConnection, .http2Settings:
      return false
    default: return true
    }
  }
}

/// What became of a fetch.
public enum FetchOutcome: Equatable, Sendable {
  /// The answer, whatever its status; redirects are not followed. Names of fields are in lower case.
  case answered(status: UInt16, fields: [FetchField], body: [UInt8])
  /// There is none, for this reason: a phrase for people, without secrets.
  case failed(String)

  /// Nobody was asked, since too many wait.
  public static let crowded = FetchOutcome.failed("too many fetches wait")
  /// Nobody was asked in time, for the same reason.
  public static let overdue = FetchOutcome.failed("it waited too long for its turn")

  /// The answer is longer than may be. Whoever is asked about may have made it so.
  public static let tooLong = FetchOutcome.failed("the answer is too long")
  /// The answer is none. Whoever is asked about may have made it so.
  public static let malformed = FetchOutcome.failed("the answer is not HTTP")
}
