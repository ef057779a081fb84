import Core

// What the fields of a request mean together: host, framing, connection, expectation.

extension RequestHead {
  /// Judges the fields and completes the facts; 0 or a refusal.
  @inline(__always)
  func settle(_ window: borrowing HeadWindow, _ line: inout Facts) -> Int {
    var fault = settleHost(window, &line)
    if fault < 0 { return fault }
    fault = table.readFraming(window, isHTTP10: line.isHTTP10, &line.framing)
    if fault < 0 { return fault }
    var options = ConnectionOptions()
    fault = table.readConnection(window, &options)
    if fault < 0 { return fault }
    line.keepsAlive = !options.close && (!line.isHTTP10 || options.keepAlive)
    if options.upgrade && !line.isHTTP10 { line.upgrade = upgradeOffer(window) }
    return table.isPresent(.expect) ? settleExpect(window, &line) : 0
  }

  @inline(never)
  private func settleExpect(_ window: borrowing HeadWindow, _ line: inout Facts) -> Int {
    guard let index = table.firstIndex(of: .expect), !table.isRepeated(.expect),
      window.span(table[index].valueRange).equalsIgnoringCase("100-continue")
    else { return LineEnd.refusal(.unmetExpectation) }
    // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and idle where there is no body.
    line.expectsContinue = !line.isHTTP10 && line.framing != .none && line.framing != .length(0)
    return 0
  }

  @inline(__always)
  private func settleHost(_ window: borrowing HeadWindow, _ line: inout Facts) -> Int {
    if table.isPresent(.host) {
      if table.isRepeated(.host) { return LineEnd.refusal(.repeatedHost) }
      let range = table.last(of: .host).valueRange
      if !line.authority.isEmpty, !window.span(range).matches(window.span(line.authority)) {
        return LineEnd.refusal(.authorityMismatch)
      }
      line.authority = range
    } else {
      if !line.isHTTP10 { return LineEnd.refusal(.missingHost) }
      if line.authority.isEmpty { return 0 }
    }
    return splitAuthority(window, &line)
  }

  /// Splits host and port (RFC 3986 section 3.2). Narrower than the standard: no user, no escapes, no sub-delimiters, no
  /// zone and no empty port, since nobody sends them but to be read two ways.
  @inline(__always)
  private func splitAuthority(_ window: borrowing HeadWindow, _ line: inout Facts) -> Int {
    let start = Int(line.authority.start)
    let end = line.authority.end
    if start == end { return LineEnd.refusal(.malformedHost) }
    var index = start
    let stop = window.hostStop16(start)
    if stop != 0 { index &+= stop.trailingZeroBitCount } else { index = endOfName(window, start &+ 16, before: end) }
    if index >= end {
      // Behind the value stands at least the CR, so the end of a plain name is always found.
      if index > end || index == start || index &- start > HeadLimits.hostBytes {
        return LineEnd.refusal(.malformedHost)
      }
      line.host = line.authority
      return 0
    }
    if index > start && index &- start <= HeadLimits.hostBytes && window.byte(index) == 58 && end &- index <= 6,
      let port = Decimal.read(window, ByteRange(index &+ 1, upTo: end)), port < 65_536
    {
      line.host = ByteRange(start, upTo: index)
      line.port = UInt16(truncatingIfNeeded: port)
      return 0
    }
    return splitPort(window, start, index, end, &line)
  }

  /// The first byte from `start` on that cannot be part of a host name, if it stands before `end`.
  @inline(never)
  private func endOfName(_ window: borrowing HeadWindow, _ start: Int, before end: Int) -> Int {
    var index = start
    while index < end {
      let stop = window.hostStop16(index)
      if stop != 0 { return index &+ stop.trailingZeroBitCount }
      index &+= 16
    }
    return index
  }

  /// The whole truth about what is not just a name, or a name and a port.
  @inline(never)
  private func splitPort(
    _ window: borrowing HeadWindow, _ start: Int, _ stop: Int, _ end: Int, _ line: inout Facts
  ) -> Int {
    var index = stop
    if window.byte(start) == 91 {
      while index < end, window.byte(index) != 93 { index += 1 }
      let inner = ByteRange(start + 1, upTo: index)
      // Eight groups need colons, so an IPv4 address in brackets is not taken for one.
      guard index < end, window.span(inner).holds(58), IPAddress(parsing: window.span(inner)) != nil
      else { return LineEnd.refusal(.malformedHost) }
      index += 1
    }
    line.host = ByteRange(start, upTo: index)
    if index == end { return 0 }
    guard index > start, index - start <= HeadLimits.hostBytes, window.byte(index) == 58, end - index <= 6,
      let port = Decimal.read(window.span(ByteRange(index + 1, upTo: end))), port < 65_536
    else { return LineEnd.refusal(.malformedHost) }
    line.port = UInt16(port)
    return 0
  }

  /// The value of Upgrade if it may be honoured. Several fields, or HTTP itself as the protocol, are as good as none:
  /// a tunnel of cleartext HTTP/2 would carry requests past every policy.
  @inline(never)
  private func upgradeOffer(_ window: borrowing HeadWindow) -> ByteRange {
    guard let index = table.firstIndex(of: .upgrade), !table.isRepeated(.upgrade) else { return .empty }
    let range = table[index].valueRange
    let value = window.span(range)
    var list = ListReader(value)
    while let member = list.next() {
      let offer = value.extracting(member)
      var slash = 0
      while slash < offer.byteCount, offer[byte: slash] != 47 { slash += 1 }
      let name = offer.extracting(0..<slash)
      guard ByteClass.isToken(name), !name.equalsIgnoringCase("h2c"), !name.equalsIgnoringCase("http"),
        slash == offer.byteCount || ByteClass.isToken(offer.extracting(slash + 1..<offer.byteCount))
      else { return .empty }
    }
    return range
  }
}
