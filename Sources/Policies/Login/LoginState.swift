import Core
import Crypto
import Pipeline

/// One login that has begun in a browser and is not over: what a sealed cookie of its own keeps until the browser is back.
struct LoginState: Equatable, Sendable {
  /// How long somebody may take to log in, in seconds.
  static let lifeSeconds: Int64 = 600
  /// Random bytes of state, nonce and verifier; 43 characters each, as a verifier has at least (RFC 7636 section 4.1).
  private static let randomBytes = 32
  /// Characters of such a text.
  static let textCount = 43
  /// Characters of the state by which its cookie is called.
  static let suffixCount = 12
  /// Bytes and levels of what is sealed.
  private static let (longest, depth) = (8_192, 4)

  /// What the provider gives back, so that nobody ends a login in another browser than it began in (RFC 6749 section 10.12).
  let state: String
  /// What the ID token must repeat.
  let nonce: String
  /// What proves that who redeems the code has begun the login (RFC 7636).
  let verifier: String
  /// Where the browser goes then; see ``ReturnPath``.
  let path: String
  /// The second at which it is over.
  let endsAt: Int64

  /// A login that begins now.
  init(path: String, now: Int64) {
    func text() -> String { Base64URL.encode(SecureRandom.bytes(Self.randomBytes)) }
    (state, nonce, verifier) = (text(), text(), text())
    self.path = path
    endsAt = now + Self.lifeSeconds
  }

  /// What its cookie is called by.
  var suffix: String { String(state.prefix(Self.suffixCount)) }

  /// Whether a text could be a state at all.
  static func isState(_ text: String) -> Bool { text.utf8.count == textCount && Base64URL.decode(text) != nil }

  /// Whether a text could be what such a cookie is called by.
  static func isSuffix(_ text: String) -> Bool { text.utf8.count == suffixCount && Base64URL.decode(text) != nil }

  /// The challenge of the verifier (RFC 7636 section 4.2).
  func challenge(_ hasher: SHA256) -> String {
    let bytes = Array(verifier.utf8)
    return Base64URL.encode(hasher.digest(of: RawSpan(bytes)).bytes)
  }

  /// What is sealed.
  var text: [UInt8] {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    writer.beginObject()
    for (name, value) in [("s", state), ("n", nonce), ("v", verifier), ("p", path)] {
      writer.key(name)
      writer.string(value)
    }
    writer.key("e")
    writer.integer(endsAt)
    writer.endObject()
    return buffer.array
  }

  /// Reads what was sealed; nil for anything else, and for a path that leads elsewhere.
  init?(_ text: [UInt8]) {
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (Self.longest, Self.depth, 1)
    guard let root = JSONDocument.parse(text, dialect: .strict, limits: limits).document?.root,
      let state = root["s"]?.string, let nonce = root["n"]?.string, let verifier = root["v"]?.string,
      let path = root["p"]?.string.flatMap({ ReturnPath.checked($0) }), let endsAt = root["e"]?.integer
    else { return nil }
    (self.state, self.nonce, self.verifier, self.path, self.endsAt) = (state, nonce, verifier, path, endsAt)
  }
}
