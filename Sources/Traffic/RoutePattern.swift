import Core

/// The host and path patterns of one route, checked and taken apart.
struct RoutePattern {
  /// Labels that may stand behind the star of a host.
  static let wildcardLabelLimit = 9
  /// Segments that a path may have; it bounds the depth of a walk.
  static let segmentLimit = 64

  enum Segment: Hashable {
    case literal([UInt8])
    case capture
  }

  enum Host: Hashable {
    case any
    case exact([UInt8], port: UInt16)
    case wildcard([UInt8], port: UInt16)
  }

  var host = Host.any
  var segments: [Segment] = []
  var isPrefix = true
  var captureNames: [String] = []
  var problems: [RouteProblem.Reason] = []

  init(_ match: RouteMatch) {
    if let host = match.host { readHost(host) }
    var path = match.path ?? "/*"
    if case .path(let version) = match.version {
      if version.isEmpty || version.utf8.contains(where: { "/{}*?#".utf8.contains($0) }) {
        problems.append(.versionSegment(version))
      }
      path = "/" + version + (path == "/*" || path.hasPrefix("/") ? path : "/" + path)
    }
    readPath(path)
  }

  private mutating func readHost(_ text: String) {
    var bytes = Array(text.utf8).map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }
    if bytes == [UInt8(ascii: "*")] { return }
    let authority = Authority(RawSpan(bytes))
    let port = authority.port
    if authority.nameEnd < bytes.count, port == 0 { return problems.append(.hostPort(text)) }
    bytes.removeSubrange(authority.nameEnd...)
    let isWildcard = bytes.starts(with: "*.".utf8)
    if isWildcard { bytes.removeFirst() }
    let isAddress = bytes.first == UInt8(ascii: "[") && bytes.last == UInt8(ascii: "]") && !isWildcard
    let allowed = isAddress ? "[]:.0123456789abcdef" : "-._0123456789abcdefghijklmnopqrstuvwxyz"
    let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).dropFirst(
      isWildcard ? 1 : 0)
    guard !labels.isEmpty, labels.allSatisfy({ !$0.isEmpty }) || isAddress,
      bytes.allSatisfy({ allowed.utf8.contains($0) })
    else { return problems.append(.host(text)) }
    if isWildcard {
      guard labels.count <= Self.wildcardLabelLimit else { return problems.append(.hostLabels(text)) }
      host = .wildcard(bytes, port: port)
    } else {
      host = .exact(bytes, port: port)
    }
  }

  private mutating func readPath(_ text: String) {
    guard text.hasPrefix("/") else { return problems.append(.pathStart(text)) }
    var parts = text.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    isPrefix = parts.last.map { Array($0) == [UInt8(ascii: "*")] } ?? false
    if isPrefix { parts.removeLast() }
    if parts.count > Self.segmentLimit { problems.append(.pathSegments(text)) }
    for part in parts {
      let bytes = Array(part)
      if bytes.first == UInt8(ascii: "{"), bytes.last == UInt8(ascii: "}") {
        let name = String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
        if name.isEmpty || !name.utf8.allSatisfy(isNameByte) { problems.append(.captureName(name)) }
        if captureNames.contains(name) { problems.append(.captureTwice(name)) }
        captureNames.append(name)
        segments.append(.capture)
      } else {
        segments.append(.literal(decodedLiteral(bytes, in: text)))
      }
    }
    if captureNames.count > RouteCaptures.limit { problems.append(.captureCount(text)) }
  }

  private mutating func decodedLiteral(_ bytes: [UInt8], in path: String) -> [UInt8] {
    var decoded: [UInt8] = []
    var at = 0
    let span = RawSpan(bytes)
    while at < bytes.count {
      let (value, width) = decodedByte(span, at)
      if width == 1 {
        switch value {
        case UInt8(ascii: "*"), UInt8(ascii: "{"), UInt8(ascii: "}"): problems.append(.partialSegment(path))
        case UInt8(ascii: "%"): problems.append(.percent(path))
        case UInt8(ascii: "?"), UInt8(ascii: "#"), 0...0x20, 0x7f: problems.append(.pathByte(path))
        default: break
        }
      }
      decoded.append(value)
      at += width
    }
    if decoded == [0x2e] || decoded == [0x2e, 0x2e] { problems.append(.dotSegment(path)) }
    return decoded
  }
}

private func isNameByte(_ letter: UInt8) -> Bool {
  switch letter {
  case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"), UInt8(ascii: "-"): true
  default: false
  }
}
