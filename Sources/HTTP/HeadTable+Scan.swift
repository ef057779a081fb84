import CLinux
import Core

// Reading field lines. Nearly all of them are alike: a name of less than sixteen bytes, a colon, one space, a value of
// printable ASCII. `scan` reads those in one loop that calls nothing, so that its state stays in registers; `readField`
// is the whole truth about field lines, and gets all others.

extension HeadTable {
  /// Reads field lines from `start`, at least 4, up to the empty line. The result is the count of bytes up to and with
  /// that line, or negative as ``LineEnd`` has it.
  @inline(never)
  func scan(_ window: borrowing HeadWindow, from start: Int, limit: Int) -> Int {
    precondition(start >= 4 && limit <= HeadLimits.maximumFieldCount)
    unsafe summary.pointee = Summary()
    var line = start
    while true {
      line = scanPlain(window, from: line, limit: limit)
      if line < 0 { return ~line }
      line = readField(window, line, limit: limit)
      if line < 0 { return line }
    }
  }

  /// Reads plain field lines. The result is the offset of the first line that is none, or the complement of the count of
  /// bytes up to and with the empty line.
  @inline(__always)
  private func scanPlain(_ window: borrowing HeadWindow, from start: Int, limit: Int) -> Int {
    // Every line is found to end inside the window before any other byte of it is read: 4 <= line <= colon < end, and
    // end + 1 is below the window's count. Vectors overshoot that by less than the slack. `offset` is below `limit`
    // fields, which is at most what is reserved, and a name found is below the count of names.
    let base = unsafe window.base
    let names = unsafe UnsafeRawPointer(memory + Self.namesOffset)
    let lastByte = window.count &- 1
    let limit = limit &* Self.fieldBytes
    var offset = fieldCount &* Self.fieldBytes
    var presence = presence
    var line = start
    plain: while line < lastByte {
      var end = line
      var stops = unsafe sluice_unprintable32(base + end)
      while stops == 0 {
        end &+= 32
        if end >= lastByte { break plain }
        stops = unsafe sluice_unprintable32(base + end)
      }
      end &+= Int(sluice_lowest(stops))
      if end >= lastByte { break }
      if unsafe UnsafeRawPointer(base + end).loadUnaligned(as: UInt16.self) != Self.lineEnd { break }
      if end == line {
        note(fieldBytes: offset, presence)
        return ~(end &+ 2)
      }
      let colons = unsafe sluice_equal16(base + line, 58)
      if colons == 0 || offset == limit { break }
      let nameCount = Int(sluice_lowest(colons))
      let colon = line &+ nameCount
      if colon >= end { break }
      // One space before the value, none behind it, and so at least one byte of it.
      if unsafe base[colon &+ 1] != 32 || base[colon &+ 2] <= 32 || base[end &- 1] <= 32 { break }
      let value = colon &+ 2
      var name = unsafe FieldNameTable.candidate(base + line, count: nameCount, in: names)
      if _fastPath(unsafe FieldNameTable.isShort(name, base + line, in: names)) {
        if _slowPath(presence &>> UInt64(name) & 1 != 0) { break }
        presence |= 1 &<< UInt64(name)
      } else {
        name = 0
        // Letters, digits, dashes and dots make a token.
        let strange = unsafe sluice_host_stop16(base + line) | sluice_equal16(base + line, 95)
        if nameCount == 0 || strange.trailingZeroBitCount < nameCount { break }
        unsafe summary.pointee.repeated |= presence & 1
        presence |= 1
      }
      unsafe (memory + Self.lastOffset).storeBytes(
        of: UInt16(truncatingIfNeeded: offset), toByteOffset: Int(name) &* 2, as: UInt16.self)
      unsafe (memory + Self.fieldsOffset + offset).storeBytes(
        of: HeadField(
          nameStart: UInt32(truncatingIfNeeded: line), valueStart: UInt32(truncatingIfNeeded: value),
          valueCount: UInt32(truncatingIfNeeded: end &- value),
          nameCount: UInt16(truncatingIfNeeded: nameCount), name: unsafeBitCast(name, to: FieldName.self),
          isDropped: false), as: HeadField.self)
      offset &+= Self.fieldBytes
      line = end &+ 2
    }
    note(fieldBytes: offset, presence)
    return line
  }

  @inline(__always)
  private func note(fieldBytes: Int, _ presence: UInt64) {
    unsafe summary.pointee.fieldCount = fieldBytes / Self.fieldBytes
    unsafe summary.pointee.presence = presence
  }

  private static let lineEnd = UInt16(littleEndian: 0x0a0d)

