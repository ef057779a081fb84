import Core

// Who sent a request that came through proxies (RFC 7239, and X-Forwarded-For of old).
//
// Every proxy appends whom it received from, so the list is read from its end, and only as far as the senders are
// trusted: the first untrusted address is the client, and what stands before it is the client's own invention. The
// reading is backwards in the bytes too, so that nothing invented, not even an open quote, changes what a trusted proxy
// has appended.

/// Finds the client's address behind trusted proxies.
public enum ClientAddress {
  /// Entries looked at before the search stops at the last trusted one.
  public static let hopLimit = 32

  /// The unspecified address, which no list of particular networks admits: who cannot be told from a liar.
  public static let unknown = IPAddress(high: 0, low: 0)

  /// The address of the client of `head`, which arrived from `peer`.
  ///
  /// An untrusted peer is the client whatever it says. Where both Forwarded and X-Forwarded-For are present they must
  /// lead to the same address, else ``unknown`` is the client: a trusted proxy maintains one of them, and which one nobody
  /// knows. To take the peer then would let any client pass for the proxy, by one field that the proxy leaves alone.
  /// An entry that is no address (`unknown`, an obfuscated name, nonsense) ends the search at the proxy that wrote it.
  public static func find(_ head: RequestHead, peer: IPAddress, isTrusted: (IPAddress) -> Bool) -> IPAddress {
    let hasForwarded = head.firstIndex(of: .forwarded) != nil
    let hasLegacy = head.firstIndex(of: .xForwardedFor) != nil
    guard hasForwarded || hasLegacy, isTrusted(peer) else { return peer }
    let standard = hasForwarded ? walk(head, .forwarded, peer, isTrusted) : peer
    let legacy = hasLegacy ? walk(head, .xForwardedFor, peer, isTrusted) : peer
    if hasForwarded && hasLegacy && standard != legacy { return unknown }
    return hasForwarded ? standard : legacy
  }

  private static func walk(
    _ head: RequestHead, _ name: FieldName, _ peer: IPAddress, _ isTrusted: (IPAddress) -> Bool
  ) -> IPAddress {
    var nearest = peer
    var hops = 0
    for index in stride(from: head.fieldCount - 1, through: 0, by: -1) where head.field(index).name == name {
      let value = head.value(of: index)
      var end = value.byteCount
      while end >= 0 {
        let start = memberStart(value, before: end, respectsQuotes: name == .forwarded)
        let member = value.extracting(start..<end).trimmed()
        end = start - 1
        if member.isEmpty { continue }
        hops += 1
        guard hops <= hopLimit,
          let address = name == .forwarded ? ForwardedElement.address(member) : ForwardedElement.node(member)
        else { return nearest }
        nearest = address
        if !isTrusted(address) { return nearest }
      }
    }
    return nearest
  }

  /// Where the list member that ends at `end` begins: behind a comma that stands in no quoted string, seen from the end.
  private static func memberStart(_ value: RawSpan, before end: Int, respectsQuotes: Bool) -> Int {
    var isQuoted = false
    var start = end
    while start > 0 {
      let byte = value[byte: start - 1]
      if byte == 44 && !isQuoted { break }
      if byte == 34 && respectsQuotes {
        var slashes = 0
        while isQuoted, start - 2 - slashes >= 0, value[byte: start - 2 - slashes] == 92 { slashes += 1 }
        if slashes % 2 == 0 { isQuoted.toggle() }
      }
      start -= 1
    }
    return start
  }
}

/// One element of Forwarded: parameters that semicolons separate (RFC 7239 section 4).
enum ForwardedElement {
  /// The address that the one `for` parameter names; nil where it names none or the element is malformed.
  static func address(_ element: RawSpan) -> IPAddress? {
    var result: IPAddress?
    var isNamed = false
    var list = ListReader(element, separator: 59)
    while let member = list.next() {
      let pair = element.extracting(member)
      var equals = 0
      while equals < pair.byteCount, pair[byte: equals] != 61 { equals += 1 }
      guard equals < pair.byteCount, ByteClass.isToken(pair.extracting(0..<equals)) else { return nil }
      var value = pair.extracting(equals + 1..<pair.byteCount)
      if value.byteCount >= 2, value[byte: 0] == 34, value[byte: value.byteCount - 1] == 34 {
        value = value.extracting(1..<value.byteCount - 1)
        if value.holds(34) || value.holds(92) { return nil }
      } else if !ByteClass.isToken(value) {
        // `for=192.0.2.1:80` without quotes is against the grammar, but frequent and not ambiguous.
        guard pair.extracting(0..<equals).equalsIgnoringCase("for"), !value.holds(34) else { return nil }
      }
      guard pair.extracting(0..<equals).equalsIgnoringCase("for") else { continue }
      if isNamed { return nil }
      isNamed = true
      result = node(value)
    }
    return result
  }

  /// The address in `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80` or a bare `2001:db8::1`.
  static func node(_ text: RawSpan) -> IPAddress? {
    if text.byteCount > 0 && text[byte: 0] == 91 {
      var close = 1
      while close < text.byteCount, text[byte: close] != 93 { close += 1 }
      guard close < text.byteCount, text.extracting(1..<close).holds(58),
        close + 1 == text.byteCount || isPort(text.extracting(close + 1..<text.byteCount))
      else { return nil }
      return IPAddress(parsing: text.extracting(1..<close))
    }
    var colon = 0
    while colon < text.byteCount, text[byte: colon] != 58 { colon += 1 }
    if colon < text.byteCount, isPort(text.extracting(colon..<text.byteCount)),
      let address = IPAddress(parsing: text.extracting(0..<colon))
    {
      return address
    }
    return IPAddress(parsing: text)
  }

  /// Whether `text` is a colon and a port, which may be obfuscated.
  private static func isPort(_ text: RawSpan) -> Bool {
    guard text.byteCount >= 2, text[byte: 0] == 58 else { return false }
    let port = text.extracting(1..<text.byteCount)
    if port[byte: 0] == 95 { return ByteClass.isToken(port) }
    return port.byteCount <= 5 && (Decimal.read(port) ?? 65_536) < 65_536
  }
}
