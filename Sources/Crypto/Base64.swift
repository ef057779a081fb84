import COpenSSL

/// Base64 (RFC 4648 section 4): bytes as text, with padding.
public enum Base64 {
  /// The text of `bytes`, fewer than 2³⁰.
  public static func encode(_ bytes: [UInt8]) -> String {
    precondition(bytes.count < 1 << 30)
    // OpenSSL ends what it writes with a zero.
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    let count = unsafe EVP_EncodeBlock(&text, bytes, Int32(bytes.count))
    return String(decoding: text[..<Int(count)], as: UTF8.self)
  }

  /// The bytes that `text` stands for; nil for anything that ``encode(_:)`` would not write, so that one value has one
  /// text.
  public static func decode(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count % 4 == 0, characters.count < 1 << 30 else { return nil }
    var bytes = [UInt8](repeating: 0, count: characters.count / 4 * 3)
    // Three bytes for every four characters are exactly what OpenSSL writes.
    guard unsafe EVP_DecodeBlock(&bytes, characters, Int32(characters.count)) == bytes.count else { return nil }
    bytes.removeLast(characters.suffix(2).count { $0 == UInt8(ascii: "=") })
    return encode(bytes) == text ? bytes : nil
  }
}