  /// Reads any field line, which is not empty. The result is the offset of the next line, or negative as ``LineEnd`` has
  /// it.
  @inline(never)
  private func readField(_ window: borrowing HeadWindow, _ line: Int, limit: Int) -> Int {
    let end = window.lineEnd(from: line)
    if end < 0 { return end }
    precondition(end > line)
    let count = fieldCount
    if count == limit { return LineEnd.refusal(.tooManyFields) }
    let colon = findColon(window, line, upTo: end)
    if colon == end { return LineEnd.refusal(lineWithoutColon(window, line)) }
    let name = unsafe window.find(line, count: colon &- line, in: UnsafeRawPointer(memory + Self.namesOffset))
    var isDropped = false
    if name == 0 {
      let result = judgeName(window, line, upTo: colon)
      if result < 0 { return result }
      isDropped = result > 0
    }
    let valueStart = skipBlanks(window, colon &+ 1)
    let valueEnd = dropBlanks(window, valueStart, end)
    let bit: UInt64 = 1 &<< UInt64(name)
    unsafe summary.pointee.repeated |= presence & bit
    unsafe summary.pointee.presence |= bit
    unsafe summary.pointee.fieldCount = count &+ 1
    unsafe last[Int(name & 63)] = UInt16(truncatingIfNeeded: count &* Self.fieldBytes)
    // `count` is below `limit`, and that at most the reserved count; `name` is a raw value from the table.
    unsafe (fields + count).initialize(
      to: HeadField(
        nameStart: UInt32(truncatingIfNeeded: line), valueStart: UInt32(truncatingIfNeeded: valueStart),
        valueCount: UInt32(truncatingIfNeeded: valueEnd &- valueStart),
        nameCount: UInt16(truncatingIfNeeded: colon &- line),
        name: unsafeBitCast(name, to: FieldName.self), isDropped: isDropped))
    return end &+ 2
  }

  /// The offset of the line's first colon, or `end`.
  private func findColon(_ window: borrowing HeadWindow, _ line: Int, upTo end: Int) -> Int {
    var index = line
    while index < end {
      let found = window.equal16(index, 58)
      if found != 0 { return min(index &+ found.trailingZeroBitCount, end) }
      index &+= 16
    }
    return end
  }

  /// Looks at an unknown name: negative as ``LineEnd`` has it if it is no token, 1 if it is not to be passed on, else 0.
  private func judgeName(_ window: borrowing HeadWindow, _ start: Int, upTo colon: Int) -> Int {
    // Letters, digits, dashes, dots and underscores make a token; only stranger names are looked at byte by byte.
    var clean = start
    while clean < colon {
      let stop = window.hostStop16(clean)
      clean &+= stop == 0 ? 16 : stop.trailingZeroBitCount
      if stop != 0 { break }
    }
    if clean < colon || colon == start || colon &- start > Int(UInt16.max) {
      let fault = checkName(window, start, upTo: colon)
      if fault < 0 { return fault }
    }
    if colon &- start > FieldNameTable.longest { return 0 }
    let underscores = window.equal16(start, 95) | (colon &- start > 16 ? window.equal16(start &+ 16, 95) &<< 16 : 0)
    if underscores == 0 { return 0 }
    return isLookalike(window, start, upTo: colon) ? 1 : 0
  }

  /// Whether an unknown name is a known one to whoever takes `_` for `-`, as CGI and its heirs do: `X_Forwarded_For` must
  /// not carry what `X-Forwarded-For` may not. nginx drops every name with an underscore; these are enough.
  @inline(never)
  private func isLookalike(_ window: borrowing HeadWindow, _ start: Int, upTo colon: Int) -> Bool {
    guard colon &- start <= FieldNameTable.longest else { return false }
    var name = InlineArray<32, UInt8>(repeating: 0)
    var hasUnderscore = false
    for index in start..<colon {
      let byte = window.byte(index)
      if byte == 95 { hasUnderscore = true }
      name[index &- start] = byte == 95 ? 45 : byte
    }
    guard hasUnderscore else { return false }
    // `name` outlives the span, and all of its bytes are initialised.
    return FieldName.of(unsafe name.span.bytes.extracting(0..<colon &- start)) != .other
  }

  /// The first byte from `start` on that is no space or tab; a CR ends every line.
  private func skipBlanks(_ window: borrowing HeadWindow, _ start: Int) -> Int {
    var index = start
    while case let byte = window.byte(index), byte == 32 || byte == 9 { index &+= 1 }
    return index
  }

  private func dropBlanks(_ window: borrowing HeadWindow, _ start: Int, _ end: Int) -> Int {
    var index = end
    while index > start, case let byte = window.byte(index &- 1), byte == 32 || byte == 9 { index &-= 1 }
    return index
  }

  /// 0 if the unknown name is a token, else the refusal.
  private func checkName(_ window: borrowing HeadWindow, _ start: Int, upTo colon: Int) -> Int {
    var index = start
    while index < colon, isClass(window.byte(index), .token) { index &+= 1 }
    if index == colon {
      return colon == start || colon &- start > Int(UInt16.max) ? LineEnd.refusal(.malformedFieldName) : 0
    }
    let byte = window.byte(index)
    if byte == 32 || byte == 9 {
      if index == start { return LineEnd.refusal(.lineFolding) }
      var rest = index
      while rest < colon, window.byte(rest) == 32 || window.byte(rest) == 9 { rest &+= 1 }
      if rest == colon { return LineEnd.refusal(.whitespaceBeforeColon) }
    }
    return LineEnd.refusal(.malformedFieldName)
  }

  private func lineWithoutColon(_ window: borrowing HeadWindow, _ start: Int) -> HTTPFault {
    window.byte(start) == 32 || window.byte(start) == 9 ? .lineFolding : .missingColon
  }
}
