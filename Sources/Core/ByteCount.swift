/// A number of bytes, as the configuration writes it: `"512B"`, `"64KiB"`, `"10MB"`.
public struct ByteCount: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The number; never negative where it was read from text.
  public let bytes: Int64

  /// So many bytes.
  public init(_ bytes: Int64) { self.bytes = bytes }

  private static let units: [(name: String, bytes: Int64)] = [
    ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("kB", 1000), ("B", 1),
  ]

  /// Digits and a unit (B, KiB, MiB, GiB, TiB by 1024; KB, MB, GB, TB by 1000); nil for anything else, and beyond 64 bits.
  public init?(_ text: String) {
    guard let unit = Self.units.first(where: { text.hasSuffix($0.name) }),
      let count = TextNumber.digits(text.utf8.dropLast(unit.name.utf8.count))
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.bytes)
    if overflow { return nil }
    bytes = product
  }

  /// The shortest text that ``init(_:)-(String)`` reads as the same number.
  public var description: String {
    let unit = Self.units.first { bytes >= $0.bytes && bytes % $0.bytes == 0 } ?? ("B", 1)
    return "\(bytes / unit.bytes)\(unit.name)"
  }

  /// Whether the left count is smaller.
  public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}

enum TextNumber {
  /// One to eighteen decimal digits; nil for anything else.
  static func digits(_ text: Substring.UTF8View) -> Int64? {
    guard !text.isEmpty && text.count <= 18 else { return nil }
    var value: Int64 = 0
    for byte in text {
      guard byte >= 48 && byte <= 57 else { return nil }
      value = value * 10 + Int64(byte - 48)
    }
    return value
  }
}

extension Duration {
  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("ms", 1_000_000), ("us", 1000), ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000),
    ("s", 1_000_000_000),
  ]

  /// A duration as the configuration writes it, digits and a unit (us, ms, s, m, h, d): `"250ms"`, `"7d"`. Nil for
  /// anything else, and beyond 292 years.
  public init?(text: String) {
    guard let unit = Self.units.first(where: { text.hasSuffix($0.name) }),
      let count = TextNumber.digits(text.utf8.dropLast(unit.name.utf8.count))
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.nanoseconds)
    if overflow { return nil }
    self = .nanoseconds(product)
  }

  /// The shortest text that ``init(text:)`` reads as the same duration, if it is a whole number of microseconds.
  public var configurationText: String {
    let nanoseconds = wholeNanoseconds
    if nanoseconds == 0 { return "0s" }
    let order = Self.units.sorted { $0.nanoseconds > $1.nanoseconds }
    guard let unit = order.first(where: { nanoseconds % $0.nanoseconds == 0 }) else { return "\(nanoseconds / 1000)us" }
    return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
  }
}
