import Core

// The head of a response, parsed like a request's (`RequestHead`) and as strictly: what an upstream sends decides where
// the next response on the same connection begins, so a doubtful one is a fault, which the client sees as 502.

/// A response's head: a view on the front of a ``ByteBuffer``, valid until those bytes change.
@safe
public final class ResponseHead {
  struct Facts: BitwiseCopyable {
    var status = 0
    var isHTTP10 = false
    var keepsAlive = false
    var reason = ByteRange.empty
    var upgrade = ByteRange.empty
    /// What the fields say about the body of a response that may have one.
    var announced = BodyFraming.untilClose
  }

  let table = HeadTable()
  let facts = Pinned(Facts())
  private let held = Pinned(ByteBuffer())
  /// Which buffer is held, so that finding the same one again takes no reference.
  private let identity: Pinned<ObjectIdentifier>

  /// A head without a response; reserves about 25 KiB.
  public init() { identity = Pinned(ObjectIdentifier(held.value)) }

  /// Looks for a response at the front of `buffer`; `scanned` is as in ``RequestHead/parse(_:from:limits:)``.
  public func parse(_ buffer: ByteBuffer, from scanned: Int = 0, limits: HeadLimits) -> HeadResult {
    let available = buffer.count
    if available == 0 { return .incomplete }
    let window = HeadWindow(buffer, limit: limits.headBytes)
    if scanned > 0 && !HeadResumption.isDue(window, available, scanned: scanned, limits) { return .incomplete }
    let result = parse(window, limits)
    if result >= 0 {
      if ObjectIdentifier(buffer) != identity.value { rebind(to: buffer) }
      let fault = settle(window, &facts.value)
      return fault < 0 ? .refused(LineCursor.fault(fault)) : .complete(byteCount: result)
    }
    if result == LineCursor.incomplete {
      return available >= limits.headBytes ? .refused(.headTooLarge) : .incomplete
    }
    return .refused(result == LineCursor.beyond ? .malformedStatusLine : LineCursor.fault(result))
  }

  /// HTTP-version SP status-code SP [reason-phrase] (RFC 9112 section 4); the space before a missing phrase may be
  /// missing too, as many servers have it.
  @inline(__always)
  private func parse(_ window: borrowing HeadWindow, _ limits: HeadLimits) -> Int {
    var cursor = LineCursor(window, at: 0)
    let end = cursor.next(window, notBeyond: limits.requestLineBytes)
    if end < 0 { return end }
    if end < 12 { return LineCursor.refusal(.malformedStatusLine) }
    let version = window.word(0)
    let isHTTP10 = version == 0x302e_312f_5054_5448
    if !isHTTP10 && version != 0x312e_312f_5054_5448 {
      let isHTTP = version & 0xff_ffff_ffff == 0x2f_5054_5448
      return LineCursor.refusal(isHTTP ? .unsupportedVersion : .malformedStatusLine)
    }
    let hundreds = window.byte(9) &- 48
    let tens = window.byte(10) &- 48
    let ones = window.byte(11) &- 48
    if window.byte(8) != 32 || hundreds > 9 || tens > 9 || ones > 9 || (end > 12 && window.byte(12) != 32) {
      return LineCursor.refusal(.malformedStatusLine)
    }
    var line = Facts()
    line.status = Int(hundreds) &* 100 &+ Int(tens) &* 10 &+ Int(ones)
    if line.status < 100 || line.status > 599 { return LineCursor.refusal(.statusOutOfRange) }
    line.isHTTP10 = isHTTP10
    line.reason = end > 13 ? ByteRange(13, upTo: end) : .empty
    facts.value = line
    return table.scan(window, from: end &+ 2, cursor, limit: limits.fieldCount)
  }

