// What OpenSSL reads keys from. Its own builder of parameters keeps pointers to names and numbers until long after the
// call, which Swift's strings do not promise; a few bytes of DER (X.690) are simpler to get right.

/// Writes DER.
enum DERText {
  static let sequenceTag: UInt8 = 0x30

  /// 1.2.840.113549.1.1.1 and no parameters.
  static let rsaEncryption: [UInt8] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
  ]
  /// 1.2.840.10045.2.1
  static let ellipticCurveKey: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]

  /// One element, fewer than 2¹⁶ bytes long.
  static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    let count = content.count
    precondition(count < 1 << 16)
    let length: [UInt8]
    switch count {
    case ..<0x80: length = [UInt8(count)]
    case ..<0x100: length = [0x81, UInt8(count)]
    default: length = [0x82, UInt8(count >> 8), UInt8(count & 0xff)]
    }
    return [tag] + length + content
  }

  static func sequence(_ parts: [UInt8]...) -> [UInt8] { element(sequenceTag, parts.flatMap { $0 }) }

  /// A whole number that is not negative, from its bytes in big-endian order.
  static func integer(_ magnitude: [UInt8]) -> [UInt8] {
    let digits = Array(magnitude.drop { $0 == 0 })
    return element(0x02, (digits.first ?? 0x80) & 0x80 != 0 ? [0] + digits : digits)
  }

  static func bits(_ bytes: [UInt8]) -> [UInt8] { element(0x03, [0] + bytes) }

  static func octets(_ bytes: [UInt8]) -> [UInt8] { element(0x04, bytes) }
}
