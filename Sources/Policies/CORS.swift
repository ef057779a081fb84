import Core
import HTTP
import Pipeline

/// Lets pages of other origins call, by the rules of the Fetch standard.
///
/// Preflights are answered here and never reach the upstream; a preflight that asks for what is not allowed is refused with
/// 403 `origin-denied`. Other requests pass in any case, since a browser, not the server, keeps a page from reading: those of
/// an allowed origin get the fields that permit it, on refusals too. What the upstream says about CORS is dropped.
public final class CORS: Policy, RequestHook, ResponseHook {
  /// The name in the configuration.
  public static let name = "cors"
  /// Before identification, since preflights carry none.
  public static let phase = Phase.screen
  /// What it does.
  public static let summary = "Lets pages of other origins call, and answers their preflights."

  private let origins: OriginList
  private let methods: [[UInt8]]
  private let fields: [[UInt8]]
  private let allowsAnyField: Bool
  private let credentials: Bool
  /// Lines for preflights: methods and maximum age.
  private let preflightLines: [UInt8]
  /// `Access-Control-Allow-Headers: …`, where it does not depend on the request.
  private let fieldLine: [UInt8]
  /// Lines for all other responses: exposed fields.
  private let exposeLine: [UInt8]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let originFormat = OptionFormat("an origin", example: "https://app.example.com")
    let methodFormat = OptionFormat("a method", example: "PUT")
    let patterns = options.valueList(
      "origins", originFormat, isRequired: true,
      "Origins whose pages may call: \"https://app.example.com\", \"https://*.example.com\", or \"*\" for all."
    ) { OriginList.isPattern($0) ? $0 : nil }
    let methods = options.valueList(
      "methods", methodFormat, default: ["GET", "HEAD", "POST"], "Methods that may be used."
    ) { FieldSelector($0) != nil ? $0 : nil }
    let fields = options.valueList(
      "headers", FieldSelector.format, "Request fields that may be sent beyond the simple ones; \"*\" for any."
    ) { FieldSelector($0) }
    let exposed = options.valueList(
      "exposedHeaders", FieldSelector.format, "Response fields that pages may read beyond the simple ones."
    ) { FieldSelector($0) }
    credentials = options.bool("credentials", default: false, "Whether cookies and client certificates may be sent.")
    let age = options.duration(
      "maxAge", default: .seconds(600), in: .zero...(.seconds(86_400)), "How long browsers may remember a preflight.")
    if credentials && patterns.contains("*") {
      options.fail(
        "with credentials every origin would be trusted with its users' sessions", at: "origins",
        fix: "name the origins, or set credentials: false")
    }
    origins = OriginList(patterns)
    self.methods = methods.map { Array($0.utf8) }
    allowsAnyField = fields.contains { $0.text == [42] }
    self.fields = fields.map(\.lowercased)
    let list = methods.joined(separator: ", ")
    preflightLines = Array(
      "Access-Control-Allow-Methods: \(list)\r\nAccess-Control-Max-Age: \(age.components.seconds)\r\n".utf8)
    let allowed = fields.map { String(decoding: $0.text, as: UTF8.self) }.joined(separator: ", ")
    fieldLine = allowed.isEmpty || allowsAnyField ? [] : Array("Access-Control-Allow-Headers: \(allowed)\r\n".utf8)
    let shown = exposed.map { String(decoding: $0.text, as: UTF8.self) }.joined(separator: ", ")
    exposeLine = shown.isEmpty ? [] : Array("Access-Control-Expose-Headers: \(shown)\r\n".utf8)
  }

  /// All of them.
  public var answersPreflights: Bool { true }

  /// Answers preflights, and prepares the fields of other responses.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let origin = request.firstIndex(of: .origin)
    // A cache must not hand what one origin got to another one.
    if !origins.allowsAll { exchange.responseFields.append("Vary: Origin\r\n") }
    guard let origin else { return .next }
    let isAllowed = origins.allows(request.value(of: origin))
    if request.method == .options, let asked = request.firstIndex(of: .accessControlRequestMethod) {
      guard isAllowed, allowsMethod(request.value(of: asked)), allowsFields(request) else {
        return .refuse(Refusal(ProblemCatalogue.originDenied))
      }
      permit(request.value(of: origin), exchange.responseFields)
      answerPreflight(&exchange, request)
      return .reply
    }
    if isAllowed {
      permit(request.value(of: origin), exchange.responseFields)
      exchange.responseFields.append(exposeLine)
    }
    return .next
  }

  /// Drops what the upstream says about CORS.
  public func onResponse(_ exchange: inout Exchange, _ response: ResponseHead, _ services: Services) {
    response.dropAll(.accessControlAllowOrigin)
    response.dropAll(.accessControlAllowCredentials)
    response.dropAll(.accessControlAllowMethods)
    response.dropAll(.accessControlAllowHeaders)
    response.dropAll(.accessControlExposeHeaders)
    response.dropAll(.accessControlMaxAge)
  }

  private func permit(_ origin: RawSpan, _ fields: ByteBuffer) {
    fields.append("Access-Control-Allow-Origin: ")
    if origins.allowsAll { fields.append(UInt8(ascii: "*")) } else { fields.append(safe: origin) }
    fields.append("\r\n")
    if credentials { fields.append("Access-Control-Allow-Credentials: true\r\n") }
  }

  private func answerPreflight(_ exchange: inout Exchange, _ request: RequestHead) {
    let lines = exchange.responseFields
    lines.append(preflightLines)
    lines.append(fieldLine)
    if allowsAnyField, let index = request.firstIndex(of: .accessControlRequestHeaders) {
      lines.append("Access-Control-Allow-Headers: ")
      lines.append(safe: request.value(of: index))
      lines.append("\r\nVary: Access-Control-Request-Headers\r\n")
    }
    exchange.replyStatus = 204
  }

  private func allowsMethod(_ method: RawSpan) -> Bool {
    for allowed in methods where method.equals(RawSpan(allowed)) { return true }
    return false
  }

  /// Whether every field in Access-Control-Request-Headers is allowed.
  private func allowsFields(_ request: RequestHead) -> Bool {
    guard !allowsAnyField, let index = request.firstIndex(of: .accessControlRequestHeaders) else { return true }
    let list = request.value(of: index)
    var start = 0
    while start <= list.byteCount {
      var end = start
      while end < list.byteCount && list[byte: end] != 44 { end += 1 }
      var (first, last) = (start, end)
      while first < last && (list[byte: first] == 32 || list[byte: first] == 9) { first += 1 }
      while last > first && (list[byte: last - 1] == 32 || list[byte: last - 1] == 9) { last -= 1 }
      if last > first && !allowsField(list.extracting(first..<last)) { return false }
      start = end + 1
    }
    return true
  }

  private func allowsField(_ name: RawSpan) -> Bool {
    for allowed in fields where name.equals(lowercase: RawSpan(allowed)) { return true }
    return false
  }
}

