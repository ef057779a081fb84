import Core

// Paths that belong to the gateway itself.

extension RequestHead {
  /// Below this, paths are the gateway's own.
  public static let reservedPath = "/.sluice"

  /// Whether the path has escapes, empty segments or segments that begin with a dot; the gateway's own paths do. Reading
  /// a path finds it out on the way, so that most requests are asked only this.
  public var isPathUnusual: Bool { facts.value.isPathUnusual }

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
