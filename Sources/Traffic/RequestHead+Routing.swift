import Core
import HTTP

extension RequestHead: RoutableRequest {
  /// The method's place in ``RouteTable/knownMethods``, −1 for other methods.
  public var knownMethod: Int { method == .other ? -1 : Int(method.rawValue) }

  /// The method as sent.
  public var methodBytes: RawSpan {
    @inline(__always)
    @_lifetime(borrow self)
    get { bytes(methodText) }
  }

  /// The host without its port.
  public var hostBytes: RawSpan {
    @inline(__always)
    @_lifetime(borrow self)
    get { bytes(host) }
  }

  /// The path, raw.
  public var pathBytes: RawSpan {
    @inline(__always)
    @_lifetime(borrow self)
    get { bytes(path) }
  }

  /// The query, raw.
  public var queryBytes: RawSpan {
    @inline(__always)
    @_lifetime(borrow self)
    get { bytes(query) }
  }

  /// The index of the next field line of that name behind `index`, −1 if there is none.
  public func fieldIndex(named name: RawSpan, after index: Int) -> Int {
    let known = FieldName.of(name)
    if known != .other {
      return (index < 0 ? firstIndex(of: known) : nextIndex(of: known, after: index)) ?? -1
    }
    if index < 0 { return firstIndex(named: name) ?? -1 }
    // Only a field that occurs more than once comes here, and only where a route asks for it.
    var next = index &+ 1
    while next < fieldCount {
      if isName(self.name(of: next), name) { return next }
      next &+= 1
    }
    return -1
  }

  /// The value of a field line.
  @_lifetime(borrow self)
  public func fieldBytes(_ index: Int) -> RawSpan { value(of: index) }
}

private func isName(_ found: RawSpan, _ name: RawSpan) -> Bool {
  guard found.byteCount == name.byteCount else { return false }
  for index in 0..<name.byteCount
  where UInt8(truncatingIfNeeded: lowercased(UInt64(byte(found, index)))) != byte(name, index) {
    return false
  }
  return true
}

extension RouteTable {
  /// The route that takes a request.
  public func match(_ head: RequestHead, captures: inout RouteCaptures) -> RouteDecision {
    match(request: head, captures: &captures)
  }

  /// For a CORS preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) that no route takes as `OPTIONS`,
  /// the route that will take the request it asks about; nil for everything else. Only a route that answers preflights by
  /// itself may be given one: any other would send upstream what its methods exclude.
  public func matchPreflight(_ head: RequestHead, captures: inout RouteCaptures) -> Int32? {
    guard head.method == .options, head.firstIndex(of: .origin) != nil,
      let line = head.firstIndex(of: .accessControlRequestMethod),
      case .route(let index) = match(request: head, asMethod: head.value(of: line), captures: &captures)
    else { return nil }
    return index
  }
}
