import Core

// Paths that belong to the gateway itself.

extension RequestHead {
  /// Below this, paths are the gateway's own.
  public static let reservedPath = "/.sluice"

  /// Whether the first segment of the path begins with a dot. A few instructions: most requests are asked only this.
  @inlinable
  @inline(__always)
  public var pathBeginsWithDot: Bool {
    let path = path
    // Behind a path stands at least the version, so there is a byte.
    return path.count > 1 && bytes[byte: Int(path.start) &+ 1] == 46
  }

  /// Whether the path is one of the gateway's own.
  public var isReserved: Bool {
    let path = bytes(path)
    return Self.isReserved((0..<path.byteCount).map { path[byte: $0] })
  }

  /// Whether `path` is one of the gateway's own.
  public static func isReserved(_ path: [UInt8]) -> Bool {
    let prefix = Array(reservedPath.utf8)
    return path.starts(with: prefix) && (path.count == prefix.count || path[prefix.count] == UInt8(ascii: "/"))
  }
}
