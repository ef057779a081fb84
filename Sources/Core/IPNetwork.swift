/// A block of addresses that share a prefix, such as `10.0.0.0/8` or `2001:db8::/32`.
public struct IPNetwork: Hashable, Sendable, BitwiseCopyable {
  /// The first address of the block; all bits behind the prefix are 0.
  public let base: IPAddress
  /// How many leading bits of the 128 all members share: 96...128 for IPv4 blocks, 0...128 for IPv6.
  public let prefixLength: Int

  /// The block of `base`'s first `prefixLength` bits of 128; further bits of `base` are ignored.
  public init(base: IPAddress, prefixLength: Int) {
    precondition((0...128).contains(prefixLength))
    self.prefixLength = prefixLength
    self.base = IPAddress(
      high: base.high & Self.mask(prefixLength), low: base.low & Self.mask(prefixLength - 64))
  }

  /// The block that holds `address` alone.
  public init(_ address: IPAddress) { self.init(base: address, prefixLength: 128) }

  /// Reads `address/length`, or an address alone for a block of one. Nil for anything else, also where bits behind the
  /// prefix are set (`10.1.0.0/8`): such a text usually means another block than it says.
  public init?(parsing text: RawSpan) {
    var slash: Int?
    for offset in 0..<text.byteCount where text[byte: offset] == UInt8(ascii: "/") {
      slash = offset
      break
    }
    guard let slash else {
      guard let address = IPAddress(parsing: text) else { return nil }
      self.init(address)
      return
    }
    guard let address = IPAddress(parsing: text.extracting(0..<slash)) else { return nil }
    let digits = text.extracting((slash + 1)..<text.byteCount)
    guard (1...3).contains(digits.byteCount) else { return nil }
    var length = 0
    for offset in 0..<digits.byteCount {
      let digit = digits[byte: offset]
      guard digit >= 48, digit <= 57, offset == 0 || length > 0 else { return nil }
      length = length * 10 + Int(digit - 48)
    }
    // `::ffff:10.0.0.0/104` counts from the IPv6 side, `10.0.0.0/8` from the IPv4 side.
    var isDotted = true
    for offset in 0..<slash where text[byte: offset] == UInt8(ascii: ":") { isDotted = false }
    if isDotted { length += 96 }
    guard length <= 128 else { return nil }
    self.init(base: address, prefixLength: length)
    guard base == address else { return nil }
  }

  /// Reads a block; see ``init(parsing:)``.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(parsing: RawSpan(bytes))
  }

  /// Whether `address` lies in the block. An IPv6 block of less than 96 bits holds no IPv4 address: `::/0` does not
  /// speak about IPv4.
  @inlinable
  public func contains(_ address: IPAddress) -> Bool {
    if address.isV4, prefixLength < 96 { return false }
    return (address.high ^ base.high) & Self.mask(prefixLength) == 0
      && (address.low ^ base.low) & Self.mask(prefixLength - 64) == 0
  }

  /// Whether it is a block of IPv4 addresses.
  public var isV4: Bool { prefixLength >= 96 && base.isV4 }

  /// The first `length` of 64 bits; 0 where `length` is negative, all where it is above 64.
  @inlinable
  static func mask(_ length: Int) -> UInt64 {
    length <= 0 ? 0 : length >= 64 ? .max : ~(.max >> UInt64(length))
  }
}

extension IPNetwork: CustomStringConvertible {
  /// The block as ``init(parsing:)`` reads it.
  public var description: String { isV4 ? "\(base)/\(prefixLength - 96)" : "\(base)/\(prefixLength)" }
}
