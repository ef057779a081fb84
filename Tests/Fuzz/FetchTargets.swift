import Core
import Gateway
import HTTP
import Pipeline

/// What others say when the node asks them for something.
enum FetchTargets {
  /// A URL is one line of a request, and leads where it says.
  @Sendable
  static func url(_ bytes: RawSpan) {
    let text = String(decoding: bytes.array, as: UTF8.self)
    guard let url = FetchURL(text, allowsPlain: true) else { return precondition(FetchURL(text) == nil) }
    precondition(url.port > 0 && !url.host.isEmpty && url.target.hasPrefix("/"))
    let same = FetchURL("\(url.isSecure ? "https" : "http")://\(url.authority)\(url.target)", allowsPlain: true)
    precondition(same?.host == url.host && same?.port == url.port && same?.target == url.target)
    let isLoopback = url.host == "localhost" || IPAddress(url.host)?.isLoopback == true
    precondition((FetchURL(text) != nil) == (url.isSecure || isLoopback))
    guard let message = FetchRequest(url).message else { preconditionFailure("a URL can be asked for") }
    let lines = String(decoding: message, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
    precondition(lines.count == 6 && lines[0] == "GET \(url.target) HTTP/1.1")
  }

  /// The first byte says into how large parts the others are cut: parts change nothing about what the answer is.
  @Sendable
  static func answer(_ bytes: RawSpan) {
    guard bytes.byteCount > 0 else { return }
    let size = Int(bytes[byte: 0]) + 1
    let rest = bytes.extracting(1..<bytes.byteCount)
    let whole = read(rest, partBytes: max(1, rest.byteCount))
    let parts = read(rest, partBytes: size)
    switch (whole, parts) {
    case (.answered(let status, let fields, let body), _):
      precondition(whole == parts && (200...599).contains(status) && body.count <= rest.byteCount)
      for field in fields { precondition(field.name == field.name.lowercased() && !field.value.contains("\r\n")) }
    case (.failed, .answered): preconditionFailure("parts say more than the whole")
    case (.failed, .failed): return
    }
  }

  private static func read(_ bytes: RawSpan, partBytes size: Int) -> FetchOutcome {
    var reader = FetchReader(.get)
    let (input, head) = (ByteBuffer(), ResponseHead())
    for start in stride(from: 0, to: bytes.byteCount, by: size) {
      input.append(bytes.extracting(start..<min(start + size, bytes.byteCount)))
      if let outcome = reader.read(input, head, atEnd: false) { return outcome }
    }
    guard let outcome = reader.read(input, head, atEnd: true) else { preconditionFailure("there is no more to come") }
    return outcome
  }

  /// A token is active only where a member of that name is the truth value, whatever else is said; what says who it is of is text.
  @Sendable
  static func introspection(_ bytes: RawSpan) {
    let text = bytes.array
    let type = [FetchField("content-type", "application/json; charset=utf-8")]
    guard let answer = try? IntrospectionAnswer.read(status: 200, fields: type, body: text) else { return }
    precondition(text.count <= IntrospectionAnswer.longest)
    precondition((try? IntrospectionAnswer.read(status: 503, fields: type, body: text)) == nil)
    precondition((try? IntrospectionAnswer.read(status: 200, fields: [], body: text)) == nil)
    let root = JSONDocument.parse(text, dialect: .strict).document?.root
    guard case .active(let document) = answer else { return precondition(root?["active"]?.bool == false) }
    precondition(root?["active"]?.bool == true && document.root["active"]?.bool == true)
    for name in ["iss", "sub", "client_id", "jti", "sid"] {
      guard let value = document.root[name], value.kind != .null else { continue }
      precondition(value.string != nil)
    }
    for name in ["exp", "nbf", "iat"] { precondition((document.root[name]?.number ?? 0) >= 0) }
  }

  /// A provider's parts are its own, and nothing that came by TLS leads out of it.
  @Sendable
  static func provider(_ bytes: RawSpan) {
    let source = KeySource.discovery(of: "https://issuer.test/a")
    let text = bytes.array
    for isSecure in [true, false] {
      guard let document = try? ProviderDocument(text, of: source, isSecure: isSecure) else { continue }
      let root = JSONDocument.parse(text, dialect: .strict).document?.root
      precondition(root?["issuer"]?.string == source.issuer && root?["token_endpoint"]?.string == document.token.text)
      for url in [document.authorization, document.token, document.push, document.endSession] {
        guard let url else { continue }
        precondition(url.isSecure || !isSecure && url.isBoundToLoopback)
      }
    }
  }

  /// A document leads to keys only for the issuer that it names, and never from TLS to plain HTTP.
  @Sendable
  static func document(_ bytes: RawSpan) {
    let source = KeySource.discovery(of: "https://issuer.test/a")
    let text = bytes.array
    for isSecure in [true, false] {
      guard let url = try? IssuerDocument.keysURL(text, of: source, isSecure: isSecure) else { continue }
      let root = JSONDocument.parse(text, dialect: .strict).document?.root
      precondition(root?["issuer"]?.string == source.issuer && root?["jwks_uri"]?.string == url.text)
      precondition(url.isSecure || !isSecure && url.isBoundToLoopback)
    }
    let value = String(decoding: text, as: UTF8.self)
    let age = IssuerDocument.maxAge([FetchField("cache-control", value)])
    precondition(age ?? 0 >= 0)
    let shown = PrintableText.of(value)
    precondition(shown.utf8.count <= 125)
    precondition(shown.unicodeScalars.dropFirst().dropLast().allSatisfy { $0 != "\"" && $0.value >= 0x20 })
  }
}
