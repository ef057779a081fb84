import Core
import Crypto

/// A request that a test signs with a secret, or says that it does: what is signed is written here by hand, line by line, and
/// owes nothing to how the gateway makes it.
struct SignedRequest {
  /// The secret of the key that is called one.
  static let secret = String(repeating: "s3cret", count: 8)

  var method = "GET"
  var target = "/orders?id=1"
  var host = "api.example"
  var fields: [(name: String, value: String)] = []
  var covered = ["\"@method\"", "\"@target-uri\""]
  /// Beside `created` and `keyid`, which come first.
  var parameters = ""
  var created = TestIssuer.now
  var keyID = "one"
  var secret = SignedRequest.secret
  var label = "sig"
  /// What components are signed as where that cannot be seen from the request.
  var values: [String: String] = [:]

  /// With content, and the field that says what it hashes to.
  static func posting(_ digest: String, length: Int) -> SignedRequest {
    var request = SignedRequest(method: "POST")
    request.fields = [("Content-Length", "\(length)"), ("Content-Digest", digest)]
    request.covered.append("\"content-digest\"")
    return request
  }

  private func value(of component: String) -> String {
    if let value = values[component] { return value }
    switch component {
    case "\"@method\"": return method
    case "\"@target-uri\"": return "http://\(host)\(target)"
    case "\"@authority\"": return host
    case "\"@path\"": return String(target.prefix { $0 != "?" })
    case "\"@query\"": return String(target.drop { $0 != "?" })
    default:
      let lines = fields.filter { "\"\($0.name.lowercased())\"" == component }
      return lines.map(\.value).joined(separator: ", ")
    }
  }

  /// The value of Signature-Input, but for the label.
  var input: String {
    "(\(covered.joined(separator: " ")));created=\(created);keyid=\"\(keyID)\"\(parameters)"
  }

  /// What is signed.
  var base: String {
    let lines = covered.map { "\($0): \(value(of: $0))" } + ["\"@signature-params\": \(input)"]
    return lines.joined(separator: "\n")
  }

  /// The value of Signature, but for the label.
  var signature: String {
    let bytes = Array(base.utf8)
    return ":\(Base64.encode(HMACSHA256.code(of: RawSpan(bytes), key: Array(secret.utf8)))):"
  }

  /// The two lines of the signature.
  var lines: String { "Signature-Input: \(label)=\(input)\nSignature: \(label)=\(signature)" }

  /// The request without a signature.
  var unsigned: String {
    ["\(method) \(target) HTTP/1.1", "Host: \(host)"].joined(separator: "\n")
      + fields.map { "\n\($0.name): \($0.value)" }.joined()
  }

  /// The request.
  var text: String { unsigned + "\n" + lines }
}
