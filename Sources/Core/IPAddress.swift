/// An IPv4 or IPv6 address, 17 bytes of plain data; an IPv4 address and its IPv4-mapped IPv6 form are the same value.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
  /// The first eight bytes, big-endian; 0 for IPv4.
  public let high: UInt64
  /// The last eight bytes, big-endian; `0x0000ffff` and the four bytes for IPv4.
  public let low: UInt64

  /// The IPv6 address of these sixteen bytes.
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The IPv4 address of these four bytes, big-endian.
  public init(v4 bits: UInt32) { self.init(high: 0, low: 0xffff_0000_0000 | UInt64(bits)) }

  /// Whether it is IPv4 (RFC 4291 section 2.5.5.2 for the mapped form).
  public var isV4: Bool { high == 0 && low >> 32 == 0xffff }

  /// The four bytes of an IPv4 address, big-endian.
  public var v4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// Whether it stands for all addresses of this host: 0.0.0.0 or ::.
  public var isUnspecified: Bool { isV4 ? v4 == 0 : high == 0 && low == 0 }

  /// Whether it names this host itself: 127.0.0.0/8 or ::1.
  public var isLoopback: Bool { isV4 ? v4 >> 24 == 127 : high == 0 && low == 1 }
}

/// Where a socket listens or connects.
public enum SocketAddress: Hashable, Sendable {
  /// A TCP port of an address.
  case ip(IPAddress, port: UInt16)
  /// A unix stream socket by path.
  case unix(path: String)
}
