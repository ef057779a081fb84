import Core

// The head of a request, parsed in place.
//
// One object a loop is used again for every request: parsing writes plain data into memory it already has and keeps a
// reference to the buffer, so it allocates nothing. All ranges count from the front of that buffer. The grammar is that
// of RFC 9112, and wherever two readers could disagree about a message, it is refused rather than read one way; the
// checks are cheap because one mask over control bytes proves most of them (`LineEnd`).

/// A request's head: a view on the front of a ``ByteBuffer``, valid until those bytes change.
@safe
public final class RequestHead {
  /// What the request line and the fields say together, as plain data behind a pointer: a class's own properties
  /// would cost an exclusivity check a store.
  struct Facts: BitwiseCopyable {
    var method = Method.other
    var isHTTP10 = false
    var keepsAlive = false
    var expectsContinue = false
    var port: UInt16 = 0
    var isPathUnusual = false
    var framing = BodyFraming.none
    var methodText = ByteRange.empty
    var target = ByteRange.empty
    var path = ByteRange.empty
    var query = ByteRange.empty
    var authority = ByteRange.empty
    var host = ByteRange.empty
    var upgrade = ByteRange.empty
  }

  @usableFromInline let table = HeadTable()
  let facts = Pinned(Facts())
  @usableFromInline let held = Pinned(HeldBuffer())

  /// A head without a request; reserves about 25 KiB.
  public init() {}

  /// Looks for a request at the front of `buffer`.
  ///
  /// `scanned` is how many bytes an earlier call with the same limits has already seen and found incomplete; with it, a
  /// sender of single bytes costs no more than one of whole heads. The properties are those of this request only after
  /// `.complete`.
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
    if result == LineEnd.beyond { return .refused(.requestLineTooLong) }
    return .refused(LineEnd.fault(result))
  }

  /// Makes the ranges count from the front of `buffer`, which must begin with the same bytes.
  public func rebind(to buffer: ByteBuffer) { held.value.hold(buffer) }

  /// The same without keeping the buffer: it must live until the head is bound to another one or looked at no more.
  @unsafe
  @inlinable
  public func rebind(unowned buffer: ByteBuffer) { unsafe held.value.current = .passUnretained(buffer) }

  /// The method; for ``Method/other`` see ``methodText``.
  public var method: Method { facts.value.method }
  /// The method as sent.
  public var methodText: ByteRange { facts.value.methodText }
  /// The whole request target as sent.
  public var target: ByteRange { facts.value.target }
  /// The path as sent, still encoded: begins with `/`, or is `*`. It holds no dot segments in any
  /// spelling, and no empty segments or escaped slashes unless ``HeadLimits/paths`` lets them through.
  public var path: ByteRange { facts.value.path }
  /// The query as sent, without `?`; empty where there is none.
  public var query: ByteRange { facts.value.query }
  /// Host and port, from an absolute-form target or from Host (where there are both they agree); empty only in
  /// HTTP/1.0.
  public var authority: ByteRange { facts.value.authority }
  /// The host in ``authority`` without the port; an IPv6 address with its brackets.
  public var host: ByteRange { facts.value.host }
  /// The port in ``authority``, or 0 where it names none.
  public var port: UInt16 { facts.value.port }
  /// Whether the request is HTTP/1.0; else it is HTTP/1.1.
  public var isHTTP10: Bool { facts.value.isHTTP10 }
  /// Whether the client lets the connection go on after this request.
  public var keepsAlive: Bool { facts.value.keepsAlive }
  /// How the body ends; never ``BodyFraming/untilClose``.
  public var framing: BodyFraming { facts.value.framing }
  /// Whether the client waits for a 100 before it sends the body.
  public var expectsContinue: Bool { facts.value.expectsContinue }
  /// The value of Upgrade if Connection asks for it and it names no HTTP version; nil otherwise.
  public var upgrade: ByteRange? { facts.value.upgrade.isEmpty ? nil : facts.value.upgrade }

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
  /// Marks a field as to be passed on after all.
  public func keep(_ index: Int) { table.keep(index) }
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