  /// What the fields mean together; 0 or a refusal.
  @inline(__always)
  private func settle(_ window: borrowing HeadWindow, _ line: inout Facts) -> Int {
    let framing = table.readFraming(window, isHTTP10: line.isHTTP10, &line.announced)
    if framing < 0 { return framing }
    var options = ConnectionOptions()
    let fault = table.readConnection(window, &options)
    if fault < 0 { return fault }
    line.keepsAlive = !options.close && (!line.isHTTP10 || options.keepAlive)
    if line.status < 200 || line.status == 204 {
      // Neither may announce a body (RFC 9110 section 8.6, RFC 9112 section 6.1). Behind a 1xx the final response follows
      // at once, so there is no safe way to go on; behind a 204 we can at least close.
      if line.announced != .untilClose && line.announced != .length(0) {
        if line.status != 204 { return LineCursor.refusal(.bodyInInformational) }
        line.keepsAlive = false
      }
      if table.isPresent(.contentLength) { table.dropAll(.contentLength) }
    }
    if options.upgrade && line.status == 101, let index = table.firstIndex(of: .upgrade) {
      line.upgrade = table[index].valueRange
    }
    return 0
  }

  /// Makes the ranges count from the front of `buffer`, which must begin with the same bytes.
  public func rebind(to buffer: ByteBuffer) {
    held.value = buffer
    identity.value = ObjectIdentifier(buffer)
  }

  /// The status, 100 to 599.
  public var status: Int { facts.value.status }
  /// The reason phrase; often empty.
  public var reason: ByteRange { facts.value.reason }
  /// Whether the response is HTTP/1.0; else it is HTTP/1.1.
  public var isHTTP10: Bool { facts.value.isHTTP10 }
  /// Whether the upstream lets the connection go on after this response; a body that ends with the connection
  /// (``framing(for:)``) ends it all the same.
  public var keepsAlive: Bool { facts.value.keepsAlive }
  /// Whether another response to the same request follows; 101 is not of this kind.
  public var isInformational: Bool { facts.value.status < 200 && facts.value.status != 101 }
  /// The protocol that a 101 switches to; nil for every other response.
  public var upgrade: ByteRange? { facts.value.upgrade.isEmpty ? nil : facts.value.upgrade }

  /// How the body of this response to a request with `method` ends (RFC 9112 section 6.3).
  public func framing(for method: Method) -> BodyFraming {
    let status = facts.value.status
    if method == .head || status < 200 || status == 204 || status == 304 { return .none }
    return facts.value.announced
  }

  /// How many fields there are, dropped ones included.
  public var fieldCount: Int { table.fieldCount }
  /// The field at `index`, in the order sent.
  public func field(_ index: Int) -> HeadField { table[index] }
  /// Marks a field as not to be passed on.
  public func drop(_ index: Int) { table.drop(index) }
  /// Marks every field of that name as not to be passed on.
  public func dropAll(_ name: FieldName) { if table.isPresent(name) { table.dropAll(name) } }

  /// The bytes of `range`, valid until the buffer changes.
  @_lifetime(borrow self)
  public func bytes(_ range: ByteRange) -> RawSpan {
    let buffer = held.value
    let part = buffer.bytes.extracting(range.offsets)
    // The buffer lives as long as `self` holds it, and its bytes may not change while the head is in use.
    return unsafe _overrideLifetime(part, borrowing: self)
  }
  /// The name of the field at `index`.
  @_lifetime(borrow self)
  public func name(of index: Int) -> RawSpan { bytes(table[index].nameRange) }
  /// The value of the field at `index`, without whitespace around it.
  @_lifetime(borrow self)
  public func value(of index: Int) -> RawSpan { bytes(table[index].valueRange) }

  /// The index of the first field of that name, dropped or not; O(1).
  public func firstIndex(of name: FieldName) -> Int? { table.firstIndex(of: name) }
  /// The index of the next one behind `index`; O(1) where the name occurs once.
  public func nextIndex(of name: FieldName, after index: Int) -> Int? { table.nextIndex(of: name, after: index) }
  /// The index of the first field whose name is `name`, given in lower case; looks at every field.
  public func firstIndex(named name: RawSpan) -> Int? {
    let buffer = held.value
    return table.firstIndex(named: name, in: buffer.bytes)
  }
}
