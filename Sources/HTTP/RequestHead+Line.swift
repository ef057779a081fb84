import Core

// The request line: method SP request-target SP HTTP-version (RFC 9112 section 3).

extension RequestHead {
  /// The method that nearly all requests have, and the space behind it.
  private static let get: UInt64 = 0x2054_4547
  private static let http11: UInt64 = 0x312e_312f_5054_5448
  private static let http10: UInt64 = 0x302e_312f_5054_5448

  /// Reads the whole head; the result is as ``HeadTable/scan(_:from:limit:)`` has it.
  @inline(__always)
  func parse(_ window: borrowing HeadWindow, _ limits: HeadLimits) -> Int {
    var start = 0
    if window.byte(0) == 13 {
      // One empty line before a request is forgiven (RFC 9112 section 2.2), a second is not.
      if window.count < 2 { return LineEnd.incomplete }
      if window.byte(1) != 10 { return LineEnd.refusal(.bareCR) }
      if window.count < 3 { return LineEnd.incomplete }
      start = 2
    }
    let end = window.lineEnd(from: start, notBeyond: start &+ limits.requestLineBytes)
    if end < 0 { return end }
    facts.value = Facts()
    let refusal = parseLine(window, start, end, limits.paths, &facts.value)
    if refusal < 0 { return refusal }
    return table.scan(window, from: end &+ 2, limit: limits.fieldCount)
  }

  @inline(__always)
  private func parseLine(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ paths: PathTolerance, _ line: inout Facts
  ) -> Int {
    // "M / HTTP/1.1" has twelve bytes.
    if end &- start < 12 { return LineEnd.refusal(.malformedRequestLine) }
    if window.word(start) & 0xffff_ffff == Self.get {
      line.method = .get
      return parseBehind(window, start, methodCount: 3, end, paths, &line)
    }
    let space = window.equal16(start, 32)
    var methodCount = space.trailingZeroBitCount
    if space == 0 {
      methodCount = 16
      while methodCount <= HeadLimits.methodBytes, start &+ methodCount < end,
        window.byte(start &+ methodCount) != 32
      { methodCount &+= 1 }
    }
    if methodCount < 8 && methodCount > 0 {
      line.method = Method.of(word: window.word(start) & (UInt64.max &>> UInt64(64 &- 8 &* methodCount)))
    }
    if line.method == .other {
      let fault = checkMethod(window, start, count: methodCount, end)
      if fault < 0 { return fault }
    } else if line.method == .connect {
      return LineEnd.refusal(.connectNotSupported)
    }
    return parseBehind(window, start, methodCount: methodCount, end, paths, &line)
  }

  /// Reads what stands behind the method.
  @inline(__always)
  private func parseBehind(
    _ window: borrowing HeadWindow, _ start: Int, methodCount: Int, _ end: Int, _ paths: PathTolerance,
    _ line: inout Facts
  ) -> Int {
    line.methodText = ByteRange(start, upTo: start &+ methodCount)
    let targetStart = start &+ methodCount &+ 1
    let targetEnd = end &- 9
    let version = window.word(end &- 8)
    if targetEnd <= targetStart || window.byte(targetEnd) != 32 || (version != Self.http11 && version != Self.http10) {
      return LineEnd.refusal(versionFault(window, targetStart, end))
    }
    line.isHTTP10 = version == Self.http10
    line.target = ByteRange(targetStart, upTo: targetEnd)
    return parseTarget(window, targetStart, targetEnd, paths, &line)
  }

  @inline(never)
  private func checkMethod(_ window: borrowing HeadWindow, _ start: Int, count: Int, _ end: Int) -> Int {
    for index in 0..<min(count, HeadLimits.methodBytes) {
      let byte = window.byte(start + index)
      if !table.isClass(byte, .token) { return LineEnd.refusal(.malformedMethod) }
    }
    if count > HeadLimits.methodBytes { return LineEnd.refusal(.methodTooLong) }
    return count == 0 || start + count >= end ? LineEnd.refusal(.malformedRequestLine) : 0
  }

  /// Tells a version we do not speak from a line that has none.
  @inline(never)
  private func versionFault(_ window: borrowing HeadWindow, _ targetStart: Int, _ end: Int) -> HTTPFault {
    guard end - 9 > targetStart, window.byte(end - 9) == 32, window.word(end - 8) & 0xff_ffff_ffff == 0x2f_5054_5448
    else { return .malformedRequestLine }
    let isVersion =
      table.isClass(window.byte(end - 3), .digit) && window.byte(end - 2) == 46
      && table.isClass(window.byte(end - 1), .digit)
    return isVersion ? .unsupportedVersion : .malformedRequestLine
  }

  @inline(__always)
  private func parseTarget(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ paths: PathTolerance, _ line: inout Facts
  ) -> Int {
    var pathStart = start
    if window.byte(start) != 47 {
      let result = parseOtherForm(window, start, end, &line)
      if result < 0 { return result }
      if result == end { return 0 }
      pathStart = result
    }
    return TargetReader.read(window, pathStart, end, paths, &line)
  }

  /// Asterisk-form and absolute-form (RFC 9112 section 3.2). The result is where the path begins, or `end` where
  /// nothing is left to read.
  @inline(never)
  private func parseOtherForm(_ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ line: inout Facts) -> Int {
    if end - start == 1 && window.byte(start) == 42 {
      guard line.method == .options else { return LineEnd.refusal(.asteriskNotForMethod) }
      line.path = line.target
      return end
    }
    var authority = start
    for scheme: StaticString in ["http://", "https://"] where window.hasPrefix(scheme, at: start, before: end) {
      authority = start + scheme.utf8CodeUnitCount
    }
    guard authority > start else {
      return LineEnd.refusal(window.byte(start) == 32 ? .malformedRequestLine : .malformedTarget)
    }
    var index = authority
    while index < end, case let byte = window.byte(index), byte != 47, byte != 63, byte != 35 { index += 1 }
    guard index > authority else { return LineEnd.refusal(.malformedTarget) }
    line.authority = ByteRange(authority, upTo: index)
    if index < end && window.byte(index) == 47 { return index }
    // An empty path means "/"; the second slash of "://" is one that the range can name.
    line.path = ByteRange(authority - 1, upTo: authority)
    if index == end { return end }
    let fault = TargetReader.readQuery(window, index, end, &line)
    return fault < 0 ? fault : end
  }
}

extension HeadWindow {
  /// Whether `text`, which is lower-case, stands at `offset` in any case and ends before `end`.
  func hasPrefix(_ text: StaticString, at offset: Int, before end: Int) -> Bool {
    guard end - offset >= text.utf8CodeUnitCount else { return false }
    for index in 0..<text.utf8CodeUnitCount {
      // A static string's storage lives for ever, and `index` is below its count.
      let expected = unsafe text.utf8Start[index]
      let found = byte(offset + index)
      if (found >= 65 && found <= 90 ? found | 0x20 : found) != expected { return false }
    }
    return true
  }
}
