import Core
import Crypto

/// The text of an API key that a cluster has made: `slk_`, the id, `_`, the secret, the checksum.
///
/// Scanners find leaked ones by `\bslk_[0-9A-Za-z]{10}_[0-9A-Za-z]{33}\b`; the last six characters are the CRC-32 (of
/// ISO 3309) of all before them, in base 62 with leading zeros, so that a match which is no key is told from one, and a
/// mistyped key from an unknown one, without asking anybody. The secret has 27 characters of base 62: 160 bits. The id is
/// no secret: it names the key in lists and logs.
public enum KeyText {
  /// What every key begins with.
  public static let prefix = "slk_"
  /// How scanners find one.
  public static let pattern = "\\bslk_[0-9A-Za-z]{10}_[0-9A-Za-z]{33}\\b"
  /// The bytes of a key.
  public static let byteCount = 48
  private static let secretStart = 4 + KeyID.letterCount + 1
  private static let secretCount = 27
  private static let checkStart = secretStart + secretCount
  private static let checkCount = 6

  /// What a text turned out to be.
  public enum Reading: Equatable, Sendable {
    /// It has not the form of a key.
    case foreign
    /// It has, but the checksum is another one.
    case mistyped
    /// A key with this id; whether there is one is not said.
    case key(KeyID)
  }

  /// Reads a text. Some 50 ns for one that has the form.
  public static func read(_ text: RawSpan) -> Reading {
    guard text.byteCount == byteCount else { return .foreign }
    for (offset, letter) in prefix.utf8.enumerated() where text[byte: offset] != letter { return .foreign }
    guard text[byte: secretStart - 1] == UInt8(ascii: "_") else { return .foreign }
    guard let id = KeyID(text.extracting(4..<secretStart - 1)) else { return .foreign }
    var check: UInt64 = 0
    for offset in secretStart..<byteCount {
      guard let digit = Base62.value(text[byte: offset]) else { return .foreign }
      if offset >= checkStart { check = check * 62 + digit }
    }
    return check == UInt64(CRC32.of(text.extracting(0..<checkStart))) ? .key(id) : .mistyped
  }

  /// The id in a text that has the form of a key as far as its length and its first half tell; nil for any other. Some 10 ns.
  @inline(__always)
  static func id(in text: RawSpan) -> KeyID? {
    guard text.byteCount == byteCount, text[byte: 3] == UInt8(ascii: "_"),
      text[byte: secretStart - 1] == UInt8(ascii: "_")
    else { return nil }
    return KeyID(text.extracting(4..<secretStart - 1))
  }

  /// A new key: the id and the secret are taken from `random`, which must be fit for keys. The text is returned and kept
  /// nowhere.
  public static func make(random: (Int) -> [UInt8]) -> (id: KeyID, text: [UInt8]) {
    let letters = Base62.letters(KeyID.letterCount + secretCount, random: random)
    var text = Array(prefix.utf8) + letters[..<KeyID.letterCount]
    text.append(UInt8(ascii: "_"))
    text += letters[KeyID.letterCount...]
    text += Base62.digits(UInt64(CRC32.of(RawSpan(text))), count: checkCount)
    let idBytes = Array(letters[..<KeyID.letterCount])
    guard let id = KeyID(RawSpan(idBytes)) else { return make(random: random) }
    return (id, text)
  }
}

/// The id of a key of the cluster: ten characters of base 62.
public struct KeyID: Hashable, Sendable, BitwiseCopyable {
  /// The characters of an id.
  public static let letterCount = 10
  private static let bound: UInt64 = 839_299_365_868_340_224  // 62¹⁰

  /// The number that the characters write, the first one most significant; never 0.
  public let number: UInt64

  /// The id of this number; nil where it is 0 or too large.
  public init?(number: UInt64) {
    guard number > 0, number < Self.bound else { return nil }
    self.number = number
  }

  /// The id that is written so; nil for anything else.
  public init?(_ text: RawSpan) {
    guard text.byteCount == Self.letterCount else { return nil }
    // Two halves side by side: each letter of one waits for the multiplication of the letter before.
    var (first, second): (UInt64, UInt64) = (0, 0)
    var all: UInt8 = 0
    for offset in 0..<Self.letterCount / 2 {
      let digits = (Base62.digit(text[byte: offset]), Base62.digit(text[byte: offset &+ Self.letterCount / 2]))
      all |= digits.0 | digits.1
      first = first &* 62 &+ UInt64(digits.0)
      second = second &* 62 &+ UInt64(digits.1)
    }
    guard all != Base62.noDigit else { return nil }
    let number = first &* 916_132_832 &+ second  // 62⁵
    self.init(number: number)
  }

  /// The id that is written so; nil for anything else.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(RawSpan(bytes))
  }

  /// Its characters.
  public var text: String { String(decoding: Base62.digits(number, count: Self.letterCount), as: UTF8.self) }
}

/// Digits, capital letters, small letters.
enum Base62 {
  private static let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

  /// What stands for no digit: all bits, so that it shows in many digits combined.
  static let noDigit: UInt8 = 255

  /// The digit of a letter, without a jump: letters of keys are random, and every second jump would be mispredicted.
  @inline(__always)
  static func digit(_ letter: UInt8) -> UInt8 {
    let (decimal, capital, small) = (letter &- 48, letter &- 65, letter &- 97)
    let isDecimal: UInt8 = decimal < 10 ? 255 : 0
    let isCapital: UInt8 = capital < 26 ? 255 : 0
    let isSmall: UInt8 = small < 26 ? 255 : 0
    let none = ~(isDecimal | isCapital | isSmall)
    return isDecimal & decimal | isCapital & (capital &+ 10) | isSmall & (small &+ 36) | none
  }

  @inline(__always)
  static func value(_ letter: UInt8) -> UInt64? {
    let digit = digit(letter)
    return digit == noDigit ? nil : UInt64(digit)
  }

  /// `number` with leading zeros.
  static func digits(_ number: UInt64, count: Int) -> [UInt8] {
    var rest = number
    var digits = [UInt8](repeating: 48, count: count)
    for index in digits.indices.reversed() {
      digits[index] = alphabet[Int(rest % 62)]
      rest /= 62
    }
    return digits
  }

  /// Letters of which each is as likely as any other: bytes from 248 on, four times 62, are not used.
  static func letters(_ count: Int, random: (Int) -> [UInt8]) -> [UInt8] {
    var letters: [UInt8] = []
    while letters.count < count {
      for byte in random(count + count / 8) where byte < 248 && letters.count < count {
        letters.append(alphabet[Int(byte % 62)])
      }
    }
    return letters
  }
}

/// The checksum of ISO 3309 (CRC-32 as zip and Ethernet have it), four bits at a time.
enum CRC32 {
  private static let table: [UInt32] = [
    0x0000_0000, 0x1db7_1064, 0x3b6e_20c8, 0x26d9_30ac, 0x76dc_4190, 0x6b6b_51f4, 0x4db2_6158, 0x5005_713c,
    0xedb8_8320, 0xf00f_9344, 0xd6d6_a3e8, 0xcb61_b38c, 0x9b64_c2b0, 0x86d3_d2d4, 0xa00a_e278, 0xbdbd_f21c,
  ]

  static func of(_ bytes: RawSpan) -> UInt32 {
    var register = UInt32.max
    for offset in 0..<bytes.byteCount {
      register ^= UInt32(bytes[byte: offset])
      register = register >> 4 ^ table[Int(register & 15)]
      register = register >> 4 ^ table[Int(register & 15)]
    }
    return ~register
  }
}