/// Origins, exact or by their domain.
struct OriginList: Sendable {
  /// Whether every origin is in it.
  let allowsAll: Bool
  private let exact: [[UInt8]]
  /// Scheme with `://`, and the rest of the host with its leading dot.
  private let domains: [(scheme: [UInt8], suffix: [UInt8])]

  init(_ patterns: [String]) {
    allowsAll = patterns.contains("*")
    exact = patterns.filter { !$0.contains("*") }.map { Array($0.lowercased().utf8) }
    domains = patterns.filter { $0 != "*" }.compactMap { pattern in
      guard let star = pattern.firstIndex(of: "*") else { return nil }
      let lowercased = pattern.lowercased()
      let position = lowercased.utf8.distance(from: lowercased.startIndex, to: star)
      let bytes = Array(lowercased.utf8)
      return (Array(bytes[..<position]), Array(bytes[(position + 1)...]))
    }
  }

  /// Whether `text` is `*`, `null` excluded, `scheme://host[:port]` or `scheme://*.domain[:port]`.
  static func isPattern(_ text: String) -> Bool {
    if text == "*" { return true }
    guard let colon = text.firstRange(of: "://") else { return false }
    let scheme = text[..<colon.lowerBound]
    var host = text[colon.upperBound...]
    if host.hasPrefix("*.") { host = host.dropFirst(2) }
    let isHost =
      !host.isEmpty
      && host.utf8.allSatisfy {
        ($0 | 32) >= 97 && ($0 | 32) <= 122 || $0 >= 48 && $0 <= 57 || [45, 46, 58, 91, 93, 95].contains($0)
      }
    return isHost && !scheme.isEmpty
      && scheme.utf8.allSatisfy { ($0 | 32) >= 97 && ($0 | 32) <= 122 || $0 == 45 || $0 == 43 }
  }

  /// Whether `origin`, as a browser sends it, is in the list.
  func allows(_ origin: RawSpan) -> Bool {
    if allowsAll { return true }
    for candidate in exact where origin.equals(lowercase: RawSpan(candidate)) { return true }
    for domain in domains {
      // At least one character stands for the asterisk.
      let rest = origin.byteCount - domain.suffix.count
      guard rest > domain.scheme.count else { continue }
      if origin.extracting(0..<domain.scheme.count).equals(lowercase: RawSpan(domain.scheme)),
        origin.extracting(rest..<origin.byteCount).equals(lowercase: RawSpan(domain.suffix)),
        Self.isHostPart(origin.extracting(domain.scheme.count..<rest))
      {
        return true
      }
    }
    return false
  }

  private static func isHostPart(_ bytes: RawSpan) -> Bool {
    for offset in 0..<bytes.byteCount {
      let byte = bytes[byte: offset]
      let isLetter = (byte | 32) >= 97 && (byte | 32) <= 122
      guard isLetter || byte >= 48 && byte <= 57 || byte == 45 || byte == 46 || byte == 95 else { return false }
    }
    return true
  }
}
