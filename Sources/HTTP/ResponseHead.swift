import Core

// The head of a response, parsed like a request's (`RequestHead`) and as strictly: what an upstream sends decides where
// the next response on the same connection begins, so a doubtful one is a fault, which the client sees as 502.

/// A response's head: a view on the front of a ``ByteBuffer``, valid until those bytes change.
@safe
public final class ResponseHead {
  @usableFromInline struct Facts: BitwiseCopyable {
    @usableFromInline var status = 0
    var isHTTP10 = false
    var keepsAlive = false
    var reason = ByteRange.empty
    var upgrade = ByteRange.empty
    /// What the fields say about the body of a response that may have one.
    @usableFromInline var announced = BodyFraming.untilClose
  }

  @usableFromInline let table = HeadTable()
  @usableFromInline let facts = Pinned(Facts())
  @usableFromInline let held = Pinned(HeldBuffer())

  /// A head without a response; reserves about 25 KiB.
  public init() {}

  /// Looks for a response at the front of `buffer`; `scanned` is as in ``RequestHead/parse(_:from:limits:)``.
  public func parse(_ buffer: ByteBuffer, from scanned: Int = 0, limits: HeadLimits) -> HeadResult {
    let available = buffer.count
    if available == 0 { return .incomplete }
    let window = HeadWindow(buffer, limit: limits.headBytes)
    if scanned > 0 && !HeadResumption.isDue(window, available, scanned: scanned, limits) { return .incomplete }
    let result = parse(window, limits)
    if result >= 0 {
      held.value.hold(buffer)
      let fault = settle(window, &facts.value)
      return fault < 0 ? .refused(LineEnd.fault(fault)) : .complete(byteCount: result)
    }
    if result == LineEnd.incomplete {
      return available >= limits.headBytes ? .refused(.headTooLarge) : .incomplete
    }
    return .refused(result == LineEnd.beyond ? .malformedStatusLine : LineEnd.fault(result))
  }

  /// HTTP-version SP status-code SP [reason-phrase] (RFC 9112 section 4); the space before a missing phrase may be
  /// missing too, as many servers have it.
  @inline(__always)
  private func parse(_ window: borrowing HeadWindow, _ limits: HeadLimits) -> Int {
    let end = window.lineEnd(from: 0, notBeyond: limits.requestLineBytes)
    if end < 0 { return end }
    if end < 12 { return LineEnd.refusal(.malformedStatusLine) }
    let version = window.word(0)
    let isHTTP10 = version == 0x302e_312f_5054_5448
    if !isHTTP10 && version != 0x312e_312f_5054_5448 {
      let isHTTP = version & 0xff_ffff_ffff == 0x2f_5054_5448
      return LineEnd.refusal(isHTTP ? .unsupportedVersion : .malformedStatusLine)
    }
    // A space and three digits: each byte of the sum has its top bit set if it is not what it should be, and none
    // carries into the next without its own.
    let code = window.word(8)
    let digits = UInt32(truncatingIfNeeded: code) ^ 0x3030_3020
    if (digits &+ 0x7676_767f | digits) & 0x8080_8080 != 0 || (end > 12 && code >> 32 & 0xff != 32) {
      return LineEnd.refusal(.malformedStatusLine)
    }
    var line = Facts()
    line.status = Int(digits >> 8 & 0xff) &* 100 &+ Int(digits >> 16 & 0xff) &* 10 &+ Int(digits >> 24)
    if line.status < 100 || line.status > 599 { return LineEnd.refusal(.statusOutOfRange) }
    line.isHTTP10 = isHTTP10
    line.reason = end > 13 ? ByteRange(13, upTo: end) : .empty
    facts.value = line
    return table.scan(window, from: end &+ 2, limit: limits.fieldCount)
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
        if line.status != 204 { return LineEnd.refusal(.bodyInInformational) }
        line.keepsAlive = false
      }
      table.dropAll(FieldNameSet(.contentLength))
    }
    if options.upgrade && line.status == 101, let index = table.firstIndex(of: .upgrade) {
      line.upgrade = table[index].valueRange
    }
    return 0
  }

  /// Makes the ranges count from the front of `buffer`, which must begin with the same bytes.
  public func rebind(to buffer: ByteBuffer) { held.value.hold(buffer) }

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
  @inlinable
  @inline(__always)
  public func framing(for method: Method) -> BodyFraming {
    let status = facts.value.status
    if method == .head || status < 200 || status == 204 || status == 304 { return .none }
    return facts.value.announced
  }

  /// How many fields there are, dropped ones included.
  @inlinable
  public var fieldCount: Int { table.fieldCount }
  /// The field at `index`, in the order sent.
  @inlinable
  @inline(__always)
  public func field(_ index: Int) -> HeadField { table[index] }
  /// Marks a field as not to be passed on.
  @inlinable
  @inline(__always)
  public func drop(_ index: Int) { table.drop(index) }
  /// Marks every field of that name as not to be passed on.
  @inlinable
  @inline(__always)
  public func dropAll(_ name: FieldName) { table.dropAll(FieldNameSet(name)) }
  /// Marks every field of those names as not to be passed on.
  @inlinable
  @inline(__always)
  public func dropAll(_ names: FieldNameSet) { table.dropAll(names) }

  /// The bytes of `range`, valid until the buffer changes.
  @inlinable
  @inline(__always)
  @_lifetime(borrow self)
  public func bytes(_ range: ByteRange) -> RawSpan {
    let all = bytes
    precondition(range.end <= all.byteCount)
    return unsafe all.extracting(unchecked: Range(uncheckedBounds: (Int(range.start), range.end)))
  }
  /// The bytes of the head and all that stands behind it.
  @inlinable
  @inline(__always)
  var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      // The buffer lives as long as `self` holds it, and its bytes may not change while the head is in use.
      let span = unsafe RawSpan(_unsafeBytes: held.value.bytes)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
  /// Appends the field lines that are not dropped, as they came, behind the bytes of `lead`, if there are any: they must
  /// end where the first field begins. Blanks behind a value may be missing.
  @inlinable
  @inline(__always)
  public func appendFields(behind lead: ByteRange = .empty, to buffer: ByteBuffer) {
    table.appendFields(behind: lead, from: bytes, to: buffer)
  }
  /// The name of the field at `index`.
  @inlinable
  @inline(__always)
  @_lifetime(borrow self)
  public func name(of index: Int) -> RawSpan { bytes(table[index].nameRange) }
  /// The value of the field at `index`, without whitespace around it.
  @inlinable
  @inline(__always)
  @_lifetime(borrow self)
  public func value(of index: Int) -> RawSpan { bytes(table[index].valueRange) }

  /// The index of the first field of that name, dropped or not; O(1).
  @inlinable
  @inline(__always)
  public func firstIndex(of name: FieldName) -> Int? { table.firstIndex(of: name) }
  /// The index of the next one behind `index`; O(1) where the name occurs once.
  @inlinable
  @inline(__always)
  public func nextIndex(of name: FieldName, after index: Int) -> Int? { table.nextIndex(of: name, after: index) }
  /// The index of the first field whose name is `name`, given in lower case; looks at every field.
  public func firstIndex(named name: RawSpan) -> Int? {
    table.firstIndex(named: name, in: bytes)
  }
}
