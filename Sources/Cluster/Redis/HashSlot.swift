import Core

/// The slot of a key in a Redis Cluster: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.
public enum HashSlot {
  /// All slots.
  public static let all = 0..<16_384

  // Small enough to live in a cache, and wanted once a batch.
  private static let table: [UInt16] = (0..<256).map { index in
    (0..<8).reduce(UInt16(index) << 8) { crc, _ in crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
  }

  /// The slot of `key`.
  public static func of(_ key: RawSpan) -> Int {
    let range = tag(of: key)
    let table = table
    var crc: UInt16 = 0
    for index in range { crc = crc << 8 ^ table[Int(UInt8(crc >> 8) ^ key[byte: index])] }
    return Int(crc) & (all.count - 1)
  }

  /// The slot of `key`.
  public static func of(_ key: String) -> Int {
    let bytes = Array(key.utf8)
    return of(RawSpan(bytes))
  }

  /// What lies between the first `{` and the next `}` where that is not empty; otherwise all.
  private static func tag(of key: RawSpan) -> Range<Int> {
    var open = 0
    while open < key.byteCount, key[byte: open] != UInt8(ascii: "{") { open += 1 }
    var close = open + 1
    while close < key.byteCount, key[byte: close] != UInt8(ascii: "}") { close += 1 }
    return close < key.byteCount && close > open + 1 ? (open + 1)..<close : 0..<key.byteCount
  }
}
