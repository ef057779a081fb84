import Core

// What the fields of a request mean together: host, framing, connection, expectation.

extension RequestHead {
  /// Judges the fields and completes the facts; nil where all is well.
  @inline(__always)
  func settle(_ bytes: RawSpan) -> HTTPFault? {
    do throws(HTTPFault) {
      var line = facts
      try settleHost(bytes, &line)
      let framing = try table.readFraming(bytes, isHTTP10: line.isHTTP10)
      line.framing = framing ?? .none
      let options = try table.readConnection(bytes)
      line.keepsAlive = !options.close && (!line.isHTTP10 || options.keepAlive)
      if options.upgrade && !line.isHTTP10 { line.upgrade = upgradeOffer(bytes) }
      if let index = table.firstIndex(of: .expect) {
        let value = bytes.part(table[index].valueRange.offsets)
        if table.isRepeated(.expect) || !value.equalsIgnoringCase("100-continue") { throw .unmetExpectation }
        // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and idle where there is no body.
        line.expectsContinue = !line.isHTTP10 && line.framing != .none && line.framing != .length(0)
      }
      facts = line
      return nil
    } catch { return error }
  }

  @inline(__always)
  private func settleHost(_ bytes: RawSpan, _ line: inout Facts) throws(HTTPFault) {
    guard let index = table.firstIndex(of: .host) else {
      if !line.isHTTP10 { throw .missingHost }
      if !line.authority.isEmpty { try readAuthority(bytes, &line) }
      return
    }
    if table.isRepeated(.host) { throw .repeatedHost }
    let range = table[index].valueRange
    if !line.authority.isEmpty, !bytes.part(range.offsets).matches(bytes.part(line.authority.offsets)) {
      throw .authorityMismatch
    }
    line.authority = range
    try readAuthority(bytes, &line)
  }

  /// Splits host and port (RFC 3986 section 3.2). Narrower than the standard: no user, no escapes, no sub-delimiters,
  /// no zone and no empty port, since nobody sends them but to be read two ways.
  private func readAuthority(_ bytes: RawSpan, _ line: inout Facts) throws(HTTPFault) {
    let start = Int(line.authority.start)
    let end = line.authority.end
    var index = start
    if start < end && bytes[byte: start] == 91 {
      while index < end, bytes[byte: index] != 93 { index += 1 }
      // Eight groups need colons, so an IPv4 address in brackets is not taken for one.
      guard index < end, bytes.part(start + 1..<index).holds(58),
        IPAddress(parsing: bytes.part(start + 1..<index)) != nil
      else { throw .malformedHost }
      index += 1
    } else {
      while index < end, table.isClass(bytes[byte: index], .host) { index &+= 1 }
    }
    if index == start || index - start > HeadLimits.hostBytes { throw .malformedHost }
    line.host = ByteRange(start, upTo: index)
    if index == end { return }
    guard bytes[byte: index] == 58, end - index <= 6, let port = Decimal.read(bytes.part(index + 1..<end)),
      port < 65_536
    else { throw .malformedHost }
    line.port = UInt16(port)
  }

  /// The value of Upgrade if it may be honoured. Several fields, or HTTP itself as the protocol, are as good as none:
  /// a tunnel of cleartext HTTP/2 would carry requests past every policy.
  private func upgradeOffer(_ bytes: RawSpan) -> ByteRange {
    guard let index = table.firstIndex(of: .upgrade), !table.isRepeated(.upgrade) else { return .empty }
    let range = table[index].valueRange
    let value = bytes.part(range.offsets)
    var list = ListReader(value)
    while let member = list.next() {
      let offer = value.part(member)
      var slash = 0
      while slash < offer.byteCount, offer[byte: slash] != 47 { slash += 1 }
      let name = offer.part(0..<slash)
      guard ByteClass.isToken(name), !name.equalsIgnoringCase("h2c"), !name.equalsIgnoringCase("http"),
        slash == offer.byteCount || ByteClass.isToken(offer.part(slash + 1..<offer.byteCount))
      else { return .empty }
    }
    return range
  }
}
