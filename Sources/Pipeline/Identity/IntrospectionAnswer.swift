import Core

/// What an introspection server says of a token (RFC 7662 section 2.2).
public enum IntrospectionAnswer: Sendable {
  /// It is not good, or is not known: servers do not say which.
  case inactive
  /// It is good, and this is what it means: an object whose members have the types that they should.
  case active(JSONDocument)

  /// Why an answer says nothing.
  public struct Fault: Error, Equatable {
    /// A phrase for people.
    public let message: String
  }

  /// The most bytes of an answer; it is kept as long as the token is remembered.
  public static let longest = 32_768
  /// Its levels.
  private static let depth = 16

  /// Seconds since 1970.
  private static let times = ["exp", "nbf", "iat"]
  /// Texts by which somebody is known or revoked: where one of them is something else, the token would be good and could not be
  /// taken back.
  private static let texts = ["iss", "sub", "client_id", "jti", "sid", "token_type"]

  /// Reads an answer. Whatever does not say clearly whether the token is good is a fault: a server that has trouble must
  /// not make good tokens bad ones, nor the other way round.
  public static func read(
    status: UInt16, fields: [FetchField], body: [UInt8]
  ) throws(Fault) -> IntrospectionAnswer {
    guard status == 200 else { throw Fault(message: "its status is \(status)") }
    let types = fields.filter { $0.name == "content-type" }
    guard types.count == 1, isJSON(types[0].value) else { throw Fault(message: "it is not application/json") }
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (longest, depth, 1)
    let outcome = JSONDocument.parse(body, dialect: .strict, limits: limits)
    if let fault = outcome.faults.first {
      throw Fault(message: "it is not JSON: byte \(fault.offset): \(fault.message)")
    }
    guard let document = outcome.document, let isActive = document.root["active"]?.bool else {
      throw Fault(message: "it does not say whether the token is active")
    }
    guard isActive else { return .inactive }
    try check(document.root)
    return .active(document)
  }

  private static func check(_ root: JSONValue) throws(Fault) {
    for name in times {
      guard let value = root[name] else { continue }
      guard let seconds = value.number, seconds >= 0 else { throw Fault(message: "\(name) is no moment") }
    }
    for name in texts {
      guard let value = root[name], value.kind != .null else { continue }
      guard value.kind == .string else { throw Fault(message: "\(name) is no text") }
    }
    guard let audience = root["aud"], audience.kind != .null, audience.kind != .string else { return }
    guard audience.kind == .array, audience.elements.allSatisfy({ $0.kind == .string }) else {
      throw Fault(message: "aud is no text")
    }
  }

  /// Whether a media type is that of JSON, whatever its parameters (RFC 8259 section 11).
  private static func isJSON(_ text: String) -> Bool {
    let type = text.prefix { $0 != ";" }
    return type.filter { $0 != " " && $0 != "\t" }.lowercased() == "application/json"
  }
}
