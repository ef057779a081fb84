import Crypto

/// What a device shows and its user types (RFC 8628 section 6.1): eight letters without vowels, so that no words come about,
/// and without those that look like others. Some 34 bits, which is little: whoever guesses is slowed down in the whole
/// cluster, and a code is good for minutes.
struct UserCode: Equatable, Sendable {
  private static let alphabet = Array("BCDFGHJKLMNPQRSTVWXZ".utf8)
  private static let length = 8

  /// The eight letters.
  let letters: String

  /// A fresh one.
  static func fresh() -> UserCode {
    var letters: [UInt8] = []
    while letters.count < length {
      // Of 256 values the last 16 would make some letters likelier than others.
      for byte in SecureRandom.bytes(16) where byte < 240 && letters.count < length {
        letters.append(alphabet[Int(byte) % alphabet.count])
      }
    }
    return UserCode(letters)
  }

  private init(_ letters: [UInt8]) { self.letters = String(decoding: letters, as: UTF8.self) }

  /// What somebody has typed, in whatever case and with whatever between the letters; nil where it can be no code.
  init?(_ typed: String) {
    guard typed.utf8.count <= 32 else { return nil }
    let letters = typed.uppercased().utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: " ") }
    guard letters.count == Self.length, letters.allSatisfy(Self.alphabet.contains) else { return nil }
    self.init(Array(letters))
  }

  /// As people read it.
  var text: String { "\(letters.prefix(4))-\(letters.suffix(4))" }

  /// What it is called in the store: nobody who reads names there can type codes.
  func name(issuer: String, key: [UInt8]) -> String {
    let bytes = Array("\(letters) \(issuer)".utf8)
    return Base64URL.encode(HMACSHA256.code(of: RawSpan(bytes), key: key))
  }
}
